"""What is counted on a trained stack: right answers and losses along the noise ladder and on the training rows."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dreg_sweep.data import Split
from dreg_sweep.stack import Stack

_ROWS = 512  # rows a pass; the measures are sums over rows, memory is the only concern


@dataclass(frozen=True)
class Counts:
    """Right answers (S,), None for a task without them, and mean losses (S,)."""

    correct: np.ndarray | None
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
    return torch.from_numpy(np.stack(parts)).to(stack.device)


class _Tally:
    """Right answers and losses of a stack, summed over chunks of rows."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.rows = 0
        self.correct = torch.zeros(stack.size, dtype=torch.int64, device=stack.device)
        self.loss = torch.zeros(stack.size, dtype=torch.float64, device=stack.device)

    @torch.no_grad()
    def add(self, x: Tensor, y: Tensor) -> None:
        """Count rows x (S, rows, D) with labels y (S, rows), or targets (S, rows, T)."""
        trace = self.stack.forward(x, y, training=False)
        self.rows += y.shape[1]
        if self.stack.task.correct is not None:
            self.correct += self.stack.task.correct(trace.logits, y).sum(1)
        self.loss += trace.losses.double().sum(1)

    def counts(self) -> Counts:
        """What has been counted so far."""
        correct = None if self.stack.task.correct is None else self.correct.cpu().numpy()
        return Counts(correct, (self.loss / self.rows).cpu().numpy())
