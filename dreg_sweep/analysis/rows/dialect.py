"""How a CSV file is written: its encoding, what separates its fields, and whether decimals have a comma."""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dreg_sweep.errors import UserError

_SAMPLE = 1 << 16  # bytes that are looked at
_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
_MARKS = {b"\xef\xbb\xbf": "utf-8", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
DECIMAL_COMMA = r"^\s*([+-]?[0-9]*),([0-9]+(?:[eE][+-]?[0-9]+)?)\s*$"
_THOUSANDS = re.compile(r"^[+-]?\d{1,3}(?:,\d{3})+\.\d+$|^[+-]?\d{1,3}(?:\.\d{3})+,\d+$")


@dataclass(frozen=True)
class Dialect:
    """How a CSV file is written. notices: what is unusual about it, one line each."""

    encoding: str = "utf-8"
    delimiter: str = ","
    decimal_comma: bool = False
    notices: tuple[str, ...] = ()


def dialect_of(path: Path) -> Dialect:
    """The dialect of a CSV file, from its first 64 KiB.

    Args:
        path: the file.

    Returns:
        The dialect. Decimals have a comma where some field is `0,93` and none is `0.93`.

    Raises:
        UserError: for numbers with both marks (1.234,5), whose meaning depends on the country.
    """
    with path.open("rb") as file:
        head = file.read(_SAMPLE)
        whole = not file.read(1)
    encoding, said = _encoding(head, path)
    try:
        text = head.decode(encoding, errors="ignore")
    except UnicodeDecodeError:
        return Dialect()
    lines = text.lstrip("\ufeff").splitlines()
    lines = [line for line in (lines if whole else lines[:-1] or lines) if line.strip()][:200]
    if not lines:
        return Dialect(encoding, notices=tuple(said))
    delimiter = _delimiter(lines)
    fields = [field for row in csv.reader(lines[1:], delimiter=delimiter) for field in row]
    thousands = next((field for field in fields if _THOUSANDS.match(field.strip())), None)
    if thousands is not None:
        raise UserError(f"{path}: {thousands} has a mark for thousands; write numbers as 1234.5")
    comma = any(re.match(DECIMAL_COMMA, field) for field in fields)
    comma = comma and not any(re.fullmatch(r"\s*[+-]?\d*\.\d+(?:[eE][+-]?\d+)?\s*", field) for field in fields)
    if delimiter != ",":
        said.append(f"{path}: fields are separated by a {_DELIMITERS[delimiter]}")
    if comma:
        said.append(f"{path}: numbers have a decimal comma (0,93 is read as 0.93)")
    return Dialect(encoding, delimiter, comma, tuple(said))


def _encoding(head: bytes, path: Path) -> tuple[str, list[str]]:
    for mark, encoding in _MARKS.items():
        if head.startswith(mark):
            return encoding, [] if encoding == "utf-8" else [f"{path}: its encoding is UTF-16"]
    nulls = head[1::2].count(0), head[::2].count(0)
    if max(nulls) > len(head) // 4:  # every other byte of plain letters
        encoding = "utf-16-le" if nulls[0] > nulls[1] else "utf-16-be"
        return encoding, [f"{path}: its encoding is taken for UTF-16, which it does not say"]
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # not a character that the sample cuts
            return "cp1252", [f"{path}: it is not UTF-8; its encoding is taken for Windows-1252 (Latin-1)"]
    return "utf-8", []


def _delimiter(lines: Sequence[str]) -> str:
    """The one that cuts the header into most fields, and every line into as many; a comma where none does."""
    best, most = ",", 1
    for delimiter in _DELIMITERS:
        rows = list(csv.reader(lines, delimiter=delimiter))
        width = len(rows[0]) if rows else 0
        if width > most and sum(len(row) == width for row in rows) >= 0.9 * len(rows):
            best, most = delimiter, width
    return best
