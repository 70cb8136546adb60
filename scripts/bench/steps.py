"""Steps of the engine on random images. Importing this imports torch: the environment must be set before."""

import sys
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from dreg_sweep.activations import get_activation
from dreg_sweep.cells import Cell
from dreg_sweep.config import Naming, cell_from_config, conf_dir
from dreg_sweep.data import ArrayData, NoiseLadder, make_split
from dreg_sweep.models import build_network
from dreg_sweep.regularizers import get_regularizer
from dreg_sweep.train import CellPlan, Methods, _Training

DATASET = "mnist"  # whose name and shape the random images have
IMAGE = (28, 28, 1)
CLASSES = 10
ROWS = 2000


def seeds_of(overrides: Sequence[str], seeds: int) -> list[Cell]:
    """Cells of the configuration with these overrides, one a seed."""
    with initialize_config_dir(str(conf_dir().absolute()), version_base=None):
        composed = compose("config", [f"dataset={DATASET}", *overrides])
    config = OmegaConf.to_container(composed, resolve=True)
    assert isinstance(config, dict)
    plain = {str(key): value for key, value in config.items()}
    return [cell_from_config({**plain, "seed": seed}, Naming()) for seed in range(seeds)]


def training(cells: Sequence[Cell], steps: int) -> _Training:
    """The engine's training of these cells on the CPU, before its first step."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    parts = ("train", "test")
    images: dict[str, np.ndarray] = {
        part: rng.integers(256, size=(ROWS, *IMAGE), dtype=np.uint8) for part in parts
    }
    labels = {part: rng.permutation(np.arange(ROWS) % CLASSES) for part in parts}
    first = cells[0]
    data = ArrayData(first.dataset, "random", labels, images, is_image=True)
    split = make_split(data, None, first.seed, "test", NoiseLadder(), cache_dir=None)
    spec, activation = first.regularizer, get_activation(first.activation)
    network = build_network(first.model.name, split.input_shape, CLASSES, activation, first.model.options)
    methods = Methods(
        get_regularizer(spec.name, spec.strength, spec.options),
        [(get_regularizer(also.name, also.strength, also.options), also.strength) for also in spec.others],
    )
    plans = [CellPlan(cell.regularizer.strength, cell.streams, split) for cell in cells]
    return _Training(network, methods, replace(first.recipe, steps=steps), plans, torch.device("cpu"))


def milliseconds_a_step(cells: Sequence[Cell], warm_up: int, steps: int) -> float:
    """Mean wall time of a step of the whole stack, after a few that do not count; exits where one diverges."""
    course = training(cells, warm_up + steps)
    course.run_until(warm_up)
    started = time.perf_counter()
    course.run_until(warm_up + steps)
    seconds = time.perf_counter() - started
    if course.diverged_at.any():
        sys.exit(f"bench: {cells[0].key} diverged, so its times say nothing")
    return 1000 * seconds / steps
