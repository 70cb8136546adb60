"""A folder of parquet files that may be joined while others read them.

File names are `<sequence>-<digest>.parquet`, or `<sequence>-joined.parquet` for files that were joined; of two
rows for one cell the later file counts.
"""

import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dreg_sweep.store.files import UNREADABLE, first_line, read_rows
from dreg_sweep.store.schema import CELLS_SCHEMA

T = TypeVar("T")

JOINED = "joined"


def parquet_files(folder: Path) -> list[Path]:
    """The parquet files of a folder, earlier ones first; none where it does not exist.

    Regular files and links, wherever those lead: a pipe would keep its reader waiting for ever.
    """
    names: list[str] = []
    with (
        contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError),
        os.scandir(folder) as entries,
    ):
        names += [e.name for e in entries if e.is_file(follow_symlinks=False) or e.is_symlink()]
    paths = [folder / name for name in names if name.endswith(".parquet") and not name.startswith(".")]
    return sorted(paths, key=_place)


def sequence_of(path: Path) -> int:
    """The sequence number in a file's name, 0 where it has none."""
    head = path.name.split("-", 1)[0]
    return int(head) if head.isascii() and head.isdigit() else 0


def _place(path: Path) -> tuple[int, str]:
    return sequence_of(path), path.name  # digests are hexadecimal: < joined


def settled(
    listed: Callable[[], Sequence[Path]], read: Callable[[Path], T]
) -> tuple[dict[Path, T], dict[Path, str]]:
    """What is read of each file of a folder, earlier files first, and why others could not be read.

    Readers take no lock. A file that is joined goes only after its rows stand in the joined one, which is last in
    order of all whose rows it takes. So a reader who misses a file, or finds a joined one that was not there when it
    began, looks again; and drops nothing of what it has read, for a joined file may have taken the rows of another
    after it was read itself. What is missed twice is a link that leads nowhere.

    Args:
        listed: the files that count, as they are at the moment.
        read: raises what is in `UNREADABLE` for a file that cannot be read.
    """
    found: dict[Path, T] = {}
    missed: set[Path] = set()
    while True:
        problems: dict[Path, str] = {}
        missed_before = set(missed)
        files = listed()
        for path in files:
            if path in found:
                continue
            try:
                found[path] = read(path)
            except FileNotFoundError as error:
                problems[path] = error.strerror or first_line(error)
                missed.add(path)
            except UNREADABLE as error:
                problems[path] = first_line(error)
        joined_since = {path for path in listed() if path.stem.endswith(JOINED)}.difference(files)
        if missed == missed_before and not joined_since:
            return {path: found[path] for path in sorted(found, key=_place)}, problems


def read_settled(folder: Path, columns: Sequence[str]) -> tuple[dict[Path, pa.Table], dict[Path, str]]:
    """Tables with these columns of `CELLS_SCHEMA` by file, and why others could not be read; see `settled`."""

    def read(path: Path) -> pa.Table:
        return read_rows(path, CELLS_SCHEMA).select(list(columns))  # damage in any column counts

    return settled(lambda: parquet_files(folder), read)


def latest(tables: Sequence[pa.Table], owner: Sequence[str] = ("cell",), one_row: bool = False) -> list[pa.Table]:
    """The tables, earlier ones first, without rows that a later table supersedes.

    Args:
        tables: whose owners are texts.
        owner: columns that say what a row belongs to. What has a null there is nobody's, and stays.
        one_row: see `that_count`.
    """
    keys = [table[owner[0]] if len(owner) == 1 else _in_one_text(table, owner) for table in tables]
    chunks = [chunk for key in keys for chunk in key.cast(pa.large_string()).chunks]
    # Without to_numpy and fill_null, which would import pandas: dreg-status does without.
    encoded = pa.chunked_array(chunks, pa.large_string()).combine_chunks().dictionary_encode("encode")
    codes = np.from_dlpack(encoded.indices)
    if encoded.dictionary.null_count:
        codes = np.where(codes == encoded.dictionary.is_valid().to_pylist().index(False), -1, codes)
    masks = that_count([len(table) for table in tables], codes, one_row)
    return [table if mask.all() else table.filter(mask) for table, mask in zip(tables, masks, strict=True)]


def that_count(sizes: Sequence[int], owners: np.ndarray, one_row: bool = False) -> list[np.ndarray]:
    """Which rows count: of each owner those in the last table that has any.

    Args:
        sizes: rows of each table, earlier ones first.
        owners: (sum(sizes),) a whole number ≥ 0 a row, or -1 for nobody, whose rows all count.
        one_row: only the last row counts where a table has several of one owner.

    Returns:
        One mask a table.
    """
    places = np.arange(len(owners)) if one_row else np.repeat(np.arange(len(sizes)), sizes)
    last = np.zeros(owners.max(initial=-1) + 2, dtype=places.dtype)
    np.maximum.at(last, owners, places)
    return np.split((owners < 0) | (places == last[owners]), np.cumsum(sizes)[:-1]) if sizes else []


def _in_one_text(table: pa.Table, names: Sequence[str]) -> pa.ChunkedArray:
    columns = (table[name].cast(pa.large_string()) for name in names)
    return pc.binary_join_element_wise(*columns, pa.scalar("\n", pa.large_string()))
