"""Means and paired tests at every training size, against plain arithmetic and single tests."""

import numpy as np
import pandas as pd
import pytest

from dreg_sweep.analysis.command import main
from dreg_sweep.analysis.figures import size_curves
from dreg_sweep.analysis.rows.select import ALL
from dreg_sweep.analysis.statistics.bootstrap import clustered_interval
from dreg_sweep.analysis.statistics.rank_tests import holm
from dreg_sweep.analysis.statistics.wilcoxon import signed_rank
from dreg_sweep.analysis.study import read
from dreg_sweep.analysis.tables.scarcity import advantages, unit_of
from dreg_sweep.analysis.tables.sizes import by_training_size, size_tests, table
from tests.grids import made_up

METHODS = ("none", "confidence_penalty", "double_backprop", "spectreg")
ONE = {"datasets": ("mnist",), "activations": ("relu",), "seeds": range(6), "regularizers": METHODS}


def rows_of(sizes=(500, 1000, 2000), **arguments):
    """double_backprop gains 20 and spectreg 10 of 1,000 at 500, half of it at each doubled size."""
    parts = []
    for size in sizes:
        share = 500 / (size or 4000)
        gains = {"double_backprop": round(20 * share), "spectreg": round(10 * share)}
        rows = made_up(gains, noise=6, **(ONE | arguments))
        parts.append(rows.assign(train_size=size, cell=rows["cell"] + f"/{size}"))
    return pd.concat(parts, ignore_index=True).astype({"train_size": "Int64"})


def studied(tmp_path, rows):
    rows.to_parquet(tmp_path / "rows.parquet")
    return read(tmp_path / "rows.parquet", metric="clean")


def test_means_have_intervals_over_the_seeds_of_one_dataset(tmp_path):
    rows = rows_of()
    data = studied(tmp_path, rows)
    frame = by_training_size(data.sizes, data.grid.metrics[0]).set_index(["method", "train_size"])
    assert len(frame) == 4 * 3
    values = rows.assign(percent=100 * rows["clean_accuracy"]).groupby(["regularizer", "train_size"])["percent"]
    for place, own in values:
        found = clustered_interval(own)
        assert frame.loc[place, ["mean", "low", "high"]].tolist() == pytest.approx(
            [own.mean(), found.low, found.high]
        )
        assert frame.loc[place, ["units", "blocks"]].tolist() == [6, 6]


def test_means_have_intervals_over_datasets_where_there_are_several(tmp_path):
    rows = rows_of(datasets=("mnist", "sst2", "trec6"))
    data = studied(tmp_path, rows)
    frame = by_training_size(data.sizes, data.grid.metrics[0]).set_index(["method", "train_size"])
    own = rows[(rows["regularizer"] == "spectreg") & (rows["train_size"] == 1000)]
    found = clustered_interval((100 * own.groupby("dataset")["clean_accuracy"].mean()).tolist())
    assert frame.loc[("spectreg", 1000), ["low", "high"]].tolist() == pytest.approx([found.low, found.high])
    assert (frame["units"] == 3).all()
    assert unit_of(data.sizes).name == "dataset"


def test_a_block_that_some_size_or_method_lacks_counts_nowhere(tmp_path):
    rows = rows_of()
    gone = (rows["train_size"] == 1000) & (rows["seed"] == 2) & (rows["regularizer"] == "confidence_penalty")
    data = studied(tmp_path, rows[~gone])
    frame = by_training_size(data.sizes, data.grid.metrics[0]).set_index(["method", "train_size"])
    assert (frame["blocks"] == 5).all()
    kept = rows[(rows["seed"] != 2) & (rows["regularizer"] == "none") & (rows["train_size"] == 500)]
    assert frame.loc[("none", 500), "mean"] == pytest.approx(100 * kept["clean_accuracy"].mean())
    tests = size_tests(data.sizes, data.grid.metrics[0], "double_backprop", "none")
    pairs = tests.set_index(["train_size", "method", "rival"])["pairs"]
    assert pairs[(500, "double_backprop", "spectreg")] == 6  # of which the gap is not a part
    assert pairs[(500, "double_backprop", "confidence_penalty")] == pairs[(500, "confidence_penalty", "none")] == 5


def test_every_size_has_its_tests_and_its_own_correction(tmp_path):
    rows = rows_of()
    data = studied(tmp_path, rows)
    tests = size_tests(data.sizes, data.grid.metrics[0], "double_backprop", "none")
    expected = [("double_backprop", rival) for rival in ("none", "confidence_penalty", "spectreg")]
    expected += [("confidence_penalty", "none"), ("spectreg", "none")]
    wide = rows.pivot(index=["train_size", "seed"], columns="regularizer", values="clean_correct")
    for size, part in tests.groupby("train_size"):
        assert list(zip(part["method"], part["rival"], strict=True)) == expected
        single = [signed_rank((wide.loc[size, a] - wide.loc[size, b]).tolist()) for a, b in expected]
        assert part["p"].tolist() == pytest.approx([test.p for test in single])
        assert part["floor"].tolist() == pytest.approx([test.floor for test in single])
        assert part["p_holm"].tolist() == pytest.approx(list(holm([test.p for test in single])))
        assert part["floor_holm"].tolist() == pytest.approx(list(holm([test.floor for test in single])))
        assert part["hodges_lehmann"].tolist() == pytest.approx([test.hodges_lehmann / 10 for test in single])
        means = [(wide.loc[size, a] - wide.loc[size, b]).mean() / 10 for a, b in expected]
        assert part["mean_difference"].tolist() == pytest.approx(means)
    made = table(data.sizes, data.grid.metrics[0], "double_backprop", "none")
    assert "Holm over the 5 comparisons of a size" in made.caption
    assert "mnist" in made.caption


def test_the_advantage_of_one_dataset_has_an_interval_over_seeds(tmp_path):
    rows = rows_of()
    data = studied(tmp_path, rows)
    curve = advantages(data.sizes, data.grid.metrics[0], "double_backprop").set_index(["rival", "train_size"])
    wide = rows.pivot(index=["train_size", "seed"], columns="regularizer", values="clean_correct")
    differences = ((wide["double_backprop"] - wide["none"]) / 10).loc[500]
    found = clustered_interval(differences)
    (own,) = curve.loc[[("none", 500)]].to_dict("records")
    assert [own["low"], own["high"]] == pytest.approx([found.low, found.high])
    assert own["seeds"] == 6


def test_the_chapter_has_the_figure_and_names_the_unit(tmp_path):
    rows_of((500, 1000, None)).to_parquet(tmp_path / "rows.parquet")
    out = tmp_path / "out"
    assert main([str(tmp_path / "rows.parquet"), "--out", str(out), "--metric", "clean"]) == 0
    assert (out / "figures" / "sizes.png").exists()
    tests = pd.read_csv(out / "tables" / "size_tests.csv")
    assert tests["train_size"].unique().tolist() == ["500", "1000", ALL]
    report = (out / "report.html").read_text()
    assert "bootstrap intervals over 6 seeds" in report
    assert "about other seeds on this dataset" in report


def test_the_figure_draws_means_and_bars_side_by_side():
    sizes = (500, 1000, 20000)
    frame = pd.DataFrame([(m, s, 90 + i + s / 1e4) for i, m in enumerate(METHODS) for s in sizes])
    frame = frame.set_axis(["method", "train_size", "mean"], axis=1)
    frame = frame.assign(low=frame["mean"] - 0.5, high=frame["mean"] + 0.5)
    axes = size_curves(frame, title="x", ylabel="y").axes[0]
    lines = {line.get_label(): line for line in axes.get_lines()}
    assert [lines[name].get_ydata().tolist() for name in METHODS] == [
        frame.loc[frame["method"] == name, "mean"].tolist() for name in METHODS
    ]
    places = np.array([lines[name].get_xdata() for name in METHODS])
    np.testing.assert_allclose(places.mean(axis=0), np.log(sizes))
    assert (np.diff(places, axis=0) > 0).all()
    assert [label.get_text() for label in axes.get_xticklabels()] == ["500", "1,000", "20,000"]
    with pytest.raises(ValueError, match="positive"):
        size_curves(frame.assign(train_size=0).iloc[:1], title="x", ylabel="y")


def test_without_bars_the_marks_of_one_size_stand_at_the_size():
    frame = pd.DataFrame([(m, s, 90.0 + i) for i, m in enumerate(METHODS) for s in (500, 1000)])
    frame = frame.set_axis(["method", "train_size", "mean"], axis=1).assign(low=np.nan, high=np.nan)
    axes = size_curves(frame, title="x", ylabel="y").axes[0]
    for line in axes.get_lines():
        np.testing.assert_allclose(line.get_xdata(), np.log([500, 1000]))
