"""What the first call of a penalty with a file of its own refuses, and what it lets pass."""

import importlib.util
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from dreg_sweep.cells import ModelSpec
from dreg_sweep.errors import UserError
from dreg_sweep.launch import trial
from dreg_sweep.launch.messages import Check, Inputs
from dreg_sweep.launch.worker import _check, check_cell, try_cell
from dreg_sweep.regularizers import REGULARIZERS
from tests.commands import run
from tests.test_regularizer_matrix import DATASETS, LEVELS, SMALL, cell_of
from tests.test_worker import small

pytestmark = pytest.mark.usefixtures("single_thread")

ROOT = Path(__file__).parent.parent
PENALTY = """
import numpy as np
import torch
from dreg_sweep.regularizers import Regularizer, input_gradients

def mine(trace):
    {}

REGULARIZER = Regularizer(penalty=mine)
"""
ONE_VALUE = "a penalty is one value a cell, shape (S,)"
IMAGES, CURVE = Inputs((1, 8, 8), 10, "classification"), Inputs((1,), 1, "regression")


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """Makes a level of a penalty's body."""

    def define(body, name="mine"):
        file = tmp_path / f"{name}.py"
        file.write_text(PENALTY.format(body))
        spec = importlib.util.spec_from_file_location(f"dreg_sweep.regularizers.{name}", file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        monkeypatch.setitem(sys.modules, spec.name, module)
        monkeypatch.setitem(REGULARIZERS, name, module.REGULARIZER)

    return define


def checked(cell=None, inputs=IMAGES):
    """The mistake that a worker finds in a cell, None for none."""
    return _check(Check([(cell or small(regularizer="mine", strength=0.1), inputs)], "cpu")).mistake


NO_TENSOR = {
    "trace.logits.mean()": "None",  # its return forgotten
    "return trace.logits.mean().item()": "a float",
    "return trace.logits.detach().mean((1, 2)).numpy()": "a ndarray",
}
SHAPES = {
    "return trace.logits.square().sum()": "()",
    "return trace.logits.square().mean(2)": "(2, 3)",
    "return trace.logits.square().mean((1, 2))[:, None]": "(2, 1)",
    "return trace.layers[0].preactivation.square().mean((0, 1))": "(5,)",
}
WITHOUT_GRADIENT = ["return trace.logits.detach().mean((1, 2))", "return (trace.logits > 0).float().mean((1, 2))"]
MIXING = [
    "return trace.logits.topk(5, 1).values.square().mean().expand(len(trace.x))",
    "return trace.logits.square().mean().expand(len(trace.logits))",
    "return trace.logits.square().mean((1, 2)).flip(0)",
    "return trace.logits.square().mean((1, 2)).cumsum(0)",
    "return trace.logits.square().mean((1, 2)).flip(0).cumsum(0).flip(0)",
    "return trace.logits.square().mean((1, 2)) + 0.01 * trace.x.mean()",
    "p = trace.logits.softmax(2)\n    return (p * p.log()).sum(2).mean().expand(len(p))",
    "return trace.layers[0].weight.square().sum().expand(len(trace.x))",
    "v = torch.randn(trace.logits.shape, generator=trace.streams[0])\n    return (v * trace.logits).mean((1, 2))",
]
GOOD = [
    "return trace.logits.square().mean((1, 2))",
    "return trace.logits.mean((1, 2)) * float('nan')",  # that training diverges is another matter
    "return trace.logits.square().mean((1, 2)) / 0.0",
    "return trace.logits.topk(5, 1).values.square().mean((1, 2))",  # needs five rows
    "v = torch.stack([torch.randn(trace.logits.shape[1:], generator=s) for s in trace.streams])\n"
    "    return (v * trace.logits).mean((1, 2))",
]


@pytest.mark.parametrize("body", NO_TENSOR)
def test_what_is_no_tensor_is_refused(body, mine):
    mine(body)
    said = f"mine in dreg_sweep/regularizers/mine.py returned {NO_TENSOR[body]}, not a tensor; {ONE_VALUE}"
    assert checked() == said


@pytest.mark.parametrize("body", SHAPES)
def test_what_is_not_one_value_a_cell_is_refused(body, mine):
    mine(body)
    said = f"mine in dreg_sweep/regularizers/mine.py returned a tensor of shape {SHAPES[body]}; {ONE_VALUE}"
    assert checked().startswith(said)


@pytest.mark.parametrize("body", WITHOUT_GRADIENT)
def test_what_would_change_no_training_is_refused(body, mine):
    mine(body)
    assert "returned a tensor without a gradient" in checked()


@pytest.mark.parametrize("body", MIXING)
def test_cells_are_not_mixed(body, mine):
    mine(body)
    assert "mine.py mixes cells: the value of one changes with" in checked()


def test_draws_that_are_not_from_the_streams_are_refused(mine):
    mine("return (torch.randn(trace.logits.shape) * trace.logits).mean((1, 2))")
    assert "differs between two calls with the same rows; draw random numbers from trace.streams" in checked()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return trace.nonesuch", ", line 7, raised AttributeError: 'Trace' object has no attribute 'nonesuch'"),
        ("raise ValueError('\\n   two lines,\\nthe first of them')", ", line 7, raised ValueError: two lines,"),
        ("raise KeyError", ", line 7, raised KeyError"),
        ("v = 1\n    return input_gradients(trace, v)", ", line 8, raised AttributeError: 'int' object"),
    ],
)
def test_an_exception_is_told_with_the_line_that_it_came_from(body, said, mine):
    mine(body)
    assert checked().startswith(f"mine in dreg_sweep/regularizers/mine.py{said}")
    assert "\n" not in checked()


@pytest.mark.parametrize("body", GOOD)
def test_a_good_penalty_passes(body, mine):
    mine(body)
    assert checked() is None


def test_a_penalty_beside_others_is_tried_too(mine):
    mine("return trace.logits.square().sum()")
    plain, spec = small(), small(regularizer="mine", strength=0.1).regularizer
    for added in ({"also": (spec,)}, {"always": (spec,)}):
        cell = replace(plain, regularizer=replace(plain.regularizer, name="dropout", strength=0.3, **added))
        assert "mine.py returned a tensor of shape ()" in checked(cell)


def test_two_penalties_that_draw_do_not_disturb_each_other(mine):
    for name in ("mine", "yours"):
        mine(GOOD[-1], name)
    cell, other = (small(regularizer=name, strength=0.1) for name in ("mine", "yours"))
    assert checked(replace(cell, regularizer=replace(cell.regularizer, also=(other.regularizer,)))) is None


def test_where_no_layer_is_hidden_a_penalty_on_hidden_layers_may_be_constant(mine):
    mine("return sum((h.value.square().mean((1, 2)) for h in trace.layers[:-1]), torch.zeros(len(trace.x)))")
    cell = small(regularizer="mine", strength=0.1)
    linear = replace(cell, model=ModelSpec("mlp", {"widths": []}))
    assert checked(cell) is None
    assert checked(linear) is None
    assert checked(linear, CURVE) is None


def test_nothing_is_tried_without_data_or_without_such_a_penalty(mine, monkeypatch):
    mine("raise KeyError")
    assert checked(inputs=None) is None
    monkeypatch.setattr("dreg_sweep.launch.worker.try_penalties", None)
    assert checked(small(regularizer="dreg", strength=0.1)) is None


@pytest.mark.parametrize("model", [*SMALL, "linear"])
@pytest.mark.parametrize("level", LEVELS)
def test_none_of_the_packages_own_would_be_refused(level, model, monkeypatch):
    monkeypatch.setattr(trial, "own_file", lambda name: f"{name}.py")
    for task, inputs in zip(DATASETS, (IMAGES, CURVE), strict=True):
        cell = cell_of(level, "mlp" if model == "linear" else model, task)
        if model == "linear":
            cell = replace(cell, model=ModelSpec("mlp", {"widths": []}))
        try:
            check_cell(cell, inputs)
        except UserError:
            continue
        try_cell(cell, inputs)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the package and its configuration."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in ("conf", "dreg_sweep", "hydra_plugins"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "conf" / "regularizer" / "mine.yaml").write_text("name: mine\nstrength: 0.1\n")
    return copy


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return trace.logits.square().sum()", f"returned a tensor of shape (); {ONE_VALUE}, here (2,)"),
        ("trace.logits.square().mean((1, 2))", f"returned None, not a tensor; {ONE_VALUE}"),
        ("return trace.logits[:, :, 99].mean(1)", "raised IndexError: index 99 is out of bounds"),
    ],
)
def test_a_wrong_penalty_is_one_line_and_nothing_is_trained(body, said, checkout, tmp_path):
    (checkout / "dreg_sweep" / "regularizers" / "mine.py").write_text(PENALTY.format(body))
    command = ("-m", "regularizer=none,mine", "seed=0,1", "epochs=1", "train_size=50", "results_dir=r")
    process = run("dreg-sweep", *command, cwd=tmp_path, PYTHONPATH=str(checkout))
    assert process.returncode == 2, process.stderr
    (line,) = process.stderr.strip().splitlines()
    assert line.startswith("dreg-sweep: mine in dreg_sweep/regularizers/mine.py")
    assert said in line
    assert not list(tmp_path.rglob("*.parquet"))


def test_a_failure_in_training_is_told_by_the_first_line_of_its_message(checkout, tmp_path):
    raised = r"raise ValueError('\n    no such rows:\n      they are many')"
    body = f"if len(trace.x[0]) > 10: {raised}\n    return trace.losses.mean(1)"
    (checkout / "dreg_sweep" / "regularizers" / "mine.py").write_text(PENALTY.format(body))
    command = ("regularizer=mine", "epochs=1", "train_size=50", "results_dir=r")
    process = run("dreg-sweep", *command, cwd=tmp_path, PYTHONPATH=str(checkout))
    assert process.returncode == 1, process.stderr
    assert "failed: 1 cell: ValueError: no such rows:; one of them: dreg-sweep regularizer=mine" in process.stderr
