"""The parquet truth on disk: what a results folder holds, read whole and written one stack at a time.

    cells/    one row a cell             noise/    one row a cell × severity
    history/  one row a cell × epoch     grid.parquet   the declared cells

A stack's noise/ and history/ files appear before its cells/ file, so a row in cells/ has all that belongs to it.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dreg_sweep.errors import UserError
from dreg_sweep.store.files import (
    first_line,
    parquet_files,
    read_columns,
    read_settled,
    refusals,
    sequence_of,
    write_parquet,
)
from dreg_sweep.store.joining import join_files
from dreg_sweep.store.schema import GRID_SCHEMA, SCHEMAS, STATUSES

_INDEX_COLUMNS = ("cell", "config_hash", "status", "data_fingerprint", "code_fingerprint", "error")


@dataclass(frozen=True, slots=True)
class StoredCell:
    """What the plan needs to know of a stored row; `error` is null for cells that are done."""

    config_hash: str
    status: str
    data_fingerprint: str | None
    code_fingerprint: str | None
    error: str | None
    sequence: int  # of the file it stands in


@dataclass(frozen=True)
class StackRows:
    """The rows of one trained stack, as mappings from column to value."""

    cells: list[dict[str, Any]]
    noise: list[dict[str, Any]]
    history: list[dict[str, Any]]


class Store:
    """One results folder. Every method that writes raises `StoreError` where the disk refuses."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cells = folder / "cells"
        self.grid = folder / "grid.parquet"

    def create(self) -> None:
        """Make the folder writable or raise `UserError` saying why it is not."""
        try:
            for name in SCHEMAS:
                (self.folder / name).mkdir(parents=True, exist_ok=True)
            probe = self.folder / ".writable"
            probe.touch()
            probe.unlink(missing_ok=True)
        except OSError as error:
            reason = error.strerror or str(error)
            raise UserError(f"results_dir={self.folder} cannot be written: {reason}; choose another") from None

    def index(self, set_aside: bool = False) -> tuple[dict[str, StoredCell], list[str]]:
        """The latest row of each cell key, and one line for each file that could not be read.

        `set_aside` moves such files out of cells/, which only the holder of the lock may do.
        """
        tables, unreadable = read_settled(self.cells, _INDEX_COLUMNS)
        found: dict[str, StoredCell] = {}
        for path, table in tables.items():
            sequence = sequence_of(path)
            keys, *columns = (table[name].to_pylist() for name in _INDEX_COLUMNS)
            for key, values in zip(keys, zip(*columns, strict=True), strict=True):
                found[key] = StoredCell(*values, sequence=sequence)  # type: ignore[misc]  # as many as columns
        problems = []
        for path, reason in unreadable.items():
            problem = f"{path} is not a readable cells file ({reason}); its cells count as missing"
            problems.append(problem + (self._set_aside(path) if set_aside else ""))
        return found, problems

    def _set_aside(self, path: Path) -> str:
        aside = self.folder / "set_aside"
        with refusals(aside):
            aside.mkdir(exist_ok=True)
            path.rename(aside / path.name)
        return f"; moved to {aside}"

    def configs(self, cells: Collection[str]) -> dict[str, str]:
        """The configuration (JSON) under which the latest row of each of these cells was made."""
        found: dict[str, str] = {}
        if cells:
            for table in read_settled(self.cells, ("cell", "config"))[0].values():
                found |= _configs_in(table, cells)
        return found

    def declared_configs(self, cells: Collection[str]) -> dict[str, str]:
        """The configuration (JSON) of each of these cells in the declared grid."""
        return _configs_in(read_columns(self.grid, ("cell", "config")), cells) if cells else {}

    def next_sequence(self) -> int:
        """A sequence number above all that stand in the folders."""
        paths = (path for name in SCHEMAS for path in parquet_files(self.folder / name))
        return max(map(sequence_of, paths), default=0) + 1

    def write_stack(self, sequence: int, rows: StackRows) -> None:
        """Store one stack: its noise and history first, its cells last."""
        digest = hashlib.sha256("\n".join(str(row["cell"]) for row in rows.cells).encode()).hexdigest()[:12]
        name = f"{sequence:08d}-{digest}.parquet"
        parts = {"noise": rows.noise, "history": rows.history, "cells": rows.cells}
        for folder, schema in SCHEMAS.items():
            if parts[folder] or folder == "cells":
                table = pa.Table.from_pylist(parts[folder], schema=schema)
                write_parquet(self.folder / folder / name, table)

    def compact(self, below: int | None = None) -> None:
        """Join small files into large ones that hold of every cell what belongs to its latest row.

        For whoever holds the lock; others may read meanwhile. below: the lowest sequence number that may still
        be written; None where nothing trains.
        """
        current, _ = self.index()
        wanted = {
            folder: {(key, row.config_hash) for key, row in current.items() if row.status in statuses}
            for folder, statuses in STATUSES.items()
        }
        with refusals(self.folder):
            join_files(self.folder, wanted, below)

    def declare(self, cells: Mapping[str, Sequence[Any]]) -> None:
        """Add cells, given as columns of `GRID_SCHEMA`; a key declared before takes its new configuration."""
        table = pa.table({name: pa.array(values, GRID_SCHEMA.field(name).type) for name, values in cells.items()})
        declared = pa.table(
            [table[f.name] if f.name in cells else pa.nulls(len(table), f.type) for f in GRID_SCHEMA],
            schema=GRID_SCHEMA,
        )
        try:
            before = pq.read_table(self.grid, schema=GRID_SCHEMA, partitioning=None)
        except (pa.ArrowException, OSError):  # nothing declared, or an unreadable declaration, made anew
            before = GRID_SCHEMA.empty_table()
        others = before.filter(pc.invert(pc.is_in(before["cell"], declared["cell"].combine_chunks())))
        write_parquet(self.grid, pa.concat_tables([others, declared]))

    def declared(self, columns: Sequence[str]) -> dict[str, list[Any]]:
        """Some columns of the declared cells; empty lists where nothing was declared."""
        try:
            table = pq.read_table(self.grid, schema=GRID_SCHEMA, columns=list(columns), partitioning=None)
        except FileNotFoundError:
            return {name: [] for name in columns}
        except (pa.ArrowException, OSError) as error:
            raise UserError(
                f"{self.grid} is not readable ({first_line(error)}); remove it and rerun the sweep"
            ) from None
        return {name: table[name].to_pylist() for name in columns}


def _configs_in(table: pa.Table, cells: Collection[str]) -> dict[str, str]:
    some = table.filter(pc.is_in(table["cell"], pa.array(list(cells), pa.string())))
    return dict(zip(some["cell"].to_pylist(), some["config"].to_pylist(), strict=True))
