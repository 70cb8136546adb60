"""The signed-rank test against full enumeration, SciPy, exact integer counting, and worked examples."""

import itertools
import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from dreg_sweep.analysis import signed_rank

ALTERNATIVES = ("two-sided", "greater", "less")


def enumerate_signs(differences, alternative, zeros):
    """p, floor and R+ from all 2^m sign patterns of the nonzero ranks, in exact arithmetic."""
    if zeros == "wilcox":
        differences = [d for d in differences if d != 0]
    ranks = stats.rankdata([abs(d) for d in differences])
    signed = [(Fraction(rank), d > 0) for rank, d in zip(ranks, differences, strict=True) if d != 0]
    observed = sum((rank for rank, up in signed if up), Fraction(0))
    sums = [
        sum((rank for (rank, _), up in zip(signed, signs, strict=True) if up), Fraction(0))
        for signs in itertools.product((False, True), repeat=len(signed))
    ]

    def p(value):
        above = Fraction(sum(s >= value for s in sums), len(sums))
        below = Fraction(sum(s <= value for s in sums), len(sums))
        return {"greater": above, "less": below, "two-sided": min(1, 2 * min(above, below))}[alternative]

    return p(observed), min(p(s) for s in set(sums)), observed


@pytest.mark.parametrize("zeros", ["wilcox", "pratt"])
@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_equals_enumeration_with_ties_and_zeros(alternative, zeros):
    rng = np.random.default_rng(0)
    for n in (1, 2, 3, 5, 8, 8, 10, 11):
        differences = [int(d) for d in rng.integers(-3, 5, n)]
        if not any(differences):
            continue
        p, floor, statistic = enumerate_signs(differences, alternative, zeros)
        result = signed_rank(differences, alternative, zeros)
        assert (result.p, result.floor, result.statistic) == (float(p), float(floor), float(statistic))
        nonzero = sum(d != 0 for d in differences)
        assert result.n == (nonzero if zeros == "wilcox" else n)


@pytest.mark.parametrize("alternative", ALTERNATIVES)
@pytest.mark.parametrize("n", [1, 4, 5, 9, 25, 50])
def test_equals_scipy_without_ties(n, alternative):
    differences = np.random.default_rng(n).normal(0.3, 1, n)
    expected = stats.wilcoxon(differences, alternative=alternative, method="exact")
    result = signed_rank(differences, alternative)
    assert result.p == pytest.approx(expected.pvalue, rel=1e-11)
    ranks = stats.rankdata(abs(differences))
    assert result.statistic == ranks[differences > 0].sum()
    assert result.rank_biserial == pytest.approx(
        (ranks[differences > 0].sum() - ranks[differences < 0].sum()) / ranks.sum()
    )


@pytest.mark.parametrize("zeros", ["wilcox", "pratt"])
def test_large_samples_with_ties_equal_integer_counting(zeros):
    differences = [int(d) for d in np.random.default_rng(1).integers(-25, 40, 250)]
    kept = [d for d in differences if d or zeros == "pratt"]
    doubled = (2 * stats.rankdata(np.abs(kept))).astype(int).tolist()
    ranks = [r for r, d in zip(doubled, kept, strict=True) if d]
    observed = sum(r for r, d in zip(doubled, kept, strict=True) if d > 0)
    # The generating polynomial prod (1 + x^r) as one integer, in digits of `wide` bits: exact counts.
    wide = len(ranks) + 1
    polynomial = 1
    for rank in ranks:
        polynomial += polynomial << (wide * rank)
    upper = polynomial >> (wide * observed)
    mask = (1 << wide) - 1
    count = 0
    raw = upper.to_bytes((upper.bit_length() + 7) // 8, "little")
    for place in range(sum(ranks) - observed + 1):
        start, shift = divmod(place * wide, 8)
        count += (int.from_bytes(raw[start : start + wide // 8 + 3], "little") >> shift) & mask
    assert signed_rank(differences, "greater", zeros).p == pytest.approx(count / 2 ** len(ranks), rel=1e-12)


def test_extreme_tails_of_many_pairs():
    result = signed_rank(range(1, 501), "greater")
    assert result.p == result.floor == math.ldexp(1, -500)
    assert signed_rank(range(1, 501), "less").p == 1.0
    assert signed_rank([-k for k in range(1, 501)]).p == math.ldexp(1, -499)
    # One negative pair of rank 3: R- <= 3 for the subsets {}, {1}, {2}, {3}, {1, 2}.
    differences = [k if k != 3 else -3 for k in range(1, 401)]
    assert signed_rank(differences, "greater").p == pytest.approx(math.ldexp(5, -400), rel=1e-13)


def test_hollander_wolfe_depression_data():
    """The paired example of R's wilcox.test help page: V = 40, one-sided p = 0.01953."""
    first = ["1.83", "0.50", "1.62", "2.48", "1.68", "1.88", "1.55", "3.06", "1.30"]
    second = ["0.878", "0.647", "0.598", "2.05", "1.06", "1.29", "1.06", "3.14", "1.29"]
    result = signed_rank([Decimal(a) - Decimal(b) for a, b in zip(first, second, strict=True)], "greater")
    assert result.statistic == 40
    assert result.p == 10 / 512


def test_five_pairs_reach_the_floor_of_one_in_32():
    result = signed_rank([1, 2, 3, 4, 5], "greater")
    assert (result.p, result.floor, result.n) == (0.03125, 0.03125, 5)
    assert signed_rank([1, 2, 3, 4, 5]).p == 0.0625
    assert result.rank_biserial == 1.0
    assert signed_rank([-1, -2, -3]).rank_biserial == -1.0


@pytest.mark.parametrize("kind", [list, tuple, np.array, pd.Series, iter])
def test_accepts_collections(kind):
    assert signed_rank(kind([1.5, -0.5, 2.5]), "greater") == signed_rank([1.5, -0.5, 2.5], "greater")


def test_accepts_number_types():
    plain = signed_rank([3, -1, 2, 2], "greater")
    assert signed_rank([Fraction(3, 7), Fraction(-1, 7), Fraction(2, 7), Fraction(2, 7)], "greater").p == plain.p
    assert signed_rank([Decimal("0.3"), Decimal("-0.1"), Decimal("0.2"), Decimal("0.2")], "greater").p == plain.p
    assert signed_rank(np.array([3, -1, 2, 2], dtype=np.int32), "greater") == plain
    assert signed_rank(pd.Series([3, -1, 2, 2], dtype="Int64", index=list("abcd")), "greater") == plain
    assert signed_rank([3 * 10**30, -(10**30), 2 * 10**30, 2 * 10**30], "greater").p == plain.p


def test_round_off_breaks_no_tie():
    floats = [0.3 - 0.2, -(0.2 - 0.1), 0.4 - 0.3, 0.7]
    assert len({abs(d) for d in floats[:3]}) > 1
    assert signed_rank(floats, "greater").p == signed_rank([1, -1, 1, 7], "greater").p
    # One image in 10,000, in floats: the round-off is 1e-12 of the difference.
    images = [0.9124 - 0.9123, 0.8001 - 0.8000, 0.5000 - 0.5001, 0.7133 - 0.7131]
    assert signed_rank(images, "greater").p == signed_rank([1, 1, -1, 2], "greater").p
    assert signed_rank([0.1 + 0.2 - 0.3, 0.5, 0.25]).n == 2  # 5.6e-17 is a zero
    assert signed_rank([0.1 + 0.2 - 0.3, 0.5, 0.25], zeros="pratt").statistic == 5


def test_exact_types_keep_tiny_differences():
    tiny = Fraction(1, 10**40)
    assert signed_rank([1, 1 + tiny, -1 - 2 * tiny], "greater").statistic == 3
    assert signed_rank([tiny, -1], "greater").n == 2


@pytest.mark.parametrize("zeros", ["wilcox", "pratt"])
def test_nothing_to_test(zeros):
    for differences in ([], [0, 0, 0], np.zeros(4)):
        result = signed_rank(differences, "greater", zeros)
        assert (result.p, result.n, result.floor, result.statistic, result.rank_biserial) == (
            1.0,
            0,
            1.0,
            0,
            0,
        )
    assert math.isnan(signed_rank([], zeros=zeros).hodges_lehmann)
    assert signed_rank([0, 0, 0], zeros=zeros).hodges_lehmann == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, None, Decimal("NaN"), pd.NA])
def test_rejects_missing_and_infinite(bad):
    with pytest.raises(ValueError, match=r"differences\[1\]"):
        signed_rank([1, bad, 2])


def test_rejects_other_nonsense():
    with pytest.raises(ValueError, match="one-dimensional"):
        signed_rank(np.ones((2, 2)))
    with pytest.raises(TypeError, match="'a'"):
        signed_rank(["a"])
    with pytest.raises(ValueError, match="choose two-sided"):
        signed_rank([1], "larger")
    with pytest.raises(ValueError, match="choose wilcox or pratt"):
        signed_rank([1], zeros="drop")


def test_result_is_frozen():
    with pytest.raises(AttributeError):
        signed_rank([1, 2]).p = 0.0  # type: ignore[misc]


def walsh_averages(values):
    return sorted((values[i] + values[j]) / 2 for i in range(len(values)) for j in range(i, len(values)))


@pytest.mark.parametrize("n", [1, 2, 4, 5, 6, 7, 10, 13])
def test_estimate_and_interval_by_brute_force(n):
    values = [Fraction(int(d), 8) for d in np.random.default_rng(n).integers(-40, 60, n)]
    walsh = walsh_averages(values)
    result = signed_rank(values)
    assert result.hodges_lehmann == pytest.approx(float(np.median([float(w) for w in walsh])))
    patterns = itertools.product((0, 1), repeat=n)
    sums = np.array([sum(rank for rank, up in enumerate(signs, start=1) if up) for signs in patterns])
    achieved = {k: 1 - 2 * float((sums <= k).mean()) for k in range(len(walsh) // 2 or 1)}
    good = [k for k, confidence in achieved.items() if confidence >= 0.95]
    k = max(good, default=0)
    assert result.interval == (float(walsh[k]), float(walsh[-1 - k]), max(0.0, achieved[k]))


def test_interval_of_five_pairs_is_the_widest():
    low, high, confidence = signed_rank([1, 2, 3, 4, 5]).interval
    assert (low, high, confidence) == (1, 5, 0.9375)
    assert signed_rank([1, 2, 3, 4, 5, 6]).interval == (1, 6, 0.96875)


def test_interval_inverts_the_test():
    """Without ties a shift is inside the interval exactly when the two-sided test keeps it."""
    values = np.random.default_rng(5).normal(0.5, 1, 20)
    interval = signed_rank(values).interval
    level = 1 - interval.confidence
    for shift, inside in (
        (interval.low + 1e-6, True),
        (interval.low - 1e-6, False),
        (interval.high + 1e-6, False),
    ):
        assert (signed_rank(values - shift).p > level + 1e-12) is inside
