"""What is counted on a trained stack: right answers and losses along the noise ladder and on the training rows."""

from collections.abc import Iterator, Sequence
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


@torch.no_grad()
def test_counts(stack: Stack, splits: Sequence[Split]) -> list[Counts]:
    """Counts on the evaluation rows, one split a cell: first clean, then each severity of the ladder."""
    severities = splits[0].severities
    y = _on_device([split.y_eval for split in splits], stack)
    tallies = [_Tally(stack) for _ in (None, *severities)]
    for start in range(0, y.shape[1], _ROWS):
        labels = y[:, start : start + _ROWS].contiguous()
        clean = _eval_rows(stack, splits, None, start)
        maps = _maps(stack, splits, clean, start)
        if maps is not None:
            for tally, mapped in zip(tallies, maps, strict=True):
                tally.add(clean, labels, mapped)
            continue
        tallies[0].add(clean, labels)
        for severity, tally in enumerate(tallies[1:]):
            tally.add(_eval_rows(stack, splits, severity, start), labels)
    return [tally.counts() for tally in tallies]


def _maps(stack: Stack, splits: Sequence[Split], clean: Tensor, start: int) -> Iterator[Tensor] | None:
    """The first layer's map of a chunk of rows, clean and at each severity s: (x + sε)W = xW + s·εW.

    Two products serve the whole ladder. None where the corruption is no sum or the first layer no matrix.
    """
    if not splits[0].severities:
        return None
    of_clean = stack.mapped(clean)
    noise = None if of_clean is None else splits[0].noise_rows(start, start + _ROWS)
    of_noise = None if noise is None else stack.mapped(torch.from_numpy(noise).to(stack.device).expand_as(clean))
    if of_clean is None or of_noise is None:
        return None
    return (torch.add(of_clean, of_noise, alpha=severity) for severity in (0.0, *splits[0].severities))


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


def _eval_rows(stack: Stack, splits: Sequence[Split], severity: int | None, start: int) -> Tensor:
    """A chunk of each cell's evaluation rows, (S, rows, D)."""
    distinct = {split.identity: split for split in splits}
    rows = {identity: split.eval_rows(severity, start, start + _ROWS) for identity, split in distinct.items()}
    return _on_device([rows[split.identity] for split in splits], stack)


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
    def add(self, x: Tensor, y: Tensor, mapped: Tensor | None = None) -> None:
        """Count rows x (S, rows, D) with labels y (S, rows), or targets (S, rows, T); mapped as in `forward`."""
        trace = self.stack.forward(x, y, training=False, mapped=mapped)
        self.rows += y.shape[1]
        if self.stack.task.correct is not None:
            self.correct += self.stack.task.correct(trace.logits, y).sum(1)
        self.loss += trace.losses.double().sum(1)

    def counts(self) -> Counts:
        """What has been counted so far."""
        correct = None if self.stack.task.correct is None else self.correct.cpu().numpy()
        return Counts(correct, (self.loss / self.rows).cpu().numpy())
