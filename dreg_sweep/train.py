"""Trains and evaluates one stack. Knows no configuration files and no result files."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from dreg_sweep.augment import get_augmentation
from dreg_sweep.cells import Recipe
from dreg_sweep.data import Split
from dreg_sweep.evaluate import test_counts, train_counts
from dreg_sweep.fits import Fit, fits
from dreg_sweep.graphs import WARM_UP, Steps, recorder_of, say_once
from dreg_sweep.models import Network
from dreg_sweep.optimizers import StackedParameters, get_optimizer
from dreg_sweep.precision import get_arithmetic, refuse_unfit_precision, tensor_float
from dreg_sweep.probe import HISTORY_ROWS, Measures, Probe, evenly, looks_off_training
from dreg_sweep.regularizers import Regularizer
from dreg_sweep.schedules import get_schedule
from dreg_sweep.stack import Method, Stack, batch_order, seeded_generators
from dreg_sweep.streams import Streams
from dreg_sweep.tasks import TASKS


@dataclass(frozen=True)
class CellPlan:
    """What differs between the cells of one stack. strength: of the method under study."""

    strength: float
    streams: Streams
    split: Split


@dataclass(frozen=True)
class Methods:
    """What regularizes a stack: the method under study, and others at one strength in every cell."""

    studied: Regularizer
    others: Sequence[tuple[Regularizer, float]] = ()


@dataclass
class Outcome:
    """What became of one cell. Counts and losses are None where it diverged, counts also where none is right."""

    status: str  # done | diverged
    steps: int  # taken in all, or up to and including the first one whose loss was not finite
    seconds: float  # the stack's wall time over its cells
    n_eval: int
    clean_correct: int | None = None
    test_loss: float | None = None
    train_accuracy: float | None = None
    noisy_correct: tuple[int, ...] = ()  # one a severity
    history: list[dict[str, float]] = field(default_factory=list)  # one row an epoch
    fits: Sequence[Fit] = ()  # of a regression, one a place


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
    methods: Methods,
    recipe: Recipe,
    cells: Sequence[CellPlan],
    device: torch.device,
    on_progress: Callable[[float], None] = lambda fraction: None,
    cuda_graphs: bool = True,
) -> list[Outcome]:
    """Train the cells together and evaluate each: one outcome a cell, in order.

    The cells share network, methods, recipe and the shapes of their splits; they differ in strength, seeds
    and data. `on_progress` hears the trained fraction after each epoch. cuda_graphs: whether a GPU replays one
    recorded step, where it can be recorded; the results are the same.

    Errors: `UserError` for a precision that the device does not have.

    On the CPU, in the environment of a slot (`launch.slots.ARITHMETIC`), an outcome is bit-identical in every
    stack that holds the cell. One matrix alone goes another way through the batched product than two or more,
    so a lone cell is trained beside a copy; a network that does not stack there trains its cells one by one.
    """
    if not network.stacks_on(device.type):
        outcomes = []
        for number, cell in enumerate(cells):

            def of_all(fraction: float, number: int = number) -> None:
                on_progress((number + fraction) / len(cells))

            outcomes += _train(network, methods, recipe, [cell], device, of_all, cuda_graphs)
        return outcomes
    if len(cells) == 1 and device.type == "cpu":
        (outcome, _) = _train(network, methods, recipe, [*cells, *cells], device, on_progress, cuda_graphs)
        outcome.seconds *= 2  # the copy is not a cell
        return [outcome]
    return _train(network, methods, recipe, cells, device, on_progress, cuda_graphs)


@tensor_float(False)
def _train(
    network: Network,
    methods: Methods,
    recipe: Recipe,
    cells: Sequence[CellPlan],
    device: torch.device,
    on_progress: Callable[[float], None],
    cuda_graphs: bool,
) -> list[Outcome]:
    started = time.perf_counter()
    training = _Training(network, methods, recipe, cells, device, cuda_graphs)
    stack = training.stack
    probe = Probe.of([cell.split for cell in cells], device)
    history: list[list[dict[str, float]]] = [[] for _ in cells]
    for epoch, end in training.history_ends:
        training.run_until(end)
        measures = probe.measure(stack)
        if end in training.off_training_ends:
            measures |= probe.measure_off_training(stack)
        for rows, row in zip(history, training.epoch_row(epoch, measures), strict=True):
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


@tensor_float(False)
def predict_seconds(
    network: Network,
    methods: Methods,
    recipe: Recipe,
    cells: Sequence[CellPlan],
    device: torch.device,
    cuda_graphs: bool = True,
) -> float:
    """How long `train_stack` would take, from three warm steps, two probes and one pass over 512 training rows.

    An upper bound where the noise ladder shares products (see `evaluate`): a pass is counted for each severity.
    """
    if not network.stacks_on(device.type) and len(cells) > 1:
        return len(cells) * predict_seconds(network, methods, recipe, cells[:1], device, cuda_graphs)
    if len(cells) == 1 and device.type == "cpu" and network.stacks_on("cpu"):
        cells = [*cells, *cells]
    warm = WARM_UP + 1  # on a GPU the last of them is recorded
    training = _Training(network, methods, replace(recipe, steps=warm + 3), cells, device, cuda_graphs)
    stack = training.stack
    probe = Probe.of([cell.split for cell in cells], device)
    split = cells[0].split
    n, passes = len(split.y_train), len(split.y_eval) * (1 + len(split.severities))
    training.run_until(warm)
    step = _timed(lambda: training.run_until(warm + 3), device) / 3
    probe.measure(stack)
    epoch = _timed(lambda: probe.measure(stack), device)
    off_training = _timed(lambda: probe.measure_off_training(stack), device)
    head = min(512, n)
    forward = _timed(lambda: train_counts(stack, [cell.split for cell in cells], head), device)
    steps = step_count(recipe, n)
    rows = len(evenly(epoch_ends(n, training.batch_size, steps), HISTORY_ROWS))
    probes = rows * epoch + min(rows, looks_off_training(steps * training.batch_size)) * off_training
    return steps * step + probes + forward * (passes + n) / head


def _timed(work: Callable[[], object], device: torch.device) -> float:
    """Wall seconds of the work, its kernels on the device included."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
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
        methods: Methods,
        recipe: Recipe,
        cells: Sequence[CellPlan],
        device: torch.device,
        cuda_graphs: bool = True,
    ) -> None:
        refuse_unfit_precision(recipe.precision, device.type)
        self.arithmetic = get_arithmetic(recipe.precision, device.type)
        rngs = [np.random.Generator(np.random.PCG64(cell.streams.initialization)) for cell in cells]
        self.parameters = StackedParameters(network.initial(rngs), device)
        split = cells[0].split
        strength = torch.tensor([cell.strength for cell in cells], dtype=torch.float32, device=device)
        others = [Method(other, torch.full_like(strength, fixed)) for other, fixed in methods.others]
        self.stack = Stack(
            network,
            self.parameters.views,
            [Method(methods.studied, strength), *others],
            seeded_generators([cell.streams.penalty for cell in cells], device),
            TASKS[split.task],
            {name: buffer.to(device) for name, buffer in network.initial_buffers(len(cells)).items()},
        )
        self.n = len(split.y_train)
        self.batch_size = min(recipe.batch_size, self.n)
        self.steps = step_count(recipe, self.n)
        ends = epoch_ends(self.n, self.batch_size, self.steps)
        kept = set(evenly(ends, HISTORY_ROWS))
        self.history_ends = [(epoch, end) for epoch, end in enumerate(ends, start=1) if end in kept]
        self.off_training_ends = set(evenly(sorted(kept), looks_off_training(self.steps * self.batch_size)))
        self.x, self.y, offsets = _training_rows([cell.split for cell in cells], device)
        orders = [batch_order(cell.streams.batches, self.n, self.steps, self.batch_size) for cell in cells]
        rows = np.stack([order + np.int32(offset) for order, offset in zip(orders, offsets, strict=True)], axis=1)
        self.rows = torch.from_numpy(rows).to(device)  # (steps, S, batch)
        schedule = get_schedule(recipe.schedule.name, recipe.schedule.options)
        self.lrs = torch.tensor(
            [recipe.optimizer.lr * schedule(step, self.steps) for step in range(self.steps)],
            dtype=torch.float64 if device.type == "cpu" else torch.float32,  # as fused optimizers read it there
            device=device,
        )
        self.optimizer = get_optimizer(recipe.optimizer.name, self.parameters.storages, recipe.optimizer.options)
        self.input_shape = split.input_shape
        self.augmentation = get_augmentation(
            recipe.augmentation.name, recipe.augmentation.options, split.input_shape
        )
        self.augmentation_streams = seeded_generators([cell.streams.augmentation for cell in cells], device)
        self._steps = Steps(
            recorder_of(device) if cuda_graphs else None,
            [*self.stack.streams, *self.augmentation_streams],
            say_once,
        )
        self.step = 0
        self.epoch_start = 0
        self.position = torch.zeros((), dtype=torch.int64, device=device)  # `step` as the device knows it
        self.loss_sum = torch.zeros(len(cells), device=device)
        self.penalty_sum = torch.zeros(len(cells), device=device)
        self.diverged_at = torch.zeros(len(cells), dtype=torch.int64, device=device)  # 0: has not

    def run_until(self, end: int) -> None:
        """Take the steps up to number `end`."""
        self.epoch_start = self.step
        self.loss_sum.zero_()
        self.penalty_sum.zero_()
        # The backward pass in this thread: a recording is of one thread, and autocast stays in force.
        with torch.autograd.set_multithreading_enabled(False):
            while self.step < end:
                self._steps.take(self._take_step)
                self.step += 1

    def _take_step(self) -> None:
        """One step, ready to be replayed: what lasts is changed in place, and nothing is asked of the device."""
        stack = self.stack
        x, y = self._batch()
        with self.arithmetic():
            trace = stack.forward(x, y, training=True)
            loss = trace.losses.mean(1)
            penalties = stack.penalties(trace)
            objective = loss
            for method, penalty in zip(stack.methods, penalties, strict=True):
                if penalty is not None:
                    objective = objective + method.strength * penalty
            # The objectives of the cells are added only so that one backward pass serves all: no parameter
            # appears in two of them.
            gradients = torch.autograd.grad(objective.sum(), list(stack.parameters.values()))
        with torch.no_grad():
            lr = self.lrs.index_select(0, self.position)[0]
            stack.decay(lr)
            self.optimizer.step(self.parameters.stored(gradients), lr)
            self.position += 1
            self.loss_sum += loss
            if penalties[0] is not None:
                self.penalty_sum += penalties[0]
            broken = ~torch.isfinite(objective) & (self.diverged_at == 0)
            self.diverged_at += broken * self.position

    def _batch(self) -> tuple[Tensor, Tensor]:
        """The rows of this step: x (S, B, D), y (S, B) or (S, B, T)."""
        shape = self.rows.shape[1:]
        rows = self.rows.index_select(0, self.position).flatten()
        x = self.x.index_select(0, rows).view(*shape, -1)
        if self.augmentation is not None:
            x = self.augmentation.apply(x, self.input_shape, self.augmentation_streams)
        if self.stack.needs_input_gradient:
            x.requires_grad_()
        return x, self.y.index_select(0, rows).unflatten(0, shape)

    def epoch_row(self, epoch: int, measures: Measures) -> list[dict[str, float]]:
        """One history row a cell: mean loss and penalty since the row before, beside the probe's measures.

        The penalty is that of the method under study, before its strength. What is not finite is left out.
        """
        steps = self.step - self.epoch_start
        columns = {"loss": self.loss_sum / steps, **measures}
        if self.stack.methods[0].regularizer.penalty is not None:
            columns["penalty"] = self.penalty_sum / steps
        values = {name: column.double().tolist() for name, column in columns.items()}
        return [
            {
                "epoch": epoch,
                "step": self.step,
                **{name: value[cell] for name, value in values.items() if math.isfinite(value[cell])},
            }
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
    fitted = fits(stack, splits)
    return [
        Outcome(
            status="done",
            steps=0,
            seconds=0.0,
            n_eval=len(split.y_eval),
            clean_correct=None if clean.correct is None else int(clean.correct[cell]),
            test_loss=float(clean.loss[cell]),
            train_accuracy=None if train.correct is None else int(train.correct[cell]) / n_train,
            noisy_correct=tuple(int(counts.correct[cell]) for counts in noisy if counts.correct is not None),
            fits=fitted[cell],
        )
        for cell, split in enumerate(splits)
    ]


def _mark_diverged(outcome: Outcome, step: int) -> None:
    outcome.status, outcome.steps = "diverged", step
    outcome.clean_correct = outcome.test_loss = outcome.train_accuracy = None
    outcome.noisy_correct = ()
    outcome.fits = ()
    outcome.history = [row for row in outcome.history if row["step"] < step]
