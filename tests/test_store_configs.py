"""Configurations by their hashes: kept once, taken over from files written before, named where they are damaged."""

import json

import pandas as pd
import pyarrow.parquet as pq
import pytest

from dreg_sweep.analysis import load_cells
from dreg_sweep.analysis.rows.reading import load_declared
from dreg_sweep.store import parquet_files
from dreg_sweep.store.configs import configs_file
from tests.test_store import grid, rows

TEXTS = {"h": '{"epochs":1}', "i": '{"epochs":2}', "j": '{"epochs":3}'}


def kept(store):
    return pd.read_parquet(configs_file(store.folder)).to_dict("split")["data"]


def as_before(store):
    """Rewrite the folder as it was when cells and the declared grid held their configurations."""
    for path in (*parquet_files(store.cells), store.grid):
        frame = pd.read_parquet(path)
        frame["config"] = frame["config_hash"].map(TEXTS)
        frame.to_parquet(path)
    configs_file(store.folder).unlink(missing_ok=True)


def test_each_is_kept_once_and_found_by_its_hash(store):
    assert store.configs(["h"]) == {}
    assert store.keep_configs(["h", "i"], TEXTS.get) == []
    assert store.keep_configs(["i", "h", "i"], TEXTS.get) == []
    assert kept(store) == [["h", TEXTS["h"]], ["i", TEXTS["i"]]]
    assert store.configs(["i", "unknown"]) == {"i": TEXTS["i"]}
    content = configs_file(store.folder).stat().st_mtime_ns
    store.keep_configs(["h"], TEXTS.get)
    assert configs_file(store.folder).stat().st_mtime_ns == content  # nothing new, nothing written


def test_files_written_before_lose_nothing(store):
    """Read, joined and declared anew, and with rows written since beside them."""
    store.write_stack(1, rows("a"))
    store.declare(grid(a="h", b="i"))
    as_before(store)
    assert store.configs(["h", "i", "j"]) == {"h": TEXTS["h"], "i": TEXTS["i"]}
    store.write_stack(2, rows("c", config_hash="j"))
    store.keep_configs(["j"], TEXTS.get)
    assert store.configs(TEXTS) == TEXTS
    store.compact()
    assert "config" not in pq.read_schema(parquet_files(store.cells)[0]).names
    store.declare(grid(c="j"))
    assert "config" not in pq.read_schema(store.grid).names
    assert store.configs(TEXTS) == TEXTS
    assert sorted(kept(store)) == [[one, text] for one, text in TEXTS.items()]


@pytest.mark.parametrize("damage", ["cut", "foreign", "pipe"])
def test_a_damaged_file_is_set_aside_and_made_anew(store, damage, tmp_path):
    store.keep_configs(["h", "i"], TEXTS.get)
    path = configs_file(store.folder)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-9])
    elif damage == "foreign":
        pd.DataFrame({"x": [1]}).to_parquet(path)
    else:
        path.unlink()
        path.symlink_to("/dev/null")
    assert store.configs(["h"]) == {}
    (line,) = store.keep_configs(["h"], TEXTS.get)
    assert str(path) in line
    assert "moved to" in line
    assert kept(store) == [["h", TEXTS["h"]]]


def test_joining_keeps_what_old_files_hold_though_the_file_is_damaged(store):
    store.write_stack(1, rows("a"))
    store.declare(grid(a="h"))
    as_before(store)
    configs_file(store.folder).write_bytes(b"PAR1")
    store.write_stack(2, rows("b"))
    store.compact()
    assert store.configs(["h"]) == {"h": TEXTS["h"]}
    assert "config" not in pq.read_schema(parquet_files(store.cells)[0]).names


def test_the_analysis_reads_both_kinds(store):
    levels = {"dataset": "d", "activation": "relu", "regularizer": "none", "clean_accuracy": 0.5}
    for number, (key, made_under) in enumerate((("a", "h"), ("b", "i")), start=1):
        stack = rows(key, config_hash=made_under)
        stack.cells[0] |= {**levels, "seed": number}
        store.write_stack(number, stack)
    columns = {name: [value] * 2 for name, value in levels.items() if name != "clean_accuracy"}
    store.declare({**grid(a="h", b="i"), **columns, "seed": [1, 2]})
    store.keep_configs(["h", "i"], TEXTS.get)
    for brief in (False, True):
        assert load_cells(store.folder, brief=brief)["config"].tolist() == [TEXTS["h"], TEXTS["i"]]
        assert load_declared(store.folder, brief=brief)["config"].tolist() == [TEXTS["h"], TEXTS["i"]]
    path = parquet_files(store.cells)[0]
    frame = pd.read_parquet(path)
    frame["config"] = json.dumps({"epochs": 1}, separators=(",", ":"))
    frame.to_parquet(path)
    for brief in (False, True):
        assert load_cells(store.folder, brief=brief)["config"].tolist() == [TEXTS["h"], TEXTS["i"]]
    configs_file(store.folder).write_bytes(b"PAR1")
    damaged = load_cells(store.folder)
    assert damaged["config"].isna().tolist() == [False, True]
    assert any("configs.parquet is not readable" in line for line in damaged.attrs["warnings"])
