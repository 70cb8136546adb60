"""The store and merging on random histories, against a plain model: what counts, whatever was joined or damaged."""

import json
import shutil
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from dreg_sweep.analysis import load_cells, load_noise
from dreg_sweep.errors import UserError
from dreg_sweep.store import StackRows, Store, parquet_files
from dreg_sweep.store.merging import merge

CELLS = "abcdef"
STACKS = st.dictionaries(
    st.sampled_from(CELLS), st.tuples(st.sampled_from(("done", "failed")), st.sampled_from("xy")), min_size=1
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), STACKS),
        st.tuples(st.just("join"), st.none()),
        st.tuples(
            st.sampled_from(("truncate", "flip", "remove")), st.tuples(st.integers(0, 99), st.integers(0, 9999))
        ),
    ),
    max_size=9,
)


def write(store, sequence, stack):
    """A stack of cell → (status, configuration); `correct` says which stack a row is of."""
    rows, noise = [], []
    for cell, (status, made_under) in stack.items():
        own = {"cell": cell, "config_hash": made_under}
        levels = {"dataset": "d", "activation": "relu", "regularizer": "none", "seed": ord(cell)}
        rows.append({**own, **levels, "status": status, "clean_correct": sequence})
        if status == "done":
            noise.append({**own, "severity": 1.0, "correct": sequence})
    store.write_stack(sequence, StackRows(rows, noise))
    store.keep_configs(["x", "y"], lambda one: json.dumps({"n": one}))


def damage(path, kind, place):
    """Cut a file short, or change a byte of it, or take it away."""
    content = bytearray(path.read_bytes())
    if kind == "truncate":
        path.write_bytes(content[: place % len(content)])
    elif kind == "flip":
        content[place % len(content)] ^= 0x10
        path.write_bytes(content)
    else:
        path.unlink()


def is_whole(path, before):
    """Whether a file still says what it said."""
    try:
        return pq.read_table(path, partitioning=None, page_checksum_verification=True).equals(before)
    except (pa.ArrowException, OSError, ValueError):
        return False


@given(STEPS)
@settings(deadline=None, max_examples=25)
def test_what_counts_is_the_last_row_that_can_be_read(steps):
    """A damaged file is left out with a line, and costs nothing but its own rows."""
    with tempfile.TemporaryDirectory() as name:
        store = Store(Path(name) / "r")
        store.create()
        files = {}  # file name → cell → (status, configuration, stack), as far as it was written
        for sequence, (kind, what) in enumerate(steps, start=1):
            paths = parquet_files(store.cells)
            if kind == "write":
                write(store, sequence, what)
                (new,) = set(parquet_files(store.cells)).difference(paths)
                files[new.name] = {cell: (*row, sequence) for cell, row in what.items()}
            elif kind == "join":
                store.compact()
                left = {path.name for path in parquet_files(store.cells)}
                rows = {cell: row for held in files.values() for cell, row in held.items()}
                joined = left.difference(files) | {name for name in left if name.endswith("joined.parquet")}
                gone = {
                    cell: row
                    for name in sorted(files)
                    if name not in left - joined
                    for cell, row in files[name].items()
                }
                files = {name: held for name, held in files.items() if name in left - joined}
                for name in sorted(joined):
                    own = set(pq.read_table(store.cells / name, partitioning=None)["cell"].to_pylist())
                    files[name] = {cell: row for cell, row in gone.items() if cell in own}
                files = dict(sorted(files.items()))
                assert {cell: row for held in files.values() for cell, row in held.items()} == rows
            elif paths:
                path = paths[what[0] % len(paths)]
                before = pq.read_table(path, partitioning=None)
                damage(path, kind, what[1])
                if not path.exists() or not is_whole(path, before):
                    del files[path.name]
                    path.unlink(missing_ok=True)  # or joining, which leaves it alone, would have to be modelled
        expected = {cell: row for held in files.values() for cell, row in held.items()}
        index, problems = store.index()
        assert problems == []
        assert {cell: (row.status, row.config_hash) for cell, row in index.items()} == {
            cell: row[:2] for cell, row in expected.items()
        }
        if not expected:
            return
        read = load_cells(store.folder).set_index("cell")
        assert read["clean_correct"].to_dict() == {cell: row[2] for cell, row in expected.items()}
        assert read["config"].to_dict() == {cell: json.dumps({"n": row[1]}) for cell, row in expected.items()}
        noise = load_noise(store.folder)
        found = {} if noise is None else noise.set_index("cell")["correct"].to_dict()
        # Of a cell that was stored again under the same configuration, noise of a lost file may be the other one's.
        assert found.keys() == {cell for cell, row in expected.items() if row[0] == "done"}


@given(STEPS, st.integers(0, 9999))
@settings(deadline=None, max_examples=12)
def test_no_damage_is_a_crash_or_an_invented_row(steps, place):
    with tempfile.TemporaryDirectory() as name:
        store = Store(Path(name) / "r")
        store.create()
        stacks = {number: what for number, (kind, what) in enumerate(steps, start=1) if kind == "write"}
        for number, stack in stacks.items():
            write(store, number, stack)
        everything = sorted(path for path in store.folder.rglob("*.parquet"))
        for kind in ("flip", "truncate"):
            if everything:
                path = everything[place % len(everything)]
                damage(path, kind, place)
                index, _ = store.index()
                for cell, row in index.items():
                    assert any(stack.get(cell) == (row.status, row.config_hash) for stack in stacks.values())
                store.configs({"x", "y"})
                try:
                    read = load_cells(store.folder)
                except UserError:
                    assert index == {}
                else:
                    assert set(read["cell"]) == set(index)
        index, problems = store.index(set_aside=True)
        assert store.index() == (index, [])
        assert all("moved to" in line for line in problems)
        store.compact()
        assert store.index()[0].keys() == index.keys()


@given(st.lists(st.sets(st.sampled_from(CELLS)), min_size=2, max_size=4), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=12)
def test_merging_is_a_union_in_any_order(parts, random):
    """Folders that agree on what they share, with what belongs to it lost in some of them."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        folders = []
        kept: set[str] = set()  # cells whose noise some folder still has
        for number, cells in enumerate(parts):
            store = Store(home / f"f{number}")
            store.create()
            for cell in sorted(cells):
                write(store, ord(cell), {cell: ("done", "x")})
            lost = number % 2 == 1
            if lost:
                shutil.rmtree(store.folder / "noise")
                (store.folder / "noise").mkdir()
            kept |= set() if lost else cells
            folders.append(store.folder)
        random.shuffle(folders)
        merge(folders, home / "out")
        every = set().union(*parts)
        out = Store(home / "out")
        assert {cell: row.status for cell, row in out.index()[0].items()} == dict.fromkeys(every, "done")
        assert out.configs({"x", "y"}).keys() == ({"x"} if every else set())
        noise = load_noise(home / "out") if every else None
        assert ({} if noise is None else noise.set_index("cell")["correct"].to_dict()) == {c: ord(c) for c in kept}
