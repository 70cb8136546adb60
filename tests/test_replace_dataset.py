"""Other trainings of one dataset in the place of a sweep's own."""

import importlib
from pathlib import Path

import pandas as pd
import pytest

from dreg_sweep.analysis import load_cells
from dreg_sweep.analysis.command import main as analyze
from dreg_sweep.errors import UserError
from tests.grids import made_up

SCRIPTS = Path(__file__).parents[1] / "scripts"
SHAPE = {"activations": ("relu",), "regularizers": ("none", "dreg"), "seeds": range(2)}


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    return importlib.import_module("replace_dataset")


def folder(path, rows):
    (path / "cells").mkdir(parents=True)
    rows.to_parquet(path / "cells" / "00000001-a.parquet")
    return path


def longer(dataset, **shape):
    """Trainings in which dreg has 30 right answers more, under keys of their own."""
    gain = {"dreg": lambda d, a, s: 30}
    rows = made_up(gain, gain, datasets=(dataset,), **(SHAPE | shape))
    return rows.assign(cell=rows["cell"] + "/epochs=60")


def test_rows_of_the_dataset_are_the_others_and_the_rest_is_kept(script, tmp_path, capsys):
    sweep = folder(tmp_path / "sweep", made_up(datasets=("mnist", "gtsrb"), **SHAPE))
    others = folder(tmp_path / "others", longer("gtsrb"))
    out = tmp_path / "replaced.parquet"
    assert script.main([str(sweep), str(others), str(out)]) == 0
    assert capsys.readouterr().out == f"wrote 8 rows to {out}\n"
    index = ["dataset", "regularizer", "seed"]
    found, before, other = (load_cells(path).set_index(index).sort_index() for path in (out, sweep, others))
    measures = ["clean_accuracy", "noisy_accuracy"]
    pd.testing.assert_frame_equal(found.loc[["mnist"], measures], before.loc[["mnist"], measures])
    pd.testing.assert_frame_equal(found.loc[["gtsrb"], measures], other.loc[["gtsrb"], measures])
    assert (found.loc[("gtsrb", "dreg"), "clean_accuracy"] > before.loc[("gtsrb", "dreg"), "clean_accuracy"]).all()
    assert analyze([str(out), "--out", str(tmp_path / "analysis")]) == 0
    assert "8 of 8 cells done" in capsys.readouterr().out


def test_other_combinations_are_refused(script):
    sweep = made_up(datasets=("mnist", "gtsrb"), **SHAPE)
    others = longer("gtsrb")
    others = others[(others["regularizer"] != "dreg") | (others["seed"] != 1)]
    with pytest.raises(UserError, match=r"^gtsrb/relu/dreg/1 is not in the other trainings$"):
        script.replaced(sweep, others)
    with pytest.raises(UserError, match=r"^cifar10/relu/dreg/0 is not in the sweep$"):
        script.replaced(sweep, longer("cifar10"))
    with pytest.raises(UserError, match=r"^gtsrb/relu/none/0 is there more than once$"):
        script.replaced(sweep, pd.concat([longer("gtsrb")] * 2))


def test_mistakes_are_one_line(script, tmp_path, capsys):
    sweep = folder(tmp_path / "sweep", made_up(datasets=("gtsrb",), **SHAPE))
    for arguments, said in (
        ([sweep, tmp_path / "nowhere", tmp_path / "o.parquet"], "nowhere does not exist"),
        ([sweep, sweep, tmp_path / "no" / "o.parquet"], "cannot be written"),
        ([sweep], "the following arguments are required: OTHERS, OUT.parquet"),
    ):
        assert script.main([*map(str, arguments)]) == 2
        error = capsys.readouterr().err
        assert error.startswith("replace_dataset.py: ")
        assert said in error
        assert error.count("\n") == 1
