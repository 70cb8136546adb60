"""The bootstrap over clusters against enumeration of all n^n draws, and by hand."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

from dreg_sweep.analysis.statistics.bootstrap import MOST_MULTISETS, RESAMPLES, chance_of_first, clustered_interval


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.999])
@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_interval_equals_full_enumeration(n, confidence):
    rng = np.random.default_rng(n)
    for spread in (3, 1000):
        whole = rng.integers(-spread, spread + 1, n)
        sums = np.array(list(itertools.product(whole, repeat=n))).sum(axis=1)
        tail = (1 - Fraction(str(confidence))) / 2 * n**n
        low = Fraction(min(int(x) for x in set(sums) if (sums <= x).sum() >= tail), 7 * n)
        high = Fraction(max(int(x) for x in set(sums) if (sums >= x).sum() >= tail), 7 * n)
        values = [Fraction(int(v), 7) for v in whole]
        result = clustered_interval(values, confidence)
        assert (result.low, result.high) == (float(low), float(high))
        assert result.estimate == float(sum(values) / n)
        assert (result.method, result.clusters, result.resamples) == ("exact", n, math.comb(2 * n - 1, n))
        floats = clustered_interval([float(value) for value in values], confidence)
        assert (floats.low, floats.high) == (pytest.approx(float(low)), pytest.approx(float(high)))


def test_interval_by_hand():
    # Means of two draws from 0, 1: 0, 1/2, 1 with chances 1/4, 1/2, 1/4.
    result = clustered_interval([0, 1], 0.5)
    assert (result.low, result.high, result.estimate) == (0, 1, 0.5)  # P(M <= 0) = 1/4 reaches a = 1/4
    result = clustered_interval([0, 1], 0.49)
    assert (result.low, result.high) == (0.5, 0.5)  # 1/4 does not reach 0.255
    result = clustered_interval([3, 3, 3, 3])
    assert (result.low, result.high, result.estimate) == (3, 3, 3)


def test_tails_are_read_as_decimals():
    # P(M >= 4/5) = (5 x 4 + 1) / 5^5 = 0.00672, which is a for 0.98656; as a float that is a little less.
    assert Fraction(0.98656) < Fraction("0.98656")
    assert clustered_interval([0, 0, 0, 0, 1], 0.98656).high == 0.8
    assert clustered_interval([0, 0, 0, 0, 1], 0.98655).high == 0.6


def test_methods_meet_where_multisets_run_out():
    assert math.comb(19, 10) <= MOST_MULTISETS < math.comb(21, 11)
    values = np.random.default_rng(0).normal(1.0, 2.0, 11)
    exact, drawn = clustered_interval(values[:10]), clustered_interval(values)
    assert (exact.method, exact.resamples) == ("exact", 92378)
    assert (drawn.method, drawn.resamples) == ("monte carlo", RESAMPLES)
    half = 1.96 * values.std() / math.sqrt(11)
    assert drawn.low == pytest.approx(values.mean() - half, abs=0.2 * half)
    assert drawn.high == pytest.approx(values.mean() + half, abs=0.2 * half)


def test_draws_agree_with_the_exact_distribution():
    """The same 12 clusters as two sets of 6 equal ones: a mean of 12 draws from 0 and 1 is binomial."""
    result = clustered_interval([0] * 6 + [1] * 6, 0.9)
    chances = [math.comb(12, k) / 2**12 for k in range(13)]
    low = next(k for k in range(13) if sum(chances[: k + 1]) >= 0.05)
    assert (result.low, result.high, result.method) == (low / 12, 1 - low / 12, "monte carlo")


@pytest.mark.parametrize("n", [8, 30])
def test_interval_mirrors_and_ignores_the_order(n):
    values = np.random.default_rng(n).normal(size=n)
    result = clustered_interval(values)
    assert clustered_interval(values[::-1]) == result
    if result.method == "exact":
        mirrored = clustered_interval(-values)
        assert (-mirrored.high, -mirrored.low) == (pytest.approx(result.low), pytest.approx(result.high))
    assert result == clustered_interval(values)  # seeded
    assert (clustered_interval(values, seed=1) == result) is (result.method == "exact")


def test_interval_scales_exactly():
    values = [3 * 10**25, 10**25, 7 * 10**25]
    assert clustered_interval(values).low == 1e25
    assert clustered_interval(np.array([2**60] * 5 + [2**60 - 1] * 5)).high == float(2**60)


def test_interval_rejects():
    for values in ([], [1.0]):
        with pytest.raises(ValueError, match="at least 2"):
            clustered_interval(values)
    for confidence in (0, 1, 95, math.nan):
        with pytest.raises(ValueError, match="confidence="):
            clustered_interval([1, 2], confidence)
    with pytest.raises(ValueError, match=r"values\[1\]"):
        clustered_interval([1.0, math.nan])


def enumerate_first(rows):
    chances = [Fraction(0)] * len(rows[0])
    for draw in itertools.product(rows, repeat=len(rows)):
        sums = [sum(column) for column in zip(*draw, strict=True)]
        winners = [place for place, total in enumerate(sums) if total == max(sums)]
        for place in winners:
            chances[place] += Fraction(1, len(winners) * len(rows) ** len(rows))
    return chances


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_chance_of_first_equals_full_enumeration(n):
    rng = np.random.default_rng(n)
    for spread in (2, 50):  # many ties, few ties
        rows = rng.integers(0, spread, (n, 3)).tolist()
        expected = [float(chance) for chance in enumerate_first(rows)]
        assert chance_of_first(rows).tolist() == expected
        assert chance_of_first(np.array(rows) / 7) == pytest.approx(expected)
        assert chance_of_first(rows[::-1]).tolist() == expected


def test_chance_of_first_by_hand():
    # Two clusters: a wins if the first is drawn twice, b if the second is, and they tie otherwise.
    frame = pd.DataFrame({"a": [1, 0], "b": [0, 1], "c": [0, 0]})
    pd.testing.assert_series_equal(
        chance_of_first(frame), pd.Series([0.5, 0.5, 0.0], index=["a", "b", "c"], name="chance_of_first")
    )
    assert chance_of_first([[5, 1], [5, 1], [5, 1]]).tolist() == [1, 0]
    assert chance_of_first([[1], [2]]).tolist() == [1]
    assert chance_of_first(np.ones((4, 3))) == pytest.approx(np.full(3, 1 / 3))


def test_round_off_breaks_no_tie():
    assert 0.1 + 0.2 != 0.3
    assert chance_of_first([[0.1 + 0.2, 0.3], [0.7, 0.7], [0.5, 0.5]]).tolist() == [0.5, 0.5]
    tiny = Fraction(1, 10**30)
    assert chance_of_first([[1 + tiny, 1], [1, 1]]).tolist() == [0.875, 0.125]
    assert chance_of_first([[10**40, 10**40 + 1], [0, 0]]).tolist() == [0.125, 0.875]


@pytest.mark.parametrize("n", [9, 40])
def test_chance_of_first_ignores_the_order(n):
    rng = np.random.default_rng(n)
    table = rng.normal(size=(n, 4))
    chances = chance_of_first(table)
    assert chances.sum() == pytest.approx(1)
    assert chance_of_first(table[rng.permutation(n)]).tolist() == chances.tolist()
    assert chance_of_first(table).tolist() == chances.tolist()


def test_chance_of_first_rejects():
    with pytest.raises(ValueError, match=r"table\[3\]"):
        chance_of_first([[1.0, 2.0], [3.0, math.nan]])
    for table in ([[1, 2]], [1, 2], np.ones((3, 0))):
        with pytest.raises(ValueError, match="at least 2 clusters"):
            chance_of_first(table)
