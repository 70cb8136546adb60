"""Contrasts of any factor of any table, against pandas and SciPy; two one-sided tests against enumeration."""

import itertools
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dreg_sweep.analysis import compare, equivalence, holm, load_cells, signed_rank
from tests.grids import loaded, made_up


def table(rng, **factors):
    """A tidy frame of every combination of the factors' levels, with a score."""
    frame = pd.DataFrame(itertools.product(*factors.values()), columns=list(factors))
    return frame.assign(score=np.round(rng.normal(size=len(frame)), 6)).sample(frac=1, random_state=1)


def differences(frame, factor, one, other, unit):
    """By pandas: in a balanced table a marginal mean is a plain mean."""
    means = frame.groupby([factor, *unit])["score"].mean().unstack(factor)
    return (means[one] - means[other]).dropna()


LEARNING = {
    "optimizer.lr": (0.1, 0.01, 0.001),
    "activation": ("relu", "gelu"),
    "dataset": tuple("abcdef"),
    "seed": range(3),
}


@pytest.mark.parametrize(
    ("factor", "given_unit", "unit"),
    [
        ("optimizer.lr", None, ["dataset"]),
        ("activation", None, ["dataset"]),
        ("dataset", None, ["seed"]),
        ("seed", None, ["dataset"]),
        ("optimizer.lr", ("activation", "dataset"), ["dataset", "activation"]),
        ("activation", "cell", ["dataset", "optimizer.lr", "seed"]),
        ("optimizer.lr", "seed", ["seed"]),
    ],
)
def test_any_factor_agrees_with_pandas_and_scipy(factor, given_unit, unit):
    frame = table(np.random.default_rng(3), **LEARNING)
    blocks = [] if factor == "optimizer.lr" else ["optimizer.lr"]
    found = compare(frame, factor, metric="score", unit=given_unit, block=blocks)
    told = [(row.level, row.against) for row in found.itertuples()]
    assert {*told, *(pair[::-1] for pair in told)} == set(itertools.permutations(LEARNING[factor], 2))
    for row in found.itertuples():
        expected = differences(frame, factor, row.level, row.against, unit)
        assert row.n == len(expected)
        assert row.estimate == pytest.approx(expected.mean(), abs=1e-12)
        assert row.p == pytest.approx(stats.wilcoxon(expected, method="exact").pvalue)
        assert row.low <= row.hodges_lehmann <= row.high
        assert row.unit == " × ".join(unit)
    assert found["p_adjusted"].tolist() == pytest.approx(holm(found["p"]).tolist())
    assert found["floor"].tolist() == pytest.approx([2 * 2.0**-row.n for row in found.itertuples()])
    assert found["floor_adjusted"].tolist() == pytest.approx((found["floor"] * len(found)).clip(upper=1).tolist())


def test_treatment_and_baseline_choose_the_contrasts():
    frame = table(np.random.default_rng(0), method=("none", "a", "b"), dataset=tuple("xyz"))

    def chosen(**asked):
        found = compare(frame, "method", metric="score", **asked)
        return set(zip(found["level"], found["against"], strict=True))

    assert chosen(treatment="a", baseline="none") == {("a", "none")}
    assert chosen(treatment="a") == {("a", "none"), ("a", "b")}
    assert chosen(baseline="none") == {("a", "none"), ("b", "none")}
    assert len(chosen()) == 3
    one = compare(frame, "method", "a", "none").iloc[0]  # the only column of numbers is the metric
    other = compare(frame, "method", "none", "a").iloc[0]
    assert (one["estimate"], one["low"], one["p"]) == (-other["estimate"], -other["high"], other["p"])


def test_simple_effects_are_the_contrasts_of_each_part():
    frame = table(np.random.default_rng(5), **LEARNING)
    found = compare(frame, "activation", "gelu", "relu", "score", at=["optimizer.lr"])
    assert found["optimizer.lr"].tolist() == [0.001, 0.01, 0.1]
    for row in found.to_dict("records"):
        part = frame[frame["optimizer.lr"] == row["optimizer.lr"]]
        alone = compare(part, "activation", "gelu", "relu", "score").iloc[0]
        assert alone["estimate"] == row["estimate"]
        assert (alone["p"], alone["p_adjusted"]) == (row["p"], row["p_adjusted"])


def test_means_are_marginal_and_blocks_those_of_both_levels():
    """Seed 0 everywhere, seed 1 on b only: 1 on a, (1 + 5) / 2 on b; a level without a partner counts nowhere."""
    rows = [("x", "a", 0, 2.0), ("y", "a", 0, 1.0), ("x", "b", 0, 2.0), ("y", "b", 0, 1.0), ("x", "b", 1, 6.0)]
    rows += [("y", "b", 1, 1.0), ("x", "c", 0, 100.0)]
    frame = pd.DataFrame(rows, columns=["method", "dataset", "seed", "loss"])
    found = compare(frame, "method", "x", "y").iloc[0]
    assert (found["n"], found["estimate"]) == (2, 2.0)


def test_the_rows_of_a_sweep_agree_with_its_tables(tmp_path):
    frame = loaded(made_up({"dreg": lambda d, a, s: 5 * s}, {}, regularizers=("none", "igpen", "dreg")), tmp_path)
    found = compare(frame, treatment="dreg")
    for row in found.itertuples():
        means = frame.groupby(["regularizer", "dataset"], observed=True)["clean_accuracy"].mean().unstack(0)
        assert row.estimate == pytest.approx((means["dreg"] - means[row.against]).mean())
    assert set(found["metric"]) == {"clean_accuracy"}
    by_activation = compare(frame, "activation", "gelu", "relu")
    assert by_activation["n"].tolist() == [frame["dataset"].nunique()]


def test_equal_differences_tie_whatever_their_last_bits():
    """0.3 - 0.2 and 0.2 - 0.1, and thirds that were printed in full."""
    frame = pd.DataFrame(
        {"m": ["a", "b"] * 3, "dataset": [1, 1, 2, 2, 3, 3], "loss": [0.3, 0.2, 0.2, 0.1, 1 / 3, 1 / 3 + 0.1]}
    )
    found = compare(frame, "m", "a", "b", "loss").iloc[0]
    exact = signed_rank([Fraction(1), Fraction(1), Fraction(-1)])
    assert (found["p"], found["rank_biserial"]) == (exact.p, exact.rank_biserial)


def test_a_contrast_without_a_pair_makes_no_other_one_look_surer():
    frame = pd.DataFrame(
        {
            "m": ["a", "b"] * 6 + ["c"],
            "dataset": [n // 2 for n in range(12)] + ["elsewhere"],
            "score": [1.0, 0.0] * 6 + [3.0],
        }
    )
    found = compare(frame, "m", treatment="a", metric="score").set_index("against")
    assert (found.loc["c", "n"], found["p_adjusted"].isna().tolist()) == (0, [False, True])
    assert found.loc["b", "p_adjusted"] == 2 * found.loc["b", "p"]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"factor": "lr"}, "there is no column lr"),
        ({"metric": "loss"}, "there is no column loss"),
        ({"treatment": "z"}, "method has no level z; it has: a, b"),
        ({"treatment": "a", "baseline": "a"}, "with itself"),
        ({"unit": "seed"}, "unit seed is no block; choose of: dataset, cell"),
        ({"at": ["method"]}, "method has two roles"),
        ({"factor": "constant"}, "constant has one level"),
        ({"factor": "other"}, "several rows have other="),
        ({"metric": "holes", "block": ["method"], "factor": "other"}, "holes is not finite"),
    ],
)
def test_what_cannot_be_compared_is_said(asked, words):
    frame = pd.DataFrame(itertools.product("ab", "xy"), columns=["method", "dataset"])
    frame = frame.assign(score=range(4), constant=1, other=[1, 1, 2, 2], holes=[1.0, np.inf, 2.0, np.nan])
    frame.loc[1, "other"] = 2
    frame.loc[3, "dataset"] = "y"
    with pytest.raises(ValueError, match=words):
        compare(frame, **{"factor": "method", "metric": "score", **asked})


def test_a_file_from_elsewhere_is_compared_in_one_call(tmp_path):
    path = tmp_path / "rows.csv"
    frame = table(
        np.random.default_rng(8), activation=("relu", "gelu"), regularizer=("none",), dataset=tuple("abcde")
    )
    frame.assign(seed=0, clean_accuracy=frame["score"].abs() / 10).to_csv(path, index=False)
    found = compare(load_cells(path), "activation", "gelu", "relu")
    assert found["n"].tolist() == [5]


def brute_force(differences, margin):
    """The larger p of both one-sided tests, from all sign patterns."""

    def one_sided(values):
        values = [value for value in values if value != 0]
        ranks = stats.rankdata([abs(value) for value in values])
        observed = sum(rank for rank, value in zip(ranks, values, strict=True) if value > 0)
        sums = [sum(itertools.compress(ranks, signs)) for signs in itertools.product((0, 1), repeat=len(values))]
        return np.mean([total >= observed - 1e-9 for total in sums])

    return max(one_sided([d + margin for d in differences]), one_sided([margin - d for d in differences]))


@given(st.lists(st.integers(-30, 30), min_size=1, max_size=9), st.integers(1, 25))
@settings(deadline=None, max_examples=60)
def test_two_one_sided_tests_equal_enumeration(differences, margin):
    result = equivalence(differences, margin)
    assert result.p == pytest.approx(brute_force(differences, margin))
    assert result.p == max(result.p_above, result.p_below)
    scaled = equivalence([d / 8 for d in differences], margin / 8)
    assert (scaled.p, scaled.n) == (result.p, len(differences))


def test_decimals_meet_the_bound_exactly():
    """A difference that equals the bound says nothing, and is dropped by default."""
    from decimal import Decimal

    result = equivalence([Decimal("0.1"), Decimal("0.02"), Decimal("-0.03")], 0.1)
    assert result.p_below == equivalence([0.02, -0.03], 0.1).p_below
    assert result.floor == 2.0**-2


@pytest.mark.parametrize("margin", [0, -1, float("nan"), float("inf"), True])
def test_a_margin_is_a_number_above_0(margin):
    with pytest.raises(ValueError, match="margin must be a finite number above 0"):
        equivalence([1.0, 2.0], margin)


def test_without_pairs_nothing_is_shown():
    assert equivalence([], 1).p == 1
