"""One file of rows: checked as it is read, whole or absent as it is written."""

import contextlib
import hashlib
import stat
from collections.abc import Iterator, Sequence, Set
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dreg_sweep.atomic import whole_file
from dreg_sweep.factors import key_of_before
from dreg_sweep.store.schema import STATUSES

_SCHEMA_DIGEST = b"dreg_sweep.columns"
UNREADABLE = (pa.ArrowException, OSError, KeyError, ValueError)  # what reading a damaged or foreign file raises
_TYPED_NUMBER = (
    r"=[-+]?[0-9.]*(?:[eE]|[.][0-9]*0(?:/|$)|[.](?:/|$))|=[+]|=[-]?0[0-9]|=[-]?[.]"  # not as `level_text`
)
_KEYS = ("cell", "config_hash", "status")  # those of them that a schema has are text and never null


class StoreError(Exception):
    """The results folder cannot be written now (a full disk, a lost mount); the message is one line."""


def _columns_of(file: pq.ParquetFile, there: Set[str], columns: Sequence[str]) -> pa.Table:
    table = with_keys_of_now(file.read(columns=[name for name in columns if name in there]))
    for name in columns:
        if name not in there:
            table = table.append_column(name, pa.nulls(len(table), pa.string()))
    return table.select(list(columns))


def read_rows(path: Path, schema: pa.Schema, columns: Sequence[str] | None = None) -> pa.Table:
    """Some columns of one file, or all, with the types of the schema, which all its columns must be able to take.

    Errors: `UNREADABLE`, of which a `ValueError` says what else is wrong: a key that is missing, null or no text,
    an unknown status.
    """
    wanted = schema.names if columns is None else columns
    keys = [name for name in _KEYS if name in schema.names]
    with opened(path) as file:
        found = file.schema_arrow
        types = dict(zip(found.names, found.types, strict=True))
        for name in keys:
            if name not in types:
                raise ValueError(f"no column called {name}")
            if not _is_text(types[name]):
                raise ValueError(f"{name} is no text but {types[name]}")
        others = [f.name for f in schema if f.name in types and types[f.name] != f.type]  # can they be cast?
        names = list(dict.fromkeys([*wanted, *keys, *others]))
        table = typed(_columns_of(file, types.keys(), names), pa.schema([schema.field(name) for name in names]))
    table.validate(full=True)  # that texts are UTF-8
    for name in keys:
        if table[name].null_count:
            raise ValueError(f"{name} is null in {table[name].null_count} of {len(table)} rows")
    if "status" in keys:
        unknown = set(table["status"].unique().to_pylist()) - set(STATUSES["cells"])
        if unknown:
            raise ValueError(f"status is unknown: {min(unknown)!r:.40}")
    return table.select(list(wanted))


def with_keys_of_now(table: pa.Table) -> pa.Table:
    """The table with the numbers in its cells' keys in one spelling: files written before have them as typed."""
    if "cell" not in table.column_names or not _is_text(table["cell"].type):
        return table
    keys = table["cell"].cast(pa.string())
    if not pc.any(pc.match_substring_regex(keys, _TYPED_NUMBER)).as_py():
        return table
    encoded = keys.combine_chunks().dictionary_encode()
    spelled = [None if key is None else key_of_before(key) for key in encoded.dictionary.to_pylist()]
    place = table.column_names.index("cell")
    return table.set_column(place, "cell", pa.array(spelled, pa.string()).take(encoded.indices))


def typed(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """With the types of the schema; a column without a value has any of them. Errors: pyarrow's own."""
    if table.schema.equals(schema):
        return table.replace_schema_metadata()
    columns = []
    for field in schema:
        column = table[field.name]
        empty = column.null_count == len(table)
        columns.append(pa.nulls(len(table), field.type) if empty else column.cast(field.type))
    return pa.table(columns, schema=schema)


def opened(path: Path) -> pq.ParquetFile:
    """The file, whose pages are checked as they are read. Errors: `UNREADABLE`."""
    if not stat.S_ISREG(path.stat().st_mode):  # or a pipe, which would keep its reader waiting
        raise ValueError("it is not a regular file")
    file = pq.ParquetFile(path, page_checksum_verification=True)
    given = (file.schema_arrow.metadata or {}).get(_SCHEMA_DIGEST)  # none in files written before
    if given is not None and given != schema_digest(file.schema_arrow):
        raise ValueError("the names or types of its columns are not those that were written")
    return file


def schema_digest(schema: pa.Schema) -> bytes:
    """16 hex digits of a schema's names and types, which the checksums of pages do not cover."""
    types = [f"list {one.type.value_type}" if pa.types.is_list(one.type) else str(one.type) for one in schema]
    text = "\n".join(
        f"{name} {kind}" for name, kind in zip(schema.names, types, strict=True)
    )  # lists name their items
    return hashlib.sha256(text.encode()).hexdigest()[:16].encode()


def _is_text(kind: pa.DataType) -> bool:
    """Whether values of this type are texts, however they are kept; null is the type of a column without rows."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    checks = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)
    return any(check(kind) for check in checks)


def write_parquet(path: Path, table: pa.Table) -> None:
    """Write so that the file is either absent (or the old one) or whole. Errors: `StoreError`."""
    table = table.replace_schema_metadata({_SCHEMA_DIGEST: schema_digest(table.schema)})
    with refusals(path), whole_file(path) as file:
        pq.write_table(table, file, compression="zstd", write_page_checksum=True, **_encodings(table.schema))


def _encodings(schema: pa.Schema) -> dict[str, Any]:
    """Floats with their first bytes together, then their second, …: a history takes a third less room so.

    What does not repeat gains nothing from a dictionary, and what has one cannot be split; the rest keeps it.
    """
    leaves = [
        (f"{field.name}.list.element", field.type.value_type)
        if pa.types.is_list(field.type)
        else (field.name, field.type)
        for field in schema
    ]
    floats = [name for name, kind in leaves if pa.types.is_floating(kind)]
    return {
        "use_dictionary": [name for name, _ in leaves if name not in floats],
        "column_encoding": dict.fromkeys(floats, "BYTE_STREAM_SPLIT"),
    }


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
