"""Two folders of an analysis file by file: the same numbers, as near as rounding explains, or neither.

Where bits may differ, a mean that stands beside its standard deviation over seeds may differ by that, or by 0.3 %
of itself where that is more (0.3 points of an accuracy near 100), and the primary verdict of every claim must be
the same. What else is made of the cells (p values, ranks, intervals, ratios) moves with them, some of it in jumps:
it is counted and not judged.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from dreg_sweep.errors import UserError

Rows = Mapping[str, Mapping[str, str]]  # what names a row → column → value as written

LEAST_SHARE = 0.003
SAME_NUMBER = 1e-9  # relative: the last digits that a version of a library may print otherwise
VERDICTS = "claims.csv"
_IDENTIFIERS = (
    "metric", "measure", "panel", "group", "claim", "effect", "rival", "regularizer", "strength",
    "activation", "dataset", "train_size", "severity", "layer", "unit", "side", "correction", "factor", "level",
)  # fmt: skip


@dataclass(frozen=True)
class Difference:
    """One value that rounding does not explain; row: its identifiers, or its number."""

    file: str
    row: str
    column: str
    run: str
    published: str

    def __str__(self) -> str:
        where = ", ".join(part for part in (self.file, self.row, self.column) if part)
        changed = "conclusion changed: " if self.column == "verdict" else ""
        return f"{changed}{where}: {self.run}, published {self.published}"


@dataclass
class TableReport:
    """Counts of files and of values. moved: values that differ and are not judged."""

    files: int = 0
    identical: int = 0
    within: int = 0
    moved: int = 0
    differences: list[Difference] = field(default_factory=list)


def compare_tables(run: Path, published: Path, exact: bool) -> TableReport:
    """The CSV files of two `analysis` folders. exact: every number must be the same.

    Errors: `UserError` where the published folder has none, or a file is no table.
    """
    names = {str(path.relative_to(one)) for one in (run, published) for path in _csv_files(one)}
    if not _csv_files(published):
        raise UserError(f"{published} holds no tables")
    report = TableReport(files=len(names))
    for name in sorted(names):
        ours, theirs = run / name, published / name
        if not ours.exists() or not theirs.exists():
            there = ["yes" if path.exists() else "no such file" for path in (ours, theirs)]
            report.differences.append(Difference(name, "", "", *there))
        elif ours.read_bytes() == theirs.read_bytes():
            report.identical += 1
        else:
            _compare_file(name, _read(ours), _read(theirs), exact, report)
    return report


def _csv_files(folder: Path) -> list[Path]:
    return [*folder.glob("*.csv"), *folder.glob("tables/*.csv")]


def _read(path: Path) -> Rows:
    """Every value as it is written, rows under what names them where that is unique, else under their number."""
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (ValueError, OSError) as error:
        raise UserError(f"{path} is no table ({type(error).__name__})") from None
    rows: list[dict[str, str]] = [dict(zip(frame.columns, row, strict=True)) for row in frame.to_numpy().tolist()]
    names = [", ".join(row[name] for name in _IDENTIFIERS if row.get(name)) for row in rows]
    if len({*names} - {""}) < len(rows):
        names = [f"row {number}" for number in range(1, len(rows) + 1)]
    return dict(zip(names, rows, strict=True))


def _compare_file(name: str, ours: Rows, theirs: Rows, exact: bool, report: TableReport) -> None:
    for row, column, here, there in _unlike(ours, theirs):
        whole = not row or not column  # is missing
        allowed = 0.0 if exact or whole else _allowed(name, theirs[row], column)
        if math.isnan(allowed):
            report.moved += 1
        elif abs(_number(here) - _number(there)) <= allowed:
            report.within += 1
        else:
            report.differences.append(Difference(name, row, column, here or "nothing", there or "nothing"))


def _unlike(ours: Rows, theirs: Rows) -> Iterator[tuple[str, str, str, str]]:
    """Row, column and both values of all that is not the same; a row or a column that one lacks counts once."""
    here, there = (dict.fromkeys(name for row in rows.values() for name in row) for rows in (ours, theirs))
    for column in {**there, **here}:
        if column not in here or column not in there:
            yield "", column, "a column" if column in here else "", "a column" if column in there else ""
    for row in {**theirs, **ours}:
        if row not in ours or row not in theirs:
            yield row, "", "a row" if row in ours else "", "a row" if row in theirs else ""
            continue
        for column in there:
            value, published = ours[row].get(column), theirs[row][column]
            if value is not None and value != published and not _same_number(value, published):
                yield row, column, value, published


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _same_number(here: str, there: str) -> bool:
    return math.isclose(_number(here), _number(there), rel_tol=SAME_NUMBER, abs_tol=1e-12)


def _allowed(file: str, row: Mapping[str, str], column: str) -> float:
    """By how much a value may differ from that of its published row; NaN where it is not judged."""
    if file == VERDICTS and column == "verdict":
        return 0.0 if row["primary"] == "True" else math.nan
    spread = next((name for name in (f"{column}_sd", _spread_of_mean(column)) if name in row), None)
    if spread is None or math.isnan(_number(row[column])):
        return math.nan
    deviation = _number(row[spread])
    return max(0.0 if math.isnan(deviation) else deviation, LEAST_SHARE * abs(_number(row[column])))


def _spread_of_mean(column: str) -> str:
    """`clean_mean` stands beside `clean_sd`, `mean` beside `sd`."""
    return f"{column.removesuffix('mean')}sd" if column.endswith("mean") else ""


def lines(report: TableReport, most: int) -> Sequence[str]:
    """What to print of a report, at most so many differences one by one."""
    found = [
        f"tables: {report.files} files compared, {report.identical} with the same bytes; values that differ: "
        f"{report.within} within tolerance, {len(report.differences)} beyond it, {report.moved} not judged"
    ]
    ordered = sorted(report.differences, key=lambda one: one.column != "verdict")
    found += [f"  {difference}" for difference in ordered[:most]]
    rest = Counter(difference.file for difference in ordered[most:])
    return [*found, *(f"  {file}: {count} more" for file, count in rest.items())]
