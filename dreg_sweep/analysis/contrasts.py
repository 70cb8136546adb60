"""Contrasts between the levels of any factor of any tidy table: paired, tested exactly, in one frame."""

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from dreg_sweep.analysis.marginal import marginal_mean
from dreg_sweep.analysis.rows.levels import ordered
from dreg_sweep.analysis.scores import EXACT, Metric, exact_values, rounded
from dreg_sweep.analysis.statistics.exact import nearest_float
from dreg_sweep.analysis.statistics.rank_tests import holm
from dreg_sweep.analysis.statistics.wilcoxon import signed_rank
from dreg_sweep.factors import CROSSED

if TYPE_CHECKING:
    import pandas as pd

_USUAL = ("clean_accuracy", "test_loss")  # metrics of the result format, the first one there is
_RESULTS = ("estimate", "low", "high", "confidence", "p", "p_adjusted", "floor", "floor_adjusted")
_FURTHER = ("hodges_lehmann", "rank_biserial", "zeros")


def compare(
    frame: "pd.DataFrame",
    factor: str = "regularizer",
    treatment: Any = None,
    baseline: Any = None,
    metric: str | None = None,
    unit: str | Sequence[str] | None = None,
    *,
    block: Sequence[str] = (),
    at: Sequence[str] = (),
) -> "pd.DataFrame":
    """The contrasts between levels of one factor, level by level, paired within blocks.

    Args:
        frame: one row a run. Where it has a column `status`, rows other than done are left out; so are rows without
            a value of the metric.
        factor: the column whose levels are compared, such as activation or optimizer.lr.
        treatment: the level that is compared, with the baseline or with every other level.
        baseline: the level that the treatment, or every other level, is compared with. With neither, every pair of
            levels is.
        metric: a column of numbers; by default clean_accuracy or test_loss, else the only column of numbers.
        unit: the column, or columns, whose levels are the pairs of a test. By default dataset; seed where there is
            one dataset or the datasets are compared; else the first block factor. `cell` makes every block a pair.
        block: columns that were crossed with the factor, beside dataset, activation, regularizer and seed, which
            are blocks where the frame has them.
        at: columns within each combination of whose levels the contrasts are made apart: simple effects.

    Returns:
        One row a contrast. level, against; metric, unit; the columns of `at`; n, the pairs; estimate, the marginal
        mean of the differences level - against over the blocks that have both (dataset by dataset, seeds within);
        low, high, the confidence interval of the median difference (Hodges & Lehmann 1963) at `confidence`, the
        level of at least 95 % that n allows, or the widest interval; p, of the exact signed-rank test, two-sided;
        p_adjusted, by Holm's method over the contrasts of the same combination of `at`; floor and floor_adjusted,
        the smallest values that p and p_adjusted could take with so many pairs; hodges_lehmann, rank_biserial, and
        zeros, the pairs without a difference, which the test drops. Nulls where there is no pair.

    Raises:
        ValueError: for columns or levels that are not there, fewer than two levels, a column in two roles, several
            rows of one level and block (name the factor that tells them apart with `block` or `at`), and a unit that
            is no block.
    """
    import pandas as pd

    metric = metric or _metric(frame, (factor, *block, *at))
    rows, blocks, units = _prepared(frame, factor, metric, unit, tuple(block), tuple(at))
    pairs = _contrasted(ordered(factor, rows[factor]), factor, treatment, baseline)
    measured = Metric("measured", 1, "")
    exact = exact_values(rows[[metric]].set_axis([measured.name], axis=1), [measured])
    values = [Fraction(int(value), exact.denominator) for value in exact.numerators[measured.name].tolist()]
    limits = exact.round_off.get(measured.name, np.full(len(values), EXACT)).tolist()
    found: list[dict[str, Any]] = []
    for combination, places in _parts(rows, at):
        cells: dict[Any, dict[tuple[Any, ...], int]] = {}
        for place, level, where in zip(
            places,
            rows[factor].iloc[places],
            rows[list(blocks)].iloc[places].itertuples(index=False, name=None),
            strict=True,
        ):
            if where in cells.setdefault(level, {}):
                told = ", ".join(
                    f"{name}={one}" for name, one in zip((factor, *blocks), (level, *where), strict=True)
                )
                raise ValueError(
                    f"several rows have {told}; name the factor that tells them apart with block or at"
                )
            cells[level][where] = place
        contrasts = [
            _contrast(cells.get(one, {}), cells.get(other, {}), blocks, units, values, limits)
            for one, other in pairs
        ]
        names = {"metric": metric, "unit": " × ".join(units), **dict(zip(at, combination, strict=True))}
        adjusted = _adjusted(contrasts)
        found += [
            {"level": one, "against": other, **names, **contrast, **more}
            for (one, other), contrast, more in zip(pairs, contrasts, adjusted, strict=True)
        ]
    columns = ["level", "against", "metric", "unit", *at, "n", *_RESULTS, *_FURTHER]
    kinds = dict.fromkeys((*_RESULTS, *_FURTHER), "float64") | {"n": "int64", "zeros": "int64"}
    return pd.DataFrame(found, columns=columns).astype(kinds)


def _metric(frame: "pd.DataFrame", taken: Iterable[str]) -> str:
    """The metric where none is named."""
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    usual = next((name for name in _USUAL if name in frame and frame[name].notna().any()), None)
    if usual is not None:
        return usual
    numbers = [
        name
        for name in frame.columns
        if name not in {*taken, *CROSSED} and is_numeric_dtype(frame[name]) and not is_bool_dtype(frame[name])
    ]
    if len(numbers) != 1:
        raise ValueError(f"name the metric; columns of numbers are: {', '.join(map(str, numbers)) or 'none'}")
    return str(numbers[0])


def _prepared(
    frame: "pd.DataFrame",
    factor: str,
    metric: str,
    unit: str | Sequence[str] | None,
    block: tuple[str, ...],
    at: tuple[str, ...],
) -> tuple["pd.DataFrame", tuple[str, ...], tuple[str, ...]]:
    """The rows that count; the block factors, outermost first: dataset, others, seed; and those of the unit."""
    named = (factor, metric, *block, *at)
    missing = [name for name in named if name not in frame]
    if missing:
        raise ValueError(
            f"there is no column {', '.join(missing)}; there are: {', '.join(map(str, frame.columns))}"
        )
    twice = sorted({name for name in named if named.count(name) > 1})
    if twice:
        raise ValueError(f"{', '.join(twice)} has two roles; factor, metric, block and at are different columns")
    there = [name for name in CROSSED if name in frame and name not in (factor, metric, *at, *block)]
    known = [*there, *block]
    others = [name for name in known if name not in ("dataset", "seed")]
    blocks = tuple(name for name in ("dataset", *others, "seed") if name in known)
    rows = frame[frame[metric].notna()]
    if "status" in rows:
        rows = rows[rows["status"].isna() | (rows["status"] == "done")]
    rows = rows.reset_index(drop=True)
    for name in (factor, *blocks, *at):
        if rows[name].isna().any():
            raise ValueError(f"{name} is empty in {int(rows[name].isna().sum())} rows that have a {metric}")
    if not np.isfinite(rows[metric].to_numpy(dtype=float)).all():
        raise ValueError(f"{metric} is not finite in some rows; drop them, or say what they count as")
    return rows, blocks, _unit(rows, blocks, unit)


def _unit(rows: "pd.DataFrame", blocks: tuple[str, ...], unit: str | Sequence[str] | None) -> tuple[str, ...]:
    if not blocks:
        raise ValueError(
            "there is nothing to pair by: name the columns that were crossed with the factor, as block"
        )
    if unit is None:
        several = [name for name in blocks if rows[name].nunique() > 1]
        return (next((name for name in ("dataset", "seed", *blocks) if name in several), blocks[0]),)
    if unit == "cell":
        return blocks
    asked = (unit,) if isinstance(unit, str) else tuple(unit)
    unknown = [name for name in asked if name not in blocks]
    if unknown or not asked:
        raise ValueError(f"unit {', '.join(unknown)} is no block; choose of: {', '.join(blocks)}, cell")
    return tuple(name for name in blocks if name in asked)


def _contrasted(levels: list[Any], factor: str, treatment: Any, baseline: Any) -> list[tuple[Any, Any]]:
    """Which level is compared with which."""
    for level in (treatment, baseline):
        if level is not None and level not in levels:
            raise ValueError(f"{factor} has no level {level}; it has: {', '.join(map(str, levels))}")
    if len(levels) < 2:
        raise ValueError(
            f"{factor} has one level with a result, {', '.join(map(str, levels))}: nothing to compare"
        )
    if treatment is not None and treatment == baseline:
        raise ValueError(f"{treatment} cannot be compared with itself")
    if treatment is not None:
        return [(treatment, other) for other in levels if other != treatment and baseline in (None, other)]
    if baseline is not None:
        return [(level, baseline) for level in levels if level != baseline]
    return list(combinations(levels, 2))


def _parts(rows: "pd.DataFrame", at: Sequence[str]) -> list[tuple[tuple[Any, ...], list[int]]]:
    """Each combination of levels and the places of its rows, in display order."""
    if not at:
        return [((), list(range(len(rows))))]
    found: dict[tuple[Any, ...], list[int]] = {}
    for place, combination in enumerate(rows[list(at)].itertuples(index=False, name=None)):
        found.setdefault(combination, []).append(place)
    orders = [{level: number for number, level in enumerate(ordered(name, rows[name]))} for name in at]
    return sorted(found.items(), key=lambda part: [order[one] for order, one in zip(orders, part[0], strict=True)])


def _contrast(
    one: dict[tuple[Any, ...], int],
    other: dict[tuple[Any, ...], int],
    blocks: tuple[str, ...],
    units: tuple[str, ...],
    values: list[Fraction],
    limits: list[int],
) -> dict[str, Any]:
    """n and what the test says of one contrast; levels as block → place of its value."""
    inner = [number for number, name in enumerate(blocks) if name not in units]
    outer = [number for number, name in enumerate(blocks) if name in units]
    differences: dict[tuple[Any, ...], list[tuple[tuple[Any, ...], Fraction]]] = {}
    round_off: dict[tuple[Any, ...], int] = {}
    everything = []
    for where, place in one.items():
        if where in other:
            difference = values[place] - values[other[where]]
            pair = tuple(where[number] for number in outer)
            differences.setdefault(pair, []).append((tuple(where[number] for number in inner), difference))
            round_off[pair] = max(round_off.get(pair, EXACT), limits[place], limits[other[where]])
            everything.append((where, difference))
    if not everything:
        return {"n": 0, "zeros": 0}
    pairs = [rounded(marginal_mean(those), round_off[pair]) for pair, those in differences.items()]
    test = signed_rank(pairs)
    return {
        "n": len(pairs),
        "estimate": nearest_float(marginal_mean(everything)),
        "low": test.interval.low,
        "high": test.interval.high,
        "confidence": test.interval.confidence,
        "p": test.p,
        "floor": test.floor,
        "hodges_lehmann": test.hodges_lehmann,
        "rank_biserial": test.rank_biserial,
        "zeros": sum(pair == 0 for pair in pairs),
    }


def _adjusted(contrasts: Sequence[dict[str, Any]]) -> list[dict[str, float]]:
    """Holm's method; a contrast without a pair counts as p = 1, so that no p gets smaller because one is missing."""
    columns = {name: holm([one.get(name, 1.0) for one in contrasts]) for name in ("p", "floor")}
    return [
        {f"{name}_adjusted": float(values[number]) if one["n"] else math.nan for name, values in columns.items()}
        for number, one in enumerate(contrasts)
    ]
