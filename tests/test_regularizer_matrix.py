"""Every regularizer level on every model and task: it trains, or it is refused before training."""

import functools
import importlib.util
import math
from dataclasses import replace

import pytest
import torch

from dreg_sweep.cells import ModelSpec
from dreg_sweep.compose import compose_grid
from dreg_sweep.config import conf_dir
from dreg_sweep.data import load_prepared
from dreg_sweep.errors import UserError
from dreg_sweep.launch.messages import Inputs
from dreg_sweep.launch.worker import _assemble, _Datasets, check_cell
from dreg_sweep.train import train_stack
from tests.composing import loader_and_master

pytestmark = pytest.mark.usefixtures("single_thread")

LEVELS = sorted(path.stem for path in (conf_dir() / "regularizer").glob("*.yaml"))
SMALL: dict[str, dict[str, object]] = {
    "mlp": {"widths": [8, 6]},
    "lenet": {"padding": 2},
    "lenet_tuned": {"padding": 2},
    "resnet": {"widths": [4, 6, 8], "blocks": 1},
}
DATASETS = {"classification": "digits", "regression": "sine"}
RECIPE = ("steps=2", "batch_size=20", "train_size=40", "noise=none")


@functools.cache
def cells_of(group, levels):
    """A cell of each level of a group, all else at its default."""
    loader, master = loader_and_master()
    grid = compose_grid(loader, master, [[f"{group}={level}", *RECIPE] for level in levels])
    return dict(zip(levels, grid.cells, strict=True))


def cell_of(level, model, task):
    """Level, model and dataset from their files; a model as small as images of 8 × 8 allow."""
    spec = cells_of("model", tuple(SMALL))[model].model
    return replace(
        cells_of("regularizer", tuple(LEVELS))[level],
        dataset=cells_of("dataset", tuple(DATASETS.values()))[DATASETS[task]].dataset,
        model=ModelSpec(spec.name, {**spec.options, **SMALL[model]}),
    )


def trained_or_refused(cell, folder):
    """The outcome of two steps, or the mistake that the check before training names."""
    prepared = load_prepared(cell.dataset, folder)
    try:
        check_cell(cell, Inputs(prepared.input_shape, prepared.n_outputs, prepared.task))
    except UserError as mistake:
        return str(mistake)
    stack = _assemble([cell], folder, _Datasets())
    return train_stack(stack.network, stack.methods, cell.recipe, stack.plans, torch.device("cpu"))[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where prepared data lie."""
    return tmp_path_factory.mktemp("data")


@pytest.mark.parametrize("task", DATASETS)
@pytest.mark.parametrize("model", SMALL)
@pytest.mark.parametrize("level", LEVELS)
def test_a_level_trains_or_is_refused_before_training(level, model, task, folder):
    found = trained_or_refused(cell_of(level, model, task), folder)
    if isinstance(found, str):
        assert "\n" not in found
        assert "choose" in found
        return
    assert (found.status, found.steps) == ("done", 2)
    assert math.isfinite(found.test_loss)
    assert all(math.isfinite(value) for row in found.history for value in row.values())
    assert (found.clean_correct is None) == (task == "regression")


def test_only_what_cannot_be_is_refused():
    def check(level, model, inputs, task):
        try:
            check_cell(cell_of(level, model, task), inputs)
        except UserError:
            return False
        return True

    for level in LEVELS:
        for model in SMALL:
            assert check(level, model, Inputs((1, 8, 8), 10, "classification"), "classification")
            assert check(level, model, Inputs((4,), 3, "classification"), "classification") == (model == "mlp")
    ours = [level for level in LEVELS if importlib.util.find_spec(f"dreg_sweep.regularizers.{level}") is None]
    curves = [level for level in ours if check(level, "mlp", Inputs((1,), 1, "regression"), "regression")]
    assert set(ours) - set(curves) == {
        "confidence_penalty", "double_backprop+confidence_penalty", "spectreg+confidence_penalty",
        "jacreg", "onehot", "random_onehot",
    }  # fmt: skip
