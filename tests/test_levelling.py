"""scripts/levelling.py: a table computed by hand, what it writes, and what it refuses."""

import importlib
import itertools
import json
from pathlib import Path

import pandas as pd
import pytest

from tests import commands

ROOT = Path(__file__).parents[1]
LENGTHS = (3, 6, 12)
ACCURACIES = {  # length → of relu and gelu with seed 0, then with seed 1
    3: [[0.50, 0.60], [0.52, 0.62]],
    6: [[0.60, 0.70], [0.60, 0.70]],
    12: [[0.61, 0.73], [0.64, 0.74]],
}
TABLE = ["dataset", "epochs", "cells", "loss", "loss_ratio", "train_accuracy", "test_accuracy", "difference"]
TABLE += ["standard_error"]


@pytest.fixture
def script(monkeypatch):
    """The module."""
    monkeypatch.syspath_prepend(ROOT / "scripts")
    return importlib.import_module("levelling")


def sweep(unit="epochs"):
    """Cells of digits at three lengths, and histories whose loss falls from 1 by 0.05 an epoch."""
    cells, history = [], []
    for length, seed, (number, activation) in itertools.product(LENGTHS, (0, 1), enumerate(("relu", "gelu"))):
        config = {"activation": activation, "dataset": "digits", "seed": seed, "epochs": None, "steps": None}
        key = {"cell": f"digits/{activation}/none/s{seed}/{unit}={length}", "config_hash": f"{length}"}
        factors = {"activation": activation, "regularizer": "none", "dataset": "digits", "seed": seed}
        accuracy = ACCURACIES[length][seed][number]
        measured = {"status": "done", "clean_accuracy": accuracy, "train_accuracy": 0.9}
        cells.append({**key, **factors, **measured, "config": json.dumps({**config, unit: length})})
        for at in range(1, length + 1):
            epoch, step = (at, 10 * at) if unit == "epochs" else (1, at)
            history.append({**key, **factors, "epoch": epoch, "step": step, "loss": 1 - 0.05 * at})
    return pd.DataFrame(cells), pd.DataFrame(history)


def folder(path, cells, history):
    """A results folder of these."""
    for name, frame in (("cells", cells), ("history", history)):
        (path / name).mkdir(parents=True)
        frame.to_parquet(path / name / "made_up.parquet")
    return path


def table_of(script, path, cells, history):
    """What the command writes of a sweep."""
    assert script.main([str(folder(path / "run", cells, history)), str(path / "out")]) == 0
    return pd.read_csv(path / "out.csv")


def refusal(script, capsys, *arguments):
    """The one line of a mistake."""
    assert script.main([str(argument) for argument in arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("levelling: ")
    assert printed.err.count("\n") == 1
    return printed.err.removeprefix("levelling: ").rstrip()


@pytest.mark.parametrize("unit", ["epochs", "steps"])
def test_the_table_is_the_one_computed_by_hand(script, tmp_path, unit):
    """Points over 6: after 3 by seed −10 and −8, after 12 by seed (1 + 3)/2 and (4 + 4)/2, so ±1 over two seeds.

    Losses end at 0.85, 0.7 and 0.4; two thirds through, at 2, 4 and 8, they are 0.9, 0.8 and 0.6.
    """
    table = table_of(script, tmp_path, *sweep(unit))
    assert list(table.columns) == [unit if name == "epochs" else name for name in TABLE]
    assert table.to_numpy().tolist() == [
        ["digits", 3, 4, 0.85, 0.9444, 90, 56, -9, 1],
        ["digits", 6, 4, 0.7, 0.875, 90, 65, 0, 0],
        ["digits", 12, 4, 0.4, 0.6667, 90, 68, 3, 1],
    ]


def test_the_command_writes_what_is_published(tmp_path):
    published = pd.read_csv(ROOT / "results/paper_cpu/levelling.csv")
    results = folder(tmp_path / "run", *sweep())
    script = str(ROOT / "scripts" / "levelling.py")
    done = commands.run("python", script, str(results), "v1.2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert list(published.columns) == list(pd.read_csv(tmp_path / "v1.2.csv").columns) == TABLE
    assert sorted(path.name for path in tmp_path.glob("v1*")) == ["v1.2.csv", "v1.2.pdf", "v1.2.png"]


def test_a_training_that_was_not_recorded_to_its_end_keeps_its_length(script, tmp_path):
    """Of one cell trained for 12 epochs only 7 are in the history: its loss is 0.65 in place of 0.4."""
    cells, history = sweep()
    lost = (history["cell"] == cells["cell"].iloc[-1]) & (history["epoch"] > 7)
    table = table_of(script, tmp_path, cells, history[~lost])
    assert table["epochs"].tolist() == [3, 6, 12]
    assert table["cells"].tolist() == [4, 4, 4]
    assert table["loss"].tolist() == [0.85, 0.7, pytest.approx((3 * 0.4 + 0.65) / 4, abs=1e-4)]


def test_a_cell_that_diverged_is_left_out_with_the_differences_to_it(script, tmp_path):
    """Without relu of seed 0 at 6: there the difference of seed 0 is that of gelu, −10 after 3 and 3 after 12."""
    cells, history = sweep()
    row = cells["cell"] == "digits/relu/none/s0/epochs=6"
    cells.loc[row, ["clean_accuracy", "train_accuracy"]] = None
    cells.loc[row, "status"] = "diverged"
    table = table_of(script, tmp_path, cells, history)
    assert table["cells"].tolist() == [4, 3, 4]
    assert table["difference"].tolist() == [-9, 0, 3.5]
    assert table["standard_error"].tolist() == [1, 0, 0.5]


def test_a_seed_without_a_difference_does_not_narrow_the_standard_error(script, tmp_path):
    """A third seed that failed at 3: the two others still differ by −10 and −8, so ±1 and not ±0.82."""
    cells, history = sweep()
    third, course = (frame[frame["seed"] == 1].assign(seed=2) for frame in (cells, history))
    for frame in (third, course):
        frame["cell"] = frame["cell"].str.replace("/s1/", "/s2/")
    third["config"] = third["config"].str.replace('"seed": 1', '"seed": 2')
    failed = third["cell"].str.endswith("=3")
    third.loc[failed, ["clean_accuracy", "train_accuracy"]] = None
    third.loc[failed, "status"] = "failed"
    table = table_of(script, tmp_path, pd.concat([cells, third]), pd.concat([history, course]))
    assert table["cells"].tolist() == [4, 6, 6]
    assert table.loc[0, ["difference", "standard_error"]].tolist() == [-9, 1]


def other_seeds(cells):
    """Seeds 2 and 3 in place of 0 and 1 at one length: as many cells, and not the same ones."""
    later = cells["cell"].str.endswith("=12")
    moved = cells[later].assign(seed=cells["seed"] + 2)
    for seed in (0, 1):
        for name, text in (("cell", "/s{}/"), ("config", '"seed": {},')):
            moved[name] = moved[name].str.replace(text.format(seed), text.format(seed + 2))
    return pd.concat([cells[~later], moved])


def no_twelve(cells):
    return cells[~cells["cell"].str.endswith("=12")]


def no_configuration(cells):
    return cells.assign(config=None)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            other_seeds,
            "needs the same cells at every length; digits/relu/none/s0/epochs=3 is there with 3, 6 epochs, "
            "not with 12",
        ),
        (no_twelve, "needs three lengths of training or more; there are only 3, 6 epochs"),
        (no_configuration, "digits/relu/none/s0/epochs=3 has no epochs in its configuration"),
    ],
)
def test_cells_that_are_not_the_same_at_three_lengths_are_refused(script, capsys, tmp_path, change, said):
    cells, history = sweep()
    cells = change(cells)
    results = folder(tmp_path / "run", cells, history[history["cell"].isin(cells["cell"])])
    assert refusal(script, capsys, results, tmp_path / "out") == said
    assert not (tmp_path / "out.csv").exists()


def test_what_cannot_be_read_or_written_is_refused(script, capsys, tmp_path):
    results = folder(tmp_path / "run", *sweep())
    out = tmp_path / "nowhere" / "out"
    assert refusal(script, capsys, results, out) == (
        f"argument out: {out} must be a file in a folder that exists; see levelling --help"
    )
    (tmp_path / "out.csv").mkdir()
    assert refusal(script, capsys, results, tmp_path / "out").startswith(f"{tmp_path / 'out'} cannot be written (")
    missing = tmp_path / "missing"
    assert refusal(script, capsys, missing, tmp_path / "new").startswith(f"{missing} does not exist")
    (results / "history" / "made_up.parquet").unlink()
    (results / "history").rmdir()
    assert refusal(script, capsys, results, tmp_path / "new") == f"{results} has no history/"
    assert "see levelling --help" in refusal(script, capsys, results)
