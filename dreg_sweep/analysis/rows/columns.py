"""The columns of result rows: their names and types, and how those of any file become them."""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dreg_sweep.analysis.rows.spelling import UNUSUAL, shown_blanks, trimmed
from dreg_sweep.errors import UserError
from dreg_sweep.factors import CROSSED
from dreg_sweep.store.schema import CELLS_SCHEMA

COLUMNS = (*CELLS_SCHEMA.names, "config")  # the last one stands in configs/, and in files written before
TEXT = (*(field.name for field in CELLS_SCHEMA if field.type == pa.string()), "config")
WHOLE = tuple(field.name for field in CELLS_SCHEMA if field.type == pa.int64())
NUMBER = tuple(field.name for field in CELLS_SCHEMA if field.type == pa.float64())
FLAG = tuple(field.name for field in CELLS_SCHEMA if field.type == pa.bool_())
MINIMAL = (*CROSSED, "clean_accuracy")
DONE = "done"  # the status of rows that say none, as those made by hand
_VERBATIM = ("config", "error")  # long, and written by programs only
_NULLS = pa.array(["", "na", "n/a", "nan", "null", "<na>"], pa.large_string())  # among numbers
_NO_LEVEL = pa.array(["nan", "<na>"], pa.large_string())  # what pandas makes of a null as text
_PANDAS_INDEX = re.compile(r"(?:__index_level_\d+__|)")  # an index that nobody named, in parquet and CSV


def taken_from(
    names: Sequence[str], columns: Mapping[str, str] | None, needed: Collection[str], where: object
) -> dict[str, str]:
    """Our name → the file's name, for every column of a file with these names that is to be read.

    columns: the same, for those that the file calls otherwise. needed: ours that must be there. Columns that are
    not among `COLUMNS` keep their names; an index without a name is left out.

    Errors: `UserError` for a name that stands twice, a mapping to or from what is not there, two of ours from
    one column, a mapping beside a column of our name, and for missing columns.
    """
    wanted = dict(columns or {})
    there = [name for name in names if not _PANDAS_INDEX.fullmatch(name)]
    twice = sorted({name for name in there if there.count(name) > 1})
    if twice:
        raise UserError(f"{where} has the column(s) {', '.join(twice)} more than once")
    for ours, theirs in wanted.items():
        if ours not in COLUMNS:
            raise UserError(f"columns: {ours} is no result column; choose among: {', '.join(COLUMNS)}")
        if theirs not in there:
            raise UserError(f"{where} has no column {theirs} to take {ours} from; it has: {', '.join(there)}")
        sharing = [name for name, source in wanted.items() if source == theirs]
        if len(sharing) > 1:
            raise UserError(f"columns: {' and '.join(sharing)} are both taken from {theirs}; name one of them")
        if ours != theirs and ours in there and ours not in wanted.values():
            raise UserError(
                f"{where} has a column {ours} of its own beside {theirs}, which columns takes {ours} from; "
                "leave one of them out"
            )
    found = wanted | {name: name for name in there if name not in wanted.values()}
    missing = [name for name in needed if name not in found]
    if missing:
        raise UserError(
            f"{where} lacks the column(s) {', '.join(missing)}; needed: {', '.join(needed)}; it has: "
            f"{', '.join(there)}"
        )
    return found


def converted(values: pa.Array, name: str, where: object) -> pa.Array:
    """A column of one file in the type that our column has: large_string, int64 or float64.

    Texts lose the white space around them, and an empty one is null, as is NaN. Other columns than ours become
    text if they are text in some encoding, else they stay as they are. Errors: `UserError` naming the first value,
    or the type, that does not fit.
    """
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if name in WHOLE or name in NUMBER:
        return _numbers(values, name, where)
    if name in FLAG:
        return _flags(values, name, where)
    if name in TEXT or is_text(values.type) or pa.types.is_null(values.type):
        return as_text(values, name, where)
    return values


def with_numbers(table: pa.Table) -> pa.Table:
    """The table of a CSV file, in which columns that are not ours are numbers where all their texts are."""
    for place, name in enumerate(table.column_names):
        if name in COLUMNS or not is_text(table[name].type) or table[name].null_count == len(table):
            continue
        for kind in (pa.int64(), pa.float64()):
            try:
                table = table.set_column(place, name, table[name].cast(kind))
                break
            except pa.ArrowInvalid:
                continue
    return table


def as_text(values: pa.Array, name: str, where: object) -> pa.Array:
    """Values of any simple type as large_string; null for empty ones and NaN, `DONE` for a status that is null.

    Errors: `UserError`.
    """
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)
    try:
        texts = values.cast(pa.large_string())
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid) as error:
        raise UserError(f"{where}: {name} is of type {values.type}, which cannot be read as text") from error
    if name not in _VERBATIM:
        texts = pc.utf8_trim_whitespace(texts)
        if pc.any(pc.match_substring_regex(texts, UNUSUAL)).as_py():
            spelled = texts.dictionary_encode()
            plain = [
                None if text is None else shown_blanks(trimmed(text)) for text in spelled.dictionary.to_pylist()
            ]
            texts = pa.array(plain, pa.large_string()).take(spelled.indices)
    empty = pc.equal(texts, "")
    if name in CROSSED:
        empty = pc.or_(empty, pc.is_in(pc.utf8_lower(texts), _NO_LEVEL))
    if pc.any(empty).as_py():
        texts = pc.if_else(empty, pa.scalar(None, pa.large_string()), texts)
    return texts.fill_null(DONE) if name == "status" else texts


def _flags(values: pa.Array, name: str, where: object) -> pa.Array:
    """Booleans; of texts true and false in any case, and null for an empty one."""
    if pa.types.is_boolean(values.type) or pa.types.is_null(values.type):
        return values.cast(pa.bool_())
    texts = pc.utf8_lower(as_text(values, name, where))
    wrong = pc.invert(pc.is_in(texts, pa.array(["true", "false", None], pa.large_string())))
    if pc.any(wrong).as_py():
        raise UserError(f"{where}: {name} must be true or false, not {texts.filter(wrong)[0].as_py()}")
    return pc.equal(texts, "true")


def _numbers(values: pa.Array, name: str, where: object) -> pa.Array:
    """int64 for whole numbers, else float64, with null for NaN."""
    kind = values.type
    if pa.types.is_null(kind):
        return pa.nulls(len(values), pa.int64() if name in WHOLE else pa.float64())
    if pa.types.is_float16(kind) or pa.types.is_float32(kind):
        # By way of text: 0.9 stored in four bytes means 0.9, not 0.8999999761581421.
        numbers = values.cast(pa.float32()).cast(pa.large_string()).cast(pa.float64())
    elif is_text(kind):
        numbers = _parsed(values.cast(pa.large_string()), name, where)
    elif pa.types.is_integer(kind) or pa.types.is_float64(kind):
        numbers = values
    elif pa.types.is_decimal(kind):
        numbers = values.cast(pa.float64())
    else:
        raise UserError(f"{where}: {name} is of type {kind}, not a {_kind(name)}")
    if pa.types.is_floating(numbers.type):
        numbers = pc.if_else(pc.is_nan(numbers), pa.scalar(None, pa.float64()), numbers)
    if name not in WHOLE:
        return numbers.cast(pa.float64(), safe=False)  # rounds integers above 2^53
    if pa.types.is_floating(numbers.type):
        numbers_there = numbers.fill_null(0).to_numpy(zero_copy_only=False)
        # 2^63 is the first that int64 cannot hold; infinity is above it.
        _refuse(
            (np.floor(numbers_there) != numbers_there) | (np.abs(numbers_there) >= 2.0**63), values, name, where
        )
    elif pa.types.is_uint64(numbers.type):
        _refuse(numbers.fill_null(0).to_numpy(zero_copy_only=False) >= 2**63, values, name, where)
    return numbers.cast(pa.int64())


def _parsed(texts: pa.Array, name: str, where: object) -> pa.Array:
    """Texts as float64, or as int64 where a whole number is wanted and all are written without a point."""
    texts = pc.utf8_trim_whitespace(texts)
    texts = pc.if_else(pc.is_in(pc.utf8_lower(texts), _NULLS), pa.scalar(None, pa.large_string()), texts)
    for kind in (pa.int64(), pa.float64()) if name in WHOLE else (pa.float64(),):
        try:
            return texts.cast(kind)
        except pa.ArrowInvalid:
            continue
    import pandas as pd

    # What Arrow does not read: a plus sign, say, and what is no number at all.
    objects = texts.to_numpy(zero_copy_only=False)
    numbers = pd.to_numeric(pd.Series(objects, dtype=object), errors="coerce").to_numpy("float64", na_value=np.nan)
    _refuse(np.isnan(numbers) & texts.is_valid().to_numpy(zero_copy_only=False), texts, name, where)
    return pa.array(numbers, from_pandas=True)


def _refuse(wrong: Any, values: pa.Array, name: str, where: object) -> None:
    """`UserError` that shows the first value at which the mask is set."""
    if wrong.any():
        raise UserError(f"{where}: {name}={values[int(wrong.argmax())].as_py()} is not a {_kind(name)}")


def _kind(name: str) -> str:
    return "whole number" if name in WHOLE else "number"


def is_text(kind: pa.DataType) -> bool:
    """Whether values of this type are texts, however they are kept."""
    return any(check(kind) for check in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))
