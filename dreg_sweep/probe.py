"""What the history records: gradients and Jacobians on the training set and off it, layer by layer."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dreg_sweep.data import Split
from dreg_sweep.models import Trace
from dreg_sweep.regularizers import input_gradients, logit_jacobian
from dreg_sweep.stack import Stack

HISTORY_ROWS = 100  # epochs that the history speaks of, at most
_OFF_TRAINING_ROWS = 10  # of those, the ones at which more than the training rows is looked at

_ROWS = 256
_JACOBIAN_ROWS = 32  # of these; an exact Jacobian costs a pass a class
_EVALUATION_ROWS = 1024
_NEARBY = 0.2  # standard deviation of what is added to training rows (Varga et al. 2017)

# What a look off the training rows costs in rows of a forward pass (32 rows have a backward pass a class), and the
# share of the training, at three passes a row, that all looks together may take beside their least number.
_ROWS_A_LOOK, _SHARE, _LEAST_LOOKS = 3000, 0.05, 2

Measures = dict[str, Tensor]  # (S,) each


def evenly(numbers: Sequence[int], most: int) -> list[int]:
    """At most so many of the numbers, evenly spread, the last one among them."""
    if len(numbers) <= most:
        return list(numbers)
    places = np.linspace(len(numbers) / most - 1, len(numbers) - 1, most)
    return [numbers[place] for place in dict.fromkeys(places.round().astype(int).tolist())]


def looks_off_training(rows: int) -> int:
    """How often a training that sees so many rows, in all its epochs, is looked at off its training rows."""
    affordable = round(3 * rows * _SHARE / _ROWS_A_LOOK)
    return min(max(affordable, _LEAST_LOOKS), _OFF_TRAINING_ROWS)


@dataclass(frozen=True)
class Rows:
    """Rows of one place: x (S, P, D), y (S, P) or (S, P, T)."""

    x: Tensor
    y: Tensor


@dataclass(frozen=True)
class Probe:
    """Fixed random rows of each cell's split, looked at while it trains.

    train: at most 256 training rows. near: the same with N(0, 0.2²) added to each input (in standardized units
    where inputs are standardized). test: at most 1,024 evaluation rows.
    """

    train: Rows
    near: Rows
    test: Rows

    @classmethod
    def of(cls, splits: Sequence[Split], device: torch.device) -> "Probe":
        """The probe of a stack."""
        distinct = {split.identity: split for split in splits}
        parts = {identity: _parts(split) for identity, split in distinct.items()}
        stacked = [
            torch.from_numpy(np.stack([parts[split.identity][number] for split in splits])).to(device)
            for number in range(5)
        ]
        x, y, near, x_test, y_test = stacked
        return cls(Rows(x, y), Rows(near, y), Rows(x_test, y_test))

    def measure(self, stack: Stack) -> Measures:
        """Accuracy, input-gradient norms, layer slopes and layer Jacobian norms at the training rows.

        `input_gradient_mean` and `_p99`: mean and 99th percentile over rows of ‖∂loss/∂x‖; `tail_ratio` τ = p99
        / mean (Martnishn 2026, 2605.15463). `slope_sq_<l>`: mean of σ'(z_l)² over rows and units of the l-th
        map with an activation, counted from 1. `jacobian_sq_<l>`: mean over rows of ‖diag(σ'(z_l)) W_l‖_F²,
        what `dreg` penalizes, here for every regularizer. `train_accuracy` is lacking where there are no right
        answers.
        """
        trace, gradient = _input_gradient(stack, self.train.x, self.train.y)
        with torch.no_grad():
            norms = gradient.square().sum(2).sqrt()
            mean, p99 = norms.mean(1), norms.quantile(0.99, dim=1)
            measures: Measures = {}
            if stack.task.correct is not None:
                measures["train_accuracy"] = stack.task.correct(trace.logits, self.train.y).double().mean(1)
            measures |= {
                "input_gradient_mean": mean,
                "input_gradient_p99": p99,
                "tail_ratio": p99 / mean,
            }
            hidden = [layer for layer in trace.layers if layer.activation is not None]
            for i, layer in enumerate(hidden, start=1):
                measures[f"slope_sq_{i}"] = layer.mean_square_slope.mean(1)
                measures[f"jacobian_sq_{i}"] = layer.jacobian_norm
        return measures

    def measure_off_training(self, stack: Stack) -> Measures:
        """Gradients off the training rows beside those on them, and accuracy on evaluation rows.

        `input_gradient_near` and `_test`: as `input_gradient_mean`, at the near rows and at 256 evaluation
        rows. `logit_jacobian_train`, `_near`, `_test`: mean over the first 32 of these rows of ‖∂g/∂x‖_F, g the
        logits (the prediction of a regression), exact. `test_accuracy`: share right of the evaluation rows.
        """
        measures: Measures = {}
        for place, rows in (("train", self.train), ("near", self.near), ("test", self.test)):
            if place != "train":
                _, gradient = _input_gradient(stack, rows.x[:, :_ROWS], rows.y[:, :_ROWS])
                measures[f"input_gradient_{place}"] = gradient.square().sum(2).sqrt().mean(1)
            x = rows.x[:, :_JACOBIAN_ROWS].clone().requires_grad_()
            trace = stack.forward(x, rows.y[:, :_JACOBIAN_ROWS], training=False)
            jacobian = logit_jacobian(trace, differentiable=False).detach()
            measures[f"logit_jacobian_{place}"] = jacobian.square().sum((1, 3)).sqrt().mean(1)
        if stack.task.correct is not None:
            measures["test_accuracy"] = torch.stack(list(self._right(stack, stack.task.correct))).sum(0)
            measures["test_accuracy"] /= self.test.y.shape[1]
        return measures

    @torch.no_grad()
    def _right(self, stack: Stack, correct: Callable[[Tensor, Tensor], Tensor]) -> Iterator[Tensor]:
        """Right answers on the evaluation rows, a few at a time: a trace holds every activation."""
        for start in range(0, self.test.y.shape[1], _ROWS):
            x, y = (rows[:, start : start + _ROWS].contiguous() for rows in (self.test.x, self.test.y))
            yield correct(stack.forward(x, y, training=False).logits, y).double().sum(1)


def _input_gradient(stack: Stack, x: Tensor, y: Tensor) -> tuple[Trace, Tensor]:
    """A pass over x (S, P, D) and ∂loss/∂x of each row, (S, P, D)."""
    trace = stack.forward(x.clone().requires_grad_(), y, training=False)
    (of_logits,) = torch.autograd.grad(trace.losses.sum(), trace.logits, retain_graph=True)
    return trace, input_gradients(trace, of_logits.unsqueeze(1), differentiable=False).squeeze(1)


def _parts(split: Split) -> list[np.ndarray]:
    """x, y of the training rows, x near them, x, y of the evaluation rows."""
    # One generator a purpose: which evaluation rows are looked at must not depend on the number of training rows.
    training, nearby, evaluation = (np.random.Generator(np.random.PCG64(seed)) for seed in range(3))
    rows = training.permutation(len(split.y_train))[:_ROWS]
    x = split.x_train[rows]
    near = x + np.float32(_NEARBY) * nearby.standard_normal(x.shape, dtype=np.float32)
    chosen = np.sort(evaluation.permutation(len(split.y_eval))[:_EVALUATION_ROWS])
    order = evaluation.permutation(len(chosen))  # the first of them are a sample too
    shuffled = chosen[order]
    return [x, split.y_train[rows], near, split.clean_rows(shuffled), split.y_eval[shuffled]]
