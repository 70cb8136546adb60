"""`configs/`: each resolved configuration (JSON) once, by its hash.

Whoever declares cells writes it, before they train. Files of cells and the declared grid held the configurations
themselves once; what they hold counts as if it stood here.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from dreg_sweep.store.files import UNREADABLE, first_line, opened, read_rows, write_parquet
from dreg_sweep.store.folder import parquet_files
from dreg_sweep.store.schema import CONFIGS_SCHEMA

FOLDER = "configs"
_NAMES = CONFIGS_SCHEMA.names
_ROWS_A_PIECE = 65_536


def configs_file(folder: Path) -> Path:
    """The file of a results folder that holds its configurations."""
    return folder / FOLDER / "configs.parquet"


@dataclass(frozen=True)
class Configs:
    """The configurations of a results folder.

    table: as `CONFIGS_SCHEMA`. inline: how many of them stand in files written before only, the last ones. problem:
    why their own file cannot be read, or an empty text.
    """

    table: pa.Table
    inline: int
    problem: str

    def of(self, hashes: Collection[str]) -> dict[str, str]:
        """Hash → configuration (JSON), of those of these hashes that are known."""
        some = self.table.filter(pc.is_in(self.table["config_hash"], pa.array(list(hashes), pa.string())))
        return dict(zip(some["config_hash"].to_pylist(), some["config"].to_pylist(), strict=True))


def read_configs(folder: Path, inline: bool = True) -> Configs:
    """The configurations of a results folder. inline: also what files written before hold."""
    stored, problem = CONFIGS_SCHEMA.empty_table(), ""
    try:
        stored = read_rows(configs_file(folder), CONFIGS_SCHEMA)
    except FileNotFoundError:
        pass
    except UNREADABLE as error:
        problem = first_line(error)
    found = [stored]
    for path in (*parquet_files(folder / "cells"), folder / "grid.parquet") if inline else ():
        for piece in _inline(path):
            known = pa.concat_arrays([chunk for table in found for chunk in table["config_hash"].chunks])
            new = piece.filter(pc.invert(pc.is_in(piece["config_hash"], known)))
            found += [_distinct(new)] * bool(len(new))
    table = pa.concat_tables(found).combine_chunks()
    return Configs(table, len(table) - len(stored), problem)


def write_configs(folder: Path, known: Configs, added: Mapping[str, str]) -> None:
    """Keep those that are known and those that are added, by their hashes. Errors: `StoreError`."""
    if added or known.inline:
        new = pa.table([list(added), list(added.values())], schema=CONFIGS_SCHEMA)
        write_parquet(configs_file(folder), pa.concat_tables([known.table, new]))


def _inline(path: Path) -> Iterator[pa.Table]:
    """What a file written before holds of configurations, piece by piece; nothing of any other file."""
    try:
        with opened(path) as file:
            if not set(_NAMES).issubset(file.schema_arrow.names):
                return
            for batch in file.iter_batches(_ROWS_A_PIECE, columns=_NAMES):
                piece = pa.table({name: batch[name].cast(pa.string()) for name in _NAMES}, schema=CONFIGS_SCHEMA)
                yield piece.filter(pc.and_(piece["config_hash"].is_valid(), piece["config"].is_valid()))
    except UNREADABLE:
        return


def _distinct(table: pa.Table) -> pa.Table:
    first = table.group_by("config_hash", use_threads=False).aggregate([("config", "first")])
    return pa.table([first["config_hash"], first["config_first"]], schema=CONFIGS_SCHEMA)
