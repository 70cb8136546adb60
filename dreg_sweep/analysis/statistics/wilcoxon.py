"""The exact Wilcoxon signed-rank test for paired differences, with ties and zeros, and its estimates.

Sources: Wilcoxon 1945 (Biometrics Bulletin 1, 80-83); zeros: Pratt 1959 (JASA 54, 655-667); estimate and
interval: Hodges & Lehmann 1963 (Ann. Math. Stat. 34, 598-611); matched-pairs rank-biserial correlation:
Kerby 2014 (Comprehensive Psychology 3).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from statistics import NormalDist
from typing import Any, Literal, NamedTuple

import numpy as np

from dreg_sweep.analysis.statistics.exact import (
    Numbers,
    array_midranks,
    as_numbers,
    nearest_float,
    round_off_zeros,
)

Alternative = Literal["two-sided", "greater", "less"]
Zeros = Literal["wilcox", "pratt"]
Method = Literal["exact", "normal"]

CONFIDENCE = 0.95
EXACT_PAIRS = 1000  # counts of sign patterns reach 2^pairs, and floats end at 2^1024
GATHER = 2**17  # sums of two differences that are held at a time


class Interval(NamedTuple):
    """A confidence interval for the centre of the differences; `confidence` is what it achieves."""

    low: float
    high: float
    confidence: float


@dataclass(frozen=True)
class SignedRank:
    """The result of `signed_rank`.

    p: p-value for the chosen alternative.
    statistic: R+, the sum of the midranks of |d| over the positive differences.
    n: the pairs the test uses: the nonzero ones under "wilcox"; all of them, zeros counted, under "pratt".
        0 when no difference is nonzero (nothing to test, under either rule).
    floor: the smallest p that any signs of these ranks could give: 2^-m, and 2 * 2^-m two-sided, for m
        nonzero differences; 1 where m = 0, and 0.0 where it is below the smallest float (m > 1074).
    rank_biserial: (R+ - R-) / (R+ + R-), in -1..1; 0 when no difference is nonzero.
    hodges_lehmann: the median of the Walsh averages (d_i + d_j) / 2, i <= j, of all differences, zeros
        included; NaN without any difference.
    interval: see `signed_rank`.
    method: whether p is "exact" (m <= 1000) or from the "normal" approximation.
    """

    p: float
    statistic: float
    n: int
    floor: float
    rank_biserial: float
    hodges_lehmann: float
    interval: Interval
    method: Method = "exact"


def signed_rank(
    differences: Iterable[Any], alternative: Alternative = "two-sided", zeros: Zeros = "wilcox"
) -> SignedRank:
    """Signed-rank test of "the differences are symmetric about 0", exact for up to 1000 nonzero differences.

    differences: one number a pair, in any one-dimensional collection. Integers, Fractions and Decimals are
        compared exactly; as soon as one value is a float, two magnitudes tie that differ by at most 1e-10 of the larger
        of the two, so that 0.3 - 0.2 ties with 0.2 - 0.1, and what can only be round-off beside the others is zero
        (`round_off_zeros`). A bool, Python's or NumPy's, is the integer 0 or 1.
    alternative: "greater" asks whether the differences tend to be positive.
    zeros: "wilcox" drops zero differences, then ranks; "pratt" ranks them with the rest, then drops their
        ranks.

    The null distribution is conditional on the midranks: each of the m nonzero differences is positive or
    negative with probability 1/2, so R+ has 2^m equally likely sign patterns. The doubled midranks are
    integers, and the patterns of each sum are counted by adding one pair at a time, f <- f + shift(f, rank);
    every term is non-negative, so the relative error of p stays near m x 1e-16 (p is an exact binary fraction
    for m <= 50). Beyond m = 1000, p comes from the normal distribution with mean sum(r) / 2 and variance
    sum(r^2) / 4, r the midranks of the nonzero differences (which corrects for ties and for Pratt's zeros),
    without continuity correction. Two-sided p = min(1, 2 x the smaller tail); the distribution is symmetric.

    The interval is [W_(k+1), W_(M-k)] of the M = N(N+1)/2 sorted Walsh averages of all N differences, with
    the largest k whose confidence 1 - 2 P(T <= k) is at least 95 %, T being the untied signed-rank
    statistic of N pairs; where even k = 0 stays below 95 % (N <= 5), k = 0. Its ends are order statistics,
    so with ties the confidence is a lower bound (Noether 1967, JASA 62, 184-188). Beyond N = 1000, P(T <= k)
    is the normal one at k + 1/2. The Walsh averages of more than 511 floats (or integers beyond 2^61) are
    computed on a grid of 2^-60 of the largest magnitude (see `_on_grid` for exceptional ones); memory grows with N.

    Without a nonzero difference p = floor = 1 and n = 0. Exact differences of any size are tested; an estimate or
    an end of the interval beyond the largest float (1.8e308) is infinite. Raises ValueError for a NaN, missing or
    infinite difference (drop such pairs openly beforehand), for one beyond the largest float among floats, and for
    an unknown alternative or zero rule.
    """
    return signed_ranks(differences, [(alternative, zeros)])[alternative, zeros]


def signed_ranks(
    differences: Iterable[Any], cases: Iterable[tuple[Alternative, Zeros]]
) -> dict[tuple[Alternative, Zeros], SignedRank]:
    """`signed_rank` for several alternatives and zero rules at once: the estimate and interval are shared."""
    listed = list(cases)
    for alternative, zeros in listed:
        if alternative not in ("two-sided", "greater", "less"):
            raise ValueError(f"alternative={alternative!r} is unknown; choose two-sided, greater or less")
        if zeros not in ("wilcox", "pratt"):
            raise ValueError(f"zeros={zeros!r} is unknown; choose wilcox or pratt")
    numbers = as_numbers(differences, "differences")
    location = _location(numbers)
    return {case: _test(numbers, *location, *case) for case in listed}


def _test(
    numbers: Numbers, estimate: float, interval: Interval, alternative: Alternative, zeros: Zeros
) -> SignedRank:
    sizes = np.abs(numbers.array)
    nonzero = ~round_off_zeros(sizes, numbers.tolerance)
    if not nonzero.any():
        return SignedRank(1.0, 0.0, 0, 1.0, 0.0, estimate, interval)

    # Round-off becomes zero, so that it ranks (pratt) with the true zeros.
    sizes = np.where(nonzero, sizes, 0)
    ranked = nonzero if zeros == "wilcox" else np.ones_like(nonzero)
    ranks = array_midranks(sizes[ranked], numbers.tolerance)[nonzero[ranked]]  # doubled
    positive = int(ranks[numbers.array[nonzero] > 0].sum())
    total = int(ranks.sum())
    method: Method = "exact" if len(ranks) <= EXACT_PAIRS else "normal"
    tail = lower_tail if method == "exact" else _normal_tail
    if alternative == "greater":
        p = tail(ranks, total - positive)  # P(R+ >= r) = P(R+ <= total - r) by symmetry
    elif alternative == "less":
        p = tail(ranks, positive)
    else:
        p = min(1.0, 2 * tail(ranks, min(positive, total - positive)))
    return SignedRank(
        p=p,
        statistic=positive / 2,
        n=int(ranked.sum()),
        floor=_floor(len(ranks), alternative),
        rank_biserial=(2 * positive - total) / total,
        hodges_lehmann=estimate,
        interval=interval,
        method=method,
    )


def pairs_needed(alpha: float = 0.05, alternative: Alternative = "two-sided", family: int = 1) -> int:
    """The fewest nonzero pairs whose smallest reachable p, times the tests of the family, is at most alpha.

    family: the number of tests under Holm's correction, which multiplies the smallest of their p-values by it.
    The smallest p of n pairs is 2^-n, and 2 x 2^-n two-sided, whatever the ties. Raises ValueError for alpha
    outside (0, 1], a family below 1 and an unknown alternative.
    """
    if alternative not in ("two-sided", "greater", "less"):
        raise ValueError(f"alternative={alternative!r} is unknown; choose two-sided, greater or less")
    if not 0 < alpha <= 1:
        raise ValueError(f"alpha={alpha!r} must lie above 0 and not above 1")
    if family < 1:
        raise ValueError(f"family={family!r}: a family has at least 1 test")
    pairs = 1
    while Fraction(_floor(pairs, alternative)) * family > alpha:
        pairs += 1
    return pairs


def _floor(nonzero: int, alternative: Alternative) -> float:
    return min(1.0, math.ldexp(2 if alternative == "two-sided" else 1, -nonzero))


def lower_tail(ranks: Sequence[int] | np.ndarray, bound: int) -> float:
    """P(S <= bound) for S = the sum of a random subset of at most 1000 ranks, each taken with chance 1/2."""
    total = int(sum(ranks))
    if bound >= total:
        return 1.0
    if 2 * bound > total:  # the distribution is symmetric, and its smaller tail the cheaper one
        return 1.0 - lower_tail(ranks, total - bound - 1)
    return float(np.ldexp(_counts(ranks, bound).sum(), -len(ranks)))


def _counts(ranks: Sequence[int] | np.ndarray, bound: int) -> np.ndarray:
    """How many subsets have the sum 0, g, 2g, ... <= bound, g the ranks' common divisor (2 for untied ones)."""
    step = math.gcd(*map(int, ranks))
    counts = np.zeros(bound // step + 1)
    counts[0] = 1.0
    reach = 0  # the largest sum so far: beyond it there is nothing to shift
    for rank in sorted(map(int, ranks)):
        shift = rank // step
        reach = min(reach + shift, len(counts) - 1)
        if shift > reach:
            break
        counts[shift : reach + 1] += counts[: reach + 1 - shift].copy()
    return counts


def _normal_tail(ranks: np.ndarray, bound: int) -> float:
    """`lower_tail` by the normal distribution with the mean and variance of S."""
    scaled = ranks.astype(np.float64)
    z = (2 * bound - int(ranks.sum())) / math.sqrt(float(scaled @ scaled))
    return math.erfc(-z / math.sqrt(2)) / 2  # NormalDist().cdf loses the far tail


def _location(numbers: Numbers) -> tuple[float, Interval]:
    """Hodges-Lehmann estimate and interval of all differences; NaN without any."""
    array, unit, _ = numbers
    count = len(array)
    if not count:
        return math.nan, Interval(math.nan, math.nan, 0.0)
    walsh = count * (count + 1) // 2
    if walsh > GATHER and array.dtype != np.int64:
        array, grid = _on_grid(array)
        unit *= grid
    exact = array.dtype != np.float64
    # Equal Walsh averages of exact types stay equal; floats are halved first, so that no sum overflows.
    sums = _PairSums(array if exact else array / 2)

    def average(*places: int) -> float:
        if exact:
            return nearest_float(sum((int(sums(place)) for place in places), 0) * unit / (2 * len(places)))
        return float(sum(float(sums(place)) / len(places) for place in places))

    middle = walsh // 2
    median = average(middle) if walsh % 2 else average(middle - 1, middle)
    cut, confidence = _interval_cut(count)
    return median, Interval(average(cut), average(walsh - 1 - cut), confidence)


@lru_cache(maxsize=256)
def _interval_cut(count: int) -> tuple[int, float]:
    """The number k of Walsh averages below the interval of `count` differences, and the confidence it achieves."""
    half = count * (count + 1) / 4
    if count > EXACT_PAIRS:
        spread = math.sqrt(count * (count + 1) * (2 * count + 1) / 24)
        cut = math.floor(half - NormalDist().inv_cdf((1 + CONFIDENCE) / 2) * spread - 0.5)
        return cut, 1 - 2 * NormalDist(half, spread).cdf(cut + 0.5)
    counts = _counts(range(1, count + 1), max(0, count * (count + 1) // 4 - 1))
    cumulative = np.ldexp(np.cumsum(counts), -count)
    cut = max(0, int(np.count_nonzero(1 - 2 * cumulative >= CONFIDENCE)) - 1)
    return cut, max(0.0, float(1 - 2 * cumulative[cut]))


def _on_grid(array: np.ndarray) -> tuple[np.ndarray, Fraction]:
    """Floats, or integers beyond int64, as whole multiples of 2^-60 of the largest magnitude's scale.

    Where some of the magnitudes, a tenth at most, are more than 2^16 times all others, the grid is 2^-44 of the
    scale of those others, and the exceptional values are cut off at 2^16 times that scale. The cut moves neither the
    median of the Walsh averages nor their interval, which lie among the averages of the others.
    """
    sizes = np.sort(np.abs(array))
    usual, largest = sizes[len(sizes) - 1 - len(sizes) // 10], sizes[-1]
    exceptional = bool(usual > 0 and largest // usual > 2**16)
    bits, scale = (44, usual) if exceptional else (60, largest)
    most = 2**60
    if array.dtype == object:
        shift = max(0, int(scale).bit_length() - bits)
        half = 1 << shift >> 1
        whole = [min(max((value + half) >> shift, -most), most) for value in array]
        return np.array(whole, dtype=np.int64), Fraction(2**shift)
    exponent = math.frexp(float(scale))[1]
    cut = np.ldexp(float(most), exponent - bits)
    whole_floats = np.ldexp(np.clip(array, -cut, cut), bits - exponent)
    return np.rint(whole_floats).astype(np.int64), Fraction(2) ** (exponent - bits)


class _PairSums:
    """The sorted sums array[i] + array[j], i <= j, by their place from 0, without computing all of them.

    Over int64 a sum is found by narrowing down an interval (low, high] that holds it: sums up to a bound are
    counted row by row in the sorted array. Once at most `GATHER` different pairs are left they are sorted.
    Any other type must have at most `GATHER` pairs.
    """

    def __init__(self, array: np.ndarray) -> None:
        self.values, self.weights = np.unique(array, return_counts=True)
        self.totals = np.append(0, np.cumsum(self.weights))
        self.rows = np.arange(len(self.values))
        pairs = len(array) * (len(array) + 1) // 2
        under = 2 * int(self.values[0]) - 1 if array.dtype == np.int64 else -math.inf
        # (bound, sums up to it) of every count so far: where the search for the next place starts
        self.known: list[tuple[Any, int]] = [(under, 0), (2 * self.values[-1], pairs)]

    def __call__(self, place: int) -> Any:
        low, below = max((bound, count) for bound, count in self.known if count <= place)
        high, within = min((bound, count) for bound, count in self.known if count > place)
        starts, ends = self._ends(low), self._ends(high)
        probes = 0
        while True:
            lengths = np.maximum(ends - np.maximum(starts, self.rows), 0)
            if int(lengths.sum()) <= GATHER:
                return self._gathered(np.maximum(starts, self.rows), lengths, place - below)
            if high - low == 1:
                return high
            bound = self._probe(int(low), int(high), below, within, place, probes)
            probes += 1
            middle = self._ends(bound)
            count = self._count(middle)
            self.known.append((bound, count))
            if count <= place:
                low, below, starts = bound, count, middle
            else:
                high, within, ends = bound, count, middle

    def _ends(self, bound: Any) -> np.ndarray:
        """For each row, how many columns have a sum of at most the bound."""
        if bound < 2 * self.values[0]:
            return np.zeros(len(self.values), dtype=np.int64)
        if bound >= 2 * self.values[-1]:
            return np.full(len(self.values), len(self.values))
        return np.searchsorted(self.values, bound - self.values, side="right")

    def _count(self, ends: np.ndarray) -> int:
        """Sums with i <= j up to the bound of `ends`: half of the ordered pairs and of the diagonal."""
        ordered = int(self.weights @ self.totals[ends])
        return (ordered + int(self.weights[ends > self.rows].sum())) // 2

    @staticmethod
    def _probe(low: int, high: int, below: int, within: int, place: int, probes: int) -> int:
        """The next bound to try: a little under and over the place by interpolation, then the midpoint."""
        turn = probes % 3
        if turn == 2:
            return (low + high) // 2
        aim = (place - below + (turn - 0.5) * GATHER / 2) / (within - below)
        return min(max(low + int((high - low) * min(max(aim, 0.0), 1.0)), low + 1), high - 1)

    def _gathered(self, starts: np.ndarray, lengths: np.ndarray, place: int) -> Any:
        rows = np.repeat(self.rows, lengths)
        columns = np.arange(len(rows)) + np.repeat(starts - (np.cumsum(lengths) - lengths), lengths)
        sums = self.values[rows] + self.values[columns]
        both = self.weights[rows] * self.weights[columns]
        pairs = np.where(rows == columns, (both + self.weights[rows]) // 2, both)
        order = np.argsort(sums, kind="stable")
        return sums[order[np.searchsorted(np.cumsum(pairs[order]), place, side="right")]]
