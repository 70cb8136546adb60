"""The unit whose tests count: dataset means, or seed means where the data have one dataset."""

import numpy as np
import pytest
from scipy import stats

from dreg_sweep.analysis.claims.reading import Claim, Study
from dreg_sweep.analysis.claims.verdicts import Evidence, judge
from dreg_sweep.analysis.pairing import Family, comparisons, primary, primary_unit, why_primary
from dreg_sweep.analysis.statistics.anova import repeated_measures
from dreg_sweep.analysis.statistics.bootstrap import clustered_interval
from dreg_sweep.analysis.tables.across import by_unit, rank_tests, standing, variance
from dreg_sweep.analysis.tables.fragility import fragility, intervals
from dreg_sweep.analysis.tables.pairwise import pairwise
from tests.grids import grid_of, made_up
from tests.histories import METHODS, one_dataset

RIVALS = tuple(name for name in METHODS if name != "spectreg")


@pytest.fixture
def rows():
    return one_dataset({"spectreg": lambda d, a, s: 5 + s, "double_backprop": 3}, noise=4)


@pytest.fixture
def grid(rows, tmp_path):
    return grid_of(rows, tmp_path)


def test_one_dataset_is_paired_by_seed_and_several_by_dataset(grid, tmp_path):
    assert primary_unit(grid) == "seed"
    assert why_primary(grid).startswith(
        "seed means, since the data have one dataset, mnist, whose mean is a single"
    )
    assert why_primary(grid).endswith("on mnist, not about other datasets")
    two = grid_of(made_up(datasets=("mnist", "sst2")), tmp_path)
    assert (primary_unit(two), why_primary(two)) == ("dataset", "dataset means")
    # a dataset without any result yet counts: the unit does not change on the way
    waiting = made_up(datasets=("mnist", "sst2"))
    waiting.loc[waiting["dataset"] == "sst2", "status"] = "failed"
    assert primary_unit(grid_of(waiting, tmp_path)) == "dataset"


def test_the_primary_tests_of_one_dataset_equal_scipys_over_its_seeds(rows, grid):
    tests = primary(comparisons(grid, "spectreg", Family(RIVALS)), "clean").set_index("rival")
    wide = rows.pivot_table("clean_correct", "seed", "regularizer")
    for rival in RIVALS:
        expected = stats.wilcoxon(wide["spectreg"] - wide[rival], method="exact").pvalue
        ties = len(set(np.abs(wide["spectreg"] - wide[rival]))) < 10
        assert tests.at[rival, "pairs"] == 10
        assert tests.at[rival, "unit"] == "seed"
        if not ties:
            assert tests.at[rival, "p"] == pytest.approx(expected)
    assert tests.at["none", "p"] == 2 / 1024
    assert tests.at["none", "floor_holm"] == pytest.approx(10 / 1024)


def test_every_table_of_one_dataset_is_about_its_seeds_and_says_so(rows, grid):
    metric = grid.metrics[0]
    tests = comparisons(grid, "spectreg", Family(RIVALS))
    table = pairwise(grid, tests, metric, "spectreg", Family(RIVALS))
    assert "Primary unit: seed means, since the data have one dataset, mnist" in table.caption
    assert [row[1] for row in table.printed()[:2]] == ["datasets", "seeds (primary)†"]
    by_seed = by_unit(grid)
    assert "Primary: seed means" in rank_tests(grid, by_seed).caption
    assert "resamples of the seeds" in standing(grid, by_seed).caption
    wide = rows.pivot_table("clean_correct", "seed", "regularizer")
    effects = variance(grid).values
    assert effects["seeds"].tolist() == [10]
    assert effects["f"].iloc[0] == pytest.approx(repeated_measures(wide.to_numpy() / 10).f)
    boot = intervals(grid, "spectreg").values.set_index("rival")
    expected = clustered_interval(((wide["spectreg"] - wide["none"]) / 10).tolist())
    assert boot.at["none", "seeds"] == 10
    assert boot.at["none", "low"] == pytest.approx(expected.low)
    left_out = fragility(grid, metric, "spectreg").values
    assert set(left_out["factor"]) == {"nothing", "seed"}
    assert set(left_out.loc[left_out["factor"] == "seed", "pairs"]) == {9}


def test_leaving_a_dataset_out_keeps_the_unit(tmp_path):
    """Without one of two datasets one pair is left, not the seeds of the other."""
    two = grid_of(made_up({"dreg": 5}, datasets=("mnist", "sst2")), tmp_path)
    table = fragility(two, two.metrics[0], "dreg").values
    assert set(table.loc[table["factor"] == "dataset", "pairs"]) == {1}


def test_a_claim_about_one_dataset_is_judged_by_its_seeds(tmp_path):
    grid = grid_of(made_up({"dreg": 5}, seeds=range(10)), tmp_path)
    claims = (
        Claim("one", "", "higher", "dreg", "clean", rivals=("none",), where={"dataset": ("mnist",)}),
        Claim("group", "", "higher", "dreg", "clean", rivals=("none",), where={"modality": ("text",)}),
    )
    frame = judge(Study("", "", claims), Evidence(grid, {}))
    first = frame[frame["primary"]].set_index("claim")
    assert first["unit"].to_dict() == {"one": "seed", "group": "dataset"}
    assert (first.at["one", "p"], first.at["one", "verdict"]) == (2 / 1024, "reproduced")
    assert (first.at["group", "p"], first.at["group", "pairs"]) == (2 / 16, 4)
