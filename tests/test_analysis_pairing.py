"""The tests of a treatment against its rivals: units, floors, families; SciPy and sums by hand as oracles."""

import numpy as np
import pytest
from scipy import stats

from dreg_sweep.analysis.pairing import UNITS, Family, choose_family, comparisons, primary
from dreg_sweep.errors import UserError
from tests.grids import REGULARIZERS, grid_of, made_up

RIVALS = REGULARIZERS[:-1]
ALL = Family(RIVALS)


def test_every_unit_side_and_zero_rule_is_there(tmp_path):
    tests = comparisons(grid_of(made_up({"dreg": 5}, noise=9), tmp_path), "dreg", ALL)
    assert len(tests) == 3 * 4 * 5 * 3 * 2
    pairs = tests.groupby("unit")["pairs"].unique().map(list).to_dict()
    assert pairs == {"dataset": [8], "seed": [5], "dataset_activation": [32], "cell": [160]}
    assert set(tests.loc[tests["primary"], "unit"]) == {"dataset"}
    assert (
        tests.loc[tests["unit"].isin(["cell", "dataset_activation"]), "caution"].str.startswith("pseudo-rep").all()
    )


@pytest.mark.parametrize("unit", list(UNITS))
@pytest.mark.parametrize("side", ["two-sided", "greater", "less"])
def test_p_equals_scipys_exact_test_of_the_means(tmp_path, unit, side):
    rows = made_up(
        {"dreg": 3}, datasets=("mnist", "sst2", "cifar10"), activations=("relu", "gelu"), seeds=range(4)
    )
    rng = np.random.default_rng(7)
    rows["clean_correct"] += rng.permutation(len(rows))  # distinct, so that SciPy's exact test is exact
    rows["clean_accuracy"] = rows["clean_correct"] / 1000
    tests = primary(
        comparisons(grid_of(rows, tmp_path), "dreg", ALL), "clean", unit=unit, alternative=side
    ).set_index("rival")
    for rival in RIVALS:
        wide = rows.pivot_table("clean_accuracy", list(UNITS[unit].factors), "regularizer")
        differences = (wide["dreg"] - wide[rival]).to_numpy()
        if len(set(np.abs(differences.round(12)))) < len(differences) or (differences.round(12) == 0).any():
            continue  # ties: not SciPy's exact case
        expected = stats.wilcoxon(differences, alternative=side, method="exact")
        assert tests.at[rival, "p"] == pytest.approx(expected.pvalue, rel=1e-12)
        assert tests.at[rival, "mean_difference"] == pytest.approx(100 * differences.mean(), rel=1e-9)


def test_five_seeds_cannot_reach_005_after_holm_and_eight_datasets_can(tmp_path):
    tests = comparisons(grid_of(made_up({"dreg": lambda d, a, s: 5 + s}), tmp_path), "dreg", ALL)
    seeds = primary(tests, "clean", unit="seed", alternative="greater")
    assert seeds["p"].tolist() == [1 / 32] * 5
    assert seeds["p_holm"].tolist() == [5 / 32] * 5
    assert seeds["floor"].tolist() == [1 / 32] * 5
    assert not seeds["can_reach"].any()
    assert seeds["pairs_needed"].tolist() == [7] * 5  # 5 / 2^7 ≤ 0.05 < 5 / 2^6
    datasets = primary(tests, "clean")
    assert datasets["p"].tolist() == [2 / 256] * 5
    assert datasets["p_holm"].tolist() == [10 / 256] * 5
    assert datasets["can_reach"].all()
    assert datasets["pairs_needed"].tolist() == [8] * 5


def test_zero_differences_count_openly(tmp_path):
    rows = made_up({"dreg": lambda d, a, s: 0 if d == "mnist" else 4})
    tests = comparisons(grid_of(rows, tmp_path), "dreg", ALL)
    for zeros, n in (("wilcox", 7), ("pratt", 8)):
        row = primary(tests, "clean", zeros=zeros).iloc[0]
        assert (row["pairs"], row["zero_differences"], row["n"], row["floor"]) == (8, 1, n, 2 / 128)


def test_only_complete_pairs_count_and_other_rivals_holes_do_not_matter(tmp_path):
    rows = made_up({"dreg": 5})
    holes = (rows["dataset"] == "gtsrb") & (rows["regularizer"] == "igpen")
    tests = primary(comparisons(grid_of(rows[~holes], tmp_path), "dreg", ALL), "clean").set_index("rival")
    assert tests["pairs"].to_dict() == {"none": 8, "weight_decay": 8, "dropout": 8, "spectral_norm": 8, "igpen": 7}
    one = (rows["cell"] == "gtsrb/relu/igpen/s0") | (rows["cell"] == "gtsrb/relu/dreg/s1")
    tests = primary(comparisons(grid_of(rows[~one], tmp_path), "dreg", ALL), "clean").set_index("rival")
    assert not tests["balanced"].any()
    assert tests["pairs"].tolist() == [8] * 5


def test_the_family_decides_what_holm_corrects(tmp_path):
    grid = grid_of(made_up({"dreg": lambda d, a, s: 5 + s}, {"dreg": 9}), tmp_path)
    named = choose_family("none,igpen", RIVALS)
    tests = primary(comparisons(grid, "dreg", named), "clean").set_index("rival")
    assert tests["p_holm"].dropna().to_dict() == {"none": 4 / 256, "igpen": 4 / 256}
    assert tests.at["none", "family"] == 2
    together = comparisons(grid, "dreg", choose_family("all", RIVALS))
    assert primary(together, "clean")["p_holm"].tolist() == [30 / 256] * 5
    assert choose_family(None, RIVALS) == choose_family("rivals", RIVALS) == ALL
    with pytest.raises(UserError, match="no rival called dreg; choose from: rivals, all, none, weight_decay"):
        choose_family("none,dreg", RIVALS)


def test_the_least_p_after_holm_is_what_holm_gives_the_floors(tmp_path):
    """igpen ties with dreg on one dataset: its floor is 2/128, the others' 2/256; all become 10/256."""
    rows = made_up({"dreg": 4, "igpen": lambda d, a, s: 4 if d == "mnist" else 0})
    tests = primary(comparisons(grid_of(rows, tmp_path), "dreg", ALL), "clean").set_index("rival")
    assert tests["floor"].to_dict() == {**dict.fromkeys(RIVALS, 2 / 256), "igpen": 2 / 128}
    assert tests["floor_holm"].to_dict() == dict.fromkeys(RIVALS, 10 / 256)
    assert tests["p_holm"].to_dict() == dict.fromkeys(RIVALS, 10 / 256)
    assert tests["can_reach"].all()


def test_a_rival_without_a_result_stays_in_the_declared_family(tmp_path):
    rows = made_up({"dreg": 4})
    rows.loc[rows["regularizer"] == "igpen", "status"] = "failed"
    tests = primary(comparisons(grid_of(rows, tmp_path), "dreg", ALL), "clean")
    assert tests["rival"].tolist() == [rival for rival in RIVALS if rival != "igpen"]
    assert tests["p_holm"].tolist() == [10 / 256] * 4
    assert tests["family"].tolist() == [5] * 4


def test_shuffled_rows_change_nothing(tmp_path):
    rows = made_up({"dreg": 4}, noise=20)
    one = comparisons(grid_of(rows, tmp_path), "dreg", ALL)
    other = comparisons(grid_of(rows.sample(frac=1, random_state=3), tmp_path), "dreg", ALL)
    assert one.equals(other)
