"""scripts/bench.py: what it measures, with made-up clocks, and once as a user runs it."""

import importlib
import json
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from dreg_sweep.regularizers import REGULARIZERS

SCRIPTS = Path(__file__).parents[1] / "scripts"
COMPOSITE = "double_backprop+confidence_penalty"


@pytest.fixture
def penalties(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    return importlib.import_module("bench.penalties")


@pytest.fixture
def steps(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    return importlib.import_module("bench.steps")


def rows(printed):
    """Level → the six numbers of its line."""
    lines = [[entry.strip() for entry in line.strip("|").split("|")] for line in printed if line.startswith("|")]
    return {level: [float(number) for number in numbers] for level, *numbers in lines[2:]}


def test_penalties_as_a_user_runs_it(tmp_path):
    options = ["--model", "mlp-64-64", "--steps", "2", "--repeats", "1", "--regularizers", f"dreg,{COMPOSITE}"]
    command = [sys.executable, str(SCRIPTS / "bench.py"), "penalties", *options, "--json", "times.json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found = rows(done.stdout.splitlines())
    assert list(found) == ["none", "dreg", COMPOSITE]  # the baseline is measured unasked
    assert found["none"][3:] == [1.0, 1.0, 1.0]
    record = json.loads((tmp_path / "times.json").read_text())
    assert f"    {record['command']}" in done.stdout.splitlines()
    assert torch.__version__.startswith(record["environment"]["torch"])
    (model,) = record["models"]
    assert (model["name"], model["stack"]) == ("mlp-64-64", 5)
    for level, (ms,) in model["ms_a_step"].items():
        assert ms > 0
        assert found[level][:3] == pytest.approx([ms] * 3, abs=0.0051)  # one repeat: median and both ends


def test_torch_is_imported_after_the_environment_is_set():
    """Its libraries read the number of threads when they are loaded."""
    code = "import sys, bench.overhead, bench.penalties; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=SCRIPTS, timeout=60, check=False).returncode == 0


def test_all_levels_are_known_and_the_baseline_comes_first(penalties):
    found = penalties.levels()
    assert found[0] == "none"
    assert len(set(found)) == len(found)
    assert set(found) >= {*REGULARIZERS, COMPOSITE, "spectreg+confidence_penalty"}


def test_every_level_is_measured_before_the_next_repeat(penalties):
    asked = []

    def measure(level):
        asked.append(level)
        return len(asked)

    times = penalties.interleaved(["none", "a", "b"], 2, measure)
    assert asked == ["none", "a", "b", "none", "a", "b"]
    assert times == {"none": [1, 4], "a": [2, 5], "b": [3, 6]}


def test_ratios_are_taken_within_a_repeat(penalties):
    """By hand: 3/1, 4/4 and 10/2 have the median 3, and that of the times themselves is 4."""
    found = rows(penalties.table({"none": [1.0, 4.0, 2.0], "dreg": [3.0, 4.0, 10.0]}))
    assert found == {"none": [2, 1, 4, 1, 1, 1], "dreg": [4, 3, 10, 3, 1, 5]}


@pytest.mark.parametrize(
    ("model", "level", "weights", "batch"),
    [
        ("mlp-512-512", "dreg", [(5, 784, 512), (5, 512, 512), (5, 512, 10)], (7, 5, 128)),
        ("mlp-64-64", COMPOSITE, [(5, 784, 64), (5, 64, 64), (5, 64, 10)], (7, 5, 128)),
        (
            "lenet",
            "none",
            [(1, 6, 1, 5, 5), (1, 16, 6, 5, 5), (1, 256, 120), (1, 120, 84), (1, 84, 10)],
            (7, 1, 50),
        ),
    ],
)
def test_the_training_is_that_of_the_level(penalties, steps, model, level, weights, batch):
    setting = penalties.SETTINGS[model]
    cells = steps.seeds_of([*setting.overrides, f"regularizer={level}"], setting.seeds)
    course = steps.training(cells, 7)
    assert [tuple(weight.shape) for weight in course.stack.weights] == weights
    assert tuple(course.rows.shape) == batch
    assert len({tuple(order.flatten().tolist()) for order in course.rows.unbind(1)}) == setting.seeds
    penalized = [method.regularizer.function for method in course.stack.methods]
    assert penalized == [REGULARIZERS[name].function for name in level.split("+")]
    course.run_until(1)
    assert course.loss_sum.tolist() == pytest.approx([2.3] * setting.seeds, abs=0.3)  # log 10: labels are random


def test_strengths_are_those_of_conf(penalties, steps):
    overrides = penalties.SETTINGS["mlp-64-64"].overrides
    cells = steps.seeds_of([*overrides, f"regularizer={COMPOSITE}"], 2)
    methods = steps.training(cells, 1).stack.methods
    assert [method.strength.tolist() for method in methods] == [[50.0, 50.0], [0.5, 0.5]]


class Course:
    """A training whose first three steps take 100 s each on its clock, all others 4 ms."""

    def __init__(self, diverged=0):
        self.now, self.step, self.diverged_at = 0.0, 0, torch.tensor([0, diverged])

    def run_until(self, end):
        while self.step < end:
            self.now += 100.0 if self.step < 3 else 0.004
            self.step += 1


@pytest.mark.parametrize(("timed", "wanted"), [(1, 4.0), (10, 4.0)])
def test_warm_up_does_not_count(steps, monkeypatch, timed, wanted):
    course = Course()
    monkeypatch.setattr(steps, "training", lambda cells, count: course)
    monkeypatch.setattr(steps.time, "perf_counter", lambda: course.now)
    assert steps.milliseconds_a_step([], 3, timed) == pytest.approx(wanted)
    assert course.step == 3 + timed


def test_a_training_that_diverges_is_not_reported(steps, monkeypatch):
    monkeypatch.setattr(steps, "training", lambda cells, count: Course(diverged=2))
    with pytest.raises(SystemExit, match="mnist/gelu/dreg/s0 diverged"):
        steps.milliseconds_a_step([SimpleNamespace(key="mnist/gelu/dreg/s0")], 1, 1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["penalties", "--steps", "0"], "argument --steps: 0 must be a whole number of at least 1"),
        (["penalties", "--repeats", "few"], "argument --repeats: few must be a whole number of at least 1"),
        (["penalties", "--model", "mlp"], "--model=mlp is unknown; choose one of: lenet, mlp-512-512, mlp-64-64"),
        (["penalties", "--regularizers", "dreg,drag"], "--regularizers=drag is unknown; choose one of: "),
        (["penalties", "--json", "no/such/file"], "argument --json: no/such/file must be a file in a folder"),
        (["penalty"], "argument benchmark: invalid choice: 'penalty'"),
        ([], "the following arguments are required: benchmark"),
    ],
)
def test_mistakes_are_told_in_one_line(monkeypatch, tmp_path, capsys, arguments, said):
    monkeypatch.syspath_prepend(SCRIPTS)
    monkeypatch.chdir(tmp_path)
    main = runpy.run_path(str(SCRIPTS / "bench.py"))["main"]
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"bench: {said}")
    assert printed.err.count("\n") == 1
