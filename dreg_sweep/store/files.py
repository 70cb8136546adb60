"""A folder of parquet files that appear at once and complete, and may be joined while others read them.

File names are `<sequence>-<digest>.parquet`, or `<sequence>-joined.parquet` for files that were joined; of two
rows for one cell the later file counts.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

JOINED = "joined"


class StoreError(Exception):
    """The results folder cannot be written now (a full disk, a lost mount); the message is one line."""


def parquet_files(folder: Path) -> list[Path]:
    """The parquet files of a folder, earlier ones first; none where it does not exist."""
    paths = [path for path in folder.glob("*.parquet") if not path.name.startswith(".")]
    return sorted(paths, key=lambda path: (sequence_of(path), path.name))  # digests are hexadecimal: < joined


def sequence_of(path: Path) -> int:
    """The sequence number in a file's name, 0 where it has none."""
    head = path.name.split("-", 1)[0]
    return int(head) if head.isdigit() else 0


def read_settled(folder: Path, columns: Sequence[str]) -> tuple[dict[Path, pa.Table], dict[Path, str]]:
    """Tables with these columns by file, earlier files first, and why others could not be read.

    Readers take no lock. A file that is joined goes only after its rows stand in the joined one, so a reader who
    misses a file, or finds a joined one that was not there when it began, looks again.
    """
    tables: dict[Path, pa.Table] = {}
    while True:
        problems: dict[Path, str] = {}
        listed = parquet_files(folder)
        for path in listed:
            if path in tables:
                continue
            try:
                tables[path] = read_columns(path, columns)
            except FileNotFoundError:
                break
            except (pa.ArrowException, OSError, KeyError, ValueError) as error:
                problems[path] = first_line(error)
        else:
            newly_joined = [p for p in parquet_files(folder) if p.stem.endswith(JOINED) and p not in set(listed)]
            if not newly_joined:
                return {path: tables[path] for path in listed if path in tables}, problems


def read_columns(path: Path, columns: Sequence[str]) -> pa.Table:
    """Some columns of one file; those that files of older versions do not have are null.

    Errors: `KeyError` where the file has no column `cell`; pyarrow's own where it is not parquet.
    """
    with pq.ParquetFile(path) as file:
        there = set(file.schema_arrow.names)
        if "cell" not in there:
            raise KeyError("no column called cell")
        table = file.read(columns=[name for name in columns if name in there])
    for name in columns:
        if name not in there:
            table = table.append_column(name, pa.nulls(len(table), pa.string()))
    return table.select(list(columns))


def write_parquet(path: Path, table: pa.Table) -> None:
    """Write so that the file is either absent (or the old one) or whole, even when the power fails."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with refusals(path):
        try:
            with temporary.open("wb") as file:
                pq.write_table(table, file, compression="zstd")
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def refusals(path: Path) -> Iterator[None]:
    """Turn what the file system refuses into a `StoreError` that names the path."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror or first_line(error)}") from error


def first_line(error: Exception) -> str:
    """An error in one line."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__
