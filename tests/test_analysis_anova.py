"""Repeated-measures ANOVA against R (aov, afex, car), SciPy and hand computation.

Values from R are those that scripts/oracles.R prints: R 4.2.2 with afex 1.2-1 and car 3.1-1.
"""

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from dreg_sweep.analysis.statistics.anova import repeated_measures, two_way

# Maxwell & Delaney 2004, table 12.1 (afex's md_12.1): reaction times of 10 subjects, noise absent and present x
# angles 0, 4 and 8.
MAXWELL = np.array([
    [[420, 420, 480], [480, 600, 780]], [[420, 480, 480], [360, 480, 600]], [[480, 480, 540], [660, 780, 780]],
    [[420, 540, 540], [480, 780, 900]], [[540, 660, 540], [480, 660, 720]], [[360, 420, 360], [360, 480, 540]],
    [[480, 480, 600], [540, 720, 840]], [[480, 600, 660], [540, 720, 900]], [[540, 600, 540], [480, 720, 780]],
    [[480, 420, 540], [540, 660, 780]],
])  # fmt: skip

# car's OBrienKaiser: 16 subjects, pretest, posttest and follow-up x 5 hours.
OBRIEN_KAISER = np.array([
    [1, 2, 4, 2, 1, 3, 2, 5, 3, 2, 2, 3, 2, 4, 4], [4, 4, 5, 3, 4, 2, 2, 3, 5, 3, 4, 5, 6, 4, 1],
    [5, 6, 5, 7, 7, 4, 5, 7, 5, 4, 7, 6, 9, 7, 6], [5, 4, 7, 5, 4, 2, 2, 3, 5, 3, 4, 4, 5, 3, 4],
    [3, 4, 6, 4, 3, 6, 7, 8, 6, 3, 4, 3, 6, 4, 3], [7, 8, 7, 9, 9, 9, 9, 10, 8, 9, 9, 10, 11, 9, 6],
    [5, 5, 6, 4, 5, 7, 7, 8, 10, 8, 8, 9, 11, 9, 8], [2, 3, 5, 3, 2, 2, 4, 8, 6, 5, 6, 6, 7, 5, 6],
    [3, 3, 4, 6, 4, 4, 5, 6, 4, 1, 5, 4, 7, 5, 4], [4, 4, 5, 3, 4, 6, 7, 6, 8, 8, 8, 8, 9, 7, 8],
    [3, 3, 4, 2, 3, 5, 4, 7, 5, 4, 5, 6, 8, 6, 5], [6, 7, 8, 6, 3, 9, 10, 11, 9, 6, 8, 7, 10, 8, 7],
    [5, 5, 6, 8, 6, 4, 6, 6, 8, 6, 7, 7, 8, 10, 8], [2, 2, 3, 1, 2, 5, 6, 7, 5, 2, 6, 7, 8, 6, 3],
    [2, 2, 3, 4, 4, 6, 6, 7, 9, 7, 7, 7, 8, 6, 7], [4, 5, 7, 5, 4, 7, 7, 8, 6, 7, 7, 8, 10, 8, 7],
]).reshape(16, 3, 5)  # fmt: skip


def near(effect, **expected):
    for name, value in expected.items():
        assert getattr(effect, name) == pytest.approx(value, rel=1e-9), name


def test_two_way_equals_aov_and_afex():
    """aov(rt ~ angle * noise + Error(id / (angle * noise))) and afex's aov_ez; F = 40.72, 33.77, 45.31 in print.

    effectsize's vignette "Converting from test statistics" shows the same F values for this data set.
    """
    result = two_way(MAXWELL)
    near(
        result.a, f=33.7659574468085, df=1, df_error=9, p=2.55973658361999e-04, greenhouse_geisser=1.0,
        p_greenhouse_geisser=2.55973658361999e-04, partial_eta_squared=0.789552238805970,
        generalized_eta_squared=0.386601705237515, ss=285660, ss_error=76140,
    )  # fmt: skip
    near(
        result.b, f=40.7191011235955, df=2, df_error=18, p=2.08676320050208e-07,
        greenhouse_geisser=0.961636518149812, p_greenhouse_geisser=3.40170484417230e-07,
        partial_eta_squared=0.818983050847458, generalized_eta_squared=0.390117875020185,
        ss=289920, ss_error=64080,
    )  # fmt: skip
    near(
        result.interaction, f=45.3103448275863, df=2, df_error=18, p=9.42409255930497e-08,
        greenhouse_geisser=0.903977069150842, p_greenhouse_geisser=3.45393086102685e-07,
        partial_eta_squared=0.834285714285715, generalized_eta_squared=0.188265635074146,
        ss=105120, ss_error=20880,
    )  # fmt: skip


def test_one_way_equals_afex():
    """aov_ez("id", "rt", ..., within = "angle") of the means over noise."""
    near(
        repeated_measures(MAXWELL.mean(axis=1)), f=40.7191011235954, df=2, df_error=18, p=2.08676320050212e-07,
        greenhouse_geisser=0.961636518149812, p_greenhouse_geisser=3.40170484417236e-07,
        partial_eta_squared=0.818983050847457, generalized_eta_squared=0.448695329185625,
        ss=144960, ss_error=32040,
    )  # fmt: skip


def test_two_way_equals_car_on_obrien_kaiser():
    """summary(Anova(lm(cbind(...) ~ 1), idata = idata, idesign = ~ phase * hour, type = 3))."""
    result = two_way(OBRIEN_KAISER)
    near(
        result.a, f=14.85221674876847, df=2, df_error=30, p=3.28639750374250e-05, ss=167.5,
        greenhouse_geisser=0.772022181423058, p_greenhouse_geisser=1.89064087648997e-04,
    )  # fmt: skip
    near(
        result.b, f=21.63086489542114, df=4, df_error=60, p=4.36032499338625e-11, ss_error=73.7083333333333,
        greenhouse_geisser=0.498417321324704, p_greenhouse_geisser=1.57825786553988e-06,
    )  # fmt: skip
    near(
        result.interaction, f=1.35254237288136, df=8, df_error=120, p=2.24459750328877e-01,
        greenhouse_geisser=0.512974890078072, p_greenhouse_geisser=2.60235679528516e-01,
    )  # fmt: skip


def test_by_hand():
    """Level means 1.5, 2, 7 and subject means 3, 4 about 3.5.

    ss = 2 (4 + 2.25 + 12.25) = 37, subjects 3 (0.25 + 0.25) = 1.5, and the total of 39.5 leaves 1 for the error.
    """
    effect = repeated_measures([[1, 2, 6], [2, 2, 8]])
    near(effect, ss=37.0, ss_error=1.0, f=37.0, df=2, df_error=2, partial_eta_squared=37 / 38)
    near(effect, generalized_eta_squared=37 / (37 + 1 + 1.5), p=1 / 38)  # P(F(2, 2) > f) = 1 / (1 + f)
    # One error direction only: S has rank 1, so epsilon is at its minimum 1 / 2 and F is on 1 and 1 df.
    near(effect, greenhouse_geisser=0.5, p_greenhouse_geisser=1 - 2 / math.pi * math.atan(math.sqrt(37)))


def test_two_levels_are_the_paired_t_test():
    scores = np.random.default_rng(0).normal(size=(9, 2))
    expected = stats.ttest_rel(scores[:, 0], scores[:, 1])
    effect = repeated_measures(scores)
    assert (effect.f, effect.p) == (pytest.approx(expected.statistic**2), pytest.approx(expected.pvalue))
    assert (effect.greenhouse_geisser, effect.p_greenhouse_geisser) == (1.0, pytest.approx(effect.p))


def test_two_by_two_interaction_is_a_t_test_of_differences_of_differences():
    scores = np.random.default_rng(1).normal(size=(7, 2, 2))
    contrast = scores[:, 0, 0] - scores[:, 0, 1] - scores[:, 1, 0] + scores[:, 1, 1]
    expected = stats.ttest_1samp(contrast, 0)
    assert two_way(scores).interaction.f == pytest.approx(expected.statistic**2)
    assert two_way(scores).interaction.p == pytest.approx(expected.pvalue)


def test_main_effect_is_the_one_way_analysis_of_means():
    scores = np.random.default_rng(2).normal(size=(6, 3, 4))
    both, one = two_way(scores), repeated_measures(scores.mean(axis=2))
    for name in ("f", "df", "df_error", "p", "greenhouse_geisser", "p_greenhouse_geisser", "partial_eta_squared"):
        assert getattr(both.a, name) == pytest.approx(getattr(one, name))
    swapped = two_way(scores.transpose(0, 2, 1))
    assert (swapped.a.f, swapped.b.f) == (pytest.approx(both.b.f), pytest.approx(both.a.f))
    assert swapped.interaction.greenhouse_geisser == pytest.approx(both.interaction.greenhouse_geisser)


def test_sums_of_squares_add_up_and_the_level_does_not_matter():
    scores = np.random.default_rng(3).normal(size=(5, 3, 4))
    parts = two_way(scores)
    effects = (parts.a, parts.b, parts.interaction)
    means = scores.mean(axis=(1, 2))
    subjects = 12 * float(((means - means.mean()) ** 2).sum())
    total = float(((scores - scores.mean()) ** 2).sum())
    assert sum(effect.ss + effect.ss_error for effect in effects) + subjects == pytest.approx(total)
    shifted = two_way([[[Fraction(float(x)) + 10**12 for x in row] for row in table] for table in scores])
    assert shifted.interaction.f == pytest.approx(parts.interaction.f, rel=1e-12)


def test_without_error():
    constant_gap = repeated_measures([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]])  # 0.1 up to round-off
    assert (constant_gap.f, constant_gap.p, constant_gap.p_greenhouse_geisser) == (math.inf, 0, 0)
    assert (constant_gap.ss_error, constant_gap.greenhouse_geisser, constant_gap.partial_eta_squared) == (0, 1, 1)
    nothing = repeated_measures([[0.1 + 0.2, 0.3], [0.5, 0.5], [0.7, 0.7]])
    assert (nothing.f, nothing.p, nothing.p_greenhouse_geisser) == (0, 1, 1)
    assert (nothing.partial_eta_squared, nothing.generalized_eta_squared) == (0, 0)
    all_equal = two_way(np.full((3, 2, 3), 0.7))
    assert all(effect.p == 1 for effect in (all_equal.a, all_equal.b, all_equal.interaction))
    no_effect = repeated_measures([[1, 2, 3], [2, 3, 1], [3, 1, 2]])
    assert (no_effect.f, no_effect.p) == (0, 1)
    assert no_effect.ss_error == pytest.approx(6)


def test_tiny_exact_differences_count():
    step = Fraction(1, 10**20)
    rows = [[1, 1 + step, 1 + 3 * step], [1, 1 + 2 * step, 1 + 2 * step], [1, 1 + step, 1 + 5 * step]]
    assert repeated_measures(rows).f == pytest.approx(repeated_measures([[0, 1, 3], [0, 2, 2], [0, 1, 5]]).f)


def test_accepts_frames_and_number_types():
    plain = repeated_measures([[1, 2, 6], [2, 2, 8]])
    assert repeated_measures(pd.DataFrame({"a": [1, 2], "b": [2, 2], "c": [6, 8]})) == plain
    assert repeated_measures([[Decimal(1), Fraction(2), 6], [2, 2, Decimal(8)]]) == plain


def test_rejects():
    with pytest.raises(ValueError, match=r"subject 1: scores\[0\]"):
        repeated_measures([[1.0, 2.0], [math.nan, 3.0]])
    with pytest.raises(ValueError, match=r"subject 0: scores\[3\]"):
        two_way([[[1, 2], [3, None]], [[1, 2], [3, 4]]])
    for scores in ([[1, 2, 3]], [[1], [2]], [1, 2, 3], [[1, 2], [3]], np.ones((2, 2, 2))):
        with pytest.raises(ValueError, match="subjects x levels with at least 2"):
            repeated_measures(scores)
    for shape in ((1, 2, 2), (3, 1, 2), (3, 2, 1), (3, 2)):
        with pytest.raises(ValueError, match="subjects x levels of A x levels of B with at least 2"):
            two_way(np.ones(shape))
