"""Result rows from disk: a results folder, one parquet file, or a CSV made by hand."""

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dreg_sweep.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

TEXT = (
    "cell", "config_hash", "activation", "regularizer", "dataset", "modality", "regime", "model", "status",
    "device", "data_fingerprint", "code_version", "torch_version", "error", "config",
)  # fmt: skip
WHOLE = ("seed", "train_size", "n_test", "clean_correct", "n_noisy", "noisy_correct", "steps")
NUMBER = ("strength", "clean_accuracy", "noisy_accuracy", "train_accuracy", "test_loss", "seconds")
COLUMNS = (
    "cell", "config_hash", "activation", "regularizer", "strength", "dataset", "modality", "regime", "seed",
    "model", "train_size", "status", "n_test", "clean_correct", "n_noisy", "noisy_correct", "clean_accuracy",
    "noisy_accuracy", "train_accuracy", "test_loss", "steps", "seconds", "device", "data_fingerprint",
    "code_version", "torch_version", "error", "config",
)  # fmt: skip
MINIMAL = ("activation", "regularizer", "dataset", "seed", "clean_accuracy")
STORE_NAME = re.compile(r"(\d{8,})-[^.]+\.parquet")
NULLS = ("", "na", "n/a", "nan", "null", "<na>")


def load_cells(path: str | Path) -> "pd.DataFrame":
    """One row a cell, with every column of the result format, those the source lacks being null.

    path: a results folder (its `cells/` is read), such a `cells/` folder, one parquet file, or one CSV file
    with at least activation, regularizer, dataset, seed and clean_accuracy.

    Returns a frame with the columns `COLUMNS` in that order, further ones behind: texts as "string", whole
    numbers as "Int64", others as float64; index 0..rows-1. In a folder the files are named
    `<sequence>-<digest>.parquet`; of several files with the same `cell` the highest sequence number wins,
    since a rerun supersedes. Files that cannot be read, or that carry another name beside such files, are
    left out with one line each kind, logged and kept in `frame.attrs["warnings"]`. A folder without any
    file of the store's naming is taken as made by hand: all its parquet files are read.

    Raises UserError for a missing path, no rows, missing minimal columns, a factor that is null, a value
    that is not a number where one belongs, and an accuracy outside 0..1.
    """
    import pandas as pd

    path = Path(path)
    warnings: list[str] = []
    if path.is_dir():
        raw = _read_folder(path, warnings)
    elif not path.exists():
        raise UserError(f"{path} does not exist; give a results folder, a parquet file or a CSV file")
    elif path.suffix.lower() == ".csv":
        raw = _read_csv(path)
    else:
        try:
            raw = pd.read_parquet(path, partitioning=None)
        except Exception as error:  # pyarrow raises many kinds for a file that is no parquet
            raise UserError(f"{path} cannot be read as parquet: {_first_line(error)}") from error
    if "seed" in raw.index.names:
        raw = raw.reset_index()  # a pandas index such as (dataset, seed) holds factors
    missing = [name for name in MINIMAL if name not in raw.columns]
    if missing:
        raise UserError(f"{path} lacks the column(s) {', '.join(missing)}; needed: {', '.join(MINIMAL)}")
    if raw.empty:
        raise UserError(f"{path} has no rows")
    frame = _typed(raw, path)
    _check(frame, path)
    for line in warnings:
        log.warning(line)
    frame.attrs["warnings"] = warnings
    return frame


def _read_folder(path: Path, warnings: list[str]) -> "pd.DataFrame":
    import pandas as pd

    folder = path / "cells" if (path / "cells").is_dir() else path
    files = sorted(file for file in folder.iterdir() if file.is_file() and not file.name.startswith("."))
    stored = [file for file in files if STORE_NAME.fullmatch(file.name)]
    foreign = [file for file in files if file not in set(stored)]
    if not stored:
        stored = [file for file in files if file.suffix == ".parquet"]
        foreign = []
    if not stored:
        raise UserError(f"{path} holds no results: no parquet file in {folder}")
    parts = []
    unreadable = []
    # Highest sequence first, the file name breaking ties, so that the first row of a cell is the one to keep.
    for file in sorted(stored, key=lambda file: (_sequence(file), file.name), reverse=True):
        try:
            part = pd.read_parquet(file, partitioning=None)  # a folder called a=b is no column
        except FileNotFoundError:
            return _read_folder(path, warnings)  # joined with others meanwhile, by a sweep that goes on
        except Exception:
            unreadable.append(file)
            continue
        part["_file"] = file.name
        parts.append(part.astype(object))
    new = {file for file in folder.glob("*-joined.parquet") if file.is_file()} - set(stored)
    if new:
        return _read_folder(path, warnings)
    if foreign:
        warnings.append(f"{folder}: left out {_listing(foreign)}, not named <sequence>-<digest>.parquet")
    if unreadable:
        warnings.append(f"{folder}: left out {_listing(sorted(unreadable))}, unreadable")
    if not parts:
        raise UserError(f"{path} holds no results: none of its {len(stored)} parquet files can be read")
    frame = pd.concat(parts, ignore_index=True)
    if "cell" in frame.columns:
        winner = frame.groupby("cell", dropna=True)["_file"].transform("first")
        handmade = frame["_file"].map(_sequence_of) < 0
        frame = frame[frame["cell"].isna() | (frame["_file"] == winner) | handmade]
    return frame.drop(columns="_file").iloc[::-1].reset_index(drop=True)


def _sequence_of(name: str) -> int:
    match = STORE_NAME.fullmatch(name)
    return int(match[1]) if match else -1


def _sequence(file: Path) -> int:
    return _sequence_of(file.name)


def _read_csv(path: Path) -> "pd.DataFrame":
    import pandas as pd

    try:
        # As text, because the default null words would turn a regularizer called None into a null.
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except pd.errors.EmptyDataError as error:
        raise UserError(f"{path} is empty; its first line must name the columns") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as CSV: {_first_line(error)}") from error
    frame.columns = [str(name).strip() for name in frame.columns]
    return frame.replace("", None)


def _typed(raw: "pd.DataFrame", path: Path) -> "pd.DataFrame":
    import pandas as pd

    if raw.columns.duplicated().any():
        twice = ", ".join(sorted({str(name) for name in raw.columns[raw.columns.duplicated()]}))
        raise UserError(f"{path} has the column(s) {twice} more than once")
    columns: dict[str, pd.Series] = {}
    for name in (*COLUMNS, *(str(name) for name in raw.columns if name not in COLUMNS)):
        values = raw[name] if name in raw.columns else pd.Series([None] * len(raw), dtype=object)
        if name in TEXT:
            columns[name] = values.astype("string").str.strip().reset_index(drop=True)
        elif name in WHOLE or name in NUMBER:
            columns[name] = _numbers(values, name, path).reset_index(drop=True)
        else:
            columns[name] = values.infer_objects().reset_index(drop=True)
    return pd.DataFrame(columns)


def _numbers(values: "pd.Series[Any]", name: str, path: Path) -> "pd.Series[Any]":
    import pandas as pd

    if values.dtype == "float32":
        values = values.astype(str)  # 0.9 stored in four bytes means 0.9, not 0.8999999761581421
    nulls = values.astype("string").str.strip().str.lower().isin(NULLS).fillna(True) | values.isna()
    numbers = pd.to_numeric(values.astype(object).where(~nulls, None), errors="coerce").astype("Float64")
    wrong = numbers.isna() & ~nulls
    if name in WHOLE:
        wrong |= (numbers.notna() & (numbers % 1 != 0)).fillna(False)
    if wrong.any():
        kind = "whole number" if name in WHOLE else "number"
        raise UserError(f"{path}: {name}={values[wrong].iloc[0]} is not a {kind}")
    return numbers.astype("Int64") if name in WHOLE else numbers.astype("float64")


def _check(frame: "pd.DataFrame", path: Path) -> None:
    for name in ("activation", "regularizer", "dataset", "seed"):
        empty = frame[name].isna() if name == "seed" else frame[name].isna() | (frame[name] == "")
        if empty.any():
            raise UserError(f"{path}: {name} is empty in {int(empty.sum())} of {len(frame)} rows")
    for name in ("clean_accuracy", "noisy_accuracy", "train_accuracy"):
        wrong = frame[name].notna() & ~frame[name].between(0, 1)
        if wrong.any():
            row = frame[wrong].iloc[0]
            where = f"{row['dataset']}/{row['activation']}/{row['regularizer']}/s{row['seed']}"
            raise UserError(
                f"{path}: {name}={row[name]:g} of {where} lies outside 0..1; accuracies are fractions, not percent"
            )


def _listing(files: list[Path]) -> str:
    names = ", ".join(file.name for file in files[:3])
    return f"{len(files)} file(s) ({names}{', ...' if len(files) > 3 else ''})"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
