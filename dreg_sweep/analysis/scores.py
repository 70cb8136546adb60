"""What is compared, as exact integers: counts over a common denominator, or decimals as they were printed.

Ranks depend on which values are equal, and a mean of binary floats loses equalities that the data have. Every
value is therefore an integer over one denominator; sums and differences of them are exact.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dreg_sweep.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

# Counts and the accuracy made from them agree to float32 round-off; a wider gap is a contradiction.
AGREEMENT = 1e-6
# Decimals longer than this are taken for quotients that were printed in full (0.333...), not for exact values.
EXACT_PLACES = 12
PLACES = 15  # what a double holds of a number below 1
ROUND_OFF = 5  # places given up there: means of such quotients tie when they agree to the other ten
SAFE = 2**62  # a sum of int64 numerators stays below


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
_FACTORS = ("seed", "strength", "train_size")
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
    no value. present: metric name → bool array. places: None where every value is exact as it stands, else the
    decimal places to which means and differences are rounded before they are ranked. warnings: one line each.
    """

    numerators: dict[str, np.ndarray]
    present: dict[str, np.ndarray]
    denominator: int
    places: int | None
    warnings: tuple[str, ...]


def exact_values(frame: "pd.DataFrame", metrics: Sequence[Metric]) -> Exact:
    """The metrics' values of each row.

    clean = clean_correct / n_test and noisy = noisy_correct / n_noisy where the counts are there and agree with
    the accuracy beside them, else the accuracy as the decimal it prints as. overall is their mean. All values must
    be finite or NaN; `audit` refuses others.
    """
    warnings: list[str] = []
    columns: dict[str, _Column] = {}
    for metric in metrics:
        for name in ("clean", "noisy") if metric.name == "overall" else (metric.name,):
            if name not in columns:
                columns[name] = _column(frame, name, warnings)
    denominator = math.lcm(*(column.common() for column in columns.values()))
    if any(metric.name == "overall" for metric in metrics):
        denominator *= 2  # halves of sums stay whole
    # Numbers that fit, also when all rows are added up.
    largest = max((column.largest() for column in columns.values()), default=0.0)
    whole = np.int64 if largest * denominator * 4 * max(1, len(frame)) < SAFE else object
    scaled = {name: column.over(denominator, whole) for name, column in columns.items()}
    numerators: dict[str, np.ndarray] = {}
    present: dict[str, np.ndarray] = {}
    for metric in metrics:
        if metric.name == "overall":
            numerators["overall"] = (scaled["clean"] + scaled["noisy"]) // 2
            present["overall"] = columns["clean"].present & columns["noisy"].present
        else:
            numerators[metric.name] = scaled[metric.name]
            present[metric.name] = columns[metric.name].present
    rounded = [column.places for column in columns.values() if not column.exact]
    places = max(0, min(rounded) - ROUND_OFF) if rounded else None
    return Exact(numerators, present, denominator, places, tuple(warnings))


@dataclass(frozen=True)
class _Column:
    """Rows given as counts (`correct` of `total`, where `counted`) or as decimals of so many places."""

    values: np.ndarray
    present: np.ndarray
    counted: np.ndarray
    correct: np.ndarray
    total: np.ndarray
    places: int
    exact: bool

    def common(self) -> int:
        totals = np.unique(self.total[self.counted]).tolist()
        return math.lcm(10**self.places, *(int(total) for total in totals))

    def largest(self) -> float:
        return float(np.abs(self.values[self.present]).max(initial=0.0))

    def over(self, denominator: int, whole: Any) -> np.ndarray:
        """Numerators over the denominator, which is a multiple of `common()`."""
        numerators = np.zeros(len(self.values), dtype=whole)
        for total in np.unique(self.total[self.counted]).tolist():
            rows = self.counted & (self.total == total)
            numerators[rows] = self.correct[rows].astype(whole) * (denominator // int(total))
        rows = self.present & ~self.counted
        decimal = np.rint(self.values[rows] * 10.0**self.places)
        # A float of any size becomes a Python integer without loss; int64 only where it fits.
        integers = np.array([int(value) for value in decimal.tolist()], dtype=object)
        numerators[rows] = (integers * (denominator // 10**self.places)).astype(whole)
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
    return _Column(values, present, counted, correct, total, *_places(values[present & ~counted]))


def _places(values: np.ndarray) -> tuple[int, bool]:
    """The fewest decimal places that the values have, and True; or those a double holds of the largest.

    0.73 + 0.013 is a decimal of three places with round-off in the last bits: two of them are allowed.
    """
    largest = np.abs(values).max(initial=0.0)
    most = PLACES - max(0, math.ceil(math.log10(largest))) if largest > 0 else 0
    for places in range(min(EXACT_PLACES, most) + 1):
        rounded = np.rint(values * 10.0**places) / 10.0**places
        if (np.abs(rounded - values) <= 2 * np.spacing(np.abs(values))).all():
            return places, True
    return max(most, 0), False
