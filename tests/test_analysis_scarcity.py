"""Advantages by training size: sizes are compared over equal blocks, and what is left out is said."""

import pandas as pd
import pytest

from dreg_sweep.analysis.audit import audit
from dreg_sweep.analysis.claims.reading import built_in
from dreg_sweep.analysis.command import main
from dreg_sweep.analysis.pairing import UNITS
from dreg_sweep.analysis.rows.select import ALL, WHOLE
from dreg_sweep.analysis.study import read
from dreg_sweep.analysis.tables.scarcity import advantages, by_size, crossed, lacking, shape, tables, trend
from dreg_sweep.analysis.tables.scarcity_fragility import without_each_dataset
from tests.grids import grid_of, loaded, made_up

SMALL = {"activations": ("relu", "gelu"), "regularizers": ("none", "igpen", "dreg"), "seeds": range(3)}


def at(size, datasets, gain, **arguments):
    """The rows of one size, in which dreg has gain(dataset, size) right answers more."""
    effects = {"dreg": lambda d, a, s: gain(d, size)}
    return made_up(effects, effects, datasets=datasets, **(SMALL | arguments)).assign(train_size=size)


def grids_of(tmp_path, rows):
    sizes = rows["train_size"].astype("float64").fillna(WHOLE)
    return {
        size if size == WHOLE else int(size): audit(loaded(rows[sizes == size], tmp_path)).grid
        for size in sorted(sizes.unique())
    }


A, B = ("mnist", "cifar10", "sst2"), ("fashion_mnist", "gtsrb", "trec6")


def two_groups():
    """Three datasets at 100, 200, 400 where dreg gains much, three at 200, 400, 800 where it gains little."""
    parts = [at(size, A, lambda d, s: 60) for size in (100, 200, 400)]
    parts += [at(size, B, lambda d, s: 3) for size in (200, 400, 800)]
    return pd.concat(parts, ignore_index=True)


def test_no_unit_compares_different_datasets_at_different_sizes(tmp_path):
    grids = grids_of(tmp_path, two_groups())
    metric = grids[200].metrics[0]
    for unit in UNITS.values():
        assert by_size(grids, metric, "dreg", "none", unit) == {}
        shared = {size: grids[size] for size in (200, 400)}
        table = by_size(shared, metric, "dreg", "none", unit)
        assert table
        assert all(line[0] == line[1] for line in table.values())
    assert (trend(grids, metric, "dreg")["blocks"] == 0).all()


def test_a_claim_about_scarcity_is_not_reproduced_by_a_change_of_datasets(tmp_path, capsys):
    path = tmp_path / "rows.parquet"
    two_groups().to_parquet(path)
    assert main([str(path)]) == 0
    out = tmp_path / "analysis"
    verdicts = pd.read_csv(out / "claims.csv")
    about = next(
        claim.id
        for claim in built_in("dreg", "none", ["overall", "clean", "noisy"]).claims
        if claim.kind == "scarcity"
    )
    assert set(verdicts.loc[verdicts["claim"] == about, "verdict"]) == {"undecided"}
    assert not (out / "tables" / "scarcity.csv").exists()
    said = "o block (dataset, activation, seed) has dreg and a rival at every training size (100, 200, 400, 800)"
    assert f"N{said}" in (out / "report.html").read_text()
    assert f"warning: n{said}" in capsys.readouterr().err


def test_blocks_that_lack_a_size_count_at_no_size(tmp_path):
    """cifar10, where dreg gains most, lacks its seeds 1 and 2 at 400, and trec6 has no 100 at all."""
    gain = {"mnist": 10, "cifar10": 100, "trec6": 200}
    parts = [at(size, tuple(gain), lambda d, s: gain[d]) for size in (100, 200, 400)]
    rows = pd.concat(parts, ignore_index=True)
    out = (rows["dataset"] == "cifar10") & (rows["train_size"] == 400) & (rows["seed"] > 0)
    rows = rows[~out & ~((rows["dataset"] == "trec6") & (rows["train_size"] == 100))]
    grids = grids_of(tmp_path, rows)
    metric = next(metric for metric in grids[100].metrics if metric.name == "clean")
    found = trend(grids, metric, "dreg").set_index(["rival", "unit"])
    assert found.loc["none", "blocks"].to_dict() == {
        "dataset": 2, "seed": 3, "dataset_activation": 4, "cell": 8,
    }  # fmt: skip
    assert found["slope"].tolist() == pytest.approx([0] * len(found), abs=1e-12)
    curve = advantages(grids, metric, "dreg")
    assert curve["difference"].tolist() == pytest.approx([5.5] * len(curve))
    assert set(curve["blocks"]) == {8}
    _, _, (first, second) = tables(grids, metric, "dreg")
    for table in (first, second):
        assert "take part: 8 of 18. Left out: 4 blocks of cifar10, 6 blocks of trec6." in table.caption
        assert "Unbalanced: not every regularizer has a result in " in table.caption


@pytest.mark.parametrize(
    ("means", "found"),
    [
        ([3, 2, 1], "falls"),
        ([1, 2, 3], "rises"),
        ([0.25, -0.67, -1.2, -1.09, -0.64, 0.27], "U"),
        ([2, 1, 1.5], "U"),
        ([1, 3, 2], "inverted U"),
        ([3, 1, 2, 1], "neither"),
        ([1, 1, 2], "neither"),
        ([1], "neither"),
    ],
)
def test_the_shape_of_means(means, found):
    assert shape(means) == found


def test_a_parabola_of_gains_is_found_as_one(tmp_path):
    """With x = log₂(size / 100) the gains in right answers of 1,000 are 40 - 32 x + 12 x²: 40, 20, 24, 52."""
    gains = {100: 40, 200: 20, 400: 24, 800: 52}
    rows = pd.concat([at(size, A, lambda d, s: gains[s]) for size in gains], ignore_index=True)
    grids = grids_of(tmp_path, rows)
    metric = next(metric for metric in grids[100].metrics if metric.name == "clean")
    _, tests, (_, table) = tables(grids, metric, "dreg")
    assert tests["curvature"].tolist() == pytest.approx([1.2] * len(tests))  # 12 of 1,000, in points
    assert tests["slope"].tolist() == pytest.approx([0.4] * len(tests))  # sum of (x - 1.5) gain / 5
    assert set(tests["shape"]) == {"U"}
    assert set(tests["largest_at"]) == {"800"}
    cells = tests[tests["unit"] == "cell"]
    assert cells["p_curvature"].tolist() == pytest.approx([2 * 2.0**-18] * len(cells))  # all 18 blocks bend alike
    assert "U-shaped" in table.caption


def test_a_balanced_design_leaves_nothing_out(tmp_path):
    rows = pd.concat([at(size, A, lambda d, s: 4000 // s) for size in (100, 200, 400)], ignore_index=True)
    grids = grids_of(tmp_path, rows)
    metric = grids[100].metrics[0]
    _, tests, (table, _) = tables(grids, metric, "dreg")
    assert "take part: 18 of 18. Overall is" in table.caption
    assert (tests["slope"] < 0).all()
    assert lacking(grids, "dreg") == ""


def test_the_whole_set_is_the_last_size(tmp_path, capsys):
    """Only the comparison with the whole set, at which the gain is negative, lets the advantage fall."""
    rows = pd.concat([at(size, A, lambda d, s: 20) for size in (100, 200, None)], ignore_index=True)
    whole = rows["train_size"].isna() & (rows["regularizer"] == "dreg")
    rows.loc[whole, "clean_correct"] -= 50
    rows["clean_accuracy"] = rows["clean_correct"] / 1000
    rows = rows.astype({"train_size": "Int64"})
    grids = grids_of(tmp_path, rows)
    assert list(grids) == [100, 200, WHOLE]
    metric = next(metric for metric in grids[100].metrics if metric.name == "clean")
    curve, tests, (_, trends) = tables(grids, metric, "dreg")
    assert curve["train_size"].tolist() == [100, 200, ALL] * 2
    assert curve.loc[curve["train_size"] == ALL, "difference"].tolist() == pytest.approx([-3.0] * 2)
    assert tests["slope"].tolist() == pytest.approx([0.0] * len(tests), abs=1e-12)
    assert (tests["sizes"] == 3).all()
    assert (tests["p"] < tests["p_reverse"]).all()
    assert "over the sizes 100, 200, all" in trends.caption
    assert "not part of the slope" in trends.caption
    path = tmp_path / "rows.parquet"
    rows.to_parquet(path)
    assert main([str(path)]) == 0
    assert "the largest of each dataset (all)" in capsys.readouterr().err
    written = pd.read_csv(tmp_path / "analysis" / "tables" / "scarcity.csv")
    assert written["train_size"].tolist()[:3] == ["100", "200", "all"]
    assert "whole training set (all) as well" in (tmp_path / "analysis" / "report.html").read_text()


def test_a_whole_set_of_some_datasets_is_left_out_and_named(tmp_path, capsys):
    rows = pd.concat([at(size, A, lambda d, s: 4000 // s) for size in (100, 200, 400)], ignore_index=True)
    more = at(None, ("mnist",), lambda d, s: 1)
    rows = pd.concat([rows, more], ignore_index=True).astype({"train_size": "Int64"})
    path = tmp_path / "rows.parquet"
    rows.to_parquet(path)
    kept, said = crossed(read(path).sizes)
    assert list(kept) == [100, 200, 400]
    assert said == "The whole training set (train_size=all) is left out, since only mnist had it."
    assert main([str(path)]) == 0
    assert "whole training set (train_size=all) is left out" in capsys.readouterr().err
    for name in ("scarcity", "scarcity_trend"):
        assert said in (tmp_path / "analysis" / "tables" / f"{name}.md").read_text()
    verdicts = pd.read_csv(tmp_path / "analysis" / "claims.csv")
    about = verdicts[verdicts["claim"] == "D"]
    assert len(about) == 4 * 2
    assert about["observed"].str.contains("since only mnist had it").all()


def test_a_treatment_without_a_size_ends_in_a_sentence(tmp_path):
    rows = pd.concat([at(size, A, lambda d, s: 9) for size in (100, 200, 400)], ignore_index=True)
    rows.loc[(rows["train_size"] == 100) & (rows["regularizer"] == "dreg"), "status"] = "failed"
    grids = grids_of(tmp_path, rows)
    assert lacking(grids, "dreg").startswith("At train_size=100 dreg has no result")
    path = tmp_path / "rows.parquet"
    rows.to_parquet(path)
    assert main([str(path)]) == 0
    assert "At train_size=100 dreg has no result" in (tmp_path / "analysis" / "report.html").read_text()


def test_one_grid_is_no_curve(tmp_path):
    grid = grid_of(made_up(datasets=A, **SMALL), tmp_path)
    assert lacking({100: grid}, "dreg").startswith("Only one training size has a result")


def test_the_trend_without_each_dataset(tmp_path):
    """dreg's gain falls on mnist and stays what it is on three others; its test is that of their rows alone."""
    gain = {"mnist": {100: 60, 200: 30, 400: 0}, "cifar10": 10, "sst2": 20, "trec6": 30}

    def right(dataset, size):
        own = gain[dataset]
        return own[size] if isinstance(own, dict) else own

    rows = pd.concat([at(size, tuple(gain), right) for size in (100, 200, 400)], ignore_index=True)
    grids = grids_of(tmp_path, rows)
    metric = next(metric for metric in grids[100].metrics if metric.name == "clean")
    found = without_each_dataset(grids, metric, "dreg").set_index(["rival", "left_out"])
    assert set(found.index.get_level_values("rival")) == {"none", "igpen"}
    none = found.loc["none"]
    assert none["datasets"].to_dict() == {"nothing": 4, **dict.fromkeys(gain, 3)}
    # In points, of 1,000 test rows: (6 + 1 + 2 + 3) / 4 at 100 rows, (0 + 1 + 2 + 3) / 4 at 400.
    assert none.loc["nothing", ["smallest", "largest"]].tolist() == pytest.approx([3.0, 1.5])
    assert none.loc["mnist", ["smallest", "largest", "slope"]].tolist() == pytest.approx([2.0, 2.0, 0.0])
    assert none.loc["trec6", ["smallest", "largest"]].tolist() == pytest.approx([3.0, 1.0])
    alone = trend(grids_of(tmp_path, rows[rows["dataset"] != "sst2"]), metric, "dreg")
    alone = alone[alone["unit"] == "dataset"].set_index("rival")
    assert none.loc["sst2", ["p", "p_reverse"]].tolist() == alone.loc["none", ["p", "p_reverse"]].tolist()


def test_three_datasets_are_too_few_to_leave_one_out(tmp_path):
    rows = pd.concat([at(size, A, lambda d, s: 4000 // s) for size in (100, 200, 400)], ignore_index=True)
    grids = grids_of(tmp_path, rows)
    assert without_each_dataset(grids, grids[100].metrics[0], "dreg") is None
