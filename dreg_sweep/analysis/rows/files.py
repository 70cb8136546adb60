"""Files of rows, opened piece by piece; and folders of them, which a sweep may join while they are read."""

import contextlib
import re
import stat
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from dreg_sweep.analysis.rows.columns import COLUMNS, TEXT
from dreg_sweep.analysis.rows.dialect import DECIMAL_COMMA, dialect_of
from dreg_sweep.analysis.rows.spelling import renamed, trimmed, visible
from dreg_sweep.errors import UserError
from dreg_sweep.store.folder import parquet_files, settled

T = TypeVar("T")

STORE_NAME = re.compile(r"(\d{8,})-[^.]+\.parquet")
_ROWS_A_PIECE = 65_536
_BLOCK = 1 << 24  # bytes of a CSV file parsed at a time; no row may be longer


@dataclass(frozen=True)
class RowFile:
    """An open file: its columns' names, and its rows in pieces with the columns asked for, in the file's order.

    notices: what is unusual about how it is written, one line each.
    """

    names: list[str]
    notices: list[str]
    pieces: Callable[[Sequence[str]], Iterator[pa.RecordBatch]]


@dataclass
class _Listing:
    """The files of a folder: those that count, earlier ones first, and others.

    numbered: the files are the store's, whose later rows supersede earlier ones.
    """

    files: list[Path]
    numbered: bool
    others: list[Path] = field(default_factory=list)


@contextlib.contextmanager
def opened(path: Path, kept: Collection[str] = ()) -> Iterator[RowFile]:
    """A CSV file, or a parquet file of any name; its columns in our spelling, but for those to be kept.

    Errors: `UNREADABLE`, `UserError`.
    """
    if not stat.S_ISREG(path.stat().st_mode):  # or a pipe, which would keep its reader waiting
        raise ValueError("it is not a regular file")
    if is_csv(path):
        yield _in_known_spelling(_csv(path), kept, path)
        return
    with pq.ParquetFile(path, pre_buffer=False, page_checksum_verification=True) as file:

        def pieces(names: Sequence[str]) -> Iterator[pa.RecordBatch]:
            batches: Iterator[pa.RecordBatch] = file.iter_batches(_ROWS_A_PIECE, columns=list(names))
            return batches

        yield _in_known_spelling(RowFile(file.schema_arrow.names, [], pieces), kept, path)


def is_csv(path: Path) -> bool:
    """By the name's ending."""
    return path.suffix.lower() in (".csv", ".tsv")


def _in_known_spelling(file: RowFile, kept: Collection[str], path: Path) -> RowFile:
    """The file with columns that differ from ours in case or blanks only under our names."""
    ours = renamed(file.names, COLUMNS, kept, path)
    if not ours:
        return file
    theirs = {known: name for name, known in ours.items()}
    said = ", ".join(f"{name} as {known}" for name, known in ours.items())

    def pieces(names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        for batch in file.pieces([theirs.get(name, name) for name in names]):
            yield batch.rename_columns([ours.get(name.strip(), name) for name in batch.schema.names])

    return RowFile([ours.get(name, name) for name in file.names], [*file.notices, f"{path}: read {said}"], pieces)


def _csv(path: Path) -> RowFile:
    """Every value as text, because the usual null words would make a null of a regularizer called None."""
    dialect = dialect_of(path)
    reading = pyarrow.csv.ReadOptions(block_size=_BLOCK, encoding=dialect.encoding)
    parsing = pyarrow.csv.ParseOptions(newlines_in_values=True, delimiter=dialect.delimiter)  # as in a traceback
    with pyarrow.csv.open_csv(path, reading, parsing) as reader:
        written = reader.schema.names

    def pieces(wanted: Sequence[str]) -> Iterator[pa.RecordBatch]:
        texts = pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(written, pa.string()),
            include_columns=[name for name in written if _plain(name) in wanted],
        )
        with pyarrow.csv.open_csv(path, reading, parsing, texts) as reader:
            for batch in reader:
                yield _with_decimal_points(batch) if dialect.decimal_comma else batch

    return RowFile([_plain(name) for name in written], list(dialect.notices), pieces)


def _plain(name: str) -> str:
    return visible(trimmed(name))


def _with_decimal_points(batch: pa.RecordBatch) -> pa.RecordBatch:
    """0,93 as 0.93 in every column but those that are texts."""
    columns = [
        column if _plain(name).lower() in TEXT else pc.replace_substring_regex(column, DECIMAL_COMMA, r"\1.\2")
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def read_folder(folder: Path, read: Callable[[Path], T], warnings: list[str]) -> tuple[dict[Path, T], bool]:
    """What `read` makes of each file that counts, earlier ones first; and whether they are the store's.

    In a folder with files named as the store names them (`<sequence>-<digest>.parquet`) only those count; else
    every parquet and CSV file does. Files beside the store's, and those that cannot be read, add a line each kind
    to `warnings`. A sweep may join files meanwhile, see `settled`. Errors: `UserError` where nothing can be read, or
    what `read` raises beside `UNREADABLE`.
    """
    tables, problems = settled(lambda: _listed(folder).files, read)
    listed = _listed(folder)
    if listed.others:
        warnings.append(f"{folder}: left out {_some(listed.others)}, not named <sequence>-<digest>.parquet")
    if problems:
        reason = next(iter(problems.values()))
        warnings.append(f"{folder}: left out {_some(sorted(problems))}, unreadable ({reason})")
    if problems and not tables:
        kind = "parquet files" if all(path.suffix == ".parquet" for path in problems) else "files"
        raise UserError(f"{folder} holds no rows: none of its {len(problems)} {kind} can be read ({reason})")
    if not tables:
        raise UserError(_nothing(folder))
    return tables, listed.numbered


def _listed(folder: Path) -> _Listing:
    files = parquet_files(folder)
    stored = [path for path in files if STORE_NAME.fullmatch(path.name)]
    visible = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    if stored:
        return _Listing(stored, True, [path for path in visible if not STORE_NAME.fullmatch(path.name)])
    return _Listing([*files, *(path for path in visible if is_csv(path))], False)


def _nothing(folder: Path) -> str:
    nested = [*sorted(folder.glob("*/*.parquet")), *sorted(folder.glob("*/*/*.parquet"))]
    if not nested:
        return f"{folder} holds no results: there is no parquet file and no CSV file in it"
    below = nested[0].relative_to(folder)
    if "=" in below.parts[0]:
        return (
            f"{folder} is a partitioned parquet folder, whose columns stand in the names of folders ({below}); "
            "write it to one file first: pandas.read_parquet(folder).to_parquet(file)"
        )
    return f"{folder} holds no results: there is no parquet file and no CSV file in it, only below it ({below})"


def _some(paths: Sequence[Path]) -> str:
    names = ", ".join(path.name for path in paths[:3])
    return f"{len(paths)} file(s) ({names}{', ...' if len(paths) > 3 else ''})"
