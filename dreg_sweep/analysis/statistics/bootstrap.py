"""The bootstrap over clusters: the interval of a mean, and how often each method would come first.

A resample draws n of the n clusters with replacement, so that its mean depends only on how often each cluster was
drawn: C(2n - 1, n) multisets, whose probabilities are multinomial. Up to `MOST_MULTISETS` of them (n <= 10) are
enumerated, which gives the bootstrap distribution itself; beyond, `RESAMPLES` seeded draws stand in for it.

Sources: Efron 1979 (Ann. Statist. 7, 1-26); Fisher & Hall 1991 (Comput. Statist. Data Anal. 12, 325-343) for the
enumeration.
"""

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from dreg_sweep.analysis.statistics.exact import Numbers, as_numbers, as_rows, nearest_float

Method = Literal["exact", "monte carlo"]

MOST_MULTISETS = 100_000
RESAMPLES = 20_000
SEED = 0
CHUNK = 2**20  # cluster numbers drawn at a time


@dataclass(frozen=True)
class ClusteredInterval:
    """The result of `clustered_interval`.

    low, high, confidence: see `clustered_interval`.
    estimate: the mean over the clusters, in the values' unit.
    clusters: how many there are.
    method: "exact" from all multisets of clusters, or "monte carlo" from seeded draws.
    resamples: the number of multisets enumerated, or of draws.
    """

    low: float
    high: float
    estimate: float
    confidence: float
    clusters: int
    method: Method
    resamples: int


def clustered_interval(values: Iterable[Any], confidence: float = 0.95, seed: int = SEED) -> ClusteredInterval:
    """Percentile interval of the mean over clusters (one number a cluster, each counting alike).

    With M the mean of a resample and a = (1 - confidence) / 2, low is the smallest x with P(M <= x) >= a and high
    the largest x with P(M >= x) >= a, over the exact bootstrap distribution or the empirical one of the draws.
    Both are means that can occur, no interpolation takes place; fewer than a lie below low, fewer than a above
    high, and negated values give the negated interval. `confidence` is read as its decimal text, so that 0.95
    leaves 1/40 on each side. The order of the values does not matter.

    With few clusters the interval is known to be too short: its spread is that of the plug-in variance, a factor
    sqrt((n - 1) / n) below the unbiased one.
    Raises ValueError for a missing value, fewer than 2 clusters and a confidence outside (0, 1). A mean of exact
    values beyond the largest float (1.8e308) is infinite.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence!r} must lie between 0 and 1")
    numbers = as_numbers(values, "values")
    clusters = len(numbers.array)
    if clusters < 2:
        raise ValueError(f"a bootstrap over clusters needs at least 2 of them, not {clusters}")
    sums, weights = _resampled_sums(np.sort(numbers.array)[:, None], seed)
    order = np.argsort(sums[:, 0], kind="stable")
    cumulative = np.cumsum(weights[order])
    total = int(cumulative[-1])
    tail = math.ceil((1 - Fraction(str(confidence))) / 2 * total)  # the least weight that reaches a
    # P(M >= x) >= a for the largest x is, in the sorted sums, the first whose predecessors leave that weight.
    low, high = np.searchsorted(cumulative, [tail, total - tail + 1])
    return ClusteredInterval(
        low=_mean(sums[order[low], 0], numbers, clusters),
        high=_mean(sums[order[high], 0], numbers, clusters),
        estimate=_mean(sum(np.sort(numbers.array).tolist()), numbers, clusters),
        confidence=float(confidence),
        clusters=clusters,
        method="exact" if _enumerable(clusters) else "monte carlo",
        resamples=len(weights),
    )


def chance_of_first(table: Any, seed: int = SEED) -> Any:
    """For each method, the bootstrap probability that its mean over the clusters is the highest.

    table: DataFrame or two-dimensional array, rows = clusters, columns = methods, higher is better. A DataFrame
    gives a Series over its columns, anything else an array; it adds up to 1. Methods that tie for the highest
    mean share that resample equally; means of floats within 1e-10 of the highest tie. All methods are
    resampled together, exactly or by draws as in `clustered_interval`; the order of the rows does not matter.
    Raises ValueError for a missing value, clusters of different lengths, fewer than 2 clusters and a table without
    a method.
    """
    raw = as_rows(table, "cluster").astype(object)
    if raw.ndim != 2 or raw.shape[0] < 2 or raw.shape[1] < 1:
        raise ValueError(
            f"chance_of_first needs at least 2 clusters (rows) and 1 method (columns), not {raw.shape}"
        )
    methods = raw.shape[1]
    numbers = as_numbers(raw.ravel(), "table")
    scores = numbers.array.reshape(raw.shape)
    sums, weights = _resampled_sums(np.array(sorted(scores.tolist()), dtype=scores.dtype), seed)
    best = sums.max(axis=1, keepdims=True)  # of exact types, sums may be beyond any float
    share = float(numbers.tolerance)
    first = sums >= best - share * np.abs(best) if share else sums == best
    shared = first.sum(axis=1)
    won = [Fraction(0)] * methods
    for parts in np.unique(shared).tolist():  # whole weights are added up before they are divided
        firsts = weights[shared == parts] @ first[shared == parts]
        won = [chance + Fraction(int(weight), parts) for chance, weight in zip(won, firsts, strict=True)]
    chances = np.array([float(chance / int(weights.sum())) for chance in won])
    if hasattr(table, "columns"):
        import pandas as pd

        return pd.Series(chances, index=table.columns, name="chance_of_first")
    return chances


def _enumerable(clusters: int) -> bool:
    return math.comb(2 * clusters - 1, clusters) <= MOST_MULTISETS


def _resampled_sums(scores: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Column sums of resampled rows and the integer weight of each resample; the rows come in a settled order."""
    clusters = len(scores)
    if scores.dtype == np.int64 and int(np.abs(scores).max()) * clusters >= 2**62:
        scores = scores.astype(object)
    if _enumerable(clusters):
        counts, weights = _multisets(clusters)
        return counts.astype(scores.dtype) @ scores, weights
    rng = np.random.default_rng(seed)
    size = max(1, CHUNK // (clusters * scores.shape[1]))
    sums = [
        scores[rng.integers(clusters, size=(min(size, RESAMPLES - start), clusters))].sum(axis=1)
        for start in range(0, RESAMPLES, size)
    ]
    return np.concatenate(sums), np.ones(RESAMPLES, dtype=np.int64)


@lru_cache(maxsize=16)
def _multisets(clusters: int) -> tuple[np.ndarray, np.ndarray]:
    """How often each multiset of n clusters holds each of them, and how many of the n^n draws give it."""
    drawn = np.array(list(itertools.combinations_with_replacement(range(clusters), clusters)))
    counts = np.stack([(drawn == cluster).sum(axis=1) for cluster in range(clusters)], axis=1)
    factorials = np.array([math.factorial(number) for number in range(clusters + 1)])
    return counts, math.factorial(clusters) // factorials[counts].prod(axis=1)


def _mean(total: Any, numbers: Numbers, clusters: int) -> float:
    if numbers.array.dtype == np.float64:
        return float(total) / clusters
    return nearest_float(int(total) * numbers.unit / clusters)
