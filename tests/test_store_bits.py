"""One flipped bit anywhere in a results file: it is seen by whoever reads first, or changes nothing."""

import pyarrow.parquet as pq
import pytest

from dreg_sweep.analysis.rows.reading import load_cells
from dreg_sweep.store import Store, files
from dreg_sweep.store.schema import CELLS_SCHEMA
from tests.commands import cells, run

SWEEP = ("-m", "seed=0,1,2", "train_size=64", "steps=1", "noise=none", "results_dir=r")


@pytest.fixture
def swept(tmp_path):
    done = run("dreg-sweep", *SWEEP, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return tmp_path


def flip(path, offset, bit=0):
    content = bytearray(path.read_bytes())
    content[offset] ^= 1 << bit
    path.write_bytes(content)


def columns_of(path):
    """Where the pages of each column lie: name → first byte, bytes."""
    row_group = pq.ParquetFile(path).metadata.row_group(0)
    found = {}
    for number in range(row_group.num_columns):
        column = row_group.column(number)
        start = column.dictionary_page_offset or column.data_page_offset
        found[column.path_in_schema] = (start, column.total_compressed_size)
    return found


def test_a_flipped_bit_is_seen_or_changes_nothing(swept):
    (path,) = (swept / "r" / "cells").glob("*.parquet")
    good = path.read_bytes()
    table = files.read_rows(path, CELLS_SCHEMA)
    seen = 0
    for place, offset in enumerate(range(0, len(good), 11)):
        flip(path, offset, place % 8)
        try:
            assert files.read_rows(path, CELLS_SCHEMA).equals(table), offset
        except files.UNREADABLE:
            seen += 1
        path.write_bytes(good)
    assert seen > len(good) // 11 // 3


@pytest.mark.parametrize("column", ["steps", "clean_accuracy", "error", "status", "train_accuracy"])
def test_damage_in_a_column_that_the_index_does_not_need_is_seen_by_status_sweep_and_analysis(column, swept):
    (path,) = (swept / "r" / "cells").glob("*.parquet")
    start, size = columns_of(path)[column]
    before = cells(swept / "r")["clean_correct"].to_dict()
    flip(path, start + size - 1)
    stored, problems = Store(swept / "r").index()
    assert stored == {}
    assert path.name in problems[0]
    status = run("dreg-status", "r", cwd=swept)
    assert (status.returncode, "3 missing" in status.stdout, path.name in status.stdout) == (3, True, True)
    with pytest.raises(Exception, match="can be read"):
        load_cells(swept / "r")
    resumed = run("dreg-sweep", *SWEEP, cwd=swept)
    assert resumed.returncode == 0
    assert "set_aside" in resumed.stderr
    assert cells(swept / "r")["clean_correct"].to_dict() == before
    assert len(load_cells(swept / "r")) == 3
