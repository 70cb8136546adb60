"""The store: what is written is read back whole, the latest row counts, and one runner owns the folder."""

import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dreg_sweep.errors import UserError
from dreg_sweep.store import CELLS_SCHEMA, HISTORY_SCHEMA, NOISE_SCHEMA, StackRows, Store, StoreError, cell_files


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path / "results")
    made.create()
    return made


def rows(*keys, status="done", epochs=2, config_hash="h"):
    """Rows of a small stack."""
    cells = [{"cell": key, "config_hash": config_hash, "status": status, "config": "{}"} for key in keys]
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
    (path,) = cell_files(store.cells)
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
    assert store.index() == (before, [])
    files = {name: cell_files(store.folder / name) for name in ("cells", "noise", "history")}
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
    path = cell_files(store.cells)[1]
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
    with store.lock():
        assert not litter.exists()


def test_one_runner_a_folder(store):
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; from pathlib import Path; from dreg_sweep.store import Store\n"
            "store = Store(Path(sys.argv[1]))\n"
            "with store.lock():\n"
            "    store.mark_running(['a', 'b'])\n"
            "    print('locked', flush=True); sys.stdin.read()",
            str(store.folder),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(UserError, match=f"in use by pid {holder.pid} on "), store.lock():
            pass
        assert store.running() == {"a", "b"}
        holder.kill()
    assert store.running() == set()
    with store.lock():
        pass


def test_the_declared_grid_grows_and_keeps_the_newest_configuration(store):
    assert store.declared() == []
    store.declare([{"cell": "a", "config_hash": "1"}, {"cell": "b", "config_hash": "1"}])
    store.declare([{"cell": "b", "config_hash": "2"}, {"cell": "c", "config_hash": "1"}])
    assert {row["cell"]: row["config_hash"] for row in store.declared()} == {"a": "1", "b": "2", "c": "1"}


@pytest.mark.parametrize("folder", ["/proc/results", "/dev/null/results"])
def test_a_folder_that_cannot_be_written_is_refused(folder):
    from pathlib import Path

    with pytest.raises(UserError, match=f"results_dir={folder} cannot be written"):
        Store(Path(folder)).create()
