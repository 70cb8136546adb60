"""What is measured on a stack beside its training: test counts along the noise ladder, and the epoch probe."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dreg_sweep.data import Split
from dreg_sweep.regularizers import local_jacobian_norms
from dreg_sweep.stack import Stack

_ROWS = 512  # rows a pass; the measures are sums over rows, memory is the only concern
_PROBE_ROWS = 256


@dataclass(frozen=True)
class Counts:
    """Right answers (S,) and mean cross entropy in nats (S,)."""

    correct: np.ndarray
    loss: np.ndarray


def test_counts(stack: Stack, splits: Sequence[Split]) -> list[Counts]:
    """Counts on the evaluation rows, one split a cell: first clean, then each severity of the ladder."""
    ladder = (None, *range(len(splits[0].severities)))
    distinct = {split.identity: split for split in splits}
    y = _on_device([split.y_eval for split in splits], stack)
    tallies = [_Tally(stack) for _ in ladder]
    for start in range(0, y.shape[1], _ROWS):
        labels = y[:, start : start + _ROWS].contiguous()
        # All severities of a chunk before the next chunk: they share one draw of the noise.
        for severity, tally in zip(ladder, tallies, strict=True):
            rows = {key: split.eval_rows(severity, start, start + _ROWS) for key, split in distinct.items()}
            tally.add(_on_device([rows[split.identity] for split in splits], stack), labels)
    return [tally.counts() for tally in tallies]


def train_counts(stack: Stack, splits: Sequence[Split], n: int | None = None) -> Counts:
    """Counts on the first n training rows, or on all."""
    tally = _Tally(stack)
    n = n or len(splits[0].y_train)
    for start in range(0, n, _ROWS):
        x, y = (
            _on_device([rows[start : min(start + _ROWS, n)] for rows in parts], stack)
            for parts in ([split.x_train for split in splits], [split.y_train for split in splits])
        )
        tally.add(x, y)
    return tally.counts()


def _on_device(parts: Sequence[np.ndarray], stack: Stack) -> Tensor:
    return torch.from_numpy(np.stack(parts)).to(stack.strength.device)


class _Tally:
    """Right answers and losses of a stack, summed over chunks of rows."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.rows = 0
        self.correct = torch.zeros(stack.size, dtype=torch.int64, device=stack.strength.device)
        self.loss = torch.zeros(stack.size, dtype=torch.float64, device=stack.strength.device)

    @torch.no_grad()
    def add(self, x: Tensor, y: Tensor) -> None:
        """Count rows x (S, rows, D) with labels y (S, rows)."""
        trace = self.stack.forward(x, y, training=False)
        self.rows += y.shape[1]
        self.correct += (trace.logits.argmax(2) == y).sum(1)
        self.loss += trace.losses.double().sum(1)

    def counts(self) -> Counts:
        """What has been counted so far."""
        return Counts(self.correct.cpu().numpy(), (self.loss / self.rows).cpu().numpy())


@dataclass(frozen=True)
class Probe:
    """A fixed random set of at most 256 training rows of each cell's split, measured after each epoch."""

    x: Tensor  # (S, P, D)
    y: Tensor  # (S, P)

    @classmethod
    def of(cls, splits: Sequence[Split], device: torch.device) -> "Probe":
        """The probe of a stack."""
        rows = np.random.Generator(np.random.PCG64(0)).permutation(len(splits[0].y_train))[:_PROBE_ROWS]
        x = np.stack([split.x_train[rows] for split in splits])
        y = np.stack([split.y_train[rows] for split in splits])
        return cls(torch.from_numpy(x).to(device), torch.from_numpy(y).to(device))

    def measure(self, stack: Stack) -> dict[str, Tensor]:
        """Accuracy, input-gradient norms, layer slopes and layer Jacobian norms, one value a cell (S,) each.

        `input_gradient_mean` and `_p99`: mean and 99th percentile over rows of ‖∂CE/∂x‖ with x standardized;
        `tail_ratio` τ = p99 / mean (Martnishn 2026, 2605.15463). `slope_sq_<l>`: mean of σ'(z_l)² over rows and
        units of hidden layer l, counted from 1. `jacobian_sq_<l>`: mean over rows of ‖diag(σ'(z_l)) W_l‖_F², what
        `dreg` penalizes, here for every regularizer.
        """
        x = self.x.clone().requires_grad_()
        trace = stack.forward(x, self.y, training=False)
        (gradient,) = torch.autograd.grad(trace.losses.sum(), x)
        with torch.no_grad():
            norms = gradient.square().sum(2).sqrt()
            mean, p99 = norms.mean(1), norms.quantile(0.99, dim=1)
            measures = {
                "train_accuracy": (trace.logits.argmax(2) == self.y).double().mean(1),
                "input_gradient_mean": mean,
                "input_gradient_p99": p99,
                "tail_ratio": p99 / mean,
            }
            hidden = [layer for layer in trace.layers if layer.activation is not None]
            for i, layer in enumerate(hidden, start=1):
                measures[f"slope_sq_{i}"] = layer.slope.square().mean((1, 2))
            for i, norms_sq in enumerate(local_jacobian_norms(hidden), start=1):
                measures[f"jacobian_sq_{i}"] = norms_sq
        return measures
