"""What is compared, as exact integers: counts over a common denominator, or decimals as they were printed.

Ranks depend on which values are equal, and a mean of binary floats loses equalities that the data have. Every
value is therefore an integer over one denominator; sums and differences of them are exact, whatever their size. What
was printed in full (0.3333333333333333) carries the round-off of its own last digits, and of no other value's.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from dreg_sweep.analysis.marginal import SAFE
from dreg_sweep.errors import UserError
from dreg_sweep.factors import CROSSED, FACTORS

if TYPE_CHECKING:
    import pandas as pd

# Counts and the accuracy made from them agree to float32 round-off; a wider gap is a contradiction.
AGREEMENT = 1e-6
# Decimals with more digits than this are taken for quotients that were printed in full, not for exact values.
EXACT_DIGITS = 13
SETTLED_DIGITS = 10  # in which means and differences of such quotients must agree to be equal
EXACT = -(10**6)  # the exponent that stands for no round-off
FAST_PLACES = 12  # decimal places up to which a whole column is converted at once
EXPLODED = 10**6  # times the median of a metric's magnitudes: a value beyond it is named


@dataclass(frozen=True)
class Metric:
    """A measure of a cell. Printed as value × scale with `unit`; differences are called `points` in %.

    called: what it is, where the column's name does not say it.
    """

    name: str
    scale: int = 100
    unit: str = "%"
    higher_is_better: bool = True
    called: str = ""

    @property
    def sign(self) -> int:
        """1, or -1 where lower is better: sign × difference is a gain."""
        return 1 if self.higher_is_better else -1

    @property
    def difference_unit(self) -> str:
        """The unit of a difference of two values; empty for a measure without one."""
        return "points" if self.unit == "%" else self.unit

    @property
    def label(self) -> str:
        """`overall accuracy`, `mean squared error`, or the column's name."""
        return self.called or (f"{self.name} accuracy" if self.name in ACCURACIES else self.name)

    @property
    def slug(self) -> str:
        """The name as part of a file name on any common file system: at most 48 letters, digits and `_.+=-`."""
        return re.sub(r"[^\w.+=-]+", "_", self.name)[:_SLUG]


def called(metrics: Sequence[Metric]) -> dict[str, str]:
    """What the metrics are called whose names do not say what they are."""
    return {metric.name: metric.called for metric in metrics if metric.called}


ACCURACIES = ("overall", "clean", "noisy")
REGRESSION = "test_loss"  # the metric of rows without any accuracy, and then the mean squared error
COSTS = (REGRESSION, "seconds", "steps")  # columns of the store where lower is better
# Columns with numbers that measure nothing about a cell.
_FACTORS = tuple(factor.name for factor in FACTORS if factor.kind is not str)
_COUNTS = ("n_test", "n_noisy", "clean_correct", "noisy_correct")
_SLUG = 48  # characters of up to four bytes, of the 255 that a file's name may have


def choose_metrics(frame: "pd.DataFrame", wanted: str | None, lower_is_better: bool = False) -> tuple[Metric, ...]:
    """The metrics to analyse, the primary one first.

    wanted: None, an accuracy (overall, clean, noisy, or the column clean_accuracy, noisy_accuracy), or a column
    with numbers. Where the rows have noisy accuracies all three are analysed, else clean alone; a column is
    analysed by itself. Rows without any accuracy are those of a regression, and their metric is the test loss.
    Raises UserError, listing what there is to choose from, for a metric that the data do not have and for a column
    that measures nothing.
    """
    noisy = bool(frame["noisy_accuracy"].notna().any())
    regression = not noisy and not frame["clean_accuracy"].notna().any() and frame[REGRESSION].notna().any()
    accuracies: tuple[str, ...] = ACCURACIES if noisy else () if regression else ("clean",)
    name = (wanted or next(iter(accuracies), REGRESSION)).removesuffix("_accuracy")
    if name in accuracies:
        if lower_is_better:
            raise UserError(f"--lower-is-better does not fit {name} accuracy, of which higher is better")
        return tuple(Metric(other) for other in (name, *(other for other in accuracies if other != name)))
    wanted = wanted or name
    columns = measures(frame)
    if wanted not in columns:
        choices = ", ".join([*accuracies, *columns])
        raise UserError(f"metric {wanted} {_why_none(frame, wanted)}; choose one with --metric: {choices}")
    if wanted == "train_accuracy":
        return (Metric(wanted),)
    stored = (
        "config" in frame and frame["config"].notna().any()
    )  # by our own sweep, whose loss of a regression is known
    called = "mean squared error" if regression and stored and wanted == REGRESSION else ""
    return (Metric(wanted, 1, "", not (lower_is_better or wanted in COSTS), called),)


def measures(frame: "pd.DataFrame") -> list[str]:
    """The columns that `--metric` takes beside the accuracies: numbers that are not factors or counts."""
    import pandas as pd

    taken = (*_FACTORS, *_COUNTS, "clean_accuracy", "noisy_accuracy")
    return [
        name
        for name in frame.columns
        if name not in taken
        and "." not in name  # a setting from `config`
        and pd.api.types.is_numeric_dtype(frame[name])
        and not pd.api.types.is_bool_dtype(frame[name])
        and frame[name].notna().any()
    ]


def _why_none(frame: "pd.DataFrame", name: str) -> str:
    """Why a column is not among `measures`, as the rest of a sentence about it."""
    import pandas as pd

    column = frame.get(name)
    if name in _FACTORS and column is not None:
        return "is a factor, not a measure"
    if name in _COUNTS and column is not None:
        return "is a count, not a measure"
    if column is None or name in ("noisy", "noisy_accuracy"):
        return "is not in the data"
    if not column.notna().any():
        return f"is empty in all {len(frame)} rows"
    if "." in name:
        return "is a setting, not a measure"
    if pd.api.types.is_bool_dtype(column):
        return "is true or false, not a number"
    numbers = pd.to_numeric(column, errors="coerce")
    first = column[column.notna() & numbers.isna()].astype(str).head(1).tolist()
    return f"is no column of numbers{f': it has {first[0]!r}' if first else ''}"


@dataclass(frozen=True)
class Exact:
    """Values as integers over one denominator.

    numerators: metric name → array of int64, or of Python integers where those could overflow; 0 where there is
    no value. present: metric name → bool array. round_off: metric name → for each value the power of ten to which
    means and differences with it are rounded before they are ranked, `EXACT` for one that is exact as it stands; a
    metric whose values are all exact is left out. warnings: one line each.
    """

    numerators: dict[str, np.ndarray]
    present: dict[str, np.ndarray]
    denominator: int
    round_off: dict[str, np.ndarray]
    warnings: tuple[str, ...]


def rounded(value: Fraction, exponent: int) -> Fraction:
    """The value rounded to a multiple of 10 to the exponent; as it is for the exponent `EXACT`."""
    if exponent == EXACT:
        return value
    unit = Fraction(10) ** exponent
    return round(value / unit) * unit


def exact_values(frame: "pd.DataFrame", metrics: Sequence[Metric]) -> Exact:
    """The metrics' values of each row.

    clean = clean_correct / n_test and noisy = noisy_correct / n_noisy where the counts are there and agree with
    the accuracy beside them, else the accuracy as the decimal it prints as. overall is their mean. All values must
    be finite or NaN; `audit` refuses others. A value far from all others (`EXPLODED`) is named in a warning.
    """
    warnings: list[str] = []
    columns: dict[str, _Column] = {}
    for metric in metrics:
        for name in ("clean", "noisy") if metric.name == "overall" else (metric.name,):
            if name not in columns:
                columns[name] = _column(frame, name, warnings)
                warnings += _exploded(frame, columns[name], name)
    denominator = math.lcm(*(column.common() for column in columns.values()))
    if any(metric.name == "overall" for metric in metrics):
        denominator *= 2  # halves of sums stay whole
    # Numbers that fit, also when all rows are added up.
    largest = max((column.largest() for column in columns.values()), default=0)
    whole = np.int64 if largest * denominator * 4 * max(1, len(frame)) < SAFE else object
    scaled = {name: column.over(denominator, whole) for name, column in columns.items()}
    numerators: dict[str, np.ndarray] = {}
    present: dict[str, np.ndarray] = {}
    round_off: dict[str, np.ndarray] = {}
    for metric in metrics:
        names = ("clean", "noisy") if metric.name == "overall" else (metric.name,)
        parts = [scaled[name] for name in names]
        numerators[metric.name] = (parts[0] + parts[1]) // 2 if len(parts) == 2 else parts[0]
        present[metric.name] = np.logical_and.reduce([columns[name].present for name in names])
        limits = np.maximum.reduce([columns[name].round_off for name in names])
        if (limits != EXACT).any():
            round_off[metric.name] = limits
    return Exact(numerators, present, denominator, round_off, tuple(warnings))


@dataclass(frozen=True)
class _Column:
    """Rows given as counts (`correct` of `total`, where `counted`) or as decimals.

    decimals: integers, a value being the integer / 10^places. round_off: see `Exact`.
    """

    present: np.ndarray
    counted: np.ndarray
    correct: np.ndarray
    total: np.ndarray
    values: np.ndarray
    decimals: np.ndarray
    places: int
    round_off: np.ndarray

    def common(self) -> int:
        totals = np.unique(self.total[self.counted]).tolist()
        return math.lcm(10**self.places, *(int(total) for total in totals))

    def largest(self) -> int:
        """A whole number that no magnitude exceeds."""
        return math.ceil(np.abs(self.values[self.present]).max(initial=0.0))

    def over(self, denominator: int, whole: Any) -> np.ndarray:
        """Numerators over the denominator, which is a multiple of `common()`."""
        numerators = np.zeros(len(self.present), dtype=whole)
        for total in np.unique(self.total[self.counted]).tolist():
            rows = self.counted & (self.total == total)
            numerators[rows] = self.correct[rows].astype(whole) * (denominator // int(total))
        rows = self.present & ~self.counted
        numerators[rows] = self.decimals[rows].astype(whole) * (denominator // 10**self.places)
        return numerators


def _column(frame: "pd.DataFrame", name: str, warnings: list[str]) -> _Column:
    accuracy = name in ACCURACIES
    values = frame[f"{name}_accuracy" if accuracy else name].to_numpy(dtype=float, na_value=np.nan)
    present = ~np.isnan(values)
    counted = np.zeros(len(frame), dtype=bool)
    correct = total = np.zeros(len(frame), dtype=np.int64)
    if accuracy:
        of = {"clean": "n_test", "noisy": "n_noisy"}[name]
        given = frame[f"{name}_correct"].notna().to_numpy() & frame[of].fillna(0).gt(0).to_numpy(dtype=bool)
        correct = frame[f"{name}_correct"].fillna(0).to_numpy(dtype=np.int64)
        total = frame[of].fillna(0).to_numpy(dtype=np.int64)
        with np.errstate(divide="ignore", invalid="ignore"):
            agree = np.abs(correct / np.maximum(total, 1) - values) <= AGREEMENT
        counted = present & given & agree
        disagree = int((present & given & ~agree).sum())
        if disagree:
            warnings.append(
                f"{name}_correct / {of} differs from {name}_accuracy in {disagree} row(s); "
                f"{name}_accuracy is used there"
            )
    rows = present & ~counted
    whole, places, round_off = decimals(values[rows])
    all_decimals = np.zeros(len(frame), dtype=whole.dtype)
    all_decimals[rows] = whole
    limits = np.full(len(frame), EXACT, dtype=np.int32)
    limits[rows] = round_off
    return _Column(present, counted, correct, total, values, all_decimals, places, limits)


def decimals(values: np.ndarray) -> tuple[np.ndarray, int, np.ndarray]:
    """Floats as the decimals that they print as: integers, the decimal places of all, and each one's round-off.

    0.73 + 0.013 is a decimal of three places with round-off in the last bits: two of them are allowed.
    """
    exact = np.full(len(values), EXACT, dtype=np.int32)
    largest = float(np.abs(values).max(initial=0.0))
    for places in range(FAST_PLACES + 1):
        if largest * 10.0**places >= 2.0**53:
            break
        scaled = np.rint(values * 10.0**places)
        if (np.abs(scaled / 10.0**places - values) <= 2 * np.spacing(np.abs(values))).all():
            return scaled.astype(np.int64), places, exact
    distinct, place = np.unique(values, return_inverse=True)
    parsed = [_decimal(value) for value in distinct.tolist()]
    places = max(0, *(-exponent for _, exponent, _ in parsed))
    whole = np.array([digits * 10 ** (exponent + places) for digits, exponent, _ in parsed], dtype=object)
    limits = np.array([limit for *_, limit in parsed], dtype=np.int32)
    return whole[place], places, limits[place]


def _decimal(value: float) -> tuple[int, int, int]:
    """A float as digits × 10^exponent, and its round-off as in `Exact`."""
    short = f"{value:.{EXACT_DIGITS - 1}e}"
    exact = abs(float(short) - value) <= 2 * math.ulp(value)
    sign, digits, exponent = Decimal(short if exact else repr(value)).normalize().as_tuple()
    number = int("".join(map(str, digits))) * (-1 if sign else 1)
    assert isinstance(exponent, int)
    limit = EXACT if exact else math.ceil(math.log10(abs(value))) - SETTLED_DIGITS
    return number, exponent, limit


def _exploded(frame: "pd.DataFrame", column: _Column, name: str) -> list[str]:
    """A line on the values that are more than `EXPLODED` times the median of all magnitudes; none for accuracies."""
    sizes = np.abs(column.values[column.present])
    usual = float(np.median(sizes)) if len(sizes) else 0.0
    if name in ACCURACIES or usual == 0 or not (sizes / EXPLODED > usual).any():
        return []
    rows = np.flatnonzero(column.present)[sizes / EXPLODED > usual]
    worst = rows[np.abs(column.values[rows]).argmax()]
    ratio = math.log10(abs(float(column.values[worst]))) - math.log10(usual)
    levels = ", ".join(f"{factor}={frame[factor].iloc[worst]}" for factor in CROSSED if factor in frame)
    others = f"; {len(rows) - 1} more values are above 10^6 times the median" if len(rows) > 1 else ""
    return [
        f"{name} is {column.values[worst]:g} at {levels}: 10^{round(ratio)} times the median of all "
        f"({usual:g}), so that means with it say little about the rest{others}"
    ]
