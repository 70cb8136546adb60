"""The noise ladder: equal blocks for every regularizer, exact means, and what is left out."""

import numpy as np
import pandas as pd
import pytest

from dreg_sweep.analysis.audit import audit
from dreg_sweep.analysis.tables import noise
from tests.grids import loaded, made_up

METHODS = ("none", "igpen", "dreg")
SHAPE = {"datasets": ("mnist", "cifar10", "sst2"), "activations": ("relu", "gelu"), "regularizers": METHODS}


def ladder_rows(rows, counts=True):
    """Noise rows at 0.5 and 2.0, counts out of 1,001."""
    rng = np.random.default_rng(3)
    keys = ["cell", "config_hash", "dataset", "activation", "regularizer", "seed"]
    parts = []
    for severity in (0.5, 2.0):
        correct = rng.integers(300, 700, len(rows))
        part = rows[keys].assign(
            corruption=np.where(rows["modality"] == "text", "typos", "gaussian"),
            severity=severity,
            correct=correct,
            n_test=1001,
            accuracy=correct / 1001,
        )
        parts.append(part if counts else part.drop(columns=["correct", "n_test"]))
    return pd.concat(parts, ignore_index=True)


@pytest.fixture
def made(tmp_path):
    rows = made_up({"dreg": 9}, noise=25, **SHAPE)
    cells = loaded(rows, tmp_path)
    return rows, cells, audit(cells).grid


def at(frame, panel, severity):
    return frame[(frame["panel"] == panel) & (frame["severity"] == severity)].set_index("method")


def test_regularizers_are_compared_on_equal_blocks(made):
    """Without dreg's rows on cifar10 at 2.0 that severity is about mnist, for all."""
    rows, cells, grid = made
    steps = ladder_rows(rows)
    gone = (steps["regularizer"] == "dreg") & (steps["dataset"] == "cifar10") & (steps["severity"] == 2.0)
    frame = noise.ladder(grid, cells, steps[~gone])
    whole = noise.ladder(grid, cells, steps)
    mnist = steps[(steps["dataset"] == "mnist") & (steps["severity"] == 2.0)]
    expected = 100 * mnist.groupby("regularizer")["accuracy"].mean()
    found = at(frame, "vision: gaussian", 2.0)
    assert found["accuracy"].to_dict() == pytest.approx(expected.to_dict(), rel=1e-12)
    clean = 100 * rows[rows["dataset"] == "mnist"].groupby("regularizer")["clean_accuracy"].mean()
    assert found["retained"].to_dict() == pytest.approx((expected / clean).to_dict(), rel=1e-12)
    assert set(found["blocks"]) == {10}
    for panel, severity in (("vision: gaussian", 0.0), ("vision: gaussian", 0.5), ("text: typos", 2.0)):
        pd.testing.assert_frame_equal(at(frame, panel, severity), at(whole, panel, severity))
    said = "left out: 10 of 20 blocks (cifar10: 10) at severity 2 of vision: gaussian."
    assert said in noise.left_out(frame)
    assert noise.left_out(whole) == ""
    for table in noise.tables(grid, frame):
        assert said in table.caption
    assert not any("Unbalanced" in table.caption for table in noise.tables(grid, whole))


def test_severity_0_is_about_blocks_that_some_severity_has(made):
    rows, cells, grid = made
    steps = ladder_rows(rows)
    gone = (steps["regularizer"] == "dreg") & (steps["dataset"] == "cifar10")
    frame = noise.ladder(grid, cells, steps[~gone])
    clean = 100 * rows[rows["dataset"] == "mnist"].groupby("regularizer")["clean_accuracy"].mean()
    assert at(frame, "vision: gaussian", 0.0)["accuracy"].to_dict() == pytest.approx(clean.to_dict(), rel=1e-12)
    assert "at severity 0 of vision: gaussian" in noise.left_out(frame)


def test_a_severity_without_any_block_is_blank(made):
    rows, cells, grid = made
    steps = ladder_rows(rows)
    gone = (steps["regularizer"] == "dreg") & (steps["severity"] == 2.0) & (steps["dataset"] != "sst2")
    frame = noise.ladder(grid, cells, steps[~gone])
    assert at(frame, "vision: gaussian", 2.0)[["accuracy", "sd", "retained"]].isna().all(axis=None)
    for table in noise.tables(grid, frame):
        assert table.printed()[-1][2:] == ["–"] * 3
        assert "20 of 20 blocks (mnist: 10, cifar10: 10) at severity 2" in table.caption


def test_mean_and_sd_are_printed_and_kept(made):
    rows, cells, grid = made
    steps = ladder_rows(rows)
    ladder, retained = noise.tables(grid, noise.ladder(grid, cells, steps))
    keys = ["panel", "severity"]
    assert ladder.values.columns.tolist() == [*keys, *METHODS, *(f"{method}_sd" for method in METHODS)]
    assert retained.values.columns.tolist() == [*keys, *METHODS]
    text = steps[(steps["dataset"] == "sst2") & (steps["severity"] == 0.5)]
    seeds = 100 * text.groupby(["regularizer", "seed"])["accuracy"].mean().unstack()
    row = ladder.values.set_index(keys).loc[("text: typos", 0.5)]
    for method in METHODS:
        assert row[method] == pytest.approx(seeds.loc[method].mean(), rel=1e-13)
        assert row[f"{method}_sd"] == pytest.approx(seeds.loc[method].std(), rel=1e-12)
    place = ladder.values.set_index(keys).index.get_loc(("text: typos", 0.5))
    assert ladder.printed()[place][2] == f"{row['none']:.2f} ± {row['none_sd']:.2f}"
    assert "± standard deviation over seeds (n − 1)" in ladder.caption


def test_values_are_those_of_exact_fractions(made):
    """A mean that ends in 5 after two places is the float next to it, as in every other table."""
    rows, cells, grid = made
    steps = ladder_rows(rows)
    steps["correct"], steps["n_test"] = 26984, 32000
    steps["accuracy"] = steps["correct"] / steps["n_test"]
    with_counts = noise.ladder(grid, cells, steps)
    noisy = with_counts[with_counts["severity"] > 0]
    assert set(noisy["accuracy"]) == {84.325}
    clean = grid.means("clean", ("regularizer", "dataset"))
    start = at(with_counts, "text: typos", 0.0)["accuracy"]
    assert start.to_dict() == {method: float(100 * clean[method, "sst2"]) for method in METHODS}
    decimals = noise.ladder(grid, cells, ladder_rows(rows, counts=False))
    exact = noise.ladder(grid, cells, ladder_rows(rows))
    assert decimals["accuracy"].tolist() == pytest.approx(exact["accuracy"].tolist(), rel=1e-13)


def test_names_of_columns_may_be_names_of_regularizers(tmp_path):
    names = ("panel", "severity", "dreg")
    rows = made_up({"dreg": 9}, noise=25, **(SHAPE | {"regularizers": names}))
    cells = loaded(rows, tmp_path)
    grid = audit(cells).grid
    ladder, retained = noise.tables(grid, noise.ladder(grid, cells, ladder_rows(rows)))
    assert ladder.values.columns.tolist()[:5] == ["key_panel", "key_severity", "dreg", "panel", "severity"]
    assert len(ladder.printed()) == 6
    assert len(retained.printed()) == 4
