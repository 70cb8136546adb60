"""The store: what is written is read back whole, the latest row counts, and one runner owns the folder."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dreg_sweep.analysis import load_cells
from dreg_sweep.errors import UserError
from dreg_sweep.store import StackRows, Store, StoreError, joining, parquet_files
from dreg_sweep.store.runners import one_of_many, runners, sole_runner
from dreg_sweep.store.schema import CELLS_SCHEMA, HISTORY_SCHEMA, NOISE_SCHEMA


def rows(*keys, status="done", epochs=2, config_hash="h"):
    """Rows of a small stack."""
    cells = [{"cell": key, "config_hash": config_hash, "status": status} for key in keys]
    noise = [{"cell": key, "config_hash": config_hash, "severity": 0.5, "correct": 7} for key in keys]
    history = [
        {"cell": key, "config_hash": config_hash, "epoch": e, "slope_sq": [0.25]}
        for key in keys
        for e in range(epochs)
    ]
    return StackRows(cells, noise, history)


def test_rows_come_back_with_their_types_and_nulls(store):
    cell = {
        "cell": "mnist/relu/dreg/s0",
        "strength": 10**-2.5,
        "seed": 2**40,
        "train_size": None,
        "status": "done",
        "clean_correct": 9,
        "noisy_accuracy": None,
    }
    store.write_stack(1, StackRows([cell], [], []))
    (path,) = parquet_files(store.cells)
    table = pq.read_table(path)
    assert table.schema.equals(CELLS_SCHEMA)
    read = table.to_pylist()[0]
    assert {key: read[key] for key in cell} == cell
    assert read["error"] is None
    assert not list((store.folder / "noise").iterdir())


def test_the_row_of_the_higher_sequence_number_counts(store):
    store.write_stack(9, rows("a", "b", status="failed"))
    store.write_stack(10, rows("a", status="done"))
    store.write_stack(2, rows("b", status="diverged"))
    index, problems = store.index()
    assert {key: row.status for key, row in index.items()} == {"a": "done", "b": "failed"}
    assert problems == []
    assert store.next_sequence() == 11


def test_joining_keeps_the_latest_rows_of_each_cell_and_nothing_else(store):
    store.write_stack(1, rows("a", "b", epochs=3))
    store.write_stack(2, rows("b", "c", epochs=2))
    before, _ = store.index()
    store.compact()
    after, problems = store.index()
    assert {key: replace(row, sequence=0) for key, row in after.items()} == {
        key: replace(row, sequence=0) for key, row in before.items()
    }
    assert problems == []
    files = {name: parquet_files(store.folder / name) for name in ("cells", "noise", "history")}
    assert [len(paths) for paths in files.values()] == [1, 1, 1]
    schemas = {"cells": CELLS_SCHEMA, "noise": NOISE_SCHEMA, "history": HISTORY_SCHEMA}
    for name, (path,) in files.items():
        table = pq.read_table(path)
        assert table.schema.equals(schemas[name])
        keys = table["cell"].to_pylist()
        each = {"cells": [1, 1, 1], "noise": [1, 1, 1], "history": [3, 2, 2]}[name]
        assert [keys.count(key) for key in "abc"] == each
    store.write_stack(store.next_sequence(), rows("a"))
    assert store.index()[0]["a"].status == "done"


def test_joining_drops_what_a_rerun_left_behind(store):
    store.write_stack(1, rows("a", "b", "c", config_hash="old"))
    for sequence, key, status in ((2, "a", "failed"), (3, "b", "diverged")):
        again = rows(key, status=status, config_hash="new", epochs=1)
        store.write_stack(sequence, StackRows(again.cells, [], again.history if status == "diverged" else []))
    store.compact()
    left = {
        name: [(row["cell"], row["config_hash"]) for row in pq.read_table(store.folder / name).to_pylist()]
        for name in ("cells", "noise", "history")
    }
    assert left["cells"] == [("c", "old"), ("a", "new"), ("b", "new")]
    assert left["noise"] == [("c", "old")]
    assert left["history"] == [("c", "old"), ("c", "old"), ("b", "new")]


def test_a_truncated_and_a_foreign_file_are_named_and_cost_only_their_own_cells(store):
    store.write_stack(1, rows("a"))
    store.write_stack(2, rows("b"))
    path = parquet_files(store.cells)[1]
    path.write_bytes(path.read_bytes()[:100])
    pq.write_table(pa.table({"x": [1]}), store.cells / "00000003-foreign.parquet")
    index, problems = store.index()
    assert set(index) == {"a"}
    assert len(problems) == 2
    assert all("\n" not in line for line in problems)
    assert path.name in problems[0]
    store.compact()
    assert set(store.index()[0]) == {"a"}
    assert path.exists()
    _, problems = store.index(set_aside=True)
    assert all("moved to" in line for line in problems)
    assert {p.name for p in (store.folder / "set_aside").iterdir()} == {path.name, "00000003-foreign.parquet"}
    assert store.index()[1] == []


def test_a_failed_write_leaves_nothing_that_looks_like_a_result(store, monkeypatch):
    def full(table, file, **_):
        file.write(b"PAR1 half of a file")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(StoreError, match="No space left on device"):
        store.write_stack(1, rows("a"))
    assert [path for path in store.folder.rglob("*") if path.is_file()] == []


def test_a_writer_that_died_leaves_no_litter(store):
    litter = store.cells / ".00000001-abc.parquet.4711"
    litter.write_bytes(b"half")
    assert store.index() == ({}, [])
    with sole_runner(store.folder):
        assert not litter.exists()


HOLD = """
import sys
from pathlib import Path
from dreg_sweep.store import runners
with getattr(runners, sys.argv[1])(Path(sys.argv[2])) as presence:
    presence.trains(sys.argv[3:])
    print("at work", flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def at_work(folder, *cells, how="sole_runner"):
    """Another process that trains these cells."""
    command = [sys.executable, "-c", HOLD, how, str(folder), *cells]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "at work\n"
        yield process
        process.kill()


def running(folder):
    """All cells in training."""
    return {key for runner in runners(folder) for key in runner.cells}


def test_one_runner_a_folder(store):
    with at_work(store.folder, "a", "b") as holder:
        with pytest.raises(UserError, match=f"in use by pid {holder.pid} on "), sole_runner(store.folder):
            pass
        assert running(store.folder) == {"a", "b"}
    assert running(store.folder) == set()  # killed: its entry is there, its lock is not
    assert list(store.folder.glob(".runners/*"))
    with sole_runner(store.folder):
        assert [runner.pid for runner in runners(store.folder)] == [os.getpid()]
    assert not list(store.folder.glob(".runners/*"))


def test_the_tasks_of_a_cluster_job_share_a_folder_and_keep_others_out(store):
    with at_work(store.folder, "a", how="one_of_many") as first, at_work(store.folder, "b", how="one_of_many"):
        assert running(store.folder) == {"a", "b"}
        with pytest.raises(UserError, match=f"pid {first.pid} on "), sole_runner(store.folder):
            pass
        first.kill()
        first.wait()
        assert running(store.folder) == {"b"}
        with one_of_many(store.folder) as presence:
            presence.trains(["c"])
            assert running(store.folder) == {"b", "c"}


@pytest.mark.parametrize(("silent", "lives"), [(0, True), (50, True), (70, False), (10**6, False), (-3600, False)])
def test_a_runner_of_another_host_lives_as_long_as_it_beats(store, silent, lives):
    entry = store.folder / ".runners" / "node9-17.json"
    entry.parent.mkdir()
    entry.write_text('{"pid": 17, "host": "node9", "job": "4_1", "cells": ["a"], "age": 0.0}')
    then = time.time() - silent
    os.utime(entry, (then, then))
    assert running(store.folder) == ({"a"} if lives else set())
    if lives:
        refused = pytest.raises(UserError, match=r"in use by pid 17 on node9 \(Slurm job 4_1\)")
        with refused, sole_runner(store.folder):
            pass
    else:
        with sole_runner(store.folder):
            assert not entry.exists()


@pytest.mark.parametrize("jump", [-(10**5), 10**5])
def test_a_jump_of_the_clock_makes_no_living_runner_dead(store, jump):
    with at_work(store.folder, "a"):
        (entry,) = store.folder.glob(".runners/*.json")
        then = time.time() + jump  # the clock was another one when it last gave a sign of life
        os.utime(entry, (then, then))
        assert running(store.folder) == {"a"}


@pytest.mark.parametrize(
    "junk",
    ["", "{", "[]", '{"pid": 1}', '{"pid": "x", "host": 3, "more": 1}']
    + [
        f'{{"pid": {pid}, "host": "{host}", "job": {job}, "cells": {cells}}}'
        for host in ("node9", socket.gethostname())
        for pid, job, cells in (
            (10**24, "null", "[]"),
            (0, "null", "[]"),
            ("true", "null", "[]"),
            (17, "5", "[]"),
            (17, "null", "null"),
            (17, "null", '[["a"]]'),
        )
    ],
)
def test_a_damaged_entry_is_nobody(store, junk):
    (store.folder / ".runners").mkdir()
    (store.folder / ".runners" / "a-1.json").write_text(junk)
    with at_work(store.folder, "z"):
        assert running(store.folder) == {"z"}
    with sole_runner(store.folder):
        pass


def grid(**configs):
    """A declared grid: cell → config_hash."""
    return {"cell": list(configs), "config_hash": list(configs.values())}


def declared(store):
    """Cell → config_hash of the declared grid."""
    columns = store.declared(("cell", "config_hash"))
    return dict(zip(columns["cell"], columns["config_hash"], strict=True))


def test_the_declared_grid_grows_and_keeps_the_newest_configuration(store):
    assert declared(store) == {}
    store.declare(grid(a="1", b="1"))
    store.declare(grid(b="2", c="1"))
    assert declared(store) == {"a": "1", "b": "2", "c": "1"}


def test_readers_see_every_row_while_files_are_joined(store):
    """One process joins without end while this one reads: never a row too few, never one lost for good."""
    factors = {"activation": "relu", "regularizer": "none", "dataset": "d", "clean_accuracy": 0.5}
    for i in range(1, 41):
        made = rows(f"c{i}")
        store.write_stack(i, StackRows([{**row, **factors, "seed": i} for row in made.cells], made.noise, []))
    joiner = (
        "import sys; from pathlib import Path\n"
        "from dreg_sweep.store import StackRows, Store\n"
        "store = Store(Path(sys.argv[1]))\n"
        "for round in range(30):\n"
        "    for key in range(40):\n"
        "        row = {'cell': f'c{key + 1}', 'config_hash': 'h', 'status': 'done',"
        " 'activation': 'relu', 'regularizer': 'none', 'dataset': 'd', 'seed': key, 'clean_accuracy': 0.5}\n"
        "        store.write_stack(store.next_sequence(), StackRows([row], [], []))\n"
        "        if key % 7 == 0: store.compact()\n"
    )
    expected = {f"c{i}" for i in range(1, 41)}
    with subprocess.Popen([sys.executable, "-c", joiner, str(store.folder)]) as process:
        reads = 0
        while process.poll() is None:
            index, problems = store.index()
            assert set(index) == expected
            assert problems == []
            assert set(load_cells(store.folder)["cell"]) == expected
            reads += 1
    assert process.returncode == 0
    assert reads > 5


def test_joining_while_stacks_train_leaves_alone_what_they_may_still_write(store):
    """Stack 3 retrains `a` and ends after 4 and 5, whose files were joined with the older row of `a` meanwhile."""
    for sequence, key in ((1, "a"), (2, "b"), (4, "c"), (5, "d")):
        store.write_stack(sequence, rows(key))
    store.compact(below=3)
    assert parquet_files(store.cells)[0].name == "00000002-joined.parquet"
    assert len(parquet_files(store.cells)) == 3
    store.write_stack(3, rows("a", status="diverged"))
    assert store.index()[0]["a"].status == "diverged"
    store.compact()
    index, _ = store.index()
    assert {key: row.status for key, row in index.items()} == dict.fromkeys("bcd", "done") | {"a": "diverged"}
    assert len(parquet_files(store.cells)) == 1


def test_large_joined_files_are_not_copied_again(store, monkeypatch):
    monkeypatch.setattr(joining, "ROWS_A_FILE", {"cells": 4, "noise": 4, "history": 8, "fits": 4})
    for sequence in range(1, 12):
        store.write_stack(sequence, rows(f"c{sequence}"))
        store.compact()
    paths = parquet_files(store.cells)
    assert [len(pq.read_table(path)) for path in paths] == [4, 4, 3]
    stood = [path.stat().st_mtime_ns for path in paths[:2]]
    store.write_stack(12, rows("c12"))
    store.compact()
    assert [path.stat().st_mtime_ns for path in parquet_files(store.cells)[:2]] == stood
    assert set(store.index()[0]) == {f"c{i}" for i in range(1, 13)}
    store.write_stack(13, rows("c1", status="failed"))
    store.compact()
    counted = [key for path in parquet_files(store.cells) for key in pq.read_table(path)["cell"].to_pylist()]
    assert sorted(counted) == sorted(f"c{i}" for i in range(1, 13))


@pytest.mark.parametrize("folder", ["/proc/results", "/dev/null/results"])
def test_a_folder_that_cannot_be_written_is_refused(folder):
    with pytest.raises(UserError, match=f"results_dir={folder} cannot be written"):
        Store(Path(folder)).create()


def test_what_locks_nothing_costs_one_line(store):
    (store.folder / ".runners" / "folder.json").mkdir(parents=True)
    with sole_runner(store.folder):
        pass
    (store.folder / ".lock").unlink()
    (store.folder / ".lock").mkdir()
    with pytest.raises(UserError, match=r"cannot be locked: .*\.lock: Is a directory"), sole_runner(store.folder):
        pass
