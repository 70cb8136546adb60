"""Regression sweeps: the metric, the rows of fits/, their slopes by hand, and what the figures draw."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from dreg_sweep.analysis.command import main
from dreg_sweep.analysis.figures import fitted_curves, fitted_maps, heatmap
from dreg_sweep.analysis.rows.reading import load_fits
from dreg_sweep.analysis.scores import choose_metrics
from dreg_sweep.analysis.statistics.bootstrap import clustered_interval
from dreg_sweep.analysis.study import read
from dreg_sweep.analysis.tables.fits import finding, fitted, slopes, table
from dreg_sweep.analysis.tables.wording import number

LEVELS = (("none", 0.0), ("spectreg", 0.01), ("spectreg", 1.0))
DIMENSIONS = {"sine": 1, "squared_norm": 2}
SEEDS = range(3)
GRIDS = {"sine": np.linspace(-1, 1, 5)[:, None], "squared_norm": np.mgrid[-1:1:4j, -1:1:4j].reshape(2, -1).T}


def slope(name, strength, seed, place):
    """A made-up mean gradient norm: spectreg at 1 is twice as steep between as at the training points."""
    base = 2.0 + 0.1 * seed - strength
    return base * (2.0 if (name, strength, place) == ("spectreg", 1.0, "between") else 1.0)


def sweep(tmp_path, norm=slope):
    """A results folder with both functions, three levels and three seeds."""
    cells, fits = [], []
    for dataset, dimensions in DIMENSIONS.items():
        for name, strength in LEVELS:
            for seed in SEEDS:
                key = {"cell": f"{dataset}/relu/{name}/s{seed}/{strength:g}", "config_hash": f"h{seed}"}
                factors = {"activation": "relu", "regularizer": name, "strength": strength, "dataset": dataset}
                config = {"regularizer": {"name": name, "strength": strength}, "seed": seed}
                cells.append(
                    {**key, **factors, "seed": seed, "modality": "tabular", "regime": "clean", "status": "done"}
                    | {"clean_accuracy": None, "test_loss": 0.0123 + 0.001 * seed + 0.01 * strength}
                    | {"config": json.dumps(config)}
                )
                for place in ("train", "between", "test"):
                    x = GRIDS[dataset] * (1.0 if place == "test" else 0.9)
                    norms = norm(name, strength, seed, place) * (1 + np.linspace(-0.5, 0.5, len(x)))
                    fits.append(
                        {**key, **factors, "seed": seed, "train_size": 100, "place": place, "x1": x[:, 0].tolist()}
                        | {"x2": x[:, 1].tolist() if dimensions == 2 else None, "target": x.sum(1).tolist()}
                        | {"prediction": (x.sum(1) + 0.1 * seed + strength).tolist()}
                        | {"gradient_norm": norms.tolist()}
                    )
    for folder, rows in (("cells", cells), ("fits", fits)):
        (tmp_path / "toy" / folder).mkdir(parents=True)
        pd.DataFrame(rows).to_parquet(tmp_path / "toy" / folder / "00000001-aa.parquet")
    return tmp_path / "toy"


def drawn(data, dataset="sine"):
    """What the figures take: all levels in one row of panels."""
    rows = fitted(data.grid, data.main, data.fits)
    rows = rows[rows["dataset"] == dataset]
    column = {level: place for place, level in enumerate(data.grid.levels["regularizer"])}
    return rows.assign(row="all", column=rows["regularizer"].map(column), title=rows["regularizer"])


def test_rows_without_accuracy_are_about_the_squared_error(tmp_path):
    data = read(sweep(tmp_path))
    (metric,) = data.grid.metrics
    assert (metric.name, metric.label, metric.higher_is_better) == ("test_loss", "mean squared error", False)
    assert number(0.0123, metric) == "0.0123"
    frame = data.cells.assign(config=None)
    assert choose_metrics(frame, None)[0].label == "test_loss"  # whose loss it is, is not known
    mixed = frame.assign(clean_accuracy=[0.5] + [np.nan] * (len(frame) - 1))
    assert choose_metrics(mixed, None)[0].name == "clean"


def test_fits_are_read_with_lists_and_belong_to_their_cells(tmp_path):
    path = sweep(tmp_path)
    fits = load_fits(path)
    assert len(fits) == 2 * 3 * 3 * 3
    one = fits[(fits["dataset"] == "squared_norm") & (fits["place"] == "test")].iloc[0]
    np.testing.assert_allclose(np.array([one["x1"], one["x2"]]).T, GRIDS["squared_norm"])
    assert fits.loc[fits["dataset"] == "sine", "x2"].isna().all()
    cells = pd.read_parquet(path / "cells" / "00000001-aa.parquet")
    cells.loc[0, "config_hash"], cells.loc[1, "status"] = "another", "failed"
    cells.to_parquet(path / "cells" / "00000002-bb.parquet")
    assert len(load_fits(path)) == (18 - 2) * 3
    assert load_fits(path / "cells" / "00000001-aa.parquet") is None


def test_slopes_are_means_of_means_and_the_ratio_is_geometric(tmp_path):
    data = read(sweep(tmp_path))
    assert data.grid.levels["regularizer"] == ["none", "spectreg@0.01", "spectreg@1"]
    frame = slopes(data.grid, fitted(data.grid, data.main, data.fits), data.strengths)
    assert frame[["regularizer", "strength"]].drop_duplicates().to_numpy().tolist() == [
        ["none", ""], ["spectreg", "0.01"], ["spectreg", "1"],
    ]  # fmt: skip
    for row in frame.itertuples():
        strength = float(row.strength or 0)
        for place in ("train", "between", "test"):
            expected = np.mean([slope(row.regularizer, strength, seed, place) for seed in SEEDS])
            assert getattr(row, place) == pytest.approx(expected)
        assert row.ratio == pytest.approx(2.0 if strength == 1 else 1.0)
        assert row.mse == pytest.approx(0.0133 + 0.01 * strength)
        assert row.mse_sd == pytest.approx(0.001)
    said = finding(frame)
    assert said.startswith(
        "Between neighbouring training points the fits are at most 2 times as steep as at them ("
    )
    assert "the median of 6 kinds of fit is 1)" in said
    assert said.endswith("With fewer than 6 seeds no signed-rank test could tell one of them from 1.")
    assert finding(frame.assign(ratio_seeds=6)).endswith(
        "Of 6 kinds, 2 are steeper between the points and 0 less steep (interval over seeds without 1, "
        "uncorrected)."
    )
    assert finding(frame.assign(ratio=np.nan)) == ""
    printed = table(frame).printed()
    assert printed[0][-1] == "0.01330 ± 0.00100"
    assert printed[2][-2] == "2.000 [2.000, 2.000]"


def test_the_ratio_has_an_interval_over_seeds_and_leaves_constant_fits_out(tmp_path):
    ratios = (1.0, 2.0, 8.0)

    def norm(name, strength, seed, place):
        if name == "none":
            return 2 * ratios[seed] if place == "between" else 1.0
        return 0.0 if seed == 0 else 1.0

    data = read(sweep(tmp_path, norm), conditions=["dataset=sine"])
    frame = slopes(data.grid, fitted(data.grid, data.main, data.fits), data.strengths).set_index("strength")
    logs = [math.log(2 * ratio) for ratio in ratios]
    found = clustered_interval(logs)
    own = frame.loc[""]
    assert [own["ratio"], own["ratio_low"], own["ratio_high"]] == pytest.approx(
        [math.exp(value) for value in (np.mean(logs), found.low, found.high)]
    )
    assert frame.loc["1", "ratio_seeds"] == 2
    assert "2 fits without a ratio" in table(frame.reset_index()).caption


def test_curves_hold_every_seed_the_truth_and_one_seeds_points(tmp_path):
    frame = drawn(read(sweep(tmp_path)))
    figure = fitted_curves(frame, title="x")
    assert len(figure.axes) == 3
    x = GRIDS["sine"][:, 0]
    for panel, (_, strength) in zip(figure.axes, LEVELS, strict=True):
        lines = {
            kind: [line for line in panel.get_lines() if line.get_gid() == kind]
            for kind in ("fit", "true", "points")
        }
        assert [len(found) for found in lines.values()] == [3, 1, 1]
        for seed, line in enumerate(lines["fit"]):
            np.testing.assert_allclose(line.get_xydata(), np.stack([x, x + 0.1 * seed + strength], 1))
        np.testing.assert_allclose(lines["true"][0].get_ydata(), x)
        assert all(line.get_zorder() > lines["true"][0].get_zorder() for line in lines["fit"])
        np.testing.assert_allclose(lines["points"][0].get_xdata(), 0.9 * x)
    with pytest.raises(ValueError, match="place test"):
        fitted_curves(frame[frame["place"] == "train"], title="x")


def test_maps_show_the_error_of_the_mean_fit(tmp_path):
    frame = drawn(read(sweep(tmp_path)), "squared_norm")
    figure = fitted_maps(frame, title="x", label="error")
    maps, bar = figure.axes[:3], figure.axes[3]
    assert bar.get_ylim() == (pytest.approx(-1.0), pytest.approx(1.0))  # the largest error, 1.1, to one digit
    for panel, (_, strength) in zip(maps, LEVELS, strict=True):
        (filled,) = panel.collections
        assert (filled.zmin, filled.zmax) == (pytest.approx(0.1 + strength), pytest.approx(0.1 + strength))
        (points,) = panel.get_lines()
        assert len(points.get_xdata()) == 16


def test_the_report_has_the_chapter_and_prints_small_errors(tmp_path, capsys):
    path = sweep(tmp_path)
    assert main([str(path), "--treatment", "spectreg@1"]) == 0
    out = path / "analysis"
    assert {"fits_1.png", "fits_2.png", "strengths.png"} <= {file.name for file in (out / "figures").iterdir()}
    assert "0.01330 ± 0.00100" in (out / "tables" / "overall.md").read_text()
    report = (out / "report.html").read_text()
    assert "Fitted functions" in report
    assert "accuracy" not in (out / "tables" / "overall.md").read_text()
    assert "test_loss" in capsys.readouterr().out
    (path / "fits" / "00000001-aa.parquet").unlink()
    assert main([str(path), "--treatment", "spectreg@1"]) == 0
    assert not (out / "tables" / "fits.csv").exists()
    assert not (out / "figures" / "fits_1.png").exists()


def test_the_heat_map_keeps_the_digits_of_small_gains():
    points = pd.DataFrame([[0.0012, -0.45, 0.0, 3e-6]], index=["sine"], columns=list("abcd"))
    texts = [text.get_text() for text in heatmap(points, title="x", label="test_loss").axes[0].texts]
    assert texts == ["+0.0012", "−0.45", "0", "+3.0e−06"]
    many = pd.DataFrame(np.ones((2, 13)), index=["a", "b"])
    assert len(heatmap(many, title="x").axes[0].get_yticks()) == 13
