"""Strengths chosen on validation rows and judged on test rows, against a case computed by hand."""

import json

import numpy as np
import pandas as pd
import pytest

from dreg_sweep.analysis.command import main
from dreg_sweep.analysis.grid import State
from dreg_sweep.analysis.rows.strengths import find
from dreg_sweep.analysis.study import read
from dreg_sweep.analysis.tables.tuning import chosen_strengths, gains, gains_table, tuning
from dreg_sweep.analysis.tables.tuning_ranks import finding, ranks, ranks_table
from dreg_sweep.analysis.tuning import best, picked
from dreg_sweep.errors import UserError
from tests.grids import loaded, made_up

SHAPE = {"datasets": ("mnist", "sst2"), "activations": ("gelu",), "seeds": range(2)}
FIXED = {"dreg": 0.01, "dropout": 0.5}
# Method → strength → gain over none on each dataset, in tenths of a point.
TEST = {
    "dropout": {0.2: (0, 0), 0.5: (20, 20)},
    "dreg": {0.01: (30, 0), 0.1: (10, 5), 1.0: (-10, 20)},
}
VALIDATION = {
    "dropout": {0.2: (7, 7), 0.5: (7, 7)},
    "dreg": {0.01: (0, 10), 0.1: (20, 0), 1.0: (10, 20)},
}


def rows(effects, part="test", fixed=FIXED, **arguments):
    """none, and each method at each strength, with the keys that a sweep gives such cells."""
    shape = SHAPE | arguments
    base = made_up(regularizers=("none",), **shape).assign(strength=0.0, named="")
    parts = [base]
    for method, strengths in effects.items():
        for strength, by_dataset in strengths.items():
            gain = dict(zip(shape["datasets"], by_dataset, strict=True))

            def effect(dataset, activation, seed, gain=gain):
                return gain[dataset]

            named = "" if strength == fixed.get(method) else f"/strength={strength:g}"
            own = made_up({method: effect}, {method: effect}, regularizers=(method,), **shape)
            parts.append(own.assign(strength=strength, named=named))
    found = pd.concat(parts, ignore_index=True)
    found["cell"] += ("/evaluate_on=validation" if part == "validation" else "") + found["named"]
    configs = [
        json.dumps({"evaluate_on": part, "regularizer": {"name": row.regularizer, "strength": row.strength}})
        for row in found.itertuples()
    ]
    return found.assign(config_hash=found["cell"], evaluated_on=part, config=configs).drop(columns="named")


def both(test=TEST, validation=VALIDATION, **arguments):
    parts = [rows(test, **arguments), rows(validation, "validation", **arguments)]
    return pd.concat(parts, ignore_index=True)


def file(tmp_path, frame):
    frame.to_parquet(tmp_path / "rows.parquet")
    return tmp_path / "rows.parquet"


def folder(tmp_path, frame, declared=None):
    (tmp_path / "sweep" / "cells").mkdir(parents=True)
    frame.to_parquet(tmp_path / "sweep" / "cells" / "00000001-a.parquet")
    if declared is not None:
        keys = ["cell", "config_hash", "activation", "regularizer", "strength", "dataset", "seed", "config"]
        declared[keys].to_parquet(tmp_path / "sweep" / "grid.parquet")
    return tmp_path / "sweep"


def tuned(tmp_path, frame, treatment="dreg", baseline="none"):
    tried = read(file(tmp_path, frame), metric="clean").tried
    return tuning(tried.grid, tried.held_out, tried.strengths, baseline, treatment)


def clean(frame):
    return frame[frame["metric"] == "clean"].set_index("regularizer")


def test_the_fixed_strength_keeps_the_name_and_tables_are_about_it(tmp_path):
    data = read(file(tmp_path, rows(TEST)))
    assert data.grid.levels["regularizer"] == ["none", "dropout", "dreg"]
    assert set(data.main["strength"]) == {0.0, 0.5, 0.01}
    assert not data.strengths.by_level
    assert data.tried.grid.levels["regularizer"] == [
        "none", "dropout", "dropout@0.2", "dreg", "dreg@0.1", "dreg@1",
    ]  # fmt: skip
    assert data.tried.strengths.fixed == {"dropout": "dropout", "dreg": "dreg"}
    assert data.tried.strengths.beside == ["dropout@0.2", "dreg@0.1", "dreg@1"]
    (line,) = data.warnings
    assert "about the fixed one of each method (dropout at 0.5, dreg at 0.01)" in line
    assert "the others (dropout at 0.2; dreg at 0.1, 1)" in line


@pytest.mark.parametrize(
    "names",
    [
        {0.01: "a", 0.1: "b"},  # nobody says a strength
        {0.01: "a/strength=0.01", 0.1: "b/strength=0.1"},  # the default is not among them
        {0.01: None, 0.1: "b/strength=0.1"},
        {0.01: "a", 0.1: "b/strengths.dreg.x"},
    ],
)
def test_without_keys_that_tell_it_no_strength_is_the_fixed_one(tmp_path, names):
    frame = rows({"dreg": {0.01: (0, 0), 0.1: (0, 0)}})
    frame["cell"] = [None if (n := names.get(s, "n")) is None else f"{n}" for s in frame["strength"]]
    found = find(loaded(frame, tmp_path))
    assert list(found.by_level) == ["dreg@0.01", "dreg@0.1"]
    assert not found.fixed
    assert not found.beside


def test_keys_may_name_the_strength_of_a_method_or_of_all(tmp_path):
    frame = rows({"dreg": {0.01: (0, 0), 0.1: (0, 0)}})
    frame["cell"] = frame["cell"].str.replace("/strength=", "/strengths.dreg=")
    assert find(loaded(frame, tmp_path)).fixed == {"dreg": "dreg"}


def test_gains_of_the_case_by_hand(tmp_path):
    frame = clean(gains(tuned(tmp_path, both())))
    dreg = frame.loc["dreg"]
    # By dataset mnist takes 0.1 and sst2 takes 1; over both 0.01, 0.1, 1 have 5, 10, 15 tenths.
    assert (dreg["fixed_strength"], dreg["one_strength"]) == ("0.01", "1")
    assert dreg["baseline_mean"] == pytest.approx(60.55)  # 600, 601 and 610, 611 of 1,000
    gained = [dreg[f"{rule}_gain"] for rule in ("fixed", "one", "each", "oracle")]
    assert gained == pytest.approx([1.5, 0.5, 1.5, 2.5])
    assert [dreg[f"{rule}_mean"] - 60.55 for rule in ("fixed", "one", "each", "oracle")] == pytest.approx(gained)
    # −2 on mnist, +2 on sst2: each is drawn twice with chance 1/4.
    assert (dreg["change"], dreg["change_low"], dreg["change_high"]) == pytest.approx((0, -2, 2))
    assert (dreg["blocks"], dreg["pairs"]) == (4, 2)
    dropout = frame.loc["dropout"]  # equal on validation rows: the fixed strength stays
    assert dropout["one_strength"] == "0.5"
    assert [dropout[f"{rule}_gain"] for rule in ("fixed", "one", "each")] == pytest.approx([2, 2, 2])


def test_order_and_tests_of_the_case_by_hand(tmp_path):
    found = tuned(tmp_path, both())
    frame = clean(ranks(found))
    assert frame["fixed_rank"].to_dict() == {"none": 3, "dropout": 1, "dreg": 2}
    assert frame["each_rank"].to_dict() == {"none": 3, "dropout": 1, "dreg": 2}
    rival = frame.loc["dropout"]
    assert rival["fixed_difference"] == pytest.approx(-0.5)  # +1 and −2
    assert (rival["fixed_p"], rival["fixed_floor"], rival["fixed_pairs"]) == (0.75, 0.25, 2)
    # Against none +3 and 0 at the fixed strength, −1 and +2 at one, +1 and +2 by dataset.
    none = frame.loc["none"]
    assert [none[f"{rule}_p"] for rule in ("fixed", "one", "each")] == [0.5, 0.5, 0.25]
    assert [none[f"{rule}_p_holm"] for rule in ("fixed", "one", "each")] == [1.0, 1.0, 0.5]
    assert frame.loc["dreg", ["fixed_p", "one_p", "each_p"]].isna().all()
    assert finding(found).startswith(
        "The order by clean accuracy on the test set, at the fixed strengths: dropout, dreg"
    )
    caption = ranks_table(found).caption
    assert "Holm's correction over 2 rivals (none, dropout)" in caption
    assert "could give: 0.25 to 0.5 (0.5 after Holm)" in caption


def test_the_strengths_that_were_chosen(tmp_path):
    frame = chosen_strengths(tuned(tmp_path, both()))
    dreg = clean(frame).loc["dreg"]
    assert dreg[["fixed", "all datasets", "mnist", "sst2", "at_fixed"]].tolist() == ["0.01", "1", "0.1", "1", 0]
    assert clean(frame).loc["dropout", "at_fixed"] == 2


def test_a_choice_does_not_look_at_test_rows(tmp_path):
    changed = {method: {s: (99 - a, 99 - b) for s, (a, b) in own.items()} for method, own in TEST.items()}
    one, other = (chosen_strengths(tuned(tmp_path, both(test=test))) for test in (TEST, changed))
    pd.testing.assert_frame_equal(one, other)


@pytest.mark.parametrize(
    ("strengths", "fixed", "expected"),
    [
        ((0.1, 1.0, 10.0), 1.0, 1.0),
        ((0.1, 10.0, 3.0), 1.0, 3.0),
        ((0.1, 10.0), 1.0, 0.1),  # equally far: the smaller
        ((0.0, 100.0), 1.0, 100.0),  # 0 is further than any factor
        ((0.1, 0.01, 10.0), None, 0.01),  # not known: the smallest
    ],
)
def test_of_equal_strengths_the_one_nearest_to_the_fixed_one(tmp_path, strengths, fixed, expected):
    every = dict.fromkeys({*strengths, fixed} - {None}, (0, 0))
    frame = both({"dreg": every}, {"dreg": every}, fixed={"dreg": fixed})
    tried = read(file(tmp_path, frame), metric="clean").tried
    levels = [level for level, one in tried.strengths.by_level.items() if one.value in strengths]
    level = best(tried.held_out, tried.grid.metrics[0], tried.strengths, levels, SHAPE["datasets"])
    assert tried.strengths.by_level[level].value == expected


def test_lower_is_better_chooses_the_least(tmp_path):
    frame = both()
    frame["test_loss"] = 1 - frame["clean_accuracy"]
    tried = read(file(tmp_path, frame), metric="test_loss").tried
    found = tuning(tried.grid, tried.held_out, tried.strengths, "none", "dreg")
    assert chosen_strengths(found).set_index("regularizer").loc["dreg", ["mnist", "sst2"]].tolist() == ["0.1", "1"]


def test_a_strength_that_failed_somewhere_is_not_chosen(tmp_path):
    frame = both()
    held = frame["evaluated_on"] == "validation"
    lost = held & (frame["strength"] == 0.1) & (frame["dataset"] == "mnist") & (frame["seed"] == 1)
    frame.loc[lost, "status"] = "failed"
    found = tuned(tmp_path, frame)
    dreg = clean(chosen_strengths(found)).loc["dreg"]
    assert dreg[["all datasets", "mnist", "sst2"]].tolist() == ["1", "1", "1"]
    gone = frame[~(held & (frame["dataset"] == "mnist"))]  # nothing chooses for mnist
    found = tuned(tmp_path, gone)
    assert clean(chosen_strengths(found)).loc["dreg", "mnist"] is None
    assert clean(gains(found)).loc["dreg", "blocks"] == 2
    assert clean(gains(found)).loc["dreg", "each_gain"] == pytest.approx(2.0)
    assert "2 of 4 at the least" in gains_table(found).caption


def test_a_test_cell_that_diverged_takes_its_block_from_every_rule(tmp_path):
    frame = both()
    lost = (frame["cell"] == "sst2/gelu/dreg/s0/strength=1") & (frame["evaluated_on"] == "test")
    frame.loc[lost, "status"] = "diverged"
    row = clean(gains(tuned(tmp_path, frame))).loc["dreg"]
    assert row["blocks"] == 3
    assert row["each_gain"] == pytest.approx((1 + 2) / 2)  # a dataset with two blocks counts like one with one


def test_test_rows_do_not_say_what_may_be_chosen(tmp_path):
    frame = both()
    lost = (frame["strength"] == 1.0) & (frame["evaluated_on"] == "test")
    frame.loc[lost, "status"] = "diverged"
    found = tuned(tmp_path, frame)
    assert clean(chosen_strengths(found)).loc["dreg", ["all datasets", "mnist", "sst2"]].tolist() == [
        "1",
        "0.1",
        "1",
    ]
    row = clean(gains(found)).loc["dreg"]
    assert row["blocks"] == 2  # sst2's choice has no test result
    assert (row["fixed_gain"], row["each_gain"]) == pytest.approx((3.0, 1.0))
    assert np.isnan(row["one_gain"])
    order = clean(ranks(found))
    assert order["one_rank"].dropna().to_dict() == {"none": 2, "dropout": 1}
    assert order["each_rank"].to_dict() == {"none": 3, "dropout": 1, "dreg": 2}
    caption = ranks_table(found).caption
    assert "and so left out: dreg (clean, one for all)" in caption
    assert "2 of 4 at the least" in caption


def test_test_rows_at_one_strength_are_no_tuning(tmp_path):
    frame = both()
    asked = (frame["evaluated_on"] == "test") & (frame["regularizer"] == "dreg") & (frame["strength"] != 0.01)
    frame.loc[asked, "status"] = "failed"
    found = tuned(tmp_path, frame, treatment="dropout")
    assert found.methods == ["dropout"]
    assert "dreg" in found.untuned


def test_ranks_of_all_rules_are_over_the_same_blocks(tmp_path):
    frame = both()
    frame = frame[
        (frame["evaluated_on"] == "test") | (frame["regularizer"] != "dreg") | (frame["dataset"] != "mnist")
    ]
    order = clean(ranks(tuned(tmp_path, frame)))  # nothing chooses for mnist
    assert order["blocks"].tolist() == [2, 2, 2]
    means = order.loc["none", ["fixed_mean", "one_mean", "each_mean"]]
    assert means.tolist() == pytest.approx([61.05] * 3)


def test_means_and_gains_agree_where_blocks_are_uneven(tmp_path):
    frame = both()
    gone = (frame["cell"] == "mnist/gelu/none/s0") & (frame["evaluated_on"] == "test")
    row = clean(gains(tuned(tmp_path, frame[~gone]))).loc["dreg"]
    assert row["blocks"] == 3
    for rule in ("fixed", "one", "each", "oracle"):
        assert row[f"{rule}_mean"] - row["baseline_mean"] == pytest.approx(row[f"{rule}_gain"])
    assert row["fixed_gain"] == pytest.approx((3.0 + 0) / 2)  # of mnist, and of both blocks of sst2


def test_methods_without_validation_rows_are_named_and_not_tuned(tmp_path):
    frame = both(validation={"dreg": VALIDATION["dreg"]})
    igpen = rows({"igpen": {1.0: (5, 5)}}, fixed={"igpen": 1.0})
    found = tuned(tmp_path, pd.concat([frame, igpen[igpen["regularizer"] == "igpen"]], ignore_index=True))
    assert found.methods == ["dreg"]
    assert found.untuned == ("dropout", "igpen")
    assert (
        "Not tuned, for want of validation and test rows at several strengths: dropout, igpen."
        in gains_table(found).caption
    )
    assert set(ranks(found)["regularizer"]) == {"none", "dreg"}
    assert tuned(tmp_path, frame, treatment="dropout").treatment == "dropout"
    assert "dropout is not tuned, so nothing is tested." in ranks_table(tuned(tmp_path, frame, "dropout")).caption


def test_without_a_fixed_strength_there_is_no_column_for_it(tmp_path):
    found = tuned(tmp_path, both(fixed={}), treatment="dreg@0.1")
    assert found.treatment == "dreg"
    headers = [column.header for column in gains_table(found).columns]
    assert "fixed" not in headers
    assert "by dataset" in headers
    frame = clean(gains(found))
    assert frame["fixed_gain"].isna().all()
    assert frame.loc["dreg", "each_gain"] == pytest.approx(1.5)
    assert [name for name in ranks(found).columns if name.startswith("fixed")] == []


def test_one_dataset_is_paired_by_seed(tmp_path):
    frame = both()
    frame = frame[frame["dataset"] == "mnist"]
    found = tuned(tmp_path, frame)
    row = clean(gains(found)).loc["dreg"]
    assert row["one_strength"] == "0.1"
    assert row["one_gain"] == row["each_gain"] == pytest.approx(1.0)
    assert row["pairs"] == 2
    assert "bootstrap over seeds" in gains_table(found).caption


def test_picked_keeps_the_blocks_that_all_names_share(tmp_path):
    frame = both()
    frame.loc[(frame["cell"] == "mnist/gelu/dreg/s0"), "status"] = "failed"
    grid = read(file(tmp_path, frame), metric="clean").tried.grid
    found = picked(grid, {"a": {"mnist": "dreg", "sst2": "dreg@1"}, "b": {"mnist": "none"}})
    assert found.levels["regularizer"] == ["a", "b"]
    done = (found.state == State.DONE)[:, :, 0]
    assert done.tolist() == [[[False, True], [False, False]]] * 2
    assert int(found.numerators["clean"][0, 0, 0, 1] * 1000 / found.denominator) == 631


def test_validation_rows_are_set_aside_at_reading(tmp_path):
    frame = both()
    alone = read(file(tmp_path, frame[frame["evaluated_on"] == "test"]))
    data = read(file(tmp_path, frame))
    np.testing.assert_array_equal(data.grid.numerators["clean"], alone.grid.numerators["clean"])
    assert set(data.cells["evaluated_on"]) == {"test"}
    assert data.warnings[-1].startswith("24 validation rows are set aside")
    assert data.audit.lines()[-1].startswith("validation rows: 24 of 24 cells done")
    wanted = read(file(tmp_path, frame), conditions=["evaluated_on=validation"])
    assert set(wanted.main["evaluated_on"]) == {"validation"}
    assert wanted.tried.held_out is None
    only = read(file(tmp_path, frame[frame["evaluated_on"] == "validation"]))
    assert set(only.main["evaluated_on"]) == {"validation"}
    unnamed = frame[frame["evaluated_on"] == "test"].drop(columns=["evaluated_on", "config"])
    assert read(file(tmp_path, unnamed)).audit.lines() == alone.audit.lines()


def test_validation_rows_at_strengths_that_were_never_tested_choose_nothing(tmp_path):
    data = read(file(tmp_path, both(validation={"dreg": {**VALIDATION["dreg"], 7.0: (99, 99)}})), metric="clean")
    assert "4 of them are at strengths or training sizes without test rows" in data.warnings[-1]
    assert "dreg@7" not in data.tried.held_out.levels["regularizer"]


def test_declared_cells_are_told_apart_by_what_they_are_evaluated_on(tmp_path, capsys):
    frame = both()
    held = frame["evaluated_on"] == "validation"
    gone = (held & (frame["seed"] == 1)) | (~held & (frame["cell"] == "sst2/gelu/dreg/s1/strength=1"))
    path = folder(tmp_path, frame[~gone], frame)
    data = read(path)
    assert data.audit.count(State.MISSING) == 0
    assert data.audit.total(State.MISSING) == 13
    assert main([str(path)]) == 0
    said = capsys.readouterr()
    assert "other strengths: missing: 1 (sst2/gelu/dreg@1/s1)" in said.out
    assert "validation rows: missing: 12 (mnist/gelu/none/s1" in said.out
    assert "partial: 13 of 48 cells are missing" in said.err
    lost = pd.read_csv(path / "analysis" / "tables" / "not_done.csv")
    assert lost["beside"].value_counts().to_dict() == {"validation rows": 12, "other strengths": 1}
    assert main([str(path), "--where", "evaluated_on=validation", "--out", str(tmp_path / "v")]) == 0
    assert "other strengths: missing: 6" in capsys.readouterr().out


def test_a_sweep_with_validation_results_only_says_how_to_look_at_them(tmp_path, capsys):
    frame = both()
    path = folder(tmp_path, frame[frame["evaluated_on"] == "validation"], frame)
    assert main([str(path)]) == 2
    assert "for the others, --where evaluated_on=validation" in capsys.readouterr().err
    with pytest.raises(UserError, match="none of the 24 cells evaluated on test data has a result"):
        read(path)
    assert main([str(path), "--where", "evaluated_on=validation"]) == 0


def test_the_command_writes_tables_and_figure(tmp_path, capsys):
    path, out = folder(tmp_path, both()), tmp_path / "out"
    assert main([str(path), "--metric", "clean", "--out", str(out)]) == 0
    said = capsys.readouterr()
    assert "warning: 24 validation rows are set aside" in said.err
    assert said.out.startswith("12 of 12 cells done (2 datasets × 1 activation × 3 regularizers × 2 seeds)")
    for name in ("tuning", "tuning_ranks", "chosen_strengths"):
        for ending in ("csv", "md", "tex"):
            assert (out / "tables" / f"{name}.{ending}").exists()
    table = pd.read_csv(out / "tables" / "tuning.csv", dtype={"one_strength": str})
    assert clean(table).loc["dreg", "each_gain"] == pytest.approx(1.5)
    assert set(table["metric"]) == {"clean", "overall", "noisy"}
    assert table["metric"].iloc[0] == "clean"
    printed = (out / "tables" / "tuning.md").read_text()
    assert "| clean | dreg | 0.01 | 1 | 62.05 (+1.50) | 61.05 (+0.50) | 62.05 (+1.50) | 63.05 (+2.50) |" in printed
    assert "an oracle that bounds what a choice could gain and no result" in printed
    assert (out / "figures" / "sensitivity.png").exists()
    report = (out / "report.html").read_text()
    assert "at the strength that each dataset&#x27;s validation rows choose: dropout, dreg, none" in report
    pairwise = pd.read_csv(out / "tables" / "pairwise_clean.csv", keep_default_na=False)
    assert set(pairwise["rival"]) == {"none", "dropout"}
    # An earlier tuning does not stay beside an analysis without one.
    assert main([str(path), "--where", "evaluated_on=test", "--out", str(out)]) == 0
    assert not (out / "tables" / "tuning.csv").exists()
    assert (out / "tables" / "strengths.csv").exists()


def test_claims_find_their_rivals_at_the_fixed_strengths(tmp_path):
    rivals = ("weight_decay", "dropout", "spectral_norm", "igpen", "dreg")
    gain = {name: {1.0: (0, 0), 2.0: (60, 60)} for name in rivals} | {"dreg": {1.0: (50, 50), 2.0: (0, 0)}}
    path, out = file(tmp_path, rows(gain, fixed=dict.fromkeys(rivals, 1.0))), tmp_path / "out"
    assert main([str(path), "--out", str(out)]) == 0
    claims = pd.read_csv(out / "claims.csv")
    first = claims[(claims["claim"] == "A1") & claims["primary"]].iloc[0]
    assert first["observed"] == "holds: place 1 of 6"
    assert "over 5 rivals" in first["family"]
