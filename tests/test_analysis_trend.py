"""Page's trend test against full enumeration, SciPy, R and the examples of coin's help page.

Values from R are those that scripts/oracles.R prints: R 4.2.2 with coin 1.4-2.
"""

import itertools
import math
import time
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from dreg_sweep.analysis.statistics.trend import EXACT_BLOCKS, page
from tests.test_analysis_rank_tests import DEMSAR_AUC, ROUNDING

ALTERNATIVES = ("increasing", "decreasing", "two-sided")
# Strength index of cotton by falling potash, Hollander & Wolfe 1999, table 7.5: coin's ?friedman_test.
COTTON = [[7.46, 7.17, 7.76, 8.14, 7.63], [7.68, 7.57, 7.73, 8.15, 8.00], [7.21, 7.80, 7.74, 7.87, 7.93]]
# 10 students' ratings, the example of scipy.stats.page_trend_test.
SCIPY = [
    [3, 4, 3], [2, 2, 4], [3, 3, 5], [1, 3, 2], [2, 3, 2], [2, 4, 5], [1, 2, 4], [3, 4, 4], [2, 4, 5], [1, 3, 4],
]  # fmt: skip


def enumerate_orders(table, alternative):
    """p, floor and L from every combination of orders of the midranks in the blocks."""
    doubled = [(2 * stats.rankdata(row)).astype(int).tolist() for row in table]

    def trend(block):
        return sum(place * rank for place, rank in enumerate(block, start=1))

    observed = sum(map(trend, doubled))
    blocks = [[trend(order) for order in itertools.permutations(block)] for block in doubled]
    sums = np.array([sum(parts) for parts in itertools.product(*blocks)])

    def p(value):
        above = Fraction(int((sums >= value).sum()), len(sums))
        below = Fraction(int((sums <= value).sum()), len(sums))
        return {"increasing": above, "decreasing": below, "two-sided": min(1, 2 * min(above, below))}[alternative]

    return p(observed), min(p(value) for value in set(sums.tolist())), observed / 2


@pytest.mark.parametrize("alternative", ALTERNATIVES)
@pytest.mark.parametrize("shape", [(1, 2), (5, 2), (1, 5), (2, 3), (5, 3), (3, 4), (2, 5)])
def test_equals_enumeration_with_ties(shape, alternative):
    rng = np.random.default_rng(sum(shape))
    for levels in (2, 3, 9):
        table = rng.integers(0, levels, shape)
        p, floor, statistic = enumerate_orders(table, alternative)
        for given in (table, table / 7, pd.DataFrame(table)):
            result = page(given, alternative)
            assert (result.p, result.floor) == (pytest.approx(float(p), rel=1e-12), pytest.approx(float(floor)))
            assert (result.statistic, result.n, result.k, result.method) == (statistic, *shape, "exact")


@pytest.mark.parametrize("k", [3, 4, 5, 6, 7])
@pytest.mark.parametrize("n", [2, 5, 12])
def test_equals_scipy_without_ties(n, k):
    table = np.random.default_rng(10 * n + k).normal(size=(n, k)) + 0.2 * np.arange(k)
    expected = stats.page_trend_test(table, method="exact")
    result = page(table)
    assert (result.statistic, result.p) == (expected.statistic, pytest.approx(expected.pvalue, rel=1e-9))
    assert result.floor == pytest.approx(math.factorial(k) ** -float(n))
    mirrored = page(table[:, ::-1], "decreasing")
    assert mirrored.p == pytest.approx(result.p)


def test_cotton_example():
    """L = 158; the convolution in R gives P(L >= 158) = 0.00249247685185185, coin's asymptotic p is 0.003956."""
    result = page(COTTON)
    assert (result.statistic, result.n, result.k, result.method) == (158, 3, 5, "exact")
    assert result.p == pytest.approx(0.00249247685185185, rel=1e-12)
    assert result.floor == pytest.approx(5.78703703703704e-07)
    assert page(COTTON, "decreasing").p == pytest.approx(0.998590856481481, rel=1e-12)


def test_ties_equal_exact_convolution_in_r():
    rounding, auc = page(ROUNDING, "decreasing"), page(DEMSAR_AUC)
    assert (rounding.statistic, rounding.p) == (243, pytest.approx(0.000525132726560649, rel=1e-11))
    assert rounding.floor == pytest.approx(1.21560499012944e-16)
    assert (auc.statistic, auc.p) == (369, pytest.approx(0.0334565178896751, rel=1e-11))
    assert auc.floor == pytest.approx(1.82546638646834e-17)


def test_example_of_scipys_documentation():
    """Ratings of tutorial, lecture and seminar, tied: L = 133.5, p = 0.0018191 from the distribution without ties.

    Conditional on the ties, the convolution in R gives P(L >= 133.5) = 0.000384214804653762.
    """
    result = page(SCIPY)
    assert (result.statistic, result.p) == (133.5, pytest.approx(0.000384214804653762, rel=1e-11))
    assert stats.page_trend_test(SCIPY).pvalue == pytest.approx(0.0018191161948127822)


@pytest.mark.parametrize(
    ("alternative", "expected"),
    [("two-sided", 0.50162390547567), ("increasing", 0.749188047262165), ("decreasing", 0.250811952737835)],
)
def test_normal_approximation_equals_coin(alternative, expected):
    """friedman_test(y ~ ordered x | block) of y_ij = (7 i + 5 j + i j) mod 6, 12 blocks of 8 conditions, tied."""
    i, j = np.arange(1, 13)[:, None], np.arange(1, 9)
    result = page((7 * i + 5 * j + i * j) % 6, alternative)
    assert (result.p, result.method) == (pytest.approx(expected, rel=1e-9), "normal")


def test_many_blocks():
    rng = np.random.default_rng(0)
    table = rng.integers(0, 6, (EXACT_BLOCKS + 1, 7))
    start = time.process_time()
    exact = page(table[:-1])
    assert time.process_time() - start < 2
    normal = page(table)
    assert (exact.method, normal.method) == ("exact", "normal")
    beyond = page(np.concatenate([table[:-1], np.ones((1, 7))]))  # one block of ties more moves nothing
    assert (beyond.method, beyond.p) == ("normal", pytest.approx(exact.p, rel=0.01))


def test_extremes():
    best = page([[1, 2, 3], [4, 5, 6]])
    assert (best.p, best.floor, best.statistic) == (pytest.approx(1 / 36), pytest.approx(1 / 36), 28)
    assert page([[1, 2, 3], [4, 5, 6]], "two-sided").p == pytest.approx(2 / 36)
    assert page([[1, 2, 3], [4, 5, 6]], "decreasing").p == pytest.approx(1.0)
    for alternative in ALTERNATIVES:
        for table in (np.ones((3, 4)), np.ones((3, 9))):
            result = page(table, alternative)
            assert (result.p, result.floor) == (1, 1)
    assert page([[1, 2], [1, 2], [1, 2], [2, 2]]).p == 0.125  # two conditions: the sign test


def test_round_off_breaks_no_tie():
    assert 0.1 + 0.2 != 0.3
    assert page([[0.3, 0.1 + 0.2, 0.5], [0.1, 0.2, 0.3]]) == page([[3, 3, 5], [1, 2, 3]])


def test_rejects():
    with pytest.raises(ValueError, match=r"block 1: values\[0\]"):
        page([[1.0, 2.0], [math.nan, 3.0]])
    for table in ([[1], [2]], [1, 2, 3], np.ones((0, 3))):
        with pytest.raises(ValueError, match="at least 1 block"):
            page(table)
    with pytest.raises(ValueError, match="choose increasing, decreasing, two-sided"):
        page([[1, 2]], "greater")
