"""Every method's curve over its strength in one picture: strengths as factors, names, collapses, gaps."""

import numpy as np
import pandas as pd
import pytest

from dreg_sweep.analysis.figures import sensitivity_curves
from dreg_sweep.analysis.study import read
from dreg_sweep.analysis.tables.strengths import relative
from tests.test_analysis_tuning import TEST, file, rows


def test_relative_strengths(tmp_path):
    data = read(file(tmp_path, rows({**TEST, "igpen": {0.0: (0, 0), 0.3: (5, 5), 3.0: (1, 1)}})), metric="clean")
    found = relative(data.tried.grid, data.grid.metrics[0], data.tried.strengths, "none")
    by_method = {name: own["factor"].tolist() for name, own in found.frame.groupby("regularizer")}
    assert by_method["dreg"] == pytest.approx([1, 10, 100])
    assert by_method["dropout"] == pytest.approx([0.25, 1])  # odds 1/4 and 1
    assert by_method["igpen"] == pytest.approx([1, 10])  # the lower of the two in the middle, without 0
    assert (found.middle, found.odds, found.without) == (("igpen",), ("dropout",), ("igpen at 0",))
    values = found.frame.set_index(["regularizer", "factor"])["value"]
    assert values.loc["dreg"].tolist() == pytest.approx([1.5, 0.75, 0.5])


def curve(**columns):
    names = ["a"] * 3 + ["b"] * 2
    frame = pd.DataFrame({"regularizer": names, "factor": [0.1, 1.0, 10.0, 1.0, 3.0]})
    return frame.assign(value=[1.0, 2, 1.5, 0.5, 1.4], low=-1.0, high=3.0).assign(**columns)


def drawn(frame):
    figure = sensitivity_curves(frame, title="t", xlabel="x", ylabel="y", mark="fixed strength")
    return figure, figure.axes[0]


def test_curves_are_named_beside_the_axes_and_apart():
    figure, axes = drawn(curve())
    lines = {line.get_label(): line for line in axes.get_lines()}
    assert lines["a"].get_xdata().tolist() == [0.1, 1, 10]
    assert lines["b"].get_ydata().tolist() == [0.5, 1.4]
    assert axes.get_xscale() == "log"
    assert axes.get_yscale() == "linear"
    boxes = {text.get_text(): text.get_window_extent() for text in axes.texts if text.get_text() in ("a", "b")}
    assert boxes["a"].y0 > boxes["b"].y0
    assert not boxes["a"].overlaps(boxes["b"])
    assert max(box.x1 for box in boxes.values()) <= figure.bbox.x1
    (mark,) = (line for line in axes.get_lines() if line.get_gid() == "fixed")
    assert list(mark.get_xdata()) == [1, 1]


def test_a_collapse_does_not_hide_the_other_strengths():
    _, axes = drawn(curve(value=[-60.0, 2, 1.5, 0.5, 1.4], low=-61.0))
    assert axes.get_yscale() == "symlog"
    assert axes.get_ylim()[0] < -61
    assert {-2.0, -1.0, 0.0, 1.0, 2.0} <= set(axes.get_yticks())  # the largest gain stands in the linear part


def test_curves_leave_gaps_and_refuse_what_has_no_logarithm():
    _, axes = drawn(curve(value=[1.0, np.nan, 2.0, np.nan, np.nan]))
    assert [text.get_text() for text in axes.texts if text.get_text() in ("a", "b")] == ["a"]
    with pytest.raises(ValueError, match="positive number"):
        drawn(curve(factor=[0.0, 1, 2, 3, 4]))
    with pytest.raises(ValueError, match="more than one row for regularizer a, factor 1"):
        drawn(curve(factor=[1.0, 1.0, 2, 3, 4]))
