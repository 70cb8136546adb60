"""Methods whose function collapses to a constant, and sweeps of more methods than a panel can hold."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from dreg_sweep.analysis import load_fits
from dreg_sweep.analysis.audit import audit
from dreg_sweep.analysis.claims.reading import Claim, Study, built_in
from dreg_sweep.analysis.claims.verdicts import Evidence, judge
from dreg_sweep.analysis.command import main
from dreg_sweep.analysis.figures import courses as draw_courses
from dreg_sweep.analysis.figures import gradients_by_place, one_dataset
from dreg_sweep.analysis.figures.log import worth_showing
from dreg_sweep.analysis.pairing import Family, comparisons
from dreg_sweep.analysis.rows.levels import listed
from dreg_sweep.analysis.rows.reading import load_fits as load_fits_at_home
from dreg_sweep.analysis.rows.strengths import find
from dreg_sweep.analysis.tables import courses
from dreg_sweep.analysis.tables.off_training import (
    CLASSES,
    MEASURES,
    PREDICTION,
    answer,
    last_measured,
    places,
    places_table,
    reductions,
    reductions_table,
    words,
)
from tests.grids import grid_of, loaded, made_up
from tests.histories import EPOCHS, METHODS, history_of, write
from tests.histories import one_dataset as rows_of_one
from tests.test_analysis_figures import LONG, crossing_texts

FLAT = "spectreg"
COLUMNS = ["logit_jacobian_train", "logit_jacobian_near", "logit_jacobian_test"]


def collapsed(rows, seeds=range(10), *, lower=1.0):
    """As `history_of`; the gradients of FLAT are 0 from the second measured epoch on, in these seeds."""
    history = history_of(rows, lambda name, place: lower if name == FLAT else 1.0)
    measures = [name for name in history if name.startswith(("logit_jacobian", "input_gradient"))]
    gone = (history["regularizer"] == FLAT) & (history["epoch"] > EPOCHS[1]) & history["seed"].isin(list(seeds))
    history.loc[gone, measures] = history.loc[gone, measures] * 0
    return history


@pytest.fixture
def rows():
    return rows_of_one()


@pytest.fixture
def cells(rows, tmp_path):
    return loaded(rows, tmp_path)


@pytest.fixture
def grid(cells):
    return audit(cells).grid


def last_of(grid, cells, history):
    return {name: last_measured(grid, cells, history, name) for name in MEASURES}


def test_a_constant_function_is_measured_where_it_ended_and_takes_no_block_from_others(rows, cells, grid):
    history = collapsed(rows)
    last = last_of(grid, cells, history)
    assert set(last["logit_jacobian"]["epoch"]) == {EPOCHS[-1]}
    frame = places(grid, last)
    here = frame[frame["measure"] == "logit_jacobian"].set_index("regularizer")
    assert here.loc[FLAT, ["cells", "constant", "train", "near", "test"]].tolist() == [10, 10, 0, 0, 0]
    assert np.isnan(here.loc[FLAT, "near_ratio"])
    assert (here["cells"] == 10).all()
    end = history[(history["regularizer"] == "none") & (history["epoch"] == EPOCHS[-1])]
    assert here.loc["none", "train"] == pytest.approx(stats.gmean(end["logit_jacobian_train"]))
    table = places_table(grid, frame, last)
    assert "Constant: cells whose gradient is exactly 0" in table.caption
    assert table.printed()[list(here.index).index(FLAT)][2:8] == ["10", "10", "0", "0", "0", "–"]
    plain = last_of(grid, cells, history_of(rows, lambda name, place: 1.0))
    assert "onstant" not in places_table(grid, places(grid, plain), plain).caption


def test_some_constant_cells_leave_the_means_and_the_pairs(rows, cells, grid):
    history = collapsed(rows, seeds=(0, 1, 2), lower=4.0)
    last = last_of(grid, cells, history)
    frame = places(grid, last).set_index(["measure", "regularizer"])
    assert frame.loc[("logit_jacobian", FLAT), ["cells", "constant"]].tolist() == [10, 3]
    end = history[(history["regularizer"] == FLAT) & (history["epoch"] == EPOCHS[-1]) & (history["seed"] > 2)]
    assert frame.loc[("logit_jacobian", FLAT), "test"] == pytest.approx(stats.gmean(end["logit_jacobian_test"]))
    lower = reductions(grid, last, "none")
    (row,) = lower[(lower["measure"] == "logit_jacobian") & (lower["regularizer"] == FLAT)].to_dict("records")
    assert (row["pairs"], row["p_train"], row["p_train_holm"]) == (7, 2 / 128, 5 * 2 / 128)
    assert "have no logarithm and no pair" in reductions_table(grid, lower, "none").caption


def test_a_method_without_a_pair_keeps_its_place_in_holms_family(rows, cells, grid):
    frame = reductions(grid, last_of(grid, cells, collapsed(rows)), "none")
    here = frame[frame["measure"] == "logit_jacobian"]
    assert FLAT not in set(here["regularizer"])
    assert len(here) == len(METHODS) - 2
    smallest = here["p_near"].idxmin()
    assert here.loc[smallest, "p_near_holm"] == pytest.approx(min(1, (len(METHODS) - 1) * here["p_near"].min()))
    assert set(here["floor_holm"]) == {(len(METHODS) - 1) * 2 / 1024}


def test_with_few_pairs_the_answer_says_that_none_could_be_found(tmp_path):
    rows = rows_of_one(seeds=range(3))
    cells = loaded(rows, tmp_path)
    grid = audit(cells).grid
    history = history_of(rows, lambda name, place: 4.0 if name == FLAT else 1.0)
    frame = reductions(grid, last_of(grid, cells, history), "none")
    said = answer(frame, "none", "logit_jacobian")
    assert said.endswith("With so few pairs it could not have been: no p after Holm is below 1.")
    assert "No p can be below 0.25, and none below 1 after Holm." in reductions_table(grid, frame, "none").caption


def test_a_constant_method_leaves_the_loophole_undecided(rows, cells, grid):
    claim = Claim("D", "", "no_loophole", FLAT)
    frame = judge(Study("", "", (claim,)), Evidence(grid, {}, cells=cells, history=collapsed(rows)))
    assert set(frame["verdict"]) == {"undecided"}
    assert "no logit Jacobian off the training points of spectreg" in frame["observed"].iloc[0]


def test_a_regression_has_no_logits(rows, cells, grid):
    history = history_of(rows, lambda name, place: 1.0)
    last = last_of(grid, cells, history)
    assert words(cells) is CLASSES
    said = words(cells.assign(clean_accuracy=np.nan))
    assert said is PREDICTION
    frame = reductions(grid, last, "none")
    texts = [
        answer(frame, "none", "logit_jacobian", said),
        places_table(grid, places(grid, last), last, said).caption,
        reductions_table(grid, frame, "none", said).caption,
    ]
    assert not [text for text in texts if "logits" in text or "logit J" in text]
    assert texts[0].startswith("No regularizer lowers the slope of the prediction")
    assert "‖∂f/∂x‖" in texts[1]


def test_courses_leave_out_only_the_points_that_have_no_logarithm(rows, cells, grid):
    frame = courses.gradients(grid, cells, collapsed(rows, seeds=(3,)), "logit_jacobian")
    gone = frame["value"].isna()
    assert set(frame.loc[gone, "method"]) == {FLAT}
    assert set(frame.loc[gone, "step"]) == {40.0 * epoch for epoch in EPOCHS[2:]}
    assert frame.loc[gone, ["low", "high"]].isna().all(axis=None)
    assert len(frame[~gone]) == 3 * (len(METHODS) * 5 - 4)
    figure = draw_courses(frame, title="x", ylabel="norm", note="", log=True, per_row=3)
    line = next(line for line in figure.axes[0].get_lines() if line.get_label() == FLAT)
    assert np.isfinite(line.get_ydata()).tolist() == [True, False, False, False, False]


def test_an_axis_of_gradients_is_cut_far_below_their_median():
    np.testing.assert_array_equal(worth_showing(np.array([0, 1e-14, 1e-4, 1.0, 2.0])), [1e-4, 1.0, 2.0])
    assert worth_showing(np.zeros(2)).size == 0
    steps = pd.DataFrame(
        [
            {"panel": "p", "method": name, "step": step, "value": value, "low": value / 2, "high": 2 * value}
            for name, value in (("none", 2.0), ("jacreg", 1.0), ("dreg", 1e-14))
            for step in (1, 2)
        ]
    )
    figure = draw_courses(steps, title="x", ylabel="y", note="", log=True)
    assert figure.axes[0].get_ylim()[0] > 0.1
    assert any(text.get_text().startswith("Values below 0.") for text in figure.texts)
    assert crossing_texts(figure) == []


def by_place(values):
    return pd.DataFrame(
        [
            {"panel": "p", "method": name, "place": place, "value": value, "low": value / 2, "high": 2 * value}
            for name, value in values.items()
            for place in ("on", "off")
        ]
    )


def test_values_below_the_axis_are_arrows_at_its_edge():
    figure = gradients_by_place(by_place({"none": 2.0, "spectreg": 1.0, "dreg": 1e-14, "igpen": 0.0}), title="x")
    (panel,) = figure.axes
    assert panel.get_xlim()[0] > 0.1
    arrows = [line for line in panel.get_lines() if line.get_gid() == "below" and len(line.get_xdata())]
    assert [np.round(line.get_ydata()).tolist() for line in arrows] == [[2, 3], [2, 3]]
    low, high = panel.get_xlim()
    assert all(low < x < low * (high / low) ** 0.1 for line in arrows for x in line.get_xdata())
    assert any("too small for the axis, or 0" in text.get_text() for text in figure.texts)
    assert crossing_texts(figure) == []
    gradients_by_place(by_place({"none": 0.0}), title="all constant")
    plain = gradients_by_place(by_place({"none": 2.0, "dreg": 1.0}), title="x")
    assert not any("Arrows" in text.get_text() for text in plain.texts)


GRID = {
    "spectreg": tuple(10.0**-power for power in range(7)),
    "frobreg": tuple(10.0**-power for power in range(7)),
}


def swept():
    """Two regularizers at seven strengths each, and one at one."""
    shape = {"datasets": ("mnist",), "activations": ("relu",), "seeds": range(2)}
    parts = [made_up(regularizers=("none", "dropout"), **shape).assign(strength=0.5)]
    for name, strengths in GRID.items():
        for strength in strengths:
            rows = made_up(regularizers=(name,), **shape)
            keys = {key: rows[key] + f"@{strength:g}" for key in ("cell", "config_hash")}
            parts.append(rows.assign(strength=strength, **keys))
    return pd.concat(parts, ignore_index=True)


def test_many_strengths_have_a_panel_a_regularizer(tmp_path):
    rows = swept()
    levels = find(loaded(rows, tmp_path))
    cells = levels.applied(loaded(rows, tmp_path))
    grid = audit(cells).grid
    history = history_of(rows, lambda name, place: 2.0)
    frame = courses.by_name(grid, courses.learning(grid, cells, history), levels, "none")
    assert frame["panel"].drop_duplicates().tolist() == ["spectreg, mnist", "frobreg, mnist", "dropout, mnist"]
    lines = frame.groupby("panel", sort=False)["method"].unique().map(list).to_dict()
    written = ["0 (none)", "1e-06", "1e-05", "0.0001", "0.001", "0.01", "0.1", "1"]
    assert lines == {
        "spectreg, mnist": written,
        "frobreg, mnist": written,
        "dropout, mnist": ["0 (none)", "dropout"],
    }
    figure = draw_courses(frame, title="x", ylabel="y", note="", graded=True)
    colours = {line.get_label(): line.get_color() for line in figure.axes[0].get_lines() if len(line.get_xdata())}
    assert len(set(colours.values())) == len(written)
    assert colours["0 (none)"] == "#000000"
    backwards = pd.concat([frame[frame["method"] == name] for name in (written[0], *written[:0:-1])])
    (legend,) = draw_courses(backwards, title="x", ylabel="y", note="", graded=True).legends
    assert [text.get_text() for text in legend.get_texts()] == written
    assert crossing_texts(figure) == []


def test_the_report_of_many_methods_says_what_its_courses_show(tmp_path, capsys):
    rows = swept()
    folder = write(tmp_path / "sweep", rows, history_of(rows, lambda name, place: 2.0))
    assert main([str(folder)]) == 0
    text = (folder / "analysis" / "report.html").read_text(encoding="utf-8")
    assert text.count("Lines: the strengths of one regularizer, and none as strength 0.") == 2
    assert "test against none, dropout and 13 others can reach" in capsys.readouterr().err
    names = [f"method {number:02}" for number in range(15)]
    rows = rows_of_one(regularizers=("none", "spectreg", *names), seeds=range(2))
    folder = write(tmp_path / "many", rows, history_of(rows, lambda name, place: 2.0))
    assert main([str(folder)]) == 0
    text = (folder / "analysis" / "report.html").read_text(encoding="utf-8")
    assert text.count("Only the first 12 of 17 regularizers are drawn, without method 10, method 11, ") == 2


def test_long_lists_are_cut_to_two_names_and_a_count():
    assert listed(["a", "b", 3]) == "a, b, 3"
    assert listed("abcdef") == "a, b, c, d, e, f"
    assert listed("abcdefg") == "a, b and 5 others"
    assert Family(tuple("abcdefg")).sentence == (
        "Holm's correction over 7 rivals (a, b and 5 others), each metric by itself"
    )


def of_rivals(rivals):
    return pd.DataFrame(
        [
            {"rival": name, "dataset": "mnist", "difference": n - 1.5, "low": n - 2.0, "high": n - 1.0}
            for n, name in enumerate(rivals)
        ]
    )


def test_one_dataset_has_one_panel_with_a_row_a_rival():
    frame = of_rivals(METHODS)
    figure = one_dataset(frame, treatment="dreg", title="x", xlabel="points", note="")
    (panel,) = figure.axes
    assert [label.get_text() for label in panel.get_yticklabels()] == list(METHODS)
    marks = sorted(
        (line.get_ydata()[0], line.get_xdata()[0]) for line in panel.get_lines() if line.get_linestyle() == "None"
    )
    assert marks == [(float(n), n - 1.5) for n in range(len(METHODS))]
    assert {"←\N{NO-BREAK SPACE}rival better", "dreg better\N{NO-BREAK SPACE}→"} <= {
        text.get_text() for text in panel.texts
    }
    endless = one_dataset(of_rivals(LONG), treatment=LONG[0], title=LONG[1], xlabel="points", note="")
    assert crossing_texts(endless) == []
    gaps = frame.assign(difference=np.nan, low=np.nan, high=np.inf)
    one_dataset(gaps, treatment="dreg", title="x", xlabel="points", note="")
    with pytest.raises(ValueError, match="several datasets"):
        one_dataset(frame.assign(dataset=METHODS), treatment="dreg", title="x", xlabel="", note="")


def test_claims_about_other_methods_are_corrected_like_the_treatments(tmp_path):
    grid = grid_of(rows_of_one({"double_backprop": 20, "spectreg": 20}), tmp_path)
    rivals = tuple(name for name in METHODS if name != "double_backprop")

    def judged(method, family):
        claim = Claim("A", "", "higher", method, "clean", rivals=("none",))
        tests = comparisons(grid, "double_backprop", family)
        evidence = Evidence(grid, {}, family, "double_backprop", tests)
        frame = judge(Study("", "", (claim,)), evidence)
        return frame[frame["primary"]].iloc[0]

    for method in ("double_backprop", "spectreg"):
        row = judged(method, Family(rivals))
        assert row["p"] == pytest.approx(5 * 2 / 1024)
        assert row["family"].startswith("Holm's correction over 5 rivals")
    # of a family that the user chose nothing is known for another method
    assert judged("double_backprop", Family(("none", "spectreg")))["p"] == pytest.approx(2 * 2 / 1024)
    assert judged("spectreg", Family(("none", "confidence_penalty")))["p"] == pytest.approx(2 / 1024)


def test_the_obvious_claims_call_a_metric_what_it_is():
    study = built_in("mine", "none", ["test_loss"], {"test_loss": "mean squared error"})
    assert [claim.sentence for claim in study.claims] == [
        "mine is the best of all in mean squared error.",
        "mine is significantly better than none in mean squared error.",
    ]
    assert {claim.metric for claim in study.claims} == {"test_loss"}


def test_a_single_pair_has_no_interval_and_one_dataset_no_dataset_means(tmp_path):
    rows = rows_of_one({"double_backprop": 20}, seeds=range(1))
    layers = history_of(rows, lambda name, place: 1.0)
    layers = layers.assign(slope_sq=[[0.2, 0.4]] * len(layers), jacobian_sq=[[1.0, 2.0]] * len(layers))
    folder = write(tmp_path / "sweep", rows, layers)
    assert main([str(folder)]) == 0
    tables = folder / "analysis" / "tables"
    pairwise = (tables / "pairwise_clean.md").read_text()
    assert "| +2.00 | +2.00 | 1.00 |" in pairwise
    assert "(1 pair, two-sided)" in (tables / "overall.md").read_text()
    assert "Over 1 seed mean it is 0.00" in (tables / "pressure.md").read_text()


def test_the_chance_of_first_is_of_the_lowest_error(tmp_path):
    rows = rows_of_one(seeds=range(2)).assign(test_loss=lambda frame: 1 + frame["seed"])
    rows.to_parquet(tmp_path / "rows.parquet")
    for metric, best in (("test_loss", "lowest"), ("clean", "highest")):
        assert main([str(tmp_path / "rows.parquet"), "--metric", metric]) == 0
        assert f"mean is the {best}; ties share" in (tmp_path / "analysis" / "tables" / "standing.md").read_text()


def test_fits_are_loaded_by_the_library():
    assert load_fits is load_fits_at_home
