"""What the tables share: how numbers print, and the sentences that captions are made of."""

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

from dreg_sweep.analysis.audit import left_out
from dreg_sweep.analysis.grid import Grid
from dreg_sweep.analysis.report.render import NOTHING, Column, Mark, best_two
from dreg_sweep.analysis.rows.levels import listed
from dreg_sweep.analysis.scores import Metric
from dreg_sweep.analysis.statistics.exact import nearest_float

WRITTEN_OUT = 1e6  # larger values are printed with an exponent


def number(value: Any, metric: Metric) -> str:
    """A value in the metric's printed unit: two decimals for %, four significant digits otherwise."""
    if value is None or value != value:
        return NOTHING
    return f"{value:.2f}" if metric.unit == "%" else f"{value:.4g}"


def signed(value: Any, metric: Metric) -> str:
    """A difference with its sign; one that prints as zero has none."""
    if value is None or value != value:
        return NOTHING
    text = f"{value:+.2f}" if metric.unit == "%" else f"{value:+.4g}"
    return text.lstrip("+-") if float(text) == 0 else text.replace("-", "−")


def p_text(p: Any) -> str:
    """Three places, as papers print p-values."""
    if p is None or p != p:
        return NOTHING
    return "<0.001" if p < 0.0005 else f"{p:.3f}"


def text(name: str, header: str | None = None) -> Column:
    """A column of texts."""
    return Column(header or name, lambda row: str(row[name]), numeric=False)


def numbers(name: str, metric: Metric, header: str | None = None) -> Column:
    """A column of values of the metric."""
    return Column(header or name, lambda row: number(row[name], metric), value=name)


def count(name: str, header: str | None = None) -> Column:
    """A column of whole numbers."""
    return Column(header or name, lambda row: NOTHING if row[name] != row[name] else f"{row[name]:g}", value=name)


def p_values(name: str, header: str, adjusted: str | None = None) -> Column:
    """A column of p-values; with `adjusted` the Holm-adjusted ones stand in parentheses."""

    def show(row: Mapping[str, Any]) -> str:
        plain = p_text(row[name])
        if adjusted is None or plain == NOTHING:
            return plain
        return f"{plain} ({p_text(row[adjusted])})"

    return Column(header, show, value=name)


def mean_sd(name: str, spread: str, metric: Metric, header: str) -> Column:
    """A column `mean ± sd`; the mean alone where there is no sd."""

    def show(row: Mapping[str, Any]) -> str:
        if row[spread] is None or row[spread] != row[spread]:
            return number(row[name], metric)
        largest = max(abs(row[name]), row[spread])
        if metric.unit != "%" and largest >= WRITTEN_OUT:
            return f"{row[name]:.4g} ± {row[spread]:.2g}"
        places = 2 if metric.unit == "%" else _places(largest)
        return f"{row[name]:.{places}f} ± {row[spread]:.{places}f}"

    return Column(header, show, value=name)


def _places(value: float) -> int:
    """Decimals that give a value four significant digits."""
    return max(0, 3 - math.floor(math.log10(value))) if value > 0 else 2


def best_in(values: Sequence[Any], metric: Metric) -> list[Mark | None]:
    """Marks of the best and the second best, judged by what is printed."""
    printed = [number(value, metric) for value in values]
    if metric.higher_is_better:
        return best_two(printed)
    return best_two([NOTHING if shown == NOTHING else str(-Decimal(shown)) for shown in printed])


def percent(value: Fraction, metric: Metric) -> float:
    """In the metric's printed unit."""
    return nearest_float(metric.scale * value)


def mean(values: Sequence[Fraction]) -> Fraction:
    """The exact arithmetic mean."""
    return sum(values, Fraction(0)) / len(values)


def sd(values: Sequence[Fraction], metric: Metric) -> float | None:
    """Standard deviation (n − 1) in the metric's printed unit; None for fewer than two values."""
    return metric.scale * deviation(values) if len(values) > 1 else None


def deviation(values: Sequence[Any]) -> float:
    """Standard deviation (n − 1) of numbers of any size; NaN for fewer than two."""
    if len(values) < 2:
        return math.nan
    first = values[0]
    apart = [value - first for value in values]  # equal values have a deviation of exactly 0
    centre = sum(apart) / len(apart)
    largest = max(abs(value - centre) for value in apart)
    if not largest:
        return 0.0
    share = math.sqrt(sum(float((value - centre) / largest) ** 2 for value in apart) / (len(values) - 1))
    return share * (nearest_float(largest) if isinstance(largest, Fraction) else float(largest))


def unlike_seeds(grid: Grid) -> str:
    """Why a table shows no standard deviation; empty where the seeds cover the same blocks."""
    if grid.seeds_alike:
        return ""
    return " No deviation is shown where seeds cover different blocks: it would also be that of the blocks."


def heading(metric: Metric) -> str:
    """`overall accuracy in %`."""
    return f"{metric.label} in {metric.unit}" if metric.unit else metric.label


MARKS = "Bold marks the best and underline the second best printed value; all ties are marked."


def about(grid: Grid, pairs: bool = False, metrics: bool = True) -> str:
    """What the metrics are (unless a table shows none), and what an unbalanced grid left out.

    pairs: of a table made of paired differences.
    """
    names = [metric.name for metric in grid.metrics]
    what = ""
    if "overall" in names:
        what = "Overall is the mean of clean and noisy accuracy."
    elif names == ["clean"]:
        what = "Clean accuracy only: no row has a noisy accuracy."
    elif not grid.metrics[0].higher_is_better:
        what = f"Lower {names[0]} is better."
    silent = [level for level in grid.levels["regularizer"] if level not in grid.compared]
    waiting = f"Without any result: {listed(silent)}." if silent else ""
    return sentences(what if metrics else "", _uneven_pairs(grid) if pairs else left_out(grid), waiting)


def _uneven_pairs(grid: Grid) -> str:
    compared = grid.done[grid.done.any(axis=(1, 2, 3))]
    if compared.all() or not compared.size:
        return ""
    return (
        f"Unbalanced: {int((~compared).sum())} of {compared.size} cells have no result; each difference is over "
        "the blocks (dataset, activation, seed) that its two regularizers share, whatever the others have."
    )


def sentences(*parts: str) -> str:
    """The parts that say something, one after the other."""
    return " ".join(part for part in parts if part)


def plural(amount: int, noun: str) -> str:
    """The noun with an s unless there is one of it."""
    return noun if amount == 1 else f"{noun}s"
