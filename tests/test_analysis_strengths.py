"""Strengths as levels: names, conditions, roles, and every regularizer's sensitivity, by plain arithmetic."""

import numpy as np
import pandas as pd
import pytest

from dreg_sweep.analysis.claims.reading import BUILT_IN
from dreg_sweep.analysis.command import main
from dreg_sweep.analysis.figures import strength_curves
from dreg_sweep.analysis.rows.levels import ordered
from dreg_sweep.analysis.rows.strengths import Strength, find, middle
from dreg_sweep.analysis.study import default_treatment, read, roles
from dreg_sweep.analysis.tables.strengths import sensitivity, table
from dreg_sweep.errors import UserError
from tests.grids import loaded, made_up

SHAPE = {"datasets": ("mnist", "sst2"), "activations": ("relu",), "seeds": range(3)}
GRID = {"spectreg": (0.0, 0.001, 0.03, 1.0), "dreg": (0.01, 0.1)}


def swept(grid=GRID, **arguments):
    """none, and each regularizer of the grid at each of its strengths, whose place in the grid is the gain."""
    shape = SHAPE | arguments
    parts = [made_up(regularizers=("none",), **shape).assign(strength=0.0)]
    for name, strengths in grid.items():
        for place, strength in enumerate(strengths):
            rows = made_up({name: 10 * place}, {name: 10 * place}, regularizers=(name,), **shape)
            keys = {key: rows[key] + f"/strength={strength:g}" for key in ("cell", "config_hash")}
            parts.append(rows.assign(strength=strength, **keys))
    return pd.concat(parts, ignore_index=True)


def file(tmp_path, rows):
    rows.to_parquet(tmp_path / "rows.parquet")
    return tmp_path / "rows.parquet"


LEVELS = ["none", "dreg@0.01", "dreg@0.1", "spectreg@0", "spectreg@0.001", "spectreg@0.03", "spectreg@1"]


def test_each_strength_is_a_level_of_its_own_and_a_warning_says_so(tmp_path):
    data = read(file(tmp_path, swept()))
    assert data.grid.levels["regularizer"] == LEVELS
    assert data.grid.done.all()
    assert data.strengths.by_level["spectreg@0.03"] == Strength("spectreg", 0.03, "0.03")
    assert data.strengths.levels() == {"dreg": LEVELS[1:3], "spectreg": LEVELS[3:]}
    (line,) = data.warnings
    assert "dreg at 0.01, 0.1; spectreg at 0, 0.001, 0.03, 1" in line
    assert line.endswith("--where strength=0,0.01 (0 keeps none)")


def test_conditions_speak_of_plain_names_and_strengths(tmp_path):
    path = file(tmp_path, swept())
    one = read(path, conditions=["strength=0.03,0.1"])
    assert one.grid.levels["regularizer"] == ["dreg", "spectreg"]
    assert not one.strengths.by_level
    some = read(path, conditions=["regularizer=spectreg,none", "strength=0,0.03"])
    assert some.grid.levels["regularizer"] == ["none", "spectreg@0", "spectreg@0.03"]


@pytest.mark.parametrize("factor", ["dataset", "activation", "model"])
def test_a_strength_a_dataset_is_refused_as_before(tmp_path, factor):
    rows = swept({"spectreg": (0.1,)}, activations=("relu", "gelu"))
    rows["model"] = np.where(rows["seed"] == 0, "small", "large") if factor == "model" else "mlp"
    other = rows[factor] == rows[factor].iloc[-1]
    rows.loc[other & (rows["regularizer"] == "spectreg"), "strength"] = 0.2
    with pytest.raises(UserError, match=r"strength has 2 levels for regularizer=spectreg \(0.1, 0.2\)"):
        read(file(tmp_path, rows))


def test_a_strength_a_training_size_stays_one_level(tmp_path):
    parts = [swept({"dreg": (strength,)}).assign(train_size=size) for size, strength in ((100, 0.1), (200, 0.2))]
    rows = pd.concat(parts, ignore_index=True)
    rows["cell"] += "/" + rows["train_size"].astype(str)
    data = read(file(tmp_path, rows))
    assert list(data.sizes) == [100, 200]
    assert data.grid.levels["regularizer"] == ["none", "dreg"]


def test_strengths_that_print_alike_stay_apart(tmp_path):
    rows = swept({"dreg": (0.1, 0.1 + 1e-9, 0.25)})
    found = find(loaded(rows, tmp_path))
    assert list(found.by_level) == ["dreg@0.1", "dreg@0.100000001", "dreg@0.25"]
    assert found.applied(loaded(rows, tmp_path))["regularizer"].value_counts().to_dict() == {
        "none": 6, "dreg@0.1": 6, "dreg@0.100000001": 6, "dreg@0.25": 6,
    }  # fmt: skip


def test_a_row_without_a_strength_has_a_level_and_a_taken_name_is_refused(tmp_path):
    rows = swept({"dreg": (0.1, 0.2)})
    rows.loc[rows["strength"] == 0.2, "strength"] = np.nan
    assert read(file(tmp_path, rows)).grid.levels["regularizer"] == ["none", "dreg@0.1", "dreg@null"]
    rows = swept({"dreg": (0.1, 0.2), "dreg@0.1": (5.0,)})
    with pytest.raises(UserError, match=r"dreg at strength 0.1 would be called dreg@0.1, as another"):
        read(file(tmp_path, rows))


def test_levels_stand_by_name_and_then_by_number():
    names = ["b@2", "spectreg@1e-05", "none", "b@10", "spectreg", "a+b", "spectreg@0.1", "b@x", "@3"]
    assert ordered("regularizer", names) == [
        "none", "spectreg", "spectreg@1e-05", "spectreg@0.1", "@3", "a+b", "b@2", "b@10", "b@x",
    ]  # fmt: skip
    assert ordered("dataset", ["d@10", "d@9"]) == ["d@10", "d@9"]


@pytest.mark.parametrize(
    ("strengths", "expected"),
    [((1,), "1"), ((1, 2), "1"), ((0, 1, 2, 3), "2"), ((0.1, 10, 2, 1e-5), "0.1"), ((0,), "0")],
)
def test_the_middle_of_a_grid_leaves_out_zero(strengths, expected):
    assert middle([f"m@{strength:g}" for strength in strengths]) == f"m@{expected}"


def test_the_default_treatment_is_in_the_middle_and_not_the_best():
    levels = ["none", *(f"dreg@{strength}" for strength in (0.1, 1, 10)), "spectreg"]
    level, line = default_treatment(levels)
    assert level == "dreg@1"
    assert "in the middle of the 3 strengths of dreg" in line
    assert roles(levels, None, None) == ("dreg@1", "none")
    assert default_treatment(["none", "dreg", "spectreg"]) == ("dreg", "")
    others = [name for name in BUILT_IN if name != "dreg"]
    assert default_treatment(["none", *reversed(others)])[0] == others[0]
    with pytest.raises(
        UserError, match=r"treatment dreg has several strengths; choose .*: dreg@0.1, dreg@1, dreg@10"
    ):
        roles(levels, "dreg", None)
    with pytest.raises(UserError, match="baseline dreg has several strengths; choose one with --baseline"):
        roles(levels, "spectreg", "dreg")
    with pytest.raises(UserError, match=r"treatment dreg is not in the data; .*: none, other"):
        roles(["none", "other"], None, None)


def test_sensitivity_is_the_mean_and_the_gain_over_the_baseline(tmp_path):
    data = read(file(tmp_path, swept()), metric="clean")
    frame = sensitivity(data.grid, data.grid.metrics[0], data.strengths, "none").set_index(
        ["regularizer", "strength"]
    )
    rows = swept().groupby(["regularizer", "strength", "seed"])["clean_accuracy"].mean() * 100
    for name, strength in frame.index.tolist():
        row = frame.loc[(name, strength)]
        seeds = rows.loc[(name, strength)]
        assert row["mean"] == pytest.approx(seeds.mean())
        assert row["sd"] == pytest.approx(seeds.std())
        assert row["difference"] == pytest.approx(GRID[name].index(strength))  # 10 of 1,000 a place
        assert row["difference_low"] == row["difference_high"] == pytest.approx(row["difference"])
        assert (row["blocks"], row["pairs"]) == (6, 2)
        # Of three seeds, all of a resample are the same one with chance 1/27, above 1/40.
        assert (row["low"], row["high"]) == pytest.approx((seeds.min(), seeds.max()))


def test_a_strength_that_diverges_takes_no_block_from_the_others(tmp_path):
    rows = swept()
    rows.loc[(rows["strength"] == 1.0) & (rows["dataset"] == "mnist"), "status"] = "diverged"
    data = read(file(tmp_path, rows), metric="clean")
    frame = sensitivity(data.grid, data.grid.metrics[0], data.strengths, "none").set_index("strength")
    assert frame["blocks"].to_dict() == {0.01: 6, 0.1: 6, 0.0: 6, 0.001: 6, 0.03: 6, 1.0: 3}
    assert frame.loc[1.0, "difference"] == pytest.approx(3.0)
    assert "which are not equally many" in table(data.grid, data.grid.metrics[0], data.strengths, "none").caption


def test_noise_and_history_are_joined_to_the_level(tmp_path):
    rows = swept()
    folder = tmp_path / "sweep"
    shared = ["cell", "config_hash", "activation", "regularizer", "strength", "dataset", "seed"]
    noise = rows[shared].assign(train_size=None, corruption="gaussian", severity=1.0, n_test=100)
    noise["correct"] = (40 + 10 * rows["strength"]).round().astype(int)
    noise["accuracy"] = noise["correct"] / 100
    history = rows[shared].assign(train_size=None, epoch=1, step=9, loss=rows["strength"])
    stored = {"cells": rows, "noise": noise, "history": history}
    for name, frame in stored.items():
        (folder / name).mkdir(parents=True)
        frame.to_parquet(folder / name / "00000001-aa.parquet")
    data = read(folder)
    for found in (data.noise, data.history):
        levels = found.drop_duplicates("regularizer").set_index("regularizer")["strength"]
        assert sorted(levels.index) == sorted(LEVELS)
        assert levels["spectreg@0.03"] == 0.03
    assert main([str(folder), "--out", str(tmp_path / "out")]) == 0
    ladder = pd.read_csv(tmp_path / "out" / "tables" / "noise_ladder.csv")
    at = ladder[ladder["severity"] == 1].iloc[0]
    assert (at["spectreg@1"], at["dreg@0.1"], at["none"]) == (50.0, 41.0, 40.0)


def test_a_report_of_many_levels_has_regularizers_as_rows(tmp_path, capsys):
    grid = {"spectreg": tuple(10.0**-power for power in range(9)), "dreg": (0.1, 0.2, 0.3)}
    out = tmp_path / "out"
    assert main([str(file(tmp_path, swept(grid))), "--out", str(out)]) == 0
    said = capsys.readouterr().err
    assert "the treatment is dreg@0.2, in the middle of the 3 strengths" in said
    wide = pd.read_csv(out / "tables" / "dataset_by_regularizer.csv")
    assert wide.columns.tolist() == ["metric", "regularizer", "mnist", "sst2", "mnist_sd", "sst2_sd"]
    assert len(wide) == 3 * 13
    clean = wide[wide["metric"] == "clean"].set_index("regularizer")
    assert clean.loc["spectreg@1e-08", "mnist"] - clean.loc["none", "mnist"] == pytest.approx(8.0)
    printed = (out / "tables" / "dataset_by_regularizer.md").read_text()
    best = [line for line in printed.splitlines() if "spectreg@1e-08" in line and "clean" in line]
    assert best[0].count("**") == 4
    strengths = pd.read_csv(out / "tables" / "strengths.csv")
    assert strengths["regularizer"].tolist() == ["dreg"] * 3 + ["spectreg"] * 9
    assert (out / "figures" / "strengths.png").exists()


def curve(**columns):
    strengths = [0.0, 0.01, 1.0, 0.1, 1.0]
    frame = pd.DataFrame({"panel": "p", "regularizer": ["a"] * 3 + ["b"] * 2, "strength": strengths})
    return frame.assign(mean=[1.0, 2, 3, 4, 5], low=0.5, high=5.5).assign(**columns)


BANDS = pd.DataFrame({"panel": ["p"], "value": [2.5], "low": [2.0], "high": [3.0]})


def test_curves_stand_at_the_logarithm_and_zero_at_the_left_edge():
    axes = strength_curves(curve(), BANDS, baseline="none", title="x", ylabel="y").axes[0]
    marks = {line.get_label(): line for line in axes.get_lines() if line.get_label() in ("a", "b")}
    zero, *others = np.asarray(marks["a"].get_xdata()).tolist()
    assert others == [-2.0, 0.0]
    assert zero < -2
    assert marks["b"].get_xdata().tolist() == [-1.0, 0.0]
    assert marks["a"].get_ydata().tolist() == [1, 2, 3]
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert labels[0] == "0"
    assert {"0.1", "1"} <= set(labels)
    (line,) = (line for line in axes.get_lines() if line.get_gid() == "baseline")
    assert list(line.get_ydata()) == [2.5, 2.5]


def test_curves_of_an_error_may_have_a_logarithmic_height():
    axes = strength_curves(curve(), BANDS, baseline="none", title="x", ylabel="y", log=True).axes[0]
    assert axes.get_yscale() == "log"
    assert 1.0 in axes.get_yticks()


@pytest.mark.parametrize("strength", [-1.0, np.nan])
def test_curves_refuse_what_is_no_strength(strength):
    with pytest.raises(ValueError, match="not negative"):
        strength_curves(curve(strength=strength).iloc[:1], BANDS, baseline="none", title="x", ylabel="y")
