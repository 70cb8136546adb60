"""Result rows from disk: a results folder, one parquet or CSV file, or a folder of such files made by hand."""

import contextlib
import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from dreg_sweep.analysis.rows.before import with_defaults
from dreg_sweep.analysis.rows.columns import (
    COLUMNS,
    DONE,
    FLAG,
    MINIMAL,
    NUMBER,
    TEXT,
    WHOLE,
    as_text,
    converted,
    is_text,
    taken_from,
    with_numbers,
)
from dreg_sweep.analysis.rows.files import is_csv, opened, read_folder
from dreg_sweep.analysis.rows.settings import as_categorical, with_configs, without_seed
from dreg_sweep.analysis.rows.spelling import refuse_blank_twins
from dreg_sweep.errors import UserError
from dreg_sweep.factors import CROSSED, FACTORS
from dreg_sweep.store.files import UNREADABLE, first_line, read_rows, with_keys_of_now
from dreg_sweep.store.folder import latest, that_count
from dreg_sweep.store.schema import GRID_SCHEMA, SCHEMAS, STATUSES

log = logging.getLogger(__name__)

_ROWS_A_CHUNK = 10_000  # smaller chunks on average are joined: pandas is slow with thousands of them
_FEW_BYTES = 1 << 16  # more than a CSV file's header is long
_NULLABLE = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
_OWNER = ("cell", "config_hash", "status")
_LEVELS = tuple(factor.name for factor in FACTORS)


def load_cells(
    path: str | Path,
    columns: Mapping[str, str] | None = None,
    *,
    measure: str | None = None,
    brief: bool = False,
) -> pd.DataFrame:
    """One row a cell, with every column of the result format, those the source lacks being null.

    path: a results folder (its `cells/` is read), such a `cells/` folder, one parquet file, one CSV file, or a
    folder of parquet and CSV files made by hand; a file has at least activation, regularizer, dataset, seed and
    clean_accuracy. columns: our name → the file's, for those that the file calls otherwise, such as
    {"regularizer": "method", "clean_accuracy": "score"}. measure: a column of the file with which it needs no
    clean_accuracy. brief: for a million rows; `error` is null, and `config` is a categorical without the seed, so
    that rows which differ in the seed share one text.

    Returns a frame with the columns `COLUMNS` in that order, further ones behind; index 0..rows-1. Texts are
    "string" (kept by pyarrow; null is pd.NA), whole numbers "Int64", others float64 with NaN for null; so are
    further columns of a CSV file that hold nothing but numbers. Accuracies are fractions. An empty text is null,
    and so is a factor called nan, but not one called None.

    In a results folder the files are named `<sequence>-<digest>.parquet`; of several files with the same `cell`
    the one with the highest sequence number wins, since a rerun supersedes. Files that cannot be read, or that
    carry another name beside such files, are left out with one line each kind, logged and kept in
    `frame.attrs["warnings"]`. A folder without any file of the store's naming is taken as made by hand: all its
    parquet and CSV files are read, and no row supersedes another.

    Raises UserError for a missing path, no rows, missing minimal columns, a column that stands twice, a mapping
    that does not fit, a factor that is null, a value that is not a number where one belongs, and an accuracy
    outside 0..1.
    """
    path = Path(path)
    warnings: list[str] = []
    with _frugal_memory():
        read = partial(_read, columns=columns, needed=MINIMAL, brief=brief, measure=measure, notices=warnings)
        frame = _framed(with_configs(_rows(path, read, warnings), _home(path), brief, warnings), COLUMNS)
    if frame.empty:
        raise UserError(f"{path} has no rows")
    _check(frame, path)
    frame["status"] = frame["status"].fillna(DONE)  # of files without that column
    return _with_warnings(with_defaults(frame), warnings)


def load_noise(path: str | Path) -> pd.DataFrame | None:
    """One row a cell and severity: the rows of `noise/` that belong to the cells as they are now.

    path: a results folder or its `cells/`. Columns and their order as in the store's `NOISE_SCHEMA`, types as in
    `load_cells`, files left out in `attrs["warnings"]` likewise. A row belongs to the row in `cells/` of the same
    `cell` and `config_hash` if that is done; of several files the one with the highest sequence number counts.
    None for a single file and where there are no such rows.
    """
    with _frugal_memory():
        return _belonging(Path(path), "noise")


def load_history(path: str | Path) -> pd.DataFrame | None:
    """One row a cell and epoch: the rows of `history/` that belong to the cells as they are now.

    As `load_noise`, by `HISTORY_SCHEMA`, also for cells that diverged. `slope_sq` is a list of float64 kept by
    pyarrow, one value a hidden layer.
    """
    with _frugal_memory():
        return _belonging(Path(path), "history")


def load_fits(path: str | Path) -> pd.DataFrame | None:
    """One row a regression cell and place (train, between, test): the rows of `fits/` of the cells as they are.

    As `load_noise`, by `FITS_SCHEMA`. x1, x2, target, prediction and gradient_norm (‖∂f/∂x‖) are lists of float64
    kept by pyarrow, one value a point; x2 is null where inputs have one dimension.
    """
    with _frugal_memory():
        return _belonging(Path(path), "fits")


def load_declared(path: str | Path, *, brief: bool = False) -> pd.DataFrame | None:
    """One row a declared cell: what `grid.parquet` of a results folder holds, typed as in `load_cells`.

    path: the folder or its `cells/`. Columns as in the store's `GRID_SCHEMA`, and `config`; brief as in
    `load_cells`. None for a single file, where nothing is declared, and, with a warning logged, where the declaration
    is damaged.
    """
    home = _home(Path(path))
    grid = home and home / "grid.parquet"
    if not grid or not grid.exists():
        return None
    try:
        table = _read(grid, None, ("cell", *CROSSED), brief)
    except (*UNREADABLE, UserError) as error:
        log.warning(f"{grid} is not readable ({first_line(error)}); which cells were declared is not known")
        return None
    table = with_configs(table, home, brief, [])
    names = [name for name in (*GRID_SCHEMA.names, "config") if name in COLUMNS]
    return with_defaults(_framed(table.select([name for name in names if name in table.column_names]), names))


def _rows(path: Path, read: Callable[[Path], pa.Table], warnings: list[str]) -> pa.Table:
    """The current rows of a folder or a file. Errors: `UserError`."""
    if path.is_dir():
        return _joined(_current(_cells_folder(path), read, warnings))
    if not path.exists():
        raise UserError(f"{path} does not exist; give a results folder, a parquet file or a CSV file")
    return _read_one(path, read)


@contextlib.contextmanager
def _frugal_memory() -> Iterator[None]:
    """Let Arrow allocate from the system meanwhile: of a million rows its own pool would keep 300 MiB unused."""
    before = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(before)


def _home(path: Path) -> Path | None:
    """The results folder that a path means; None for a file."""
    if not path.is_dir():
        return None
    is_cells = path.resolve().name == "cells" and not (path / "cells").is_dir()
    return path.resolve().parent if is_cells else path


def _cells_folder(path: Path) -> Path:
    return path / "cells" if (path / "cells").is_dir() else path


def _read(
    path: Path,
    columns: Mapping[str, str] | None,
    needed: Collection[str],
    brief: bool,
    only: Collection[str] | None = None,
    measure: str | None = None,
    notices: list[str] | None = None,
) -> pa.Table:
    """One file's rows under our names and in our types, `columns` of which the file calls otherwise.

    only: ours to read. brief: without `error`, and `config` without seeds. measure: see `load_cells`. notices: takes
    a line on each thing that is unusual about the file. Errors: `UNREADABLE`, `UserError`.
    """
    with opened(path, (columns or {}).values()) as file:
        if notices is not None:
            notices += file.notices
        if measure in file.names:
            needed = [name for name in needed if name != "clean_accuracy"]
        theirs = taken_from(file.names, columns, needed, path)
        ours = {
            source: name
            for name, source in theirs.items()
            if (only is None or name in only) and not (brief and name == "error")
        }
        wanted = [name for name in file.names if name in ours]
        pieces: dict[str, list[pa.Array]] = {ours[name]: [] for name in wanted}
        levels: dict[str, set[str]] = {name: set() for name in CROSSED if name in TEXT}
        for batch in file.pieces(wanted):
            for place, source in enumerate(wanted):
                name = ours[source]
                if notices is not None and name in levels and is_text(batch.column(place).type):
                    levels[name].update(map(str, batch.column(place).unique().drop_null().to_pylist()))
                values = converted(batch.column(place), name, path)
                pieces[name].append(without_seed(values) if brief and name == "config" else values)
    if notices is not None:
        notices += [line for name, texts in levels.items() for line in refuse_blank_twins(name, texts, path)]
    table = pa.table(
        {name: pa.chunked_array(arrays) if arrays else pa.nulls(0) for name, arrays in pieces.items()}
    )
    return with_numbers(table) if is_csv(path) else with_keys_of_now(table)


def _read_one(path: Path, read: Callable[[Path], pa.Table]) -> pa.Table:
    """A single file, whose faults are the user's. Errors: `UserError`."""
    kind = "CSV" if is_csv(path) else "parquet"
    if kind == "CSV" and path.is_file() and path.stat().st_size < _FEW_BYTES:
        lines = path.read_bytes().strip().splitlines()
        if not lines:
            raise UserError(f"{path} is empty; its first line must name the columns")
        if len(lines) == 1:
            raise UserError(f"{path} has no rows")
    try:
        table = read(path)
    except UNREADABLE as error:
        hint = (
            ""
            if path.suffix.lower() in (".csv", ".tsv", ".parquet")
            else "; the name of a CSV file must end in .csv"
        )
        if path.suffix.lower() in (".xlsx", ".xls", ".ods"):
            raise UserError(f"{path} is a spreadsheet; save it as CSV, and give that file") from error
        raise UserError(f"{path} cannot be read as {kind}: {first_line(error)}{hint}") from error
    return table


def _current(folder: Path, read: Callable[[Path], pa.Table], warnings: list[str]) -> list[pa.Table]:
    """The tables of a folder, earlier files first, without rows that a later file supersedes.

    In files made by hand, whose names have no number, no row supersedes another.
    """
    found, numbered = read_folder(folder, read, warnings)
    tables = list(found.values())
    if not numbered or not any("cell" in table.column_names for table in tables):
        return tables
    named = [
        table if "cell" in table.column_names else table.append_column("cell", _nulls(len(table), pa.string()))
        for table in tables
    ]
    return latest(named)


def _belonging(path: Path, name: str) -> pd.DataFrame | None:
    """The rows of one of the store's folders whose cell and config_hash are those of a row in cells/."""
    home = _home(path)
    if home is None or not all((home / folder).is_dir() for folder in (name, "cells")):
        return None
    warnings: list[str] = []
    read_keys = partial(_read, columns=None, needed=_OWNER[:2], brief=False, only=(*_OWNER, *_LEVELS))
    try:
        # First: a stack's cells are written last, so what belongs to these is there.
        cells = _joined(_current(home / "cells", read_keys, []))
        found, _ = read_folder(home / name, partial(read_rows, schema=SCHEMAS[name]), warnings)
    except UserError as error:
        if any((home / name).glob("*.parquet")):
            log.warning(str(error))
        return None
    tables = list(found.values())
    cells = _of_status(cells, STATUSES[name])
    owners = _owners(cells, pa.concat_tables(tables))
    parts = np.split(owners, np.cumsum([len(table) for table in tables])[:-1])
    kept = [table.filter(pa.array(part >= 0)) for table, part in zip(tables, parts, strict=True)]
    counting = that_count([len(table) for table in kept], owners[owners >= 0])
    table = pa.concat_tables(table.filter(mask) for table, mask in zip(kept, counting, strict=True))
    place = _owners(cells, table)
    for level in (level for level in _LEVELS if level in cells.column_names):
        table = table.append_column(level, cells[level].combine_chunks().take(pa.array(place)))
    frame = _framed(table, [*SCHEMAS[name].names, *_LEVELS])
    return None if frame.empty else _with_warnings(frame, warnings)


def _of_status(cells: pa.Table, statuses: Sequence[str]) -> pa.Table:
    if "status" not in cells.column_names:
        return cells
    return cells.filter(pc.is_in(cells["status"], pa.array(statuses, cells["status"].type)))


def _owners(cells: pa.Table, rows: pa.Table) -> np.ndarray:
    """For each row the place of its cell; -1 where there is none of its hash."""
    cell, made_under = (cells[key].cast(pa.large_string()).combine_chunks() for key in _OWNER[:2])
    place = pc.index_in(rows["cell"].cast(pa.large_string()), cell)
    same = pc.equal(made_under.take(place), rows["config_hash"].cast(pa.large_string()))
    owners: np.ndarray = pc.if_else(same.fill_null(False), place, -1).to_numpy()
    return owners


def _nulls(rows: int, kind: pa.DataType) -> pa.ChunkedArray:
    return pa.chunked_array([pa.nulls(rows, kind)])


def _joined(tables: Sequence[pa.Table]) -> pa.Table:
    """One table with the columns of all; those that are not ours become text where their types contradict."""
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except (pa.ArrowTypeError, pa.ArrowInvalid):
        return pa.concat_tables([_foreign_as_text(table) for table in tables], promote_options="permissive")


def _foreign_as_text(table: pa.Table) -> pa.Table:
    for place, name in enumerate(table.column_names):
        if name not in COLUMNS:
            chunks = [as_text(chunk, name, "in some of the files") for chunk in table[name].chunks]
            table = table.set_column(place, name, pa.chunked_array(chunks, pa.large_string()))
    return table


def _framed(table: pa.Table, names: Sequence[str]) -> pd.DataFrame:
    """With these columns first, those that are not there being null, and the table's others behind."""
    there = table.column_names
    others = [name for name in there if name not in names]
    rows, columns = len(table), dict(zip(there, table.columns, strict=True))
    del table  # each column goes when it is converted
    series = {name: _series(columns.pop(name, None), name, rows) for name in (*names, *others)}
    return pd.DataFrame(series, copy=False)  # a second copy of a million rows would be felt


def _series(values: pa.ChunkedArray | None, name: str, rows: int) -> "pd.Series[Any]":
    text, whole = name in TEXT, name in WHOLE
    if values is None or pa.types.is_null(values.type):
        kinds = ((whole, pa.int64()), (name in NUMBER, pa.float64()), (name in FLAG, pa.bool_()))
        values = _nulls(rows, next((kind for fits, kind in kinds if fits), pa.large_string()))
    if pa.types.is_dictionary(values.type):
        return as_categorical(values)
    if values.num_chunks > 1 and rows < _ROWS_A_CHUNK * values.num_chunks:
        values = pa.chunked_array([pa.concat_arrays(values.chunks)])
    if text or pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        return pd.Series(pd.arrays.ArrowStringArray(values.cast(pa.large_string())))
    if pa.types.is_list(values.type):
        return pd.Series(pd.arrays.ArrowExtensionArray(values))
    series: pd.Series[Any]
    if name in FLAG:
        series = values.to_pandas(types_mapper=_NULLABLE.get)
    elif whole or pa.types.is_integer(values.type):
        series = values.cast(pa.int64()).to_pandas(types_mapper=_NULLABLE.get)
    else:
        series = values.to_pandas().copy()  # what Arrow lends cannot be written to
    return series


def _check(frame: pd.DataFrame, path: Path) -> None:
    for name in CROSSED:
        empty = frame[name].isna().to_numpy()
        if empty.any():
            raise UserError(
                f"{path}: {name} is empty in {int(empty.sum())} of {len(frame)} rows, first in row "
                f"{int(empty.argmax()) + 1}; every row needs a level of {', '.join(CROSSED)}"
            )
    for name in ("clean_accuracy", "noisy_accuracy", "train_accuracy"):
        wrong = (frame[name].notna() & ~frame[name].between(0, 1)).to_numpy()
        if wrong.any():
            row = frame.iloc[int(wrong.argmax())]
            where = f"{row['dataset']}/{row['activation']}/{row['regularizer']}/s{row['seed']}"
            percent = ": divide by 100 if these are percent" if 1 < frame[name].max() <= 100 else ", not percent"
            raise UserError(
                f"{path}: {name}={row[name]:g} of {where} lies outside 0..1; accuracies are fractions{percent}"
            )


def _with_warnings(frame: pd.DataFrame, warnings: list[str]) -> pd.DataFrame:
    for line in warnings:
        log.warning(line)
    frame.attrs["warnings"] = warnings
    return frame
