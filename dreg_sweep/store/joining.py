"""Joins the many small files of a results folder into few, while a sweep writes and others read."""

import os
from collections.abc import Mapping, Sequence, Set
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from dreg_sweep.store.files import UNREADABLE, read_rows, write_parquet
from dreg_sweep.store.folder import JOINED, latest, parquet_files, sequence_of
from dreg_sweep.store.schema import ROWS_A_FILE, SCHEMAS

Owner = tuple[str, str]  # a cell and the hash of the configuration that its rows were made under
_OWNER = ("cell", "config_hash")


def join_files(folder: Path, owners: Mapping[str, Set[Owner]], below: int | None = None) -> None:
    """Join the files of each folder, every file with its neighbours in the order of their numbers.

    owners: for each folder, the cells whose rows there are wanted; other rows are dropped, and so are the
    earlier ones of two for the same cell. below: leave alone what has this sequence number or a higher one
    (stacks that are being trained may still write earlier numbers than those).

    A joined file carries the highest number of those it replaces and stands before they go: stopped half-way,
    the folder holds some rows twice, and readers take the later ones. Unreadable files stay as they are, and
    what they may hold drops nothing from others: the last batch comes first, for the rows of a file in it that
    proves unreadable are then still to be found in earlier ones.
    """
    for name, schema in SCHEMAS.items():
        owned: dict[Path, pa.Table] = {}
        rows: dict[Path, int] = {}
        for path in parquet_files(folder / name):
            if below is None or sequence_of(path) < below:
                keys = _read(path, schema, _OWNER)
                if keys is not None:
                    rows[path], owned[path] = len(keys), keys.group_by(_OWNER).aggregate([])
        for batch in reversed(_batches(rows, ROWS_A_FILE[name])):
            tables = {path: table for path in batch if (table := _read(path, schema)) is not None}
            for path in set(batch).difference(tables):
                del owned[path]
            own = dict(zip(owned, latest([*owned.values()], _OWNER), strict=True))
            _join(folder / name, tables, {path: _owners_in(own[path]) & owners[name] for path in tables})


def _read(path: Path, schema: pa.Schema, columns: Sequence[str] | None = None) -> pa.Table | None:
    """None for a file that cannot be read or holds other things."""
    try:
        return read_rows(path, schema, columns)
    except UNREADABLE:
        return None


def _owners_in(keys: pa.Table) -> set[Owner]:
    return set(zip(*(keys[name].to_pylist() for name in _OWNER), strict=True))


def _batches(rows: Mapping[Path, int], most: int) -> list[list[Path]]:
    """Neighbours to join, up to `most` rows together."""
    batches: list[list[Path]] = []
    room = 0
    for path, count in rows.items():
        if not batches or count > room:
            batches.append([])
            room = most
        batches[-1].append(path)
        room -= count
    return batches


def _join(folder: Path, tables: Mapping[Path, pa.Table], own: Mapping[Path, Set[Owner]]) -> None:
    """Put the rows of each file's own cells into one file, which replaces them all."""
    kept = [
        table.filter(pc.is_in(table["cell"], pa.array([cell for cell, _ in own[path]], pa.string())))
        for path, table in tables.items()
    ]
    if sum(map(len, kept)) < sum(map(len, tables.values())) or len(tables) > 1:
        joined = folder / f"{sequence_of([*tables][-1]):08d}-{JOINED}.parquet"
        if joined not in tables and os.path.lexists(joined):
            return  # an unreadable one, which stays as it is
        write_parquet(joined, pa.concat_tables(kept))
        for path in tables:
            if path != joined:
                path.unlink()
