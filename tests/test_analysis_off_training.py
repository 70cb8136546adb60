"""Gradients off the training points: tables, the answer in words, courses, figures, the chapter of the report."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from dreg_sweep.analysis.audit import audit
from dreg_sweep.analysis.command import main
from dreg_sweep.analysis.figures import courses as draw_courses
from dreg_sweep.analysis.figures import gradients_by_place
from dreg_sweep.analysis.figures.layout import text_width
from dreg_sweep.analysis.figures.log import around_log, log_ticks
from dreg_sweep.analysis.statistics.bootstrap import clustered_interval
from dreg_sweep.analysis.tables import courses
from dreg_sweep.analysis.tables.off_training import (
    MEASURES,
    answer,
    last_measured,
    places,
    places_table,
    reductions,
    reductions_table,
)
from tests.grids import loaded, made_up
from tests.histories import EPOCHS, METHODS, PLACES, history_of, one_dataset, write
from tests.test_analysis_figures import FIFTEEN, LONG, crossing_texts

LOWER = {
    "double_backprop": {"train": 8.0, "near": 4.0, "test": 2.0},
    "spectreg": {"train": 4.0, "near": 4.0, "test": 1.0},
    "confidence_penalty": {"train": 2.0, "near": 2.0, "test": 0.25},
}


def times_lower(name, place):
    return LOWER.get(name, {}).get(place, 1.0)


@pytest.fixture
def rows():
    return one_dataset()


@pytest.fixture
def cells(rows, tmp_path):
    return loaded(rows, tmp_path)


@pytest.fixture
def grid(cells):
    return audit(cells).grid


def measured_last(grid, cells, history):
    return {name: last_measured(grid, cells, history, name) for name in MEASURES}


def test_the_last_measured_row_of_every_done_cell_counts(rows, cells, grid):
    history = history_of(rows, times_lower)
    last = last_measured(grid, cells, history, "logit_jacobian")
    assert len(last) == len(METHODS) * 10
    assert set(last["epoch"]) == {EPOCHS[-1]}
    # later rows without a measure are passed over; a zero is what was measured last
    later = history[history["epoch"] == EPOCHS[-1]].assign(epoch=11, logit_jacobian_near=np.nan)
    zero = history["logit_jacobian_test"].where(history["epoch"] < EPOCHS[-1], 0.0)
    both = pd.concat([history.assign(logit_jacobian_test=zero), later], ignore_index=True)
    last = last_measured(grid, cells, both, "logit_jacobian")
    assert set(last["epoch"]) == {EPOCHS[-1]}
    assert set(last["test"]) == {0.0}
    assert last_measured(grid, cells, history.drop(columns="logit_jacobian_near"), "logit_jacobian") is None
    assert last_measured(grid, cells, history.assign(logit_jacobian_near=np.nan), "logit_jacobian") is None


def test_the_regularizer_is_that_of_the_cells_not_of_the_history(rows, cells, grid):
    history = history_of(rows, times_lower).assign(regularizer="as it was called")
    assert set(last_measured(grid, cells, history, "input_gradient")["regularizer"]) == set(METHODS)


def test_means_and_ratios_equal_numpys(rows, cells, grid):
    history = history_of(rows, times_lower, wobble=0.3)
    frame = places(grid, measured_last(grid, cells, history)).set_index(["measure", "regularizer"])
    end = history[(history["epoch"] == EPOCHS[-1]) & (history["regularizer"] == "spectreg")].sort_values("seed")
    train, test = end["logit_jacobian_train"].to_numpy(), end["logit_jacobian_test"].to_numpy()
    row = frame.to_dict("index")["logit_jacobian", "spectreg"]
    assert row["cells"] == 10
    assert row["train"] == pytest.approx(stats.gmean(train))
    assert row["test_ratio"] == pytest.approx(stats.gmean(test / train))
    interval = clustered_interval(np.log(test / train))
    assert (row["test_ratio_low"], row["test_ratio_high"]) == pytest.approx(
        (math.exp(interval.low), math.exp(interval.high))
    )
    assert frame.loc[("input_gradient", "spectreg"), "near"] == pytest.approx(row["near"] / 10)


def test_means_are_over_the_blocks_that_have_all_and_the_caption_counts_the_rest(rows, cells, grid):
    history = history_of(rows, times_lower)
    history = history[(history["regularizer"] != "spectreg") | (history["seed"] > 1)]
    last = measured_last(grid, cells, history)
    frame = places(grid, last)
    assert set(frame["cells"]) == {8}
    short = 2 * len(METHODS)
    assert f"left out, since not every regularizer of their block has a measurement: logit_jacobian {short}, " in (
        places_table(grid, frame, last).caption
    )


def test_reductions_shares_and_tests(rows, cells, grid):
    frame = reductions(grid, measured_last(grid, cells, history_of(rows, times_lower, wobble=0.0)), "none")
    row = frame.set_index(["measure", "regularizer"]).loc["logit_jacobian"]
    double = row.loc["double_backprop"]
    assert (double["train"], double["near"], double["test"]) == pytest.approx((8, 4, 2))
    assert (double["share_near"], double["share_test"]) == pytest.approx((2 / 3, 1 / 3))
    assert double["p_train"] == double["floor"] == 2 / 1024
    assert double["p_train_holm"] == pytest.approx(5 * 2 / 1024)
    assert double["p_share_near"] == 2 / 1024
    assert row.loc["spectreg", "share_near"] == pytest.approx(1)
    assert row.loc["confidence_penalty", "share_test"] == pytest.approx(-2)
    # a method that does nothing at the training points has no share of it
    assert math.isnan(row.loc["spectreg+confidence_penalty", "share_near"])
    assert row.loc["spectreg+confidence_penalty", "p_train"] == 1
    table = reductions_table(grid, frame, "none")
    assert "paired by seed means, since the data have one dataset, mnist" in table.caption
    assert table.printed()[1][:4] == ["logit_jacobian", "double_backprop", "10", "8"]
    assert "33 %" in table.printed()[1]


def test_a_reduction_equals_scipys_signed_rank_test(rows, cells, grid):
    history = history_of(rows, lambda name, place: 1.03, wobble=0.1)
    frame = reductions(grid, measured_last(grid, cells, history), "none").set_index(["measure", "regularizer"])
    end = history[history["epoch"] == EPOCHS[-1]].pivot_table("logit_jacobian_near", "seed", "regularizer")
    expected = stats.wilcoxon(np.log(end["none"] / end["spectreg"]), method="exact").pvalue
    assert frame.loc[("logit_jacobian", "spectreg"), "p_near"] == pytest.approx(expected)


def answered(grid, cells, rows, lower):
    history = history_of(rows, lambda name, place: lower.get(name, {}).get(place, 1.0))
    return answer(reductions(grid, measured_last(grid, cells, history), "none"), "none", "logit_jacobian")


def test_the_answer_names_who_is_flat_where(rows, cells, grid):
    assert answered(grid, cells, rows, {}).startswith("No regularizer lowers the logit Jacobian at the training")
    one = {"spectreg": LOWER["double_backprop"]}
    said = answered(grid, cells, rows, {**one, "double_backprop": LOWER["double_backprop"]})
    assert said.startswith(
        "By the logit Jacobian, training does not find functions that are flat at the training po"
    )
    assert "all 2 have a lower one near them and at evaluation rows as well. Off the training points" in said
    said = answered(grid, cells, rows, LOWER)
    assert said.startswith(
        "By the logit Jacobian, flat at the training points only is what training finds for some."
    )
    assert "1 (double_backprop) has a lower one near them and at evaluation rows as well" in said
    assert "1 (spectreg) is not shown to at both; 1 (confidence_penalty) has a higher one off them." in said
    said = answered(grid, cells, rows, {"spectreg": {"train": 4.0, "near": 4.0, "test": 1.0}})
    assert "is not settled" in said


def test_courses_are_means_over_seeds_with_their_spread(rows, cells, grid):
    history = history_of(rows, times_lower, wobble=0.2)
    frame = courses.learning(grid, cells, history)
    assert frame["method"].drop_duplicates().tolist() == grid.compared
    assert set(frame["panel"]) == {"mnist"}
    last = frame[(frame["method"] == "none") & (frame["step"] == 400)].iloc[0]
    values = 100 * history.loc[(history["regularizer"] == "none") & (history["epoch"] == 10), "test_accuracy"]
    assert last["value"] == pytest.approx(values.mean())
    assert last["high"] - last["value"] == pytest.approx(values.std())
    course = courses.gradients(grid, cells, history, "logit_jacobian")
    assert course["panel"].drop_duplicates().tolist() == ["training rows", "near them", "evaluation rows"]
    chosen = history[(history["regularizer"] == "spectreg") & (history["epoch"] == 4)]["logit_jacobian_near"]
    here = course[(course["panel"] == "near them") & (course["method"] == "spectreg") & (course["step"] == 160)]
    assert here["value"].item() == pytest.approx(stats.gmean(chosen))
    assert here["low"].item() == pytest.approx(stats.gmean(chosen) / stats.gstd(chosen))
    assert courses.learning(grid, cells, history.drop(columns="test_accuracy")) is None
    assert courses.learning(grid, cells, history.assign(test_accuracy=np.nan)) is None


def test_courses_of_several_datasets_have_a_row_of_panels_each(tmp_path):
    rows = made_up(
        datasets=("mnist", "cifar10"), activations=("relu",), seeds=range(2), regularizers=("none", "dreg")
    )
    cells = loaded(rows, tmp_path)
    course = courses.gradients(audit(cells).grid, cells, history_of(rows, times_lower), "input_gradient")
    heads = ("training rows", "near them", "evaluation rows")
    assert course["panel"].drop_duplicates().tolist() == [f"{d}: {h}" for d in ("mnist", "cifar10") for h in heads]


def points(methods=METHODS, spots=("training rows", "near them", "evaluation rows")):
    return pd.DataFrame(
        [
            {"panel": panel, "method": m, "place": spot, "value": v, "low": 0.9 * v, "high": 1.1 * v}
            for panel, unit in (("a", 1.0), ("b", 0.01))
            for i, m in enumerate(methods)
            for j, spot in enumerate(spots)
            for v in [unit * (i + 1) * 2**j]
        ]
    )


def test_gradients_are_drawn_at_their_values_on_logarithmic_axes():
    figure = gradients_by_place(points(), title="Gradients")
    assert [axes.get_xscale() for axes in figure.axes] == ["log", "log"]
    near = next(line for line in figure.axes[0].get_lines() if line.get_label() == "near them")
    assert list(near.get_xdata()) == [2.0 * (i + 1) for i in range(len(METHODS))]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == list(METHODS)
    with pytest.raises(ValueError, match="4 places; at most 3"):
        gradients_by_place(points(spots=("a", "b", "c", "d")), title="x")
    gradients_by_place(points().assign(low=np.nan, high=np.nan), title="without intervals")


def steps(methods, panels=("one",)):
    """Lines that rise by 4 over 400 steps."""
    return pd.DataFrame(
        [
            {"panel": panel, "method": m, "step": step, "value": v, "low": 0.9 * v, "high": 1.1 * v}
            for panel in panels
            for i, m in enumerate(methods)
            for step in range(0, 401, 80)
            for v in [i + 1 + step / 100]
        ]
    )


DRAWN = {
    "places": lambda: gradients_by_place(points(), title="Gradients at, near and off the training points"),
    "places, many": lambda: gradients_by_place(points(FIFTEEN), title="x"),
    "places, endless": lambda: gradients_by_place(points(LONG), title=LONG[0], note="x"),
    "places, one": lambda: gradients_by_place(points(["spectreg"], ["training rows"]), title="x"),
    "courses": lambda: draw_courses(steps(METHODS), title="x", ylabel="accuracy, %", note=""),
    "courses, log": lambda: draw_courses(
        steps(FIFTEEN, [f"a dataset: place {i}" for i in range(6)]),
        title="x",
        ylabel="x",
        note="x",
        log=True,
        per_row=3,
    ),
    "courses, endless": lambda: draw_courses(steps(LONG, LONG[:2]), title=LONG[0], ylabel=LONG[1], note=""),
}


@pytest.mark.parametrize("name", DRAWN)
def test_texts_neither_cross_nor_leave_the_canvas(name):
    figure = DRAWN[name]()
    assert crossing_texts(figure) == []
    width, height = figure.get_size_inches()
    drawn = figure.get_tightbbox(figure.canvas.get_renderer())
    assert min(drawn.x0, drawn.y0) >= 0
    assert drawn.x1 <= width
    assert drawn.y1 <= height


def test_courses_are_drawn_at_their_steps_with_bands(rows, cells, grid):
    frame = courses.gradients(grid, cells, history_of(rows, times_lower), "logit_jacobian")
    figure = draw_courses(frame, title="x", ylabel="norm", note="", log=True, per_row=3)
    assert [axes.get_yscale() for axes in figure.axes] == ["log"] * 3
    line = next(line for line in figure.axes[0].get_lines() if line.get_label() == "double_backprop")
    assert list(line.get_xdata()) == [40.0 * epoch for epoch in EPOCHS[1:]]
    shown = frame[(frame["panel"] == "training rows") & (frame["method"] == "double_backprop")]
    assert list(line.get_ydata()) == shown["value"].tolist()
    assert len({axes.get_ylim() for axes in figure.axes}) == 1
    flat = frame.assign(value=1.0, low=np.nan, high=np.nan)
    draw_courses(flat, title="one number", ylabel="norm", note="", log=True)


@pytest.mark.parametrize(
    "reach", [(0.98, 1.02), (0.5, 5.0), (1e-6, 1e6), (3.1e-5, 3.2e-5), (1.2, 1.45), (2.0, 2.0)]
)
@pytest.mark.parametrize("upright", [False, True])
def test_ticks_of_a_logarithmic_axis_lie_within_it_and_apart(reach, upright):
    limits = around_log(np.array(reach))
    assert limits[0] < reach[0] <= reach[1] < limits[1]
    room = 1.7
    at, names = log_ticks(limits, room, upright=upright)
    assert at
    assert all(limits[0] <= place <= limits[1] for place in at)
    assert [float(name) for name in names] == pytest.approx(at)
    if len(at) > 1 and not upright:
        inches = np.diff(np.log10(at)) * room / np.log10(limits[1] / limits[0])
        assert (inches >= max(map(text_width, names))).all()


def test_the_report_answers_the_question_and_tells_which_treatment_it_chose(rows, tmp_path, capsys):
    folder = write(
        tmp_path / "results", rows, history_of(rows, lambda name, place: times_lower("spectreg", place))
    )
    assert main([str(folder)]) == 0
    out = folder / "analysis"
    text = (out / "report.html").read_text(encoding="utf-8")
    assert "Off the training set" in text
    assert "so whether one does so only there cannot be asked" in text  # all methods alike, also none
    for name in ("off_training", "off_training_course", "learning_curves"):
        assert (out / "figures" / f"{name}.png").exists()
    assert {path.stem for path in (out / "tables").glob("off_training*.csv")} == {
        "off_training",
        "off_training_reduction",
    }
    chosen = "dreg is not in the data: the treatment is double_backprop; choose another with --treatment"
    assert chosen in capsys.readouterr().err
    assert chosen in text
    assert "Unit of evidence: seed means, since the data have one dataset, mnist" in text
    assert main([str(folder), "--treatment", "spectreg"]) == 0
    assert "the treatment is" not in capsys.readouterr().err


def test_an_older_history_has_no_such_chapter_and_no_error(rows, tmp_path):
    history = history_of(rows, times_lower)
    old = [
        name for name in history if name.startswith("logit_") or name.endswith(("near", "test", "test_accuracy"))
    ]
    folder = write(tmp_path / "results", rows, history.drop(columns=old))
    newer = write(tmp_path / "newer", rows, history)
    assert main([str(newer), "--out", str(folder / "analysis")]) == 0
    assert main([str(folder)]) == 0  # over what the newer one left
    assert not [path for path in (folder / "analysis").rglob("*") if "off_training" in path.name]
    assert not (folder / "analysis" / "figures" / "learning_curves.png").exists()
    text = (folder / "analysis" / "report.html").read_text(encoding="utf-8")
    assert "Off the training set" not in text
    assert "Learning curves" not in text
    assert "the history has no logit Jacobian off the training points" in text


def test_one_seed_has_means_without_intervals(tmp_path):
    rows = one_dataset(seeds=range(1))
    cells = loaded(rows, tmp_path)
    grid = audit(cells).grid
    last = measured_last(grid, cells, history_of(rows, times_lower))
    frame = places(grid, last)
    assert frame["train"].notna().all()
    assert frame["train_low"].isna().all()
    assert "[" not in "".join(places_table(grid, frame, last).printed()[0])
    assert PLACES.keys() == {"train", "near", "test"}
