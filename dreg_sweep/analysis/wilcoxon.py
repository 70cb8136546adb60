"""The exact Wilcoxon signed-rank test for paired differences, with ties and zeros, and its estimates.

Sources: Wilcoxon 1945 (Biometrics Bulletin 1, 80-83); zeros: Pratt 1959 (JASA 54, 655-667); estimate and
interval: Hodges & Lehmann 1963 (Ann. Math. Stat. 34, 598-611); matched-pairs rank-biserial correlation:
Kerby 2014 (Comprehensive Psychology 3).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, NamedTuple

import numpy as np

from dreg_sweep.analysis.exact import as_fractions, doubled_midranks

Alternative = Literal["two-sided", "greater", "less"]
Zeros = Literal["wilcox", "pratt"]

CONFIDENCE = 0.95


class Interval(NamedTuple):
    """A confidence interval for the centre of the differences; `confidence` is what it achieves."""

    low: float
    high: float
    confidence: float


@dataclass(frozen=True)
class SignedRank:
    """The result of `signed_rank`.

    p: exact p-value for the chosen alternative.
    statistic: R+, the sum of the midranks of |d| over the positive differences.
    n: the pairs the test uses: the nonzero ones under "wilcox"; all of them, zeros counted, under "pratt".
        0 when no difference is nonzero (nothing to test, under either rule).
    floor: the smallest p that any signs of these ranks could give: 2^-m, and 2 * 2^-m two-sided, for m
        nonzero differences; 1 where m = 0.
    rank_biserial: (R+ - R-) / (R+ + R-), in -1..1; 0 when no difference is nonzero.
    hodges_lehmann: the median of the Walsh averages (d_i + d_j) / 2, i <= j, of all differences, zeros
        included; NaN without any difference.
    interval: see `signed_rank`.
    """

    p: float
    statistic: float
    n: int
    floor: float
    rank_biserial: float
    hodges_lehmann: float
    interval: Interval


def signed_rank(
    differences: Iterable[Any], alternative: Alternative = "two-sided", zeros: Zeros = "wilcox"
) -> SignedRank:
    """Exact signed-rank test of "the differences are symmetric about 0".

    differences: one number a pair, in any one-dimensional collection. Integers, Fractions and Decimals are
        compared exactly; as soon as one value is a float, two magnitudes within 1e-10 of the largest one are
        tied, and magnitudes within that of 0 are zeros, so that 0.3 - 0.2 ties with 0.2 - 0.1.
    alternative: "greater" asks whether the differences tend to be positive.
    zeros: "wilcox" drops zero differences, then ranks; "pratt" ranks them with the rest, then drops their
        ranks.

    The null distribution is conditional on the midranks: each of the m nonzero differences is positive or
    negative with probability 1/2, so R+ has 2^m equally likely sign patterns. The doubled midranks are
    integers, and the distribution of their sum comes from adding one pair at a time,
    f <- (f + shift(f, rank)) / 2; every term is non-negative, so the relative error of p stays near
    m x 1e-16 (p is an exact binary fraction for m <= 50). Beyond about 1000 pairs a p below 1e-300 loses
    digits. Two-sided p = min(1, 2 x the smaller tail); the distribution is symmetric.

    The interval is [W_(k+1), W_(M-k)] of the M = N(N+1)/2 sorted Walsh averages of all N differences, with
    the largest k whose confidence 1 - 2 P(T <= k) is at least 95 %, T being the untied signed-rank
    statistic of N pairs; where even k = 0 stays below 95 % (N <= 5), k = 0. Its ends are order statistics,
    so with ties the confidence is a lower bound (Noether 1967, JASA 62, 184-188).

    Without a nonzero difference p = floor = 1 and n = 0. Raises ValueError for a NaN, missing or infinite
    difference (drop such pairs openly beforehand) and for an unknown alternative or zero rule.
    """
    if alternative not in ("two-sided", "greater", "less"):
        raise ValueError(f"alternative={alternative!r} is unknown; choose two-sided, greater or less")
    if zeros not in ("wilcox", "pratt"):
        raise ValueError(f"zeros={zeros!r} is unknown; choose wilcox or pratt")
    values, tolerance = as_fractions(differences, "differences")
    estimate, interval = _location(values, exact=not tolerance)
    # "Zero" under the tolerance becomes zero, so that it ranks (pratt) with the true zeros.
    sizes = [abs(value) if abs(value) > tolerance else Fraction(0) for value in values]
    pairs = [(size, value > 0) for size, value in zip(sizes, values, strict=True) if size or zeros == "pratt"]
    ranks = doubled_midranks([size for size, _ in pairs], tolerance)
    signed = [(rank, up) for rank, (size, up) in zip(ranks, pairs, strict=True) if size]
    positive = sum(rank for rank, up in signed if up)
    total = sum(rank for rank, _ in signed)
    if not signed:
        return SignedRank(1.0, 0.0, 0, 1.0, 0.0, estimate, interval)

    doubled = [rank for rank, _ in signed]
    if alternative == "greater":
        p = lower_tail(doubled, total - positive)  # P(R+ >= r) = P(R+ <= total - r) by symmetry
    elif alternative == "less":
        p = lower_tail(doubled, positive)
    else:
        p = min(1.0, 2 * lower_tail(doubled, min(positive, total - positive)))
    tails = 2 if alternative == "two-sided" else 1
    return SignedRank(
        p=p,
        statistic=positive / 2,
        n=len(pairs),
        floor=min(1.0, math.ldexp(tails, -len(signed))),
        rank_biserial=(2 * positive - total) / total,
        hodges_lehmann=estimate,
        interval=interval,
    )


def lower_tail(ranks: Sequence[int], bound: int) -> float:
    """P(S <= bound) for S = the sum of a random subset of the ranks, each taken with probability 1/2."""
    distribution = _distribution(ranks, bound)
    return min(1.0, float(distribution.sum()))


def _distribution(ranks: Sequence[int], bound: int) -> np.ndarray:
    """P(S = s) for s = 0, g, 2g, ... <= bound, g the ranks' common divisor (2 for doubled untied ranks)."""
    step = math.gcd(*ranks)
    chances = np.zeros(bound // step + 1)
    chances[0] = 1.0
    for rank in sorted(ranks):
        shift = rank // step
        longer = chances.copy()
        if shift < len(chances):
            longer[shift:] += chances[: len(chances) - shift]
        chances = longer * 0.5
    return chances


def _location(differences: Sequence[Fraction], exact: bool) -> tuple[float, Interval]:
    """Hodges-Lehmann estimate and interval of all differences; NaN without any."""
    count = len(differences)
    if not count:
        return math.nan, Interval(math.nan, math.nan, 0.0)
    # Exact types become integers over one denominator, so that equal Walsh averages stay equal.
    unit = Fraction(1, math.lcm(*(value.denominator for value in differences))) if exact else Fraction(1)
    halves: np.ndarray
    if exact:
        integers = [int(value / unit) for value in differences]
        fits = max(abs(integer) for integer in integers) < 2**61
        halves = np.array(integers, dtype=np.int64 if fits else object)
    else:
        halves = np.array([float(value) / 2 for value in differences])  # halved first: no overflow
    walsh = np.sort(np.add.outer(halves, halves)[np.triu_indices(count)])
    scale = unit / 2 if exact else Fraction(1)

    def average(*places: int) -> float:
        if exact:
            return float(sum((int(walsh[place]) for place in places), 0) * scale / len(places))
        return float(sum(float(walsh[place]) / len(places) for place in places))

    middle = len(walsh) // 2
    median = average(middle) if len(walsh) % 2 else average(middle - 1, middle)
    cumulative = np.cumsum(_distribution(range(1, count + 1), max(0, len(walsh) // 2 - 1)))
    cut = max(0, int(np.count_nonzero(1 - 2 * cumulative >= CONFIDENCE)) - 1)
    confidence = max(0.0, float(1 - 2 * cumulative[cut]))
    return median, Interval(average(cut), average(len(walsh) - 1 - cut), confidence)
