"""The signed-rank test against full enumeration, SciPy, exact integer counting, R, and worked examples.

Values from R are those that scripts/oracles.R prints: R 4.2.2 with coin 1.4-2 and exactRankTests 0.8-35.
"""

import itertools
import math
import time
import tracemalloc
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dreg_sweep.analysis import signed_rank
from dreg_sweep.analysis.statistics.exact import as_fractions, as_numbers
from dreg_sweep.analysis.statistics.rank_tests import friedman
from dreg_sweep.analysis.statistics.wilcoxon import EXACT_PAIRS, GATHER, pairs_needed

ALTERNATIVES = ("two-sided", "greater", "less")


def enumerate_signs(differences, alternative, zeros):
    """p, floor and R+ from all 2^m sign patterns of the nonzero ranks, counted in whole numbers."""
    if zeros == "wilcox":
        differences = [d for d in differences if d != 0]
    doubled = (2 * stats.rankdata([abs(d) for d in differences])).astype(int)
    signed = [(rank, d > 0) for rank, d in zip(doubled, differences, strict=True) if d != 0]
    ranks = np.array([rank for rank, _ in signed])
    observed = sum(rank for rank, up in signed if up)
    sums = np.array(list(itertools.product((0, 1), repeat=len(signed)))) @ ranks

    def p(value):
        above = Fraction(int((sums >= value).sum()), len(sums))
        below = Fraction(int((sums <= value).sum()), len(sums))
        return {"greater": above, "less": below, "two-sided": min(1, 2 * min(above, below))}[alternative]

    return p(observed), min(p(s) for s in set(sums.tolist())), Fraction(int(observed), 2)


@pytest.mark.parametrize("zeros", ["wilcox", "pratt"])
@pytest.mark.parametrize("alternative", ALTERNATIVES)
@pytest.mark.parametrize("n", range(1, 15))
def test_equals_enumeration_with_ties_and_zeros(n, alternative, zeros):
    rng = np.random.default_rng(n)
    for spread in (3, 3, 20):
        differences = rng.integers(-spread, spread + 2, n)
        if not any(differences):
            continue
        p, floor, statistic = enumerate_signs(differences, alternative, zeros)
        nonzero = sum(d != 0 for d in differences)
        for values in (differences, differences.tolist(), differences / 7):
            result = signed_rank(values, alternative, zeros)
            assert (result.p, result.floor, result.statistic) == (float(p), float(floor), float(statistic))
            assert (result.n, result.method) == (nonzero if zeros == "wilcox" else n, "exact")


@given(
    st.lists(st.integers(-4, 4), min_size=1, max_size=9).filter(any),
    st.sampled_from(ALTERNATIVES),
    st.sampled_from(["wilcox", "pratt"]),
    st.integers(-1000, 1000),
    st.randoms(use_true_random=False),
)
@settings(deadline=None)
def test_equals_enumeration_at_any_magnitude_in_any_order(differences, alternative, zeros, power, random):
    """Of whole numbers, of floats that are these times a power of two, and with one that is 10^300 times as large."""
    p, floor, statistic = enumerate_signs(differences, alternative, zeros)
    scaled = [math.ldexp(d, power) for d in differences]
    random.shuffle(scaled)
    for given_ones in (differences, scaled):
        result = signed_rank(given_ones, alternative, zeros)
        assert (result.p, result.floor, result.statistic) == (float(p), float(floor), float(statistic))
    mirrored = signed_rank(
        [-d for d in scaled], {"greater": "less", "less": "greater"}.get(alternative, alternative), zeros
    )
    assert (mirrored.p, mirrored.rank_biserial) == (result.p, -result.rank_biserial)
    exploded = [*differences, 10**300]
    p, _, statistic = enumerate_signs([*differences, 99], alternative, zeros)
    result = signed_rank(exploded, alternative, zeros)
    assert (result.p, result.statistic) == (float(p), float(statistic))


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


def test_example_of_r_help_pages():
    """Hollander & Wolfe's depression data: ?wilcox.test, exactRankTests' ?wilcox.exact, coin's ?wilcoxsign_test.

    wilcox.test(x, y, paired = TRUE, conf.int = TRUE): V = 40, p = 0.0390625, pseudomedian 0.46, 0.010 to 0.786.
    """
    first = np.array([1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30])
    second = np.array([0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29])
    result = signed_rank(first - second)
    assert (result.statistic, result.p) == (40, 0.0390625)
    assert signed_rank(first - second, "greater").p == 0.01953125
    assert [result.hodges_lehmann, *result.interval[:2]] == pytest.approx([0.46, 0.010, 0.786])


# d_i = (37 i mod 23) - 9: ties, and from i = 23 on zeros. pvalue(wilcoxsign_test(d ~ 0, distribution = "exact",
# zero.method = "Wilcoxon" / "Pratt")); wilcox.exact(d[d != 0], exact = TRUE) prints the first column's digits too.
COIN_EXACT = {
    (20, "two-sided"): (0.173776626586914, 0.173776626586914),
    (20, "greater"): (0.086888313293457, 0.086888313293457),
    (20, "less"): (0.916379928588867, 0.916379928588867),
    (60, "two-sided"): (0.0239693542440393, 0.0254563118003074),
    (60, "greater"): (0.0119846771220197, 0.0127281559001537),
    (60, "less"): (0.988139681180469, 0.987394770047192),
    (150, "two-sided"): (0.000670200592639496, 0.000822258831567203),
    (150, "greater"): (0.000335100296319748, 0.000411129415783602),
    (150, "less"): (0.999666163395303, 0.999590302901525),
    (300, "two-sided"): (8.1019679780797e-07, 1.27762780544839e-06),
    (300, "greater"): (4.05098398903985e-07, 6.38813902724193e-07),
    (300, "less"): (0.999999595640036, 0.999999362414631),
}


@pytest.mark.parametrize(("n", "alternative"), COIN_EXACT)
def test_equals_coin_and_exact_rank_tests(n, alternative):
    differences = 37 * np.arange(1, n + 1) % 23 - 9
    for zeros, expected in zip(("wilcox", "pratt"), COIN_EXACT[n, alternative], strict=True):
        assert signed_rank(differences, alternative, zeros).p == pytest.approx(expected, rel=1e-11)


COIN_NORMAL = [
    ("two-sided", 0.000273972471409367, 0.000282162259717778),
    ("greater", 0.000136986235704684, 0.000141081129858889),
    ("less", 0.999863013764295, 0.999858918870141),
]


@pytest.mark.parametrize(("alternative", "wilcoxon", "pratt"), COIN_NORMAL)
def test_normal_approximation_equals_coin(alternative, wilcoxon, pratt):
    """wilcoxsign_test(..., distribution = "asymptotic") of (37 i mod 230) - 110, i = 1..3000.

    The first column is wilcox.test(d[d != 0], exact = FALSE, correct = FALSE) as well.
    """
    differences = 37 * np.arange(1, 3001) % 230 - 110
    for zeros, expected in (("wilcox", wilcoxon), ("pratt", pratt)):
        result = signed_rank(differences, alternative, zeros)
        assert (result.p, result.method) == (pytest.approx(expected, rel=1e-11), "normal")


def test_exact_and_normal_meet():
    rng = np.random.default_rng(2)
    differences = rng.integers(-40, 43, EXACT_PAIRS + 300)
    nonzero = differences[differences != 0]
    exact = signed_rank(nonzero[:EXACT_PAIRS])
    normal = signed_rank(nonzero[: EXACT_PAIRS + 1])
    assert (exact.method, normal.method) == ("exact", "normal")
    ranks = stats.rankdata(abs(nonzero[:EXACT_PAIRS]))
    z = (exact.statistic - ranks.sum() / 2) / math.sqrt((ranks**2).sum() / 4)
    assert exact.p == pytest.approx(2 * stats.norm.sf(abs(z)), rel=1e-3)
    # Zeros do not count: the same pairs with zeros among them stay exact.
    assert signed_rank(np.append(nonzero[:EXACT_PAIRS], np.zeros(500, int))).method == "exact"
    far = signed_rank(np.arange(1, EXACT_PAIRS + 2), "greater")
    z = math.sqrt(3 * 1001 * 1002 / (2 * 2003))  # sum(r) / sqrt(sum(r^2)): 27.4, its tail not lost to round-off
    assert (far.p, far.method) == (pytest.approx(stats.norm.sf(z), rel=1e-9), "normal")
    assert signed_rank(np.arange(1, 1101)).floor == 0.0


def test_a_thousand_pairs_stay_exact_within_a_second():
    differences = np.random.default_rng(3).integers(-300, 340, EXACT_PAIRS) * 2 + 1
    start = time.process_time()
    assert signed_rank(differences).method == "exact"
    assert time.process_time() - start < 1


@pytest.mark.parametrize("kind", ["whole", "tied", "normal", "cauchy"])
def test_many_pairs_take_little_time_and_memory(kind):
    rng = np.random.default_rng(4)
    differences = {
        "whole": rng.integers(-(10**9), 10**9, 200_000),
        "tied": rng.integers(-3, 4, 200_000),
        "normal": rng.normal(0.01, 1, 200_000),
        "cauchy": rng.standard_cauchy(200_000),
    }[kind]
    start = time.process_time()
    result = signed_rank(differences)
    assert time.process_time() - start < 2
    assert result.interval.low <= result.hodges_lehmann <= result.interval.high
    tracemalloc.start()
    signed_rank(differences)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 * 2**20  # 160 GB for all Walsh averages


@pytest.mark.parametrize("kind", ["whole", "tied", "floats", "beyond int64", "fractions", "heavy tails"])
@pytest.mark.parametrize("n", [600, 2500])
def test_order_statistics_of_many_walsh_averages(n, kind):
    assert n * (n + 1) / 2 > GATHER
    rng = np.random.default_rng(n)
    whole = rng.integers(-(10**6), 10**6, n)
    values = {
        "whole": whole,
        "tied": whole // 10**5,
        "floats": whole / 7e5,
        "beyond int64": [int(d) * 10**30 for d in whole],
        "fractions": [Fraction(int(d), 77) for d in whole],
        "heavy tails": np.tan(whole * (np.pi / 2.000001e6)),
    }[kind]
    result = signed_rank(values)
    floats = np.array([float(value) for value in values])
    walsh = np.sort(np.add.outer(floats, floats)[np.triu_indices(n)] / 2)
    spread = math.sqrt(n * (n + 1) * (2 * n + 1) / 24)
    cut = math.floor(len(walsh) / 2 - stats.norm.ppf(0.975) * spread - 0.5)
    if n <= EXACT_PAIRS:  # R: qsignrank(0.025, 600) = 81826 is the first T beyond 2.5 %
        cut = 81825
    expected = [np.median(walsh), walsh[cut], walsh[len(walsh) - 1 - cut]]
    tolerance = 1e-15 * abs(floats).max()
    assert [result.hodges_lehmann, *result.interval[:2]] == pytest.approx(expected, rel=1e-12, abs=tolerance)
    assert 0.95 <= result.interval.confidence < 0.951


def test_more_equal_walsh_averages_than_are_held_at_a_time():
    result = signed_rank(np.arange(-(10 * GATHER // 8), 10 * GATHER // 8 + 1))
    assert (result.hodges_lehmann, result.interval.low) == (0, -result.interval.high)


def test_pairs_needed():
    assert pairs_needed() == 6  # 2 / 64
    assert pairs_needed(alternative="greater") == pairs_needed(alternative="less") == 5  # 1 / 32
    assert pairs_needed(family=5) == 8  # 5 x 2 / 256
    assert pairs_needed(0.001, "greater", 10) == 14  # 10 / 2^14
    assert pairs_needed(1.0) == 1
    assert pairs_needed(2**-9) == 10  # reached exactly
    for alternative in ALTERNATIVES:
        for family in (1, 3, 7, 24):
            needed = pairs_needed(0.05, alternative, family)
            assert signed_rank(range(1, needed + 1), alternative).floor * family <= 0.05
            assert signed_rank(range(1, needed), alternative).floor * family > 0.05


def test_pairs_needed_rejects():
    alphas = [("alpha", alpha) for alpha in (0, -0.1, 1.5, math.nan)]
    for name, value in [*alphas, ("family", 0), ("alternative", "both")]:
        with pytest.raises(ValueError, match=f"{name}="):
            pairs_needed(**{name: value})


@pytest.mark.parametrize("dtype", ["int8", "int64", "uint16", "uint64", "float32", "float64"])
def test_arrays_equal_lists(dtype):
    array = np.array([3, 1, 2, 2, 0, 7], dtype=dtype)
    assert signed_rank(array, zeros="pratt") == signed_rank(array.tolist(), zeros="pratt")
    assert as_numbers(array).array.dtype == (np.float64 if dtype.startswith("float") else np.int64)


def test_integers_beyond_int64_stay_exact():
    wide = np.array([2**63, 2**63 + 2**12, 2**63 + 2**13], dtype=np.uint64)
    assert signed_rank(wide).hodges_lehmann == float(2**63 + 2**12)
    assert signed_rank(np.array([-(2**63), 2**62, 1])).statistic == 3
    assert as_numbers([2**61, -1]).array.dtype == object


def test_tolerance_is_decided_exactly():
    """A tie is 1e-10 of the larger magnitude, to the last bit: array arithmetic and fractions agree on every gap."""
    for steps in range(-3, 4):
        floats = [1.0, 1.0 - (1e-10 + steps * 2.0**-53), 0.5]
        fractions, tolerance = as_fractions(floats)
        ties = fractions[0] - fractions[1] <= tolerance * fractions[0]
        result = signed_rank([-floats[0], floats[1], -floats[2]])
        assert (result.statistic, result.n) == (2.5 if ties else 2, 3)


@pytest.mark.parametrize("exploded", [1e3, 1e12, 1e16, 1e150])
def test_one_exploded_difference_leaves_the_others_as_they_are(exploded):
    ordinary = [0.01, 0.02, 0.013, 0.004, 0.0151, 0.007, 0.03]
    result = signed_rank([*ordinary, exploded])
    assert (result.n, result.p, result.statistic) == (8, 2 / 2**8, 36)
    tiny = [1e-11, -2e-11, 3e-11, 1e16, 2e16, -3e16]
    assert signed_rank(tiny).statistic == 1 + 3 + 4 + 5
    assert signed_rank(tiny).n == 6
    table = [[exploded, *ordinary]] * 2
    assert friedman(table).mean_ranks.tolist() == [1, 6, 3, 5, 8, 4, 7, 2]


def test_estimate_of_many_pairs_is_not_moved_by_exploded_ones():
    values = np.random.default_rng(0).normal(size=600)
    values[:3] = (3e15, -2e14, 1e16)
    walsh = np.sort((values[:, None] + values[None, :])[np.triu_indices(600)]) / 2
    middle = len(walsh) // 2
    median = (walsh[middle - 1] + walsh[middle]) / 2 if len(walsh) % 2 == 0 else walsh[middle]
    assert signed_rank(values).hodges_lehmann == pytest.approx(median, rel=1e-9)
    exact = [Fraction(value) for value in values.tolist()]
    assert signed_rank(exact).hodges_lehmann == pytest.approx(median, rel=1e-9)


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
    assert signed_rank([0.9e-10, 1.5e-10, -1.0], zeros="pratt").statistic == 3  # small beside 1, and no round-off
    round_off = [0.1 + 0.2 - 0.3, 0.1 + 0.7 - 0.8, 0.25, 93.1 - 93.2 + 0.1]
    assert signed_rank(round_off).n == 1


def test_exact_types_keep_tiny_differences():
    tiny = Fraction(1, 10**40)
    assert signed_rank([1, 1 + tiny, -1 - 2 * tiny], "greater").statistic == 3
    assert signed_rank([tiny, -1], "greater").n == 2


@pytest.mark.parametrize("zeros", ["wilcox", "pratt"])
def test_nothing_to_test(zeros):
    for differences in ([], [0, 0, 0], np.zeros(4)):
        result = signed_rank(differences, "greater", zeros)
        found = (result.p, result.n, result.floor, result.statistic, result.rank_biserial)
        assert found == (1.0, 0, 1.0, 0, 0)
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


def test_exact_differences_of_any_size_are_tested():
    huge = 10**400
    result = signed_rank([huge, 2, -3], "greater")
    assert (result.p, result.statistic) == (signed_rank([9, 2, -3], "greater").p, 4)
    assert (result.hodges_lehmann, result.interval) == (math.inf, (-3, math.inf, 0.75))
    assert signed_rank([-huge * place for place in range(1, 600)]).interval[:2] == (-math.inf, -math.inf)
    with pytest.raises(ValueError, match=r"differences\[1\] is beyond the largest float .* are floats"):
        signed_rank([0.5, huge])


def test_a_bool_is_the_integer_it_stands_for():
    expected = signed_rank([1, 0, 1])
    for values in ([True, False, True], np.array([True, False, True]), [np.True_, np.False_, np.True_]):
        assert signed_rank(values) == expected


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
    low, high, _ = interval
    for shift, inside in ((low + 1e-6, True), (low - 1e-6, False), (high + 1e-6, False)):
        assert (signed_rank(values - shift).p > level + 1e-12) is inside
