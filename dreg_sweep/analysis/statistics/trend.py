"""Page's test for ordered alternatives: do the scores rise along conditions whose order was fixed beforehand?

Sources: Page 1963 (JASA 58, 216-230); Hollander & Wolfe 1999 (Nonparametric Statistical Methods, section 7.2).
"""

import itertools
import math
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any, Literal, get_args

import numpy as np

from dreg_sweep.analysis.statistics.exact import as_fractions, as_rows, doubled_midranks

Direction = Literal["increasing", "decreasing", "two-sided"]
Method = Literal["exact", "normal"]

EXACT_CONDITIONS = 7  # 5040 orders a block
EXACT_BLOCKS = 200


@dataclass(frozen=True)
class Page:
    """The result of `page`.

    p: p-value for the chosen alternative.
    statistic: L = sum_j j R_j, R_j the sum over the blocks of condition j's midranks (1 = lowest score).
    n, k: the numbers of blocks and of conditions.
    floor: the smallest p that any order of these ranks within the blocks could give: the product over the blocks
        of prod(t!) / k! for tie groups of sizes t, twice that two-sided, at most 1. Like p it is 0.0 where it is
        below the smallest float.
    method: whether p is "exact" (k <= 7 and n <= 200) or from the "normal" approximation.
    """

    p: float
    statistic: float
    n: int
    k: int
    floor: float
    method: Method


def page(table: Any, alternative: Direction = "increasing") -> Page:
    """Page's test of "all orders of the conditions within a block are equally likely".

    table: DataFrame or two-dimensional array, rows = blocks, columns = conditions in the hypothesised order.
        Within a block ties share the midrank; floats within 1e-10 of the block's largest magnitude tie.
    alternative: "increasing" asks whether the scores tend to rise from the first column to the last.

    The null distribution is conditional on the midranks of each block: all k! orders are equally likely, and the
    distribution of L is the convolution of the blocks' own. All terms are non-negative, so the relative error of
    p stays near n k x 1e-16. Beyond 7 conditions or 200 blocks p is that of the normal distribution with mean
    n k (k + 1)^2 / 4 and the variance corrected for ties, sum over the blocks of
    (k (k + 1) / 12) sum_j (r_j - (k + 1) / 2)^2, without continuity correction. L is symmetric about its mean;
    two-sided p = min(1, 2 x the smaller tail).
    Raises ValueError for a missing value, blocks of different lengths, no block, fewer than 2 conditions and an
    unknown alternative.
    """
    if alternative not in get_args(Direction):
        raise ValueError(f"alternative={alternative!r} is unknown; choose {', '.join(get_args(Direction))}")
    rows = as_rows(table, "block")
    if rows.ndim != 2 or rows.shape[0] < 1 or rows.shape[1] < 2:
        raise ValueError(f"page needs at least 1 block (rows) and 2 conditions (columns), not {rows.shape}")
    n, k = rows.shape
    advice = "drop incomplete blocks before the test"
    ranks = [
        doubled_midranks(*as_fractions(row, f"block {place}: values", advice))
        for place, row in enumerate(rows.astype(object))
    ]
    doubled = sum(place * rank for block in ranks for place, rank in enumerate(block, start=1))
    patterns = Counter(tuple(sorted(block)) for block in ranks)
    method: Method = "exact" if k <= EXACT_CONDITIONS and n <= EXACT_BLOCKS else "normal"
    above = doubled * 2 - n * k * (k + 1) ** 2  # four times L minus its mean
    upper, lower = (_exact if method == "exact" else _normal)(patterns, above)
    floor = math.prod(_chance_of_order(pattern) ** blocks for pattern, blocks in patterns.items())
    tails = 2 if alternative == "two-sided" else 1
    return Page(
        p=min(1.0, {"increasing": upper, "decreasing": lower, "two-sided": 2 * min(upper, lower)}[alternative]),
        statistic=doubled / 2,
        n=n,
        k=k,
        floor=float(min(Fraction(1), tails * floor)),
        method=method,
    )


def _chance_of_order(pattern: tuple[int, ...]) -> Fraction:
    """The chance of any one order of a block's ranks, and so of the one with the largest L."""
    return Fraction(math.prod(map(math.factorial, Counter(pattern).values())), math.factorial(len(pattern)))


def _exact(patterns: Counter[tuple[int, ...]], above: int) -> tuple[float, float]:
    """P(L >= l) and P(L <= l) for 4 (l - mean) = above."""
    total = np.ones(1)  # chances of 2 L from its least value on, in steps of 1
    for pattern, blocks in sorted(patterns.items()):
        for _ in range(blocks):
            total = np.convolve(total, _block(pattern))
    # The distribution is symmetric, so its middle is the mean: 4 (L - mean) = 2 x place - (len - 1).
    place = (above + len(total) - 1) // 2
    return float(total[place:].sum()), float(total[: place + 1].sum())


@lru_cache(maxsize=256)
def _block(pattern: tuple[int, ...]) -> np.ndarray:
    """Chances of sum_j j r_j, from its least value on, over all orders of one block's doubled midranks."""
    orders = np.array(list(itertools.permutations(pattern)))
    sums = orders @ np.arange(1, len(pattern) + 1)
    counts = np.bincount(sums - sums.min())
    return counts / math.factorial(len(pattern))


def _normal(patterns: Counter[tuple[int, ...]], above: int) -> tuple[float, float]:
    """`_exact` by the normal distribution with the same mean and variance."""
    k = len(next(iter(patterns)))
    # The sum over the blocks of sum_j (2 r_j - (k + 1))^2, four times that in the variance.
    spread = sum(blocks * sum((rank - k - 1) ** 2 for rank in pattern) for pattern, blocks in patterns.items())
    if not spread:
        return 1.0, 1.0
    z = above / 4 / math.sqrt(k * (k + 1) / 12 * spread / 4)
    return math.erfc(z / math.sqrt(2)) / 2, math.erfc(-z / math.sqrt(2)) / 2
