"""The store among damaged, foreign and half-written files: reported, left alone or set aside, never a crash."""

import os

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dreg_sweep.errors import UserError
from dreg_sweep.states import Wanted, differences
from dreg_sweep.store import joining, parquet_files
from dreg_sweep.store.schema import CELLS_SCHEMA, NOISE_SCHEMA
from tests.test_store import declared, grid, rows


def test_links_to_nothing_are_named_and_pipes_are_no_files(store):
    store.write_stack(1, rows("a"))
    os.mkfifo(store.cells / "00000002-pipe.parquet")
    (store.cells / "00000003-link.parquet").symlink_to("nowhere")
    (store.cells / "00000004-pipe.parquet").symlink_to("00000002-pipe.parquet")
    index, problems = store.index()
    assert set(index) == {"a"}
    assert [line.split(" is not")[0][-21:] for line in problems] == [
        "00000003-link.parquet",
        "00000004-pipe.parquet",
    ]
    store.compact()
    store.index(set_aside=True)
    assert store.index()[1] == []
    assert len(list((store.folder / "set_aside").iterdir())) == 2


GOOD = {"cell": ["x"], "config_hash": ["h"], "status": ["done"]}


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"config_hash": None, "status": None}, "no column called config_hash"),
        ({"config_hash": pa.nulls(1, pa.string())}, "config_hash is null in 1 of 1 rows"),
        ({"status": pa.nulls(1, pa.string())}, "status is null in 1 of 1 rows"),
        ({"status": ["dOne"]}, "status is unknown: 'dOne'"),
        ({"cell": [["x"]]}, "cell is no text but list"),
        ({"cell": [7]}, "cell is no text but int64"),
        ({"seed": ["seven"]}, "seven"),
        ({"clean_accuracy": [[0.5]]}, "list"),
    ],
)
def test_a_file_with_wrong_contents_is_a_problem_and_stays_out_of_joining(store, wrong, reason):
    store.write_stack(1, rows("a"))
    store.write_stack(2, rows("b"))
    columns = {name: values for name, values in (GOOD | wrong).items() if values is not None}
    path = store.cells / "00000003-wrong.parquet"
    pq.write_table(pa.table(columns), path)
    content = path.read_bytes()
    index, (problem,) = store.index()
    assert set(index) == {"a", "b"}
    assert reason in problem
    assert "\n" not in problem
    store.compact()
    assert path.read_bytes() == content
    assert set(store.index()[0]) == {"a", "b"}
    assert "moved to" in store.index(set_aside=True)[1][0]
    assert not path.exists()


def test_files_that_other_programs_wrote_are_read_and_joined(store):
    frame = pd.DataFrame({**GOOD, "seed": [3.0], "error": [None], "activation": pd.Categorical(["relu"])})
    frame.to_parquet(store.cells / "00000001-pandas.parquet")
    large = {name: pa.array(["y" if name == "cell" else GOOD[name][0]], pa.large_string()) for name in GOOD}
    pq.write_table(pa.table(large), store.cells / "\u00b2-large.parquet")
    index, problems = store.index()
    assert (set(index), problems) == ({"x", "y"}, [])
    store.compact()
    (path,) = parquet_files(store.cells)
    table = pq.read_table(path)
    assert table.schema.equals(CELLS_SCHEMA)
    assert [(row["cell"], row["seed"], row["activation"]) for row in table.to_pylist()] == [
        ("y", None, None),
        ("x", 3, "relu"),
    ]


@pytest.mark.parametrize("config", [None, "no JSON", "[1]", "{}"])
def test_what_is_stale_for_no_known_field_is_stale_by_its_hash(store, config):
    store.write_stack(1, rows("a", config_hash="old"))
    store.keep_configs(["new"] if config is None else ["new", "old"], {"new": "{}", "old": config}.get)
    words = differences({"a": Wanted("new", None, None)}, store.index()[0], store.configs)
    assert words == {"a": "config_hash old → new"}


@pytest.mark.parametrize("wrong", ["data", "type"])
def test_joining_leaves_alone_what_it_cannot_read_and_what_that_would_replace(store, monkeypatch, wrong):
    monkeypatch.setattr(joining, "ROWS_A_FILE", {"cells": 2, "noise": 2, "history": 2, "fits": 2})
    for sequence, key in enumerate("abca", start=1):
        store.write_stack(sequence, rows(key))
    path = parquet_files(store.folder / "noise")[3]
    if wrong == "data":  # of the column `severity`, which joining reads last
        chunk = pq.read_metadata(path).row_group(0).column(NOISE_SCHEMA.names.index("severity"))
        start = chunk.dictionary_page_offset or chunk.data_page_offset
        content = bytearray(path.read_bytes())
        content[start : start + chunk.total_compressed_size] = b"\xff" * chunk.total_compressed_size
        path.write_bytes(content)
    else:
        pq.write_table(pa.table({"cell": ["a"], "config_hash": ["h"], "severity": ["high"]}), path)
    content = path.read_bytes()
    store.compact()
    assert path.read_bytes() == content
    others = [p for p in parquet_files(store.folder / "noise") if p != path]
    assert [pq.read_table(p)["cell"].to_pylist() for p in others] == [["a", "b"], ["c"]]


def test_what_a_killed_stack_left_is_dropped(store):
    store.write_stack(1, rows("a"))
    store.write_stack(2, rows("b"))
    store.compact()
    store.write_stack(3, rows("c"))
    (store.cells / parquet_files(store.cells)[-1].name).unlink()
    (store.folder / "history" / "00000009-joined.parquet").write_bytes(b"of a lost cells file")
    store.drop_unfinished()
    left = {name: [p.name for p in parquet_files(store.folder / name)] for name in ("noise", "history", "cells")}
    joined = ["00000002-joined.parquet"]
    assert left == {"noise": joined, "history": [*joined, "00000009-joined.parquet"], "cells": joined}


@pytest.mark.parametrize("damage", ["truncated", "folder", "link", "null key"])
def test_a_damaged_declaration_is_set_aside_and_made_anew(store, damage):
    store.write_stack(1, rows("a", "b", config_hash="1"))
    store.write_stack(2, rows("a", config_hash="2"))
    assert store.declare(grid(a="2", b="1", c="1")) == []
    content = store.grid.read_bytes()
    store.grid.unlink()
    if damage == "truncated":
        store.grid.write_bytes(content[:-9])
    elif damage == "folder":
        store.grid.mkdir()
    elif damage == "null key":
        pd.DataFrame({"cell": ["a", None], "config_hash": ["2", "1"]}).to_parquet(store.grid)
    else:
        store.grid.symlink_to("nowhere")
    with pytest.raises(UserError, match=r"is not readable .* rerun the sweep"):
        store.declared(["cell"])
    (line,) = store.declare(grid(d="3"))
    assert "moved to" in line
    assert "2 other cells" in line
    assert declared(store) == {"a": "2", "b": "1", "d": "3"}
    assert [path.name for path in (store.folder / "set_aside").iterdir()] == ["grid.parquet"]
    assert store.declare(grid(d="4")) == []


def test_what_is_set_aside_replaces_nothing(store):
    for content in (b"1", b"2", b"3"):
        (store.cells / "00000001-x.parquet").write_bytes(content)
        store.index(set_aside=True)
    aside = store.folder / "set_aside"
    assert sorted(path.read_bytes() for path in aside.iterdir()) == [b"1", b"2", b"3"]
    assert {path.suffix for path in aside.iterdir()} == {".parquet"}
