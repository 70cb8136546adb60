"""Trains and evaluates one stack. Knows no configuration files and no result files."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from dreg_sweep.cells import Recipe
from dreg_sweep.data import Split
from dreg_sweep.evaluate import Probe, test_counts, train_counts
from dreg_sweep.models import Network
from dreg_sweep.optimizers import StackedParameters, get_optimizer
from dreg_sweep.regularizers import Regularizer
from dreg_sweep.schedules import get_schedule
from dreg_sweep.stack import Stack, batch_order, seeded_generators
from dreg_sweep.streams import Streams


@dataclass(frozen=True)
class CellPlan:
    """What differs between the cells of one stack."""

    strength: float
    streams: Streams
    split: Split


@dataclass
class Outcome:
    """What became of one cell. Counts and losses are None where the cell diverged."""

    status: str  # done | diverged
    steps: int  # taken in all, or up to and including the first one whose loss was not finite
    seconds: float  # the stack's wall time over its cells
    n_eval: int
    clean_correct: int | None = None
    test_loss: float | None = None
    train_accuracy: float | None = None
    noisy_correct: tuple[int, ...] = ()  # one a severity
    history: list[dict[str, float]] = field(default_factory=list)  # one row an epoch


def step_count(recipe: Recipe, n: int) -> int:
    """Optimizer steps of a recipe on n training rows; a batch is never larger than the training set."""
    return recipe.steps or math.ceil(recipe.epochs * n / min(recipe.batch_size, n))


def epoch_ends(n: int, batch_size: int, steps: int) -> list[int]:
    """The steps after which an epoch of n rows is complete; the last step always ends one."""
    ends = [math.ceil(epoch * n / batch_size) for epoch in range(1, steps * batch_size // n + 1)]
    ends = sorted({end for end in ends if end < steps})
    return [*ends, steps]


def train_stack(
    network: Network,
    regularizer: Regularizer,
    recipe: Recipe,
    cells: Sequence[CellPlan],
    device: torch.device,
    on_progress: Callable[[float], None] = lambda fraction: None,
) -> list[Outcome]:
    """Train the cells together and evaluate each: one outcome a cell, in order.

    The cells share network, regularizer, recipe and the shapes of their splits; they differ in strength, seeds
    and data. `on_progress` hears the trained fraction after each epoch.

    On the CPU, in the environment of a slot (`launch.slots.ARITHMETIC`), an outcome is bit-identical in every
    stack that holds the cell. One matrix alone goes another way through the batched product than two or more,
    so a lone cell is trained beside a copy.
    """
    if len(cells) == 1:
        return train_stack(network, regularizer, recipe, [*cells, *cells], device, on_progress)[:1]
    started = time.perf_counter()
    training = _Training(network, regularizer, recipe, cells, device)
    stack = training.stack
    probe = Probe.of([cell.split for cell in cells], device)
    history: list[list[dict[str, float]]] = [[] for _ in cells]
    for epoch, end in enumerate(training.epoch_ends, start=1):
        training.run_until(end)
        for rows, row in zip(history, training.epoch_row(epoch, probe.measure(stack)), strict=True):
            rows.append(row)
        on_progress(end / training.steps)
    outcomes = _evaluate(stack, [cell.split for cell in cells])
    seconds = (time.perf_counter() - started) / len(cells)
    for outcome, rows, diverged_at in zip(outcomes, history, training.diverged_at.tolist(), strict=True):
        outcome.seconds = seconds
        outcome.steps = training.steps
        outcome.history = rows
        # The very last step may break the weights after the last finite loss: the test loss tells.
        if not diverged_at and not math.isfinite(outcome.test_loss or 0.0):
            diverged_at = training.steps
        if diverged_at:
            _mark_diverged(outcome, diverged_at)
    return outcomes


def predict_seconds(
    network: Network,
    regularizer: Regularizer,
    recipe: Recipe,
    cells: Sequence[CellPlan],
    device: torch.device,
) -> float:
    """How long `train_stack` would take, from three warm steps, one probe and one pass over 512 test rows."""
    cells = [*cells, *cells] if len(cells) == 1 else cells
    training = _Training(network, regularizer, replace(recipe, steps=6), cells, device)
    stack = training.stack
    probe = Probe.of([cell.split for cell in cells], device)
    split = cells[0].split
    n, passes = len(split.y_train), len(split.y_eval) * (1 + len(split.severities))
    training.run_until(3)
    step = _timed(lambda: training.run_until(6), device) / 3
    epoch = _timed(lambda: probe.measure(stack), device)
    head = min(512, n)
    forward = _timed(lambda: train_counts(stack, [cell.split for cell in cells], head), device)
    steps = step_count(recipe, n)
    epochs = len(epoch_ends(n, training.batch_size, steps))
    return steps * step + epochs * epoch + forward * (passes + n) / head


def _timed(work: Callable[[], object], device: torch.device) -> float:
    """Wall seconds of the work, its kernels on the device included."""
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


class _Training:
    """The steps of one stack and what they add up to between two epoch ends."""

    def __init__(
        self,
        network: Network,
        regularizer: Regularizer,
        recipe: Recipe,
        cells: Sequence[CellPlan],
        device: torch.device,
    ) -> None:
        rngs = [np.random.Generator(np.random.PCG64(cell.streams.initialization)) for cell in cells]
        self.parameters = StackedParameters(network.initial(rngs), device)
        strength = torch.tensor([cell.strength for cell in cells], dtype=torch.float32, device=device)
        streams = seeded_generators([cell.streams.penalty for cell in cells], device)
        self.stack = Stack(network, self.parameters.views, regularizer, strength, streams)
        self.n = len(cells[0].split.y_train)
        self.batch_size = min(recipe.batch_size, self.n)
        self.steps = step_count(recipe, self.n)
        self.epoch_ends = epoch_ends(self.n, self.batch_size, self.steps)
        self.x, self.y, offsets = _training_rows([cell.split for cell in cells], device)
        orders = [batch_order(cell.streams.batches, self.n, self.steps, self.batch_size) for cell in cells]
        rows = np.stack([order + offset for order, offset in zip(orders, offsets, strict=True)], axis=1)
        self.rows = torch.from_numpy(rows).to(device)  # (steps, S, batch)
        self.lr = recipe.optimizer.lr
        self.optimizer = get_optimizer(
            recipe.optimizer.name, self.parameters.storages, self.lr, recipe.optimizer.options
        )
        self.schedule = get_schedule(recipe.schedule.name, recipe.schedule.options)
        self.step = 0
        self.epoch_start = 0
        self.loss_sum = torch.zeros(len(cells), device=device)
        self.penalty_sum = torch.zeros(len(cells), device=device)
        self.diverged_at = torch.zeros(len(cells), dtype=torch.int64, device=device)  # 0: has not

    def run_until(self, end: int) -> None:
        """Take the steps up to number `end`."""
        self.epoch_start = self.step
        self.loss_sum.zero_()
        self.penalty_sum.zero_()
        while self.step < end:
            self._take_step()

    def _take_step(self) -> None:
        stack, rows = self.stack, self.rows[self.step]
        lr = self.lr * self.schedule(self.step, self.steps)
        x = self.x.index_select(0, rows.flatten()).view(*rows.shape, -1)
        if stack.regularizer.input_gradient:
            x.requires_grad_()
        trace = stack.forward(x, self.y[rows], training=True)
        loss = trace.losses.mean(1)
        penalty = stack.penalty(trace)
        objective = loss if penalty is None else loss + stack.strength * penalty
        # The objectives of the cells are added only so that one backward pass serves all: no parameter
        # appears in two of them.
        gradients = torch.autograd.grad(objective.sum(), list(stack.parameters.values()))
        self.parameters.set_gradients(gradients)
        with torch.no_grad():
            if stack.regularizer.decay is not None:
                stack.regularizer.decay(stack.weights, stack.strength, lr)
            for group in self.optimizer.param_groups:
                group["lr"] = lr
            self.optimizer.step()
            self.step += 1
            self.loss_sum += loss
            if penalty is not None:
                self.penalty_sum += penalty
            broken = ~torch.isfinite(objective) & (self.diverged_at == 0)
            self.diverged_at.masked_fill_(broken, self.step)

    def epoch_row(self, epoch: int, measures: dict[str, Tensor]) -> list[dict[str, float]]:
        """One history row a cell: the epoch's mean loss and penalty beside the probe's measures."""
        steps = self.step - self.epoch_start
        columns = {"loss": self.loss_sum / steps, "penalty": self.penalty_sum / steps, **measures}
        values = {name: column.double().tolist() for name, column in columns.items()}
        return [
            {"epoch": epoch, "step": self.step, **{name: value[cell] for name, value in values.items()}}
            for cell in range(self.stack.size)
        ]


def _training_rows(splits: Sequence[Split], device: torch.device) -> tuple[Tensor, Tensor, list[int]]:
    """Every distinct training set once, end to end, and each cell's offset into it."""
    distinct = {split.identity: split for split in splits}
    position = {identity: i for i, identity in enumerate(distinct)}
    x, y = (
        torch.from_numpy(parts[0] if len(parts) == 1 else np.concatenate(parts))
        for parts in (
            [split.x_train for split in distinct.values()],
            [split.y_train for split in distinct.values()],
        )
    )
    offsets = [position[split.identity] * len(split.y_train) for split in splits]
    return x.to(device), y.to(device), offsets


def _evaluate(stack: Stack, splits: Sequence[Split]) -> list[Outcome]:
    clean, *noisy = test_counts(stack, splits)
    train = train_counts(stack, splits)
    n_train = len(splits[0].y_train)
    return [
        Outcome(
            status="done",
            steps=0,
            seconds=0.0,
            n_eval=len(split.y_eval),
            clean_correct=int(clean.correct[cell]),
            test_loss=float(clean.loss[cell]),
            train_accuracy=int(train.correct[cell]) / n_train,
            noisy_correct=tuple(int(counts.correct[cell]) for counts in noisy),
        )
        for cell, split in enumerate(splits)
    ]


def _mark_diverged(outcome: Outcome, step: int) -> None:
    outcome.status, outcome.steps = "diverged", step
    outcome.clean_correct = outcome.test_loss = outcome.train_accuracy = None
    outcome.noisy_correct = ()
    outcome.history = [row for row in outcome.history if row["step"] < step]
