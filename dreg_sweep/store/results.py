"""The parquet truth on disk: what a results folder holds, read whole and written one stack at a time.

    cells/    one row a cell             noise/    one row a cell × severity
    history/  one row a cell × epoch     fits/     one row a cell × place, of regressions
    configs/  one row a configuration    grid.parquet   the declared cells

A stack's other files appear before its cells/ file, so a row in cells/ has all that belongs to it.
"""

import hashlib
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dreg_sweep.environment import told_by
from dreg_sweep.errors import UserError
from dreg_sweep.store.configs import FOLDER, configs_file, read_configs, write_configs
from dreg_sweep.store.files import UNREADABLE, first_line, read_rows, refusals, write_parquet
from dreg_sweep.store.folder import JOINED, latest, parquet_files, read_settled, sequence_of
from dreg_sweep.store.joining import join_files
from dreg_sweep.store.schema import GRID_SCHEMA, SCHEMAS, STATUSES

_MADE_IN = ("environment", "torch_version", "device")
_INDEX_COLUMNS = ("cell", "config_hash", "status", "data_fingerprint", "code_fingerprint", "error", *_MADE_IN)


@dataclass(frozen=True, slots=True)
class StoredCell:
    """What the plan needs to know of a stored row; `error` is null for cells that are done."""

    config_hash: str
    status: str
    data_fingerprint: str | None
    code_fingerprint: str | None
    error: str | None
    sequence: int  # of the file it stands in
    environment: str | None = None


@dataclass(frozen=True)
class StackRows:
    """The rows of one trained stack, as mappings from column to value."""

    cells: list[dict[str, Any]]
    noise: list[dict[str, Any]] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)
    fits: list[dict[str, Any]] = field(default_factory=list)


class Store:
    """One results folder. Every method that writes raises `StoreError` where the disk refuses."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cells = folder / "cells"
        self.grid = folder / "grid.parquet"

    def create(self) -> None:
        """Make the folder writable or raise `UserError` saying why it is not."""
        try:
            for name in (*SCHEMAS, FOLDER):
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
        for path, table in zip(tables, latest([*tables.values()], one_row=True), strict=True):
            sequence = sequence_of(path)
            keys, hashes = (table[name].to_pylist() for name in _INDEX_COLUMNS[:2])
            others, environments = (_repeating(table, names) for names in (_INDEX_COLUMNS[2:6], _MADE_IN))
            made_in = {one: told_by(*one) for one in set(environments)}
            for key, config_hash, other, where in zip(keys, hashes, others, environments, strict=True):
                status, data, code, error = other
                found[key] = StoredCell(config_hash, status, data, code, error, sequence, made_in[where])
        problems = []
        for path, reason in unreadable.items():
            problem = f"{path} is not a readable cells file ({reason}); its cells count as missing"
            problems.append(problem + (self._set_aside(path) if set_aside else ""))
        return found, problems

    def _set_aside(self, path: Path) -> str:
        aside = self.folder / "set_aside"
        with refusals(aside):
            aside.mkdir(exist_ok=True)
            target, others = aside / path.name, 0
            while os.path.lexists(target):
                others += 1
                target = aside / f"{path.stem}.{others}{path.suffix}"
            path.rename(target)
        return f"; moved to {target}"

    def configs(self, hashes: Collection[str]) -> dict[str, str]:
        """The configurations (JSON) with these hashes, as far as they are known."""
        return read_configs(self.folder).of(hashes) if hashes else {}

    def keep_configs(self, hashes: Collection[str], config_of: Callable[[str], str]) -> list[str]:
        """Keep the configurations (JSON) with these hashes, and those that stand in files written before.

        Returns a line, to be printed, on a damaged file.
        """
        known, lines = read_configs(self.folder), []
        if known.problem:
            path = configs_file(self.folder)
            lines = [f"{path} is not readable ({known.problem}){self._set_aside(path)}; it is made anew"]
        new = set(hashes).difference(known.table["config_hash"].to_pylist())
        write_configs(self.folder, known, {one: config_of(one) for one in hashes if one in new})
        return lines

    def next_sequence(self) -> int:
        """A sequence number above all that stand in the folders."""
        paths = (path for name in SCHEMAS for path in parquet_files(self.folder / name))
        return max(map(sequence_of, paths), default=0) + 1

    def write_stack(self, sequence: int, rows: StackRows) -> None:
        """Store one stack, its cells last."""
        digest = hashlib.sha256("\n".join(str(row["cell"]) for row in rows.cells).encode()).hexdigest()[:12]
        name = f"{sequence:08d}-{digest}.parquet"
        parts = {"noise": rows.noise, "history": rows.history, "fits": rows.fits, "cells": rows.cells}
        for folder, schema in SCHEMAS.items():
            if parts[folder] or folder == "cells":
                _refuse_unknown_columns(folder, parts[folder], schema)
                table = pa.Table.from_pylist(parts[folder], schema=schema)
                write_parquet(self.folder / folder / name, table)

    def drop_unfinished(self) -> None:
        """Drop what a stack stored that was killed before it wrote its cells.

        For the sole runner before it trains: the next stacks would number on from such files, and their rows
        could outrank the right ones.
        """
        finished = parquet_files(self.cells)
        names, last = {path.name for path in finished}, max(map(sequence_of, finished), default=0)
        with refusals(self.folder):
            for name in SCHEMAS:
                for path in parquet_files(self.folder / name):
                    # A joined file is no stack's: it may hold rows of many cells though its cells file was lost.
                    if sequence_of(path) > last and path.name not in names and not path.stem.endswith(JOINED):
                        path.unlink()

    def compact(self, below: int | None = None) -> None:
        """Join small files into large ones that hold of every cell what belongs to its latest row.

        For whoever holds the lock; others may read meanwhile. below: the lowest sequence number that may still
        be written; None where nothing trains.
        """
        current, _ = self.index()
        self.keep_configs((), str)  # files that hold some are joined into one without
        wanted = {
            folder: {(key, row.config_hash) for key, row in current.items() if row.status in statuses}
            for folder, statuses in STATUSES.items()
        }
        with refusals(self.folder):
            join_files(self.folder, wanted, below)

    def declare(self, cells: Mapping[str, Sequence[Any]]) -> list[str]:
        """Add cells, given as columns of `GRID_SCHEMA`; a key declared before takes its new configuration.

        A damaged declaration is set aside, and the cells that have rows stand in for what it held: forgotten,
        they would make the grid look complete. Returns one line that says so, to be printed.
        """
        table = pa.table({name: pa.array(values, GRID_SCHEMA.field(name).type) for name, values in cells.items()})
        declared = pa.table(
            [table[f.name] if f.name in cells else pa.nulls(len(table), f.type) for f in GRID_SCHEMA],
            schema=GRID_SCHEMA,
        )
        damage = ""
        try:
            before = self._declared(GRID_SCHEMA.names)
        except UNREADABLE as error:
            damage = first_line(error)
            stored, _ = read_settled(self.cells, GRID_SCHEMA.names)
            before = pa.concat_tables([GRID_SCHEMA.empty_table(), *latest([*stored.values()], one_row=True)])
        self.keep_configs((), str)  # a grid that holds some gives way to one without
        others = before.filter(pc.invert(pc.is_in(before["cell"], declared["cell"].combine_chunks())))
        grid = pa.concat_tables([others, declared])
        if not damage:
            write_parquet(self.grid, grid)
            return []
        made_anew = self.folder / ".grid.made_anew"
        write_parquet(made_anew, grid)  # first: without a grid.parquet the next sweep would see no damage
        moved = self._set_aside(self.grid)
        with refusals(self.grid):
            made_anew.replace(self.grid)
        return [
            f"{self.grid} is not readable ({damage}){moved}; {len(others)} other cells are declared anew from "
            "their rows in cells/, those without a row are forgotten until a sweep names them"
        ]

    def _declared(self, columns: Sequence[str]) -> pa.Table:
        """Some columns of the declared cells. Errors: `UNREADABLE`."""
        schema = pa.schema([GRID_SCHEMA.field(name) for name in columns])
        if not os.path.lexists(self.grid):
            return schema.empty_table()
        return read_rows(self.grid, schema)

    def declared(self, columns: Sequence[str]) -> dict[str, list[Any]]:
        """Some columns of the declared cells; empty lists where nothing was declared."""
        try:
            table = self._declared(columns)
        except UNREADABLE as error:
            reason = first_line(error)
            raise UserError(
                f"{self.grid} is not readable ({reason}); rerun the sweep, which makes it anew"
            ) from None
        return {name: table[name].to_pylist() for name in columns}


def _repeating(table: pa.Table, names: Sequence[str]) -> list[tuple[Any, ...]]:
    """The rows of some columns in which few texts are found again and again, each text as one object."""
    columns = []
    for name in names:
        encoded = table[name].combine_chunks().dictionary_encode("encode")
        texts = encoded.dictionary.to_pylist()
        columns.append([texts[place] for place in encoded.indices.to_pylist()])
    return list(zip(*columns, strict=True))


def _refuse_unknown_columns(folder: str, rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> None:
    """`ValueError` for a value that no column takes: pyarrow would drop it without a word."""
    unknown = sorted({name for row in rows for name in row} - set(schema.names))
    if unknown:
        raise ValueError(
            f"{folder}/ has no column called {', '.join(unknown)}; its columns are in store/schema.py"
        )
