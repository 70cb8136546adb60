"""Holm's correction and Friedman's test against hand computation, SciPy and Demsar's worked example."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from dreg_sweep.analysis import friedman, holm

# Ranks of Demsar 2006, table 6: AUC of C4.5, C4.5+m, C4.5+cf, C4.5+m+cf on 14 UCI data sets.
DEMSAR = [
    [4, 3, 2, 1], [1, 2, 3, 4], [4, 1, 2, 3], [4, 1, 3, 2], [4, 2, 3, 1], [1, 2.5, 4, 2.5], [3, 2, 4, 1],
    [2.5, 2.5, 4, 1], [4, 3, 2, 1], [2.5, 2.5, 2.5, 2.5], [4, 2.5, 1, 2.5], [3, 2, 4, 1], [4, 1, 2, 3],
    [3, 1, 4, 2],
]  # fmt: skip


def test_holm_by_hand():
    # sorted .01 .02 .03 .04 times 4 3 2 1 = .04 .06 .06 .04, made monotone: .04 .06 .06 .06
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.6]) == pytest.approx([1.0, 1.0])
    assert holm([0.03125] * 5) == pytest.approx([0.15625] * 5)
    assert holm([0.2]) == pytest.approx([0.2])
    assert len(holm([])) == 0


def test_holm_keeps_the_index_of_a_series():
    p_values = pd.Series([0.04, 0.001], index=["igpen", "none"], name="p")
    adjusted = holm(p_values)
    pd.testing.assert_series_equal(adjusted, pd.Series([0.04, 0.002], index=["igpen", "none"], name="p"))
    assert isinstance(holm((0.1, 0.2)), np.ndarray)


@pytest.mark.parametrize("bad", [math.nan, -0.1, 1.1, None])
def test_holm_rejects(bad):
    with pytest.raises(ValueError, match=r"p_values\[1\]"):
        holm([0.1, bad])


@pytest.mark.parametrize("decimals", [6, 1, 0])  # fewer decimals, more ties
@pytest.mark.parametrize("shape", [(2, 3), (5, 6), (40, 4)])
def test_friedman_equals_scipy(shape, decimals):
    scores = np.random.default_rng(7).normal(size=shape) + np.arange(shape[1]) * 0.5
    scores = scores.round(decimals)
    expected = stats.friedmanchisquare(*scores.T)
    result = friedman(scores)
    assert result.chi2 == pytest.approx(expected.statistic)
    assert result.p == pytest.approx(expected.pvalue)
    n, k = shape
    assert result.kendall_w == pytest.approx(expected.statistic / (n * (k - 1)))
    assert result.mean_ranks == pytest.approx(stats.rankdata(-scores, axis=1).mean(axis=0))
    assert isinstance(result.mean_ranks, np.ndarray)


def test_friedman_demsar_example():
    """The paper has chi2 = 9.28 (not corrected for ties), F = 3.69, and CD = 1.25 at alpha = 0.05."""
    result = friedman(-pd.DataFrame(DEMSAR, columns=["a", "b", "c", "d"]))
    assert result.mean_ranks.round(3).to_dict() == {"a": 3.143, "b": 2.0, "c": 2.893, "d": 1.964}
    assert result.critical_difference == pytest.approx(1.25, abs=0.005)
    tied = 3 * (2**3 - 2) + (4**3 - 4)  # three pairs and one block of four
    correction = 1 - tied / (14 * 4 * (4**2 - 1))
    plain = result.chi2 * correction
    assert plain == pytest.approx(9.28, abs=0.005)
    assert 13 * plain / (14 * 3 - plain) == pytest.approx(3.69, abs=0.005)
    assert result.iman_davenport == pytest.approx(13 * result.chi2 / (14 * 3 - result.chi2))
    assert result.p_iman_davenport == pytest.approx(stats.f.sf(result.iman_davenport, 3, 39))


@pytest.mark.parametrize(("methods", "quantile"), [(2, 1.960), (4, 2.569), (6, 2.850), (10, 3.164)])
def test_critical_difference_has_demsars_quantiles(methods, quantile):
    scores = np.random.default_rng(0).normal(size=(12, methods))
    expected = quantile * math.sqrt(methods * (methods + 1) / (6 * 12))
    assert friedman(scores).critical_difference == pytest.approx(expected, rel=3e-4)


def test_friedman_round_off_breaks_no_tie():
    assert 0.1 + 0.2 != 0.3
    assert friedman([[0.1 + 0.2, 0.3, 0.1], [0.5, 0.4, 0.1]]).mean_ranks == pytest.approx([1.25, 1.75, 3.0])


def test_friedman_extremes():
    same_order = friedman([[3, 2, 1], [30, 20, 10], [6, 5, 4]])
    assert (same_order.kendall_w, same_order.iman_davenport, same_order.p_iman_davenport) == (1, math.inf, 0)
    all_tied = friedman([[1, 1, 1], [2, 2, 2]])
    assert (all_tied.chi2, all_tied.p, all_tied.kendall_w, all_tied.p_iman_davenport) == (0, 1, 0, 1)


def test_friedman_rejects():
    with pytest.raises(ValueError, match="block 1"):
        friedman(pd.DataFrame({"a": [1.0, math.nan], "b": [2.0, 3.0]}))
    for table in ([[1, 2, 3]], [[1], [2]], [1, 2, 3]):
        with pytest.raises(ValueError, match="at least 2 blocks"):
            friedman(table)
