"""Holm's correction, Friedman's and Nemenyi's tests against hand computation, SciPy, R and Demsar's example.

Values from R are those that scripts/oracles.R prints (R 4.2.2).
"""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from dreg_sweep.analysis import friedman, holm
from dreg_sweep.analysis.statistics.anova import repeated_measures
from dreg_sweep.analysis.statistics.bootstrap import chance_of_first, clustered_interval
from dreg_sweep.analysis.statistics.rank_tests import nemenyi
from dreg_sweep.analysis.statistics.trend import page

# Ranks of Demsar 2006, table 6: AUC of C4.5, C4.5+m, C4.5+cf, C4.5+m+cf on 14 UCI data sets.
DEMSAR = [
    [4, 3, 2, 1], [1, 2, 3, 4], [4, 1, 2, 3], [4, 1, 3, 2], [4, 2, 3, 1], [1, 2.5, 4, 2.5], [3, 2, 4, 1],
    [2.5, 2.5, 4, 1], [4, 3, 2, 1], [2.5, 2.5, 2.5, 2.5], [4, 2.5, 1, 2.5], [3, 2, 4, 1], [4, 1, 2, 3],
    [3, 1, 4, 2],
]  # fmt: skip
# The AUCs of the same table, as printed. Row 13 (wine) ties at 0.975, but his ranks come from unrounded AUCs.
DEMSAR_AUC = [
    [0.763, 0.768, 0.771, 0.798], [0.599, 0.591, 0.590, 0.569], [0.954, 0.971, 0.968, 0.967],
    [0.628, 0.661, 0.654, 0.657], [0.882, 0.888, 0.886, 0.898], [0.936, 0.931, 0.916, 0.931],
    [0.661, 0.668, 0.609, 0.685], [0.583, 0.583, 0.563, 0.625], [0.775, 0.838, 0.866, 0.875],
    [1.000, 1.000, 1.000, 1.000], [0.940, 0.962, 0.965, 0.962], [0.619, 0.666, 0.614, 0.669],
    [0.972, 0.981, 0.975, 0.975], [0.957, 0.978, 0.946, 0.970],
]  # fmt: skip

# Rounding first base, the example of ?friedman.test.
ROUNDING = [
    [5.40, 5.50, 5.55], [5.85, 5.70, 5.75], [5.20, 5.60, 5.50], [5.55, 5.50, 5.40], [5.90, 5.85, 5.70],
    [5.45, 5.55, 5.60], [5.40, 5.40, 5.35], [5.45, 5.50, 5.35], [5.25, 5.15, 5.00], [5.85, 5.80, 5.70],
    [5.25, 5.20, 5.10], [5.65, 5.55, 5.45], [5.60, 5.35, 5.45], [5.05, 5.00, 4.95], [5.50, 5.50, 5.40],
    [5.45, 5.55, 5.50], [5.55, 5.55, 5.35], [5.45, 5.50, 5.55], [5.50, 5.45, 5.25], [5.65, 5.60, 5.40],
    [5.70, 5.65, 5.55], [6.30, 6.30, 6.25],
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


def test_holm_speaks_of_p_values_and_not_of_pairs():
    with pytest.raises(ValueError, match=r"^p_values\[0\] is missing; the family needs a p-value of every test$"):
        holm([None])
    with pytest.raises(ValueError, match=r"p_values\[0\] is inf; a p-value lies between 0 and 1"):
        holm([10**400])


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


def test_friedman_of_demsars_printed_aucs():
    """R's friedman.test(auc): chi-squared = 10.95238095238, p = 0.0119861763254, where row 13 is tied.

    With that tie broken as his ranks break it: chi-squared = 10.22834645669, p = 0.0167215803284, which is his
    9.28 divided by the tie correction 1 - 78 / 840.
    """
    printed = friedman(DEMSAR_AUC)
    assert (printed.chi2, printed.p) == (pytest.approx(10.95238095238), pytest.approx(0.0119861763254))
    assert printed.mean_ranks == pytest.approx([3.142857, 2, 2.928571, 1.928571], abs=1e-6)
    unrounded = np.array(DEMSAR_AUC)
    unrounded[12, 2] = 0.9751
    result = friedman(unrounded)
    assert (result.chi2, result.p) == (pytest.approx(10.22834645669), pytest.approx(0.0167215803284))
    assert result.chi2 == friedman(-np.array(DEMSAR)).chi2
    assert result.chi2 * (1 - 78 / 840) == pytest.approx(9.28, abs=0.005)
    for scores in (np.array(DEMSAR_AUC), unrounded):
        assert friedman(scores).chi2 == pytest.approx(stats.friedmanchisquare(*scores.T).statistic)


def test_friedman_example_of_r_help_page():
    """?friedman.test, rounding first base (Hollander & Wolfe 1973, p. 140): chi-squared = 11.143, p = 0.003805."""
    result = friedman(ROUNDING)
    assert (result.chi2, result.p) == (pytest.approx(11.14285714286), pytest.approx(0.00380504077551))


def test_nemenyi_equals_r_and_scikit_posthocs():
    """R: ptukey(|R_i - R_j| / sqrt(4 5 / (12 14)), 4, Inf, lower.tail = FALSE) of the printed AUCs.

    scikit-posthocs 0.17.1, posthoc_nemenyi_friedman(auc), agrees with these to 2e-11.
    """
    expected = [
        [1.0, 0.0886727092950266, 0.9716864713034, 0.0616832589144736],
        [0.0886727092950266, 1.0, 0.226696886026406, 0.998882343981960],
        [0.9716864713034, 0.226696886026406, 1.0, 0.170051635664340],
        [0.0616832589144736, 0.998882343981960, 0.170051635664340, 1.0],
    ]
    p_values = nemenyi(friedman(DEMSAR_AUC).mean_ranks, 14)
    assert isinstance(p_values, np.ndarray)
    np.testing.assert_allclose(p_values, expected, atol=1e-9)


def test_nemenyi_of_demsars_ranks():
    """His conclusion: no pair differs at 0.05 (CD 1.25); at 0.10 C4.5 differs from C4.5+m and C4.5+m+cf."""
    p_values = nemenyi(friedman(-pd.DataFrame(DEMSAR, columns=["a", "b", "c", "d"])).mean_ranks, 14)
    assert list(p_values.index) == list(p_values.columns) == ["a", "b", "c", "d"]
    assert (np.diag(p_values) == 1).all()
    assert p_values.equals(p_values.T)
    below = {(row, column) for row in "abcd" for column in "abcd" if p_values.loc[row, column] < 0.1}
    assert below == {("a", "b"), ("b", "a"), ("a", "d"), ("d", "a")}
    assert p_values.min(axis=None) > 0.05


def test_nemenyi_agrees_with_the_critical_difference():
    table = np.random.default_rng(3).normal(size=(20, 3))
    distance = friedman(table).critical_difference
    p_values = nemenyi([2 - distance / 2, 2.0, 2 + distance / 2], 20)
    assert p_values[0, 2] == pytest.approx(0.05, abs=1e-9)
    # Two methods: the range of two normals, p = P(|Z| > |R_1 - R_2| sqrt(n)).
    assert nemenyi([1.25, 1.75], 16)[0, 1] == pytest.approx(2 * stats.norm.sf(2.0), abs=1e-9)
    assert nemenyi([2, 2, 2], 5) == pytest.approx(np.ones((3, 3)))


def test_nemenyi_rejects():
    with pytest.raises(ValueError, match=r"mean_ranks\[1\]"):
        nemenyi([1.0, math.nan, 2.0], 5)
    with pytest.raises(ValueError, match="add up to 6"):
        nemenyi([0.9, 0.8, 0.7], 5)
    for ranks, blocks in (([1.0], 5), ([1.5, 1.5], 1)):
        with pytest.raises(ValueError, match="at least 2 methods and 2 blocks"):
            nemenyi(ranks, blocks)


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


@pytest.mark.parametrize(
    ("test", "row"),
    [(friedman, "block"), (page, "block"), (chance_of_first, "cluster")],
)
def test_rows_of_different_lengths_are_named(test, row):
    with pytest.raises(ValueError, match=rf"^{row} 1 has 1 value\(s\), {row} 0 has 2 value\(s\); every {row}"):
        test([[1, 2], [3]])
    with pytest.raises(ValueError, match=f"^{row} 1 has a single value, {row} 0 has 2 "):
        test([[1, 2], 3])


def test_friedman_takes_what_stands_for_numbers():
    expected = friedman([[1, 0, 0], [1, 1, 0]]).chi2
    for table in ([[True, False, False], [True, True, False]], np.array([[1, 0, 0], [1, 1, 0]], dtype=bool)):
        assert friedman(table).chi2 == expected
    assert friedman([[10**400, 2, 1], [3, 2, 1]]).kendall_w == 1
    with pytest.raises(ValueError, match=r"block 0: .* is missing; drop incomplete blocks"):
        friedman([[None, 2], [3, 4]])


def test_what_no_float_holds():
    assert clustered_interval([10**400, 1]).estimate == math.inf
    with pytest.raises(ValueError, match="further from their mean than the largest float"):
        repeated_measures([[10**400, 2], [3, 4]])
