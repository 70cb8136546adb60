"""The tables: values against plain pandas and by hand, marks, captions of incomplete grids, and how they print."""

import numpy as np
import pandas as pd
import pytest

from dreg_sweep.analysis.audit import audit
from dreg_sweep.analysis.pairing import Family, comparisons
from dreg_sweep.analysis.scores import Metric, choose_metrics
from dreg_sweep.analysis.tables import noise
from dreg_sweep.analysis.tables.across import by_unit, rank_tests, standing, variance
from dreg_sweep.analysis.tables.factors import by_factor, by_group, gains
from dreg_sweep.analysis.tables.fragility import fragility, intervals
from dreg_sweep.analysis.tables.overall import overall, ranks_table
from dreg_sweep.analysis.tables.pairwise import pairwise
from dreg_sweep.analysis.tables.wording import mean_sd, p_text, signed
from tests.grids import DATASETS, REGULARIZERS, grid_of, loaded, made_up, marginal

METRICS = ("overall", "clean", "noisy")


def headline(grid, treatment="dreg"):
    family = Family(tuple(level for level in grid.compared if level != treatment))
    return overall(grid, treatment, comparisons(grid, treatment, family), family)


def by_regularizer(table, metric):
    """The columns of one metric, without its name."""
    values = table.values.set_index("regularizer")
    names = [name for name in values if name.startswith(f"{metric}_")]
    return values[names].rename(columns=lambda name: name.removeprefix(f"{metric}_"))


def with_overall(rows):
    return rows.assign(overall_accuracy=(rows["clean_accuracy"] + rows["noisy_accuracy"]) / 2)


def test_overall_equals_pandas(tmp_path):
    rows = with_overall(made_up({"dreg": 9, "igpen": 4}, {"dreg": -9}, noise=25))
    grid = grid_of(rows, tmp_path)
    table = headline(grid)
    family = Family(REGULARIZERS[:-1])
    long = ranks_table(grid, "dreg", comparisons(grid, "dreg", family), family).values
    assert long["metric"].unique().tolist() == list(METRICS)
    for metric in METRICS:
        values = by_regularizer(table, metric)
        assert values.index.tolist() == list(REGULARIZERS)
        alike = long[long["metric"] == metric].set_index("regularizer").drop(columns="metric")
        pd.testing.assert_frame_equal(values, alike, check_names=False)
        seeds = 100 * rows.groupby(["regularizer", "seed"])[f"{metric}_accuracy"].mean().unstack("seed")
        ranks = (
            rows.groupby(["dataset", "regularizer"])[f"{metric}_accuracy"]
            .mean()
            .unstack()
            .rank(1, ascending=False)
        )
        for column, expected in (
            ("mean", seeds.mean(axis=1)), ("sd", seeds.std(axis=1)),
            ("rank", seeds.mean(axis=1).rank(ascending=False)), ("mean_rank", ranks.mean()),
        ):  # fmt: skip
            assert values[column].to_dict() == pytest.approx(expected.to_dict(), rel=1e-9)
        gain = seeds.loc["dreg"].mean() - seeds.mean(axis=1)
        assert values["difference"].dropna().to_dict() == pytest.approx(gain.drop("dreg").to_dict(), abs=1e-9)


def test_mean_rank_and_rank_of_the_mean_differ_where_one_dataset_outweighs(tmp_path):
    """dreg wins by a little on seven datasets and loses by much on one: first by ranks, second by the mean."""
    effects = {"dreg": lambda d, a, s: -200 if d == "mnist" else 5}
    values = by_regularizer(headline(grid_of(made_up(effects), tmp_path)), "clean")
    assert values.at["dreg", "mean_rank"] == (7 * 1 + 6) / 8
    assert values.at["dreg", "rank"] == 6
    assert values.at["none", "rank"] == 3  # five tie for the places 1 to 5


def test_the_caption_says_unit_side_family_and_what_cannot_be_reached(tmp_path):
    grid = grid_of(made_up({"dreg": lambda d, a, s: 5 + s}, {"dreg": 3}), tmp_path)
    caption = headline(grid).caption
    for part in (
        "standard deviation over 5 seeds",
        "Wilcoxon signed-rank test of dreg against each rival (exact; zero",
        "Holm's correction over 5 rivals (none, weight_decay, dropout, spectral_norm, igpen), each metric by ",
        "Paired by dataset means (8 pairs, two-sided) no p can be below 0.00781, and none below 0.0391 after ",
        "Paired by seed means (5 pairs, greater) no p can be below 0.0312, and none below 0.156 after Holm: "
        "0.05 cannot be reached and would need 7 pairs.",
    ):
        assert part in caption
    clean = made_up().drop(columns=["noisy_accuracy", "noisy_correct", "n_noisy"])
    assert "Clean accuracy only" in headline(grid_of(clean, tmp_path)).caption


def test_by_factor_equals_pandas_and_orders_levels(tmp_path):
    rows = with_overall(made_up({"dreg": 9}, noise=25))
    for factor in ("activation", "dataset"):
        table = by_factor(grid_of(rows, tmp_path), factor)
        assert list(table.values.columns)[:8] == ["metric", factor, *REGULARIZERS]
        assert table.values["metric"].unique().tolist() == list(METRICS)
        for metric in METRICS:
            expected = 100 * rows.pivot_table(f"{metric}_accuracy", factor, "regularizer")
            mine = table.values[table.values["metric"] == metric].set_index(factor)[list(REGULARIZERS)]
            pd.testing.assert_frame_equal(
                mine, expected.loc[mine.index, list(REGULARIZERS)], rtol=1e-12, check_names=False,
                check_dtype=False, check_index_type=False,
            )  # fmt: skip


def test_by_group_splits_by_regime_and_modality(tmp_path):
    rows = made_up({"dreg": lambda d, a, s: 8 if DATASETS[d] == ("text", "messy") and a == "gelu" else 0})
    values = by_group(grid_of(rows, tmp_path)).values
    assert set(values["group"]) == {"clean vision", "messy vision", "clean text", "messy text"}
    clean = values[values["metric"] == "clean"].set_index(["group", "activation"])
    gain = clean["dreg"] - clean["none"]
    assert gain["messy text", "gelu"] == pytest.approx(0.8)
    assert gain["messy text", "all"] == pytest.approx(0.2)
    assert gain.drop([("messy text", "gelu"), ("messy text", "all")]).abs().max() == 0
    assert by_group(grid_of(rows.drop(columns=["modality", "regime"]), tmp_path)) is None


def test_every_table_of_an_unbalanced_grid_says_so(tmp_path):
    rows = made_up({"dreg": 9}, noise=25)
    grid = grid_of(rows[rows["cell"] != "mnist/relu/igpen/s1"], tmp_path)
    family = Family(REGULARIZERS[:-1])
    tests = comparisons(grid, "dreg", family)
    tables = [
        overall(grid, "dreg", tests, family), ranks_table(grid, "dreg", tests, family),
        pairwise(grid, tests, grid.metrics[0], "dreg", family),
        by_factor(grid, "activation"), by_factor(grid, "dataset"), by_group(grid),
        rank_tests(grid, by_unit(grid)), standing(grid, by_unit(grid)), variance(grid),
        fragility(grid, grid.metrics[0], "dreg"), intervals(grid, "dreg"),
    ]  # fmt: skip
    for table in tables:
        paired = table.name.startswith(("pairwise", "fragility", "bootstrap"))
        what = "960 cells have no result" if paired else "160 blocks (dataset, activation, seed) left out"
        assert f"Unbalanced: 1 of {what}" in table.caption, table.name
    assert "Pairs against igpen are means over unequal numbers of blocks" in tables[2].caption


def test_a_level_without_a_complete_block_is_named(tmp_path):
    rows = made_up()
    kept = rows[~((rows["dataset"] == "sst2") & (rows["regularizer"] == "none"))]
    table = by_factor(grid_of(kept, tmp_path), "dataset")
    assert "Without a complete block: sst2." in table.caption
    assert "sst2" not in set(table.values["dataset"])


def test_one_regularizer_has_no_tests(tmp_path):
    table = headline(grid_of(made_up(regularizers=("dreg",)), tmp_path))
    assert "No other regularizer" in table.caption
    assert not [column.header for column in table.columns if column.header.startswith("p ")]
    assert table.marks == {}


def test_marks_go_by_printed_values_and_by_direction(tmp_path):
    rows = made_up(regularizers=("none", "igpen", "dreg"), test_loss=0.5)
    rows["test_loss"] += 0.1 * (rows["regularizer"] == "none")
    metrics = choose_metrics(loaded(rows, tmp_path), "test_loss")
    grid = audit(loaded(rows, tmp_path), metrics).grid
    table = headline(grid)
    assert table.values["test_loss_rank"].tolist() == [3, 1.5, 1.5]
    assert table.marks == {(0, "test_loss"): "second", (1, "test_loss"): "best", (2, "test_loss"): "best"}
    assert "Lower test_loss is better." in table.caption


def test_gains_are_against_the_baseline_or_the_mean(tmp_path):
    grid = grid_of(made_up({"dreg": 10}, regularizers=("none", "dreg")), tmp_path)
    clean = next(metric for metric in grid.metrics if metric.name == "clean")
    assert gains(grid, clean, "none")["dreg"].tolist() == pytest.approx([1.0] * 8)
    assert gains(grid, clean, None).loc["mnist"].tolist() == pytest.approx([-0.5, 0.5])


def test_the_noise_ladder_is_the_mean_of_its_rows(tmp_path):
    rows = made_up({"dreg": 9}, noise=25)
    rng = np.random.default_rng(5)
    ladder = pd.concat(
        [
            rows[["cell", "config_hash", "dataset", "activation", "regularizer", "seed", "modality"]].assign(
                corruption=np.where(rows["modality"] == "text", "typos", "gaussian"),
                severity=severity,
                accuracy=rng.uniform(0.2, 0.6, len(rows)),
            )
            for severity in (0.5, 1.0)
        ],
        ignore_index=True,
    )
    cells = loaded(rows, tmp_path)
    gone = cells["cell"] == "mnist/relu/none/s0"  # its block counts nowhere
    grid = audit(cells[~gone]).grid
    frame = noise.ladder(grid, cells[~gone], ladder).set_index(["panel", "severity", "method"])
    block = (ladder["dataset"] == "mnist") & (ladder["activation"] == "relu") & (ladder["seed"] == 0)
    expected = marginal(ladder[~block], "accuracy", ("modality", "severity", "regularizer"))
    for panel, modality in (("text: typos", "text"), ("vision: gaussian", "vision")):
        for severity, method in ((0.5, "dreg"), (1.0, "none")):
            found = frame.loc[(panel, severity, method)]
            assert found["accuracy"] == pytest.approx(100 * expected[modality, severity, method], abs=1e-9)
            start = frame.at[(panel, 0.0, method), "accuracy"]
            assert found["retained"] == pytest.approx(found["accuracy"] / start)
    clean = rows[(rows["modality"] == "text") & (rows["regularizer"] == "dreg")]
    assert frame.at[("text: typos", 0.0, "dreg"), "accuracy"] == pytest.approx(
        100 * clean["clean_accuracy"].mean()
    )
    names = [table.name for table in noise.tables(grid, frame.reset_index())]
    assert names == ["noise_ladder", "noise_retained"]


def test_leaving_out_the_one_dataset_that_decides_flips_the_test(tmp_path):
    """Seven datasets in favour: p = 2/128; with six of them p = 2/64, with the seventh against it is 6/128."""
    names = tuple(DATASETS)[:6]
    grid = grid_of(made_up({"dreg": 7}, datasets=names, regularizers=("none", "dreg")), tmp_path)
    values = fragility(grid, grid.metrics[0], "dreg").values
    assert values.loc[values["factor"] == "nothing", "p"].tolist() == [2 / 64]
    without = values[values["factor"] == "dataset"]
    assert without["p"].tolist() == [2 / 32] * 6
    assert without["flips"].tolist() == ["significance"] * 6
    assert set(values.loc[values["factor"].isin(["activation", "seed"]), "flips"]) == {""}
    assert values["level"].tolist()[1:7] == list(names)


def test_mean_and_sd_share_their_decimals():
    loss = Metric("test_loss", 1, "", higher_is_better=False)
    show = mean_sd("mean", "sd", loss, "loss").show
    assert show({"mean": 0.38881, "sd": 0.00092}) == "0.3888 ± 0.0009"
    assert show({"mean": 1234.5, "sd": 2.5}) == "1234 ± 2"
    assert mean_sd("mean", "sd", Metric("clean"), "clean").show({"mean": 91.3, "sd": 0.2}) == "91.30 ± 0.20"


def test_p_and_differences_as_papers_print_them(tmp_path):
    assert [p_text(p) for p in (0.03125, 0.0004, 1.0, 0.0005, None)] == ["0.031", "<0.001", "1.000", "0.001", "–"]
    metric = grid_of(made_up(datasets=("mnist",)), tmp_path).metrics[0]
    assert [signed(value, metric) for value in (1.234, -0.5, -0.001, 0.0)] == ["+1.23", "−0.50", "0.00", "0.00"]
