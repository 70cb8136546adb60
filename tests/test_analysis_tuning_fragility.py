"""Strengths chosen on validation rows without one dataset at a time, against a case computed by hand."""

import pandas as pd
import pytest

from dreg_sweep.analysis.study import read
from dreg_sweep.analysis.tables.tuning import tuning
from dreg_sweep.analysis.tables.tuning_fragility import table, without_each_dataset
from tests.test_analysis_tuning import both, file


def asked(tmp_path, frame):
    """What the functions are about: tuning, validation rows, metric."""
    tried = read(file(tmp_path, frame), metric="clean").tried
    found = tuning(tried.grid, tried.held_out, tried.strengths, "none", "dreg")
    return found, tried.held_out, tried.grid.metrics[0]


def test_one_dataset_left_out_at_a_time(tmp_path):
    test = {"dropout": {0.2: (0, 0, 0), 0.5: (20, 20, 20)}, "dreg": {0.01: (10, 10, 10), 0.1: (90, 10, 10)}}
    validation = {"dropout": test["dropout"], "dreg": {0.01: (0, 3, 3), 0.1: (9, 0, 0)}}
    found, held_out, metric = asked(tmp_path, both(test, validation, datasets=("mnist", "sst2", "trec6")))
    alone = without_each_dataset(found, held_out, metric)
    means = alone.pivot(index="left_out", columns="regularizer", values="one_mean")
    gained = means.sub(means["none"], axis=0)
    # Validation rows choose 0.1 for all three, for mnist and one other, and 0.01 without mnist.
    assert gained["dreg"].to_dict() == pytest.approx({"nothing": 11 / 3, "mnist": 1.0, "sst2": 5.0, "trec6": 5.0})
    assert gained["dropout"].tolist() == pytest.approx([2.0] * 4)
    places = alone[alone["regularizer"] == "dreg"].set_index("left_out")["one_rank"]
    assert places.to_dict() == {"nothing": 1, "mnist": 2, "sst2": 1, "trec6": 1}
    shown = table(found, held_out, metric)
    assert "one for all: dreg, but dropout without mnist" in shown.caption
    assert "by dataset: dreg" in shown.caption


def test_two_datasets_are_not_left_out(tmp_path):
    assert table(*asked(tmp_path, both())) is None


def test_no_choice_without_a_dataset_is_no_table(tmp_path):
    """Only mnist has validation rows at two strengths."""
    effects = {"dreg": {0.01: (0, 3, 3), 0.1: (9, 0, 0)}}
    frame = both(effects, effects, datasets=("mnist", "sst2", "trec6"))
    held = (frame["evaluated_on"] == "validation") & (frame["strength"] == 0.1) & (frame["dataset"] != "mnist")
    frame.loc[held, "status"] = "failed"
    assert table(*asked(tmp_path, pd.DataFrame(frame))) is None
