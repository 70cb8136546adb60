"""A first call of each penalty that has a file of its own, on made-up rows, before anything is trained.

A wrong penalty can train without an error, and its numbers are wrong. Those in the package's own files are left to
the tests.
"""

import math
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dreg_sweep import regularizers
from dreg_sweep.errors import UserError
from dreg_sweep.launch.messages import Inputs
from dreg_sweep.models import Network, Trace
from dreg_sweep.regularizers import Regularizer
from dreg_sweep.stack import Method, Stack, seeded_generators
from dreg_sweep.tasks import TASKS

_SIZE, _ROWS = 2, 3  # S and B differ: one value a row is not one a cell
_FACTOR = 3.0  # on rows and parameters of the cell that the other must not feel
# In two stacks of one shape a cell's bits are the same at the same place; a share of the other cell is far more.
_TOLERANCE = 1e-5
_SHAPE = "a penalty is one value a cell, shape (S,)"


def own_file(name: str) -> str | None:
    """The file that defines a regularizer beside the package's own; None for those."""
    module = sys.modules.get(f"{regularizers.__name__}.{name}")
    return module.__file__ if module is not None and hasattr(module, "REGULARIZER") else None


def try_penalties(
    methods: Mapping[str, tuple[Regularizer, float]], network: Network, inputs: Inputs, batch_size: int
) -> None:
    """Call each penalty that has a file of its own on a stack of two cells.

    methods: name → method and strength, all that regularize such a cell. batch_size: rows in training, which are
    taken where a penalty cannot do with a few. Errors: `UserError` for a penalty that raises, is not one value a
    cell, has no gradient, or makes a cell's value depend on the rest of its stack.
    """
    trial = _Trial(methods, network, inputs)
    try:
        layers = trial.trace().layers
    except Exception:  # none of a penalty: training will meet it again, and store it
        return
    # Where no layer is hidden, a penalty on hidden layers is a constant.
    hidden = any(layer.activation is not None for layer in layers)
    for name, (method, _) in methods.items():
        file = own_file(name)
        if file is None or method.penalty is None:
            continue
        where = f"{name} in dreg_sweep/regularizers/{Path(file).name}"
        rows = _ROWS
        try:
            try:
                value = method.penalty(trial.trace(rows), **method.options)
            except Exception:  # the few rows may be to blame
                rows = batch_size
                value = method.penalty(trial.trace(rows), **method.options)
        except Exception as error:
            raise UserError(f"{where}{_line_in(file, error)} raised {_first_line(error)}") from None
        if (mistake := _mistake(value, hidden) or _mixture(trial, method, value, rows)) is not None:
            raise UserError(f"{where} {mistake}")


class _Trial:
    """Stacks of two cells on random rows, the same at every call."""

    def __init__(self, methods: Mapping[str, tuple[Regularizer, float]], network: Network, inputs: Inputs) -> None:
        self._methods, self._network, self._inputs = methods, network, inputs
        self._start = network.initial([np.random.default_rng(seed) for seed in range(_SIZE)])

    def trace(self, rows: int = _ROWS, changed: int | None = None) -> Trace:
        """Of a forward pass in training. changed: a cell that has other rows, parameters and draws this time."""
        factors = torch.tensor([_FACTOR if cell == changed else 1.0 for cell in range(_SIZE)])
        seeds = [cell + _SIZE * (cell == changed) for cell in range(_SIZE)]
        stack = Stack(
            self._network,
            {name: _times(factors, value).requires_grad_() for name, value in self._start.items()},
            [Method(method, torch.full((_SIZE,), strength)) for method, strength in self._methods.values()],
            seeded_generators(seeds, torch.device("cpu")),
            TASKS[self._inputs.task],
            self._network.initial_buffers(_SIZE),
        )
        x, y = map(torch.stack, zip(*(self._batch(seed, rows) for seed in seeds), strict=True))
        return stack.forward(_times(factors, x).requires_grad_(stack.needs_input_gradient), y, training=True)

    def _batch(self, seed: int, rows: int) -> tuple[Tensor, Tensor]:
        """One cell's inputs (B, D) and labels (B,) or targets (B, T)."""
        stream = torch.Generator().manual_seed(seed)
        x = torch.randn(rows, math.prod(self._inputs.shape), generator=stream)
        if self._inputs.task == "regression":
            return x, torch.randn(rows, self._inputs.n_outputs, generator=stream)
        return x, torch.randint(self._inputs.n_outputs, (rows,), generator=stream)


def _times(factors: Tensor, stacked: Tensor) -> Tensor:
    return stacked * factors.view(-1, *[1] * (stacked.dim() - 1))


def _mistake(value: Any, hidden: bool) -> str | None:
    """What is wrong with what a penalty returned; None for a value a cell. hidden: whether some layer is."""
    if not isinstance(value, Tensor):
        kind = "None" if value is None else f"a {type(value).__name__}"
        return f"returned {kind}, not a tensor; {_SHAPE}"
    if value.shape != (_SIZE,):
        return f"returned a tensor of shape {tuple(value.shape)}; {_SHAPE}, here ({_SIZE},)"
    if hidden and not value.requires_grad:
        return (
            "returned a tensor without a gradient, which would change no training; compute it from the trace, "
            "without detach(), item() or no_grad()"
        )
    return None


def _mixture(trial: _Trial, method: Regularizer, value: Tensor, rows: int) -> str | None:
    """Whether the value of one cell depends on the other; None where it does not."""
    assert method.penalty is not None
    for changed in range(_SIZE):
        kept = 1 - changed
        try:
            other = method.penalty(trial.trace(rows, changed), **method.options)
            if _same(other[kept], value[kept]):
                continue
            again = method.penalty(trial.trace(rows), **method.options)
        except Exception:  # the numbers of the changed cell are not those of a start
            continue
        if not _same(again[kept], value[kept]):
            return "differs between two calls with the same rows; draw random numbers from trace.streams alone"
        return (
            "mixes cells: the value of one changes with the rows, parameters or draws of another; leave the first "
            "dimension (S) alone, as in .mean(1) for .mean(), and draw for each cell from its own of trace.streams"
        )
    return None


def _same(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=_TOLERANCE, atol=0.0, equal_nan=True)


def _line_in(file: str, error: Exception) -> str:
    """`, line 12,` of the innermost frame in the file; nothing where none is."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f", line {lines[-1]}," if lines else ""


def _first_line(error: Exception) -> str:
    """`ValueError: what is wrong`."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
