"""Small stacks for the engine's tests, in float64 where an oracle is to agree to many digits."""

import math

import numpy as np
import torch

from dreg_sweep.activations import ACTIVATIONS
from dreg_sweep.cells import OptimizerSpec, Recipe, ScheduleSpec
from dreg_sweep.data.split import Split
from dreg_sweep.models.mlp import MLP
from dreg_sweep.regularizers import get_regularizer
from dreg_sweep.stack import Method, Stack, seeded_generators
from dreg_sweep.streams import Streams
from dreg_sweep.train import CellPlan, Methods, train_stack

ADAMW = OptimizerSpec("adamw", 1e-2, {"betas": [0.9, 0.999], "eps": 1e-8})
SGD = OptimizerSpec("sgd", 5e-2, {"momentum": 0.9, "nesterov": True})


class ArraySplit(Split):
    """Training and test rows given as arrays; severity i adds (i + 1)/2 to every test input."""

    task = "classification"

    def __init__(self, x_train, y_train, x_eval, y_eval, n_classes, severities=(0.5, 1.0)):
        fields = {
            "identity": str(hash((x_train.tobytes(), y_train.tobytes()))),
            "x_train": x_train,
            "y_train": y_train,
            "y_eval": y_eval,
            "input_shape": x_train.shape[1:],
            "n_outputs": n_classes,
            "severities": severities,
            "corruption": "shift",
            "x_eval": x_eval,
        }
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    def eval_rows(self, severity, start, stop):
        shift = 0.0 if severity is None else (severity + 1) / 2
        return self.x_eval[start:stop] + np.float32(shift)


def random_split(seed, n=60, n_eval=37, features=7, n_classes=3):
    """Gaussian blobs, one a class."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(n_classes, features)) * 2
    y, y_eval = rng.integers(n_classes, size=n), rng.integers(n_classes, size=n_eval)
    x, x_eval = (
        (centres[labels] + rng.normal(size=(len(labels), features))).astype(np.float32) for labels in (y, y_eval)
    )
    return ArraySplit(x, y, x_eval, y_eval, n_classes)


def image_split(seed, shape=(1, 8, 8), **rows):
    """The same as images (C, H, W)."""
    split = random_split(seed, features=math.prod(shape), **rows)
    object.__setattr__(split, "input_shape", shape)
    return split


def small_recipe(optimizer=ADAMW, steps=12, batch_size=16, schedule="cosine"):
    """A dozen steps."""
    return Recipe(1, steps, batch_size, optimizer, ScheduleSpec(schedule, {}))


def cell_plan(seed, strength=0.01, **shape):
    """One cell; its split and streams follow from the seed."""
    return CellPlan(strength, Streams(seed + 10, seed + 20, seed + 40, seed + 30), random_split(seed, **shape))


def train(cells, regularizer="none", activation="gelu", widths=(6, 5), options=None, **recipe):
    """Outcomes of a stack of these cells on the CPU."""
    split = cells[0].split
    network = MLP(split.x_train.shape[1], widths, split.n_outputs, ACTIVATIONS[activation])
    method = get_regularizer(regularizer, cells[0].strength, options or {})
    return train_stack(network, Methods(method), small_recipe(**recipe), cells, torch.device("cpu"))


def double_stack(
    regularizer="none",
    activation="gelu",
    size=3,
    strength=0.5,
    options=None,
    seed=0,
    shape=(4,),
    network=None,
    others=(),
):
    """A stack in float64 with random inputs: (stack, x (S, B, D) requiring its gradient, y (S, B)).

    network: one of three outputs for inputs of that shape, which brings its own activation; else an MLP.
    others: (name, strength) of the methods beside the first.
    """
    network = network or MLP(math.prod(shape), (6, 5), 3, ACTIVATIONS[activation])
    rngs = [np.random.default_rng(seed + cell) for cell in range(size)]
    parameters = {name: (2 * value.double()).requires_grad_() for name, value in network.initial(rngs).items()}
    stack = Stack(
        network,
        parameters,
        [
            Method(get_regularizer(name, of, given), torch.full((size,), of, dtype=torch.float64))
            for name, of, given in [(regularizer, strength, options or {}), *((*other, {}) for other in others)]
        ],
        seeded_generators(range(size), torch.device("cpu")),
        buffers={name: buffer.double() for name, buffer in network.initial_buffers(size).items()},
    )
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(size, 8, math.prod(shape), generator=generator, dtype=torch.float64).requires_grad_()
    y = torch.randint(0, 3, (size, 8), generator=generator)
    return stack, x, y
