"""The marginal mean: the one way in which values are averaged over datasets, activations and seeds.

Within a dataset and an activation the seeds count alike, within a dataset the activations, and each dataset counts
once (Searle, Speed & Milliken 1980, Am. Stat. 34, 216-221; the equal weights of R's emmeans). In a balanced grid
that is the plain mean. Where cells are missing, a dataset that has more of them does not count for more.
"""

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from dreg_sweep.analysis.statistics.exact import nearest_float
from dreg_sweep.factors import BLOCK

if TYPE_CHECKING:
    import pandas as pd

SAFE = 2**62  # a sum of int64 numerators stays below


def marginal_means(
    values: np.ndarray, there: np.ndarray, averaged: Iterable[str], denominator: int = 1, first: int = 0
) -> tuple[np.ndarray, np.ndarray, int]:
    """Marginal means of a cube of values over some of its factors.

    Args:
        values: (…, D, A, S) numerators (integers, exact) or floats; the last axes stand for the factors of `BLOCK`.
        there: bool of the same shape, or one that broadcasts to it: which cells have a value.
        averaged: the factors of `BLOCK` to average over.
        denominator: of the numerators; 1 for floats.
        first: the axis of the first factor of `BLOCK`.

    Returns:
        The means without the axes that were averaged over (0 where no cell has a value), which of them have a
        value, and the denominator of the means.
    """
    there = np.broadcast_to(there, values.shape)
    exact = values.dtype.kind != "f"
    axes = [first + place for place, name in enumerate(BLOCK) if name in set(averaged)]
    for axis in reversed(axes):  # seeds first, datasets last
        if exact and values.dtype != object and _largest(values) * max(1, values.shape[axis]) >= SAFE:
            values = values.astype(object)
        counts = there.sum(axis=axis, keepdims=True)
        sums = np.where(there, values, 0).sum(axis=axis, keepdims=True)
        there = counts > 0
        divisors = np.maximum(counts, 1)
        if exact:
            values, denominator = over_one(sums, divisors, denominator)
        else:
            values = sums / divisors
    kept = tuple(axes)
    return np.squeeze(np.asarray(values), kept), np.squeeze(there, kept), denominator


def over_one(sums: np.ndarray, counts: np.ndarray, denominator: int) -> tuple[np.ndarray, int]:
    """The means sums / (counts × denominator) as integers over one denominator."""
    common = math.lcm(*np.unique(counts).tolist()) if counts.size else 1
    if sums.dtype != object and _largest(sums) * common >= SAFE:
        sums = sums.astype(object)
    return sums * (common // counts), common * denominator


def marginal_mean(values: Iterable[tuple[tuple[Any, ...], Any]]) -> Fraction:
    """The marginal mean of exact values.

    Args:
        values: pairs of a block (levels in the order of `BLOCK`, or of a part of it) and its value: an integer or a
            fraction.

    Returns:
        The mean. Raises ZeroDivisionError where there is no value.
    """
    level: list[tuple[tuple[Any, ...], Fraction]] = [(block, Fraction(value)) for block, value in values]
    while level and level[0][0]:
        groups: dict[tuple[Any, ...], list[Fraction]] = {}
        for block, value in level:
            groups.setdefault(block[:-1], []).append(value)
        level = [(block, sum(those, Fraction(0)) / len(those)) for block, those in groups.items()]
    return sum((value for _, value in level), Fraction(0)) / len(level)


def marginal_column(frame: "pd.DataFrame", column: str, by: Sequence[str] = ()) -> "pd.Series[float]":
    """The marginal means of a column of floats.

    Args:
        frame: one row a block, with the columns of `BLOCK`, `column` and those of `by`.
        column: the values to average.
        by: the columns for each combination of whose levels there is a mean; may hold some of `BLOCK`.

    Returns:
        The means, indexed by `by` in ascending order; one mean under the index 0 where `by` is empty.
    """
    import pandas as pd

    over = [name for name in BLOCK if name not in by]
    keys = [*by, *over]
    rows = frame[frame[keys].notna().all(axis=1)]
    codes = np.array([_ranks(rows[key]) for key in keys]).reshape(len(keys), len(rows))
    order = np.lexsort(codes[::-1]) if keys else np.arange(len(rows))
    codes, values = codes[:, order], rows[column].to_numpy(dtype=float, na_value=np.nan)[order]
    places = order
    for count in range(len(keys), len(by) - 1, -1):
        differs = (codes[:count, 1:] != codes[:count, :-1]).any(axis=0)
        starts = np.flatnonzero(np.concatenate([[True], differs])[: len(values)])
        there = ~np.isnan(values)
        sums, counts = (np.add.reduceat(part, starts) for part in (np.where(there, values, 0.0), there * 1.0))
        with np.errstate(invalid="ignore"):
            values = sums / counts
        codes, places = codes[:, starts], places[starts]
    if not by:
        return pd.Series(values, name=column)
    return pd.Series(values, rows.iloc[places].set_index(list(by)).index, name=column)


def _ranks(levels: "pd.Series[Any]") -> np.ndarray:
    """The place of each row's level in their order."""
    import pandas as pd

    if isinstance(levels.dtype, pd.CategoricalDtype):
        return levels.cat.codes.to_numpy()
    return pd.factorize(levels, sort=True)[0]


def seeds_alike(there: np.ndarray) -> bool:
    """Whether all seeds with a value have those of the same blocks.

    Only then does the spread of the seeds' means speak of the seeds alone.

    Args:
        there: (…, S) of bool, the seeds along the last axis.
    """
    blocks = there.reshape(-1, there.shape[-1])
    some = blocks[:, blocks.any(axis=0)]
    return bool((some == some[:, :1]).all())


def as_floats(numerators: np.ndarray, denominator: int) -> np.ndarray:
    """The values of exact numerators as floats, however large numerators and denominator are."""
    if numerators.dtype != object and denominator < 2**53:
        return np.asarray(numerators / denominator)
    floats = [nearest_float(Fraction(int(value), denominator)) for value in numerators.ravel().tolist()]
    return np.array(floats, dtype=float).reshape(numerators.shape)


def _largest(values: np.ndarray) -> int:
    return int(np.abs(values).max()) if values.size else 0
