"""Joins the many small files of a results folder into few, while a sweep writes and others read."""

from collections.abc import Mapping, Sequence, Set
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dreg_sweep.store.files import JOINED, parquet_files, sequence_of, write_parquet
from dreg_sweep.store.schema import ROWS_A_FILE, SCHEMAS

Owner = tuple[str, str]  # a cell and the hash of the configuration that its rows were made under


def join_files(folder: Path, owners: Mapping[str, Set[Owner]], below: int | None = None) -> None:
    """Join the files of noise/, history/ and cells/, each file with its neighbours in the order of their numbers.

    owners: for each of the three, the cells whose rows there are wanted; other rows are dropped, and so are the
    earlier ones of two for the same cell. below: leave alone what has this sequence number or a higher one
    (stacks that are being trained may still write earlier numbers than those).

    A joined file carries the highest number of those it replaces and stands before they go: stopped half-way,
    the folder holds some rows twice, and readers take the later ones. Unreadable files stay as they are.
    """
    for name, schema in SCHEMAS.items():
        paths = [p for p in parquet_files(folder / name) if below is None or sequence_of(p) < below]
        rows = {path: count for path in paths if (count := _row_count(path)) is not None}
        latest: dict[Owner, Path] = {}
        for path in rows:
            latest |= dict.fromkeys(_owners_in(path), path)
        for batch in _batches(rows, ROWS_A_FILE[name]):
            _join(folder / name, batch, schema, latest, owners[name])


def _row_count(path: Path) -> int | None:
    """None for a file that cannot be read or holds other things."""
    try:
        metadata = pq.read_metadata(path)
    except (pa.ArrowException, OSError):
        return None
    return int(metadata.num_rows) if {"cell", "config_hash"} <= set(metadata.schema.names) else None


def _owners_in(path: Path) -> list[Owner]:
    table = pq.read_table(path, columns=["cell", "config_hash"], partitioning=None)
    distinct = table.group_by(["cell", "config_hash"]).aggregate([])
    return list(zip(distinct["cell"].to_pylist(), distinct["config_hash"].to_pylist(), strict=True))


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


def _join(
    folder: Path, paths: Sequence[Path], schema: pa.Schema, latest: Mapping[Owner, Path], owners: Set[Owner]
) -> None:
    tables = [pq.read_table(path, schema=schema, partitioning=None) for path in paths]
    kept = []
    for path, table in zip(paths, tables, strict=True):
        own = [owner[0] for owner in _owners_in(path) if owner in owners and latest[owner] == path]
        kept.append(table.filter(pc.is_in(table["cell"], pa.array(own, pa.string()))))
    if len(tables) > 1 or len(kept[0]) != len(tables[0]):
        joined = folder / f"{sequence_of(paths[-1]):08d}-{JOINED}.parquet"
        write_parquet(joined, pa.concat_tables(kept))
        for path in paths:
            if path != joined:
                path.unlink()
