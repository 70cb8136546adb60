"""Merging results folders: what is kept, what belongs to it, what is refused, and what a kill leaves."""

import json
import math
import os
import struct
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dreg_sweep.errors import UserError
from dreg_sweep.store import StackRows, Store, files, merging, parquet_files
from dreg_sweep.store.joining import SCHEMAS
from dreg_sweep.store.merging import Merged, merge
from dreg_sweep.store.runners import sole_runner
from dreg_sweep.store.schema import CELLS_SCHEMA, GRID_SCHEMA

DONE = {"status": "done", "clean_correct": 9, "test_loss": 0.5, "config": "{}"}
DONE |= {"config_hash": "h", "data_fingerprint": "d", "code_fingerprint": "c"}
FAILED = {**DONE, "status": "failed", "clean_correct": None, "test_loss": None, "data_fingerprint": None}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Makes results folders called A, B, …; relative paths, as on a command line, name them in messages."""
    monkeypatch.chdir(tmp_path)

    def make(name, *stacks):  # each a mapping from cell to its row
        store = Store(Path(name))
        store.create()
        for sequence, cells in enumerate(stacks, start=1):
            put(store, sequence, cells)
        return store

    return make


def put(store, sequence, cells):
    """Write a stack; a number in its noise and history says where they come from: 651 is folder A, first stack."""
    rows = [{"cell": key, **row} for key, row in cells.items()]
    configs = {row["config_hash"]: row.pop("config") for row in rows}
    known = {one: config for one, config in configs.items() if config is not None}
    store.keep_configs(known, known.get)
    mark = 10.0 * ord(store.folder.name) + sequence if len(store.folder.name) == 1 else 0.0
    own = [{name: row[name] for name in ("cell", "config_hash")} for row in rows if row["status"] != "failed"]
    noise = [{**row, "severity": s, "accuracy": mark} for row in own for s in (1.0, 2.0)]
    history = [{**row, "epoch": e, "slope_sq": [0.5], "loss": mark} for row in own for e in range(3)]
    fits = [{**row, "place": place, "x1": [0.5, 1.0]} for row in own for place in ("train", "test")]
    store.write_stack(sequence, StackRows(rows, noise, history, fits))


def read(name, schema=None, out="out"):
    return pq.read_table(f"{out}/{name}", partitioning=None, schema=schema).to_pylist()


def marks(name, out="out"):
    """Where the noise or history of each cell comes from."""
    numbers = [(row["cell"], int(row["accuracy" if name == "noise" else "loss"])) for row in read(name, out=out)]
    return [(cell, f"{chr(number // 10)}{number % 10}") for cell, number in numbers]


def merged(*names, out="out"):
    return merge([Path(name) for name in names], Path(out))


def refused(*names, out="out"):
    """The message of a merge that writes nothing."""
    with pytest.raises(UserError) as mistake:
        merged(*names, out=out)
    assert not Path("out").exists()
    assert list(Path().glob(".*")) == []
    message = str(mistake.value)
    assert "\n" not in message
    return message


def test_cells_of_two_folders_come_together_with_what_belongs_to_them(folder):
    folder("A", {"a": DONE, "b": DONE})
    folder("B", {"b": {**DONE, "seconds": 7.0, "device": "cuda", "torch_version": "9"}, "c": DONE})
    assert merged("A", "B") == Merged(cells=3, twice=1, warnings=[])
    assert [(row["cell"], row["device"]) for row in read("cells", CELLS_SCHEMA)] == [(key, None) for key in "abc"]
    origins = [("a", "A1"), ("b", "A1"), ("c", "B1")]
    assert marks("noise") == [origin for origin in origins for _ in range(2)]
    assert marks("history") == [origin for origin in origins for _ in range(3)]
    for name, schema in SCHEMAS.items():
        (path,) = parquet_files(Path("out") / name)
        assert pq.read_schema(path).equals(schema)
    assert read("history")[0]["slope_sq"] == [0.5]
    assert list(Path().glob(".*")) == list(Path("out/.runners").iterdir()) == []


def test_the_latest_row_of_a_folder_counts_with_its_own_noise(folder):
    folder("A", {"a": {**DONE, "clean_correct": 1}, "b": FAILED}, {"a": DONE}, {"c": DONE}, {"c": FAILED})
    b = folder("B", {"a": DONE})
    # A stack under another configuration that died between its noise and its cells file.
    put(b, 2, {"a": {**DONE, "config_hash": "new"}})
    parquet_files(b.cells)[1].unlink()
    assert merged("A", "B") == Merged(cells=3, twice=1, warnings=[])
    assert {row["cell"]: row["clean_correct"] for row in read("cells")} == {"a": 9, "b": None, "c": None}
    assert marks("noise") == [("a", "A2")] * 2
    assert merged("B", "A", out="other").cells == 3
    assert marks("noise", out="other") == [("a", "B1")] * 2


def test_a_failed_row_gives_way_and_its_rival_brings_its_noise(folder):
    diverged = {**DONE, "status": "diverged", "clean_correct": None, "error": "loss not finite at step 3"}
    folder("A", {"a": {**FAILED, "error": "in A"}, "b": {**FAILED, "error": "in A"}, "c": DONE})
    folder("B", {"a": DONE, "b": {**FAILED, "error": "in B"}, "c": FAILED})
    folder("C", {"a": DONE, "d": FAILED})
    folder("D", {"d": diverged})
    assert merged("A", "B", "C", "D") == Merged(cells=4, twice=4, warnings=[])
    rows = {row["cell"]: (row["status"], row["error"]) for row in read("cells")}
    kept = {
        "a": ("done", None),
        "b": ("failed", "in A"),
        "c": ("done", None),
        "d": ("diverged", diverged["error"]),
    }
    assert rows == kept
    assert set(marks("noise")) == {("a", "B1"), ("c", "A1")}
    assert set(marks("history")) == {("a", "B1"), ("c", "A1"), ("d", "D1")}


def test_nan_equals_nan_whatever_its_bits_and_null_is_no_nan(folder):
    (other,) = struct.unpack("<d", struct.pack("<Q", 0xFFF8_0000_0000_0001))
    assert math.isnan(other)
    folder("A", {"a": {**DONE, "test_loss": math.nan}})
    folder("B", {"a": {**DONE, "test_loss": other}})
    folder("C", {"a": {**DONE, "test_loss": None}})
    assert merged("A", "B").twice == 1
    Path("out").rename("before")
    assert "1 cell conflicts, for example a: test_loss nan in A, None in C." in refused("A", "B", "C")


@pytest.mark.parametrize("column", ["data_fingerprint", "code_fingerprint"])
def test_an_unknown_fingerprint_contradicts_nothing_but_two_known_ones_do(folder, column):
    folder("A", {"a": {**DONE, column: None}})
    folder("B", {"a": {**DONE, column: "x"}})
    folder("C", {"a": {**DONE, column: "y"}})
    assert merged("A", "B", out="ab").cells == merged("A", "C", out="ac").cells == 1
    assert f"1 cell conflicts, for example a: {column} x in B, y in C. Nothing" in refused("A", "B", "C")


def test_other_numbers_are_a_conflict_that_is_named(folder):
    key = "mnist/relu/dreg/s0"
    folder("A", {"a": DONE, key: {**DONE, "clean_correct": 9120}, "b": DONE, "c": DONE})
    others = {"b": {**DONE, "status": "diverged"}, "c": {**DONE, "test_loss": 0.25, "n_test": 1, "steps": 2}}
    folder("B", {key: {**DONE, "clean_correct": 9133}, "a": DONE, **others})
    message = refused("A", "B")
    assert message.startswith(f"3 cells conflict, for example {key}: clean_correct 9120 in A, 9133 in B. Nothing")
    folder("C", {"b": others["b"]})
    assert "b: status done in A, diverged in C." in refused("A", "C")
    folder("D", {"c": {**others["c"], "clean_correct": 1}})
    message = refused("A", "D")
    assert "None in A, 1 in D; clean_correct 9 in A, 1 in D; test_loss 0.5 in A, 0.25 in D; …." in message


@pytest.mark.parametrize("row", [DONE, FAILED])
def test_another_configuration_is_a_conflict_even_for_a_failed_row(folder, row):
    old, new = {"epochs": 10, "optimizer": {"lr": 0.1, "name": "sgd"}}, {"epochs": 10, "optimizer": {"lr": 0.2}}
    folder("A", {"a": {**row, "config": json.dumps(old)}})
    folder("B", {"a": {**DONE, "config_hash": "new", "config": json.dumps(new)}})
    assert "a: optimizer.lr 0.1 in A, 0.2 in B; optimizer.name sgd in A, None in B. Not" in refused("A", "B")
    folder("C", {"a": {**DONE, "config_hash": "other"}})  # of an empty configuration
    assert "a: epochs 10 in A, None in C; " in refused("A", "C")
    folder("D", {"a": {**DONE, "config_hash": "third", "config": None}})
    assert "a: config_hash other in C, third in D. Nothing" in refused("C", "D")


def test_two_grids_without_results_are_merged_as_well(folder):
    folder("A").declare({"cell": ["a"], "config_hash": ["h"]})
    folder("B").declare({"cell": ["b"], "config_hash": ["h"]})
    assert merged("A", "B") == Merged(cells=0, twice=0, warnings=[])
    assert sorted(row["cell"] for row in read("grid.parquet", GRID_SCHEMA)) == ["a", "b"]


def test_the_declared_grids_are_united(folder):
    one = {"config_hash": ["h", "h"]}
    folder("A").declare({"cell": ["a", "b"], **one, "seed": [1, 2], "data_fingerprint": [None, "d"]})
    folder("B").declare({"cell": ["c", "a"], **one, "seed": [1, 1], "data_fingerprint": ["d", "e"]})
    (Path("B") / "cells").rmdir()
    folder("C", {"a": DONE})
    assert merged("A", "B", "C") == Merged(cells=1, twice=0, warnings=[])
    grid = [(row["cell"], row["seed"], row["data_fingerprint"]) for row in read("grid.parquet", GRID_SCHEMA)]
    assert grid == [("a", 1, "e"), ("b", 2, "d"), ("c", 1, "d")]


def test_grids_that_declare_a_cell_differently_are_refused(folder):
    for name, n, code in (("A", 1, "x"), ("B", 2, "x"), ("C", 1, "y")):
        store = folder(name, {name: DONE})
        store.keep_configs([str(n)], {str(n): json.dumps({"n": n})}.get)
        store.declare({"cell": ["a"], "config_hash": [str(n)], "code_fingerprint": [code]})
    assert refused("A", "B").startswith("1 declared cell conflicts, for example a: n 1 in A, 2 in B. Nothing")
    assert "a: code_fingerprint x in A, y in C. Nothing" in refused("A", "C")
    (Path("B") / "grid.parquet").write_bytes(b"PAR1")
    assert refused("A", "B").startswith("B/grid.parquet is not readable (")


def test_unreadable_files_are_named_and_their_cells_missing(folder):
    a = folder("A", {"a": DONE}, {"b": DONE})
    folder("B", {"c": DONE})
    for name in ("cells", "noise"):
        path = parquet_files(a.folder / name)[1 if name == "cells" else 0]
        path.write_bytes(path.read_bytes()[:100])
    old = pa.table({"cell": ["d"], "config_hash": ["h"], "status": ["done"], "seed": ["seven"]})
    pq.write_table(old, a.cells / "00000009-bad.parquet")
    pq.write_table(old.drop(["seed"]), a.cells / "00000010-old.parquet")  # of a version with fewer columns
    result = merged("A", "B")
    assert result.cells == 3
    assert {row["cell"] for row in read("cells", CELLS_SCHEMA)} == {"a", "c", "d"}
    assert {cell for cell, _ in marks("noise")} == {"c"}
    places = [" ".join(Path(line.split()[0]).parts[:2]) for line in result.warnings]
    assert places == ["A cells", "A cells", "A noise"]
    assert all("is not a readable" in line and "\n" not in line for line in result.warnings)


@pytest.mark.parametrize("order", [("A", "B"), ("B", "A")])
def test_noise_that_one_folder_has_lost_comes_from_another(folder, order):
    """Whichever is named first, and nothing that belongs to another configuration."""
    folder("A", {"a": DONE, "b": DONE})
    folder("B", {"a": DONE, "b": DONE, "c": {**DONE, "config_hash": "other"}})
    (path,) = parquet_files(Path("B") / "noise")
    path.write_bytes(path.read_bytes()[:-9])
    found = merged(*order)
    assert found.cells == 3
    assert any(f"{path} is not a readable noise file" in line for line in found.warnings) or order == ("A", "B")
    assert marks("noise") == [("a", "A1"), ("a", "A1"), ("b", "A1"), ("b", "A1")]


def test_folders_that_cannot_be_merged_are_refused(folder):
    folder("A", {"a": DONE})
    folder("B", {"b": DONE})
    Path("empty").mkdir()
    assert refused("A") == "a merge takes at least two results folders"
    assert refused("A", "empty") == "empty is no results folder: it has neither cells/ nor grid.parquet"
    assert refused("A", "nowhere").startswith("nowhere is no results folder")
    assert refused("A", "B", "B/../A").startswith("B/../A is given twice")
    assert refused("A", "B", out="B/../A").startswith("B/../A is one of the folders to merge")
    folder("C", {"c": DONE})
    assert refused("A", "B", out="C").startswith("C is not empty: there is C/")
    Path("file").touch()
    assert refused("A", "B", out="file").startswith("file is not empty")
    with sole_runner(Path("B")):
        assert refused("A", "B").startswith(f"B is in use by pid {os.getpid()} on ")


def test_an_empty_folder_is_taken_and_the_merged_one_goes_on(folder, monkeypatch):
    monkeypatch.setattr(merging, "ROWS_A_FILE", {"cells": 2, "noise": 2, "history": 4, "fits": 4})
    folder("A", {"a": DONE, "b": DONE}, {"c": DONE}, {"d": DONE})
    folder("B", {"e": DONE})
    out = folder("out")
    (out.folder / ".lock").touch()
    assert merged("A", "B").cells == 5
    numbers = [[int(path.name[:8]) for path in parquet_files(out.folder / name)] for name in SCHEMAS]
    assert numbers == [[1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3], [2, 3, 4]]  # the last of cells/ is the last of all
    with sole_runner(out.folder):
        put(out, out.next_sequence(), {"a": {**DONE, "config_hash": "new"}})
        out.compact()
    hashes = {"a": "new", **dict.fromkeys("bcde", "h")}
    assert {key: row.config_hash for key, row in out.index()[0].items()} == hashes
    assert {row["cell"]: row["config_hash"] for row in read("noise")} == hashes


def test_a_full_disk_leaves_nothing(folder, monkeypatch):
    folder("A", {"a": DONE})
    folder("B", {"b": DONE})

    def full(table, file, **_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.pq, "write_table", full)
    assert "No space left on device" in refused("A", "B")


def test_what_somebody_else_stored_there_meanwhile_stays(folder, monkeypatch):
    folder("A", {"a": DONE})
    folder("B", {"b": DONE})
    write = files.write_parquet

    def others_too(path, table):
        write(path, table)
        Path("out").mkdir(exist_ok=True)
        Path("out/theirs").touch()

    monkeypatch.setattr(files, "write_parquet", others_too)
    with pytest.raises(UserError, match="out is not empty: there is out/theirs"):
        merged("A", "B")
    assert [path.name for path in Path("out").iterdir()] == ["theirs"]


def test_a_killed_merge_leaves_no_folder_of_that_name_and_is_begun_anew(folder):
    folder("A", {"a": DONE})
    folder("B", {"b": DONE})
    script = (
        "import os, signal; from pathlib import Path; from dreg_sweep.store import files, merging\n"
        "write = files.write_parquet\n"
        "def last(path, table):\n"
        "    write(path.with_name('00000007-joined.parquet'), table)\n"
        "    if path.parent.name == 'cells': os.kill(os.getpid(), signal.SIGKILL)\n"
        "files.write_parquet = last\n"
        "merging.merge([Path('A'), Path('B')], Path('out'))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    assert not Path("out").exists()
    assert len(read("cells", out=".out.merging")) == 2
    assert merged("A", "B").cells == 2
    assert [path.name for path in parquet_files(Path("out/cells"))] == ["00000001-joined.parquet"]
    assert list(Path().glob(".*")) == []
