"""Where the time of a whole cell goes: steps, history, evaluation. Importing this imports torch.

Stacks are put together, trained and evaluated as a worker does it, on random images as many as MNIST has. The
engine is not changed: for the time of a measurement its functions are wrapped in a stopwatch.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from bench.report import spread, table
from bench.steps import CLASSES, IMAGE, seeds_of
from dreg_sweep import train
from dreg_sweep.activations import get_activation
from dreg_sweep.cells import Cell
from dreg_sweep.data import ArrayData, DatasetSpec, Split, make_split
from dreg_sweep.models import build_network
from dreg_sweep.probe import Probe
from dreg_sweep.regularizers import get_regularizer

ROWS = {"train": 60_000, "test": 10_000}
# What the stopwatch tells apart; what is done again is done for the measurement alone.
PARTS = ("splitting", "steps", "probe", "looks", "clean", "noisy", "again")


@dataclass(frozen=True)
class Course:
    """A training to look at. scale: what steps and looks of the measured epochs are multiplied by."""

    train_size: int | None
    epochs: int
    scale: int = 1

    @property
    def name(self) -> str:
        """As the table has it."""
        return f"{self.train_size or ROWS['train']:,} rows × {self.epochs * self.scale} epochs"

    @property
    def overrides(self) -> list[str]:
        """Of conf/."""
        return [f"train_size={self.train_size or 'null'}", f"epochs={self.epochs}", "noise=ladder"]


# Of the whole training set one epoch is trained: ten have ten times its steps and its looks (at each of at most
# ten epoch ends the history looks at everything), and one evaluation.
COURSES = (Course(5000, 10), Course(2000, 30), Course(None, 1, scale=10))


@dataclass(frozen=True)
class Parts:
    """Seconds of one cell: its stack's over its cells. other: batch orders, initial weights, training accuracy."""

    splitting: float
    steps: float
    history: float
    clean: float
    noisy: float
    other: float

    @property
    def total(self) -> float:
        """The whole cell."""
        return self.splitting + self.steps + self.history + self.clean + self.noisy + self.other

    @property
    def added(self) -> float:
        """What history and noise ladder add to a cell without them, as a share of it."""
        extra = self.history + self.noisy
        return extra / (self.total - extra)


@cache
def random_images() -> ArrayData:
    """Images and labels that mean nothing."""
    rng = np.random.default_rng(0)
    return ArrayData(
        spec=DatasetSpec(name="mnist", source="mnist", modality="vision", regime="clean"),
        fingerprint="random",
        targets={part: rng.permutation(np.arange(rows) % CLASSES) for part, rows in ROWS.items()},
        inputs={part: rng.integers(256, size=(rows, *IMAGE), dtype=np.uint8) for part, rows in ROWS.items()},
        is_image=True,
    )


class Stopwatch:
    """Sums the time spent in functions of the engine, by part."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock
        self.seconds = dict.fromkeys(PARTS, 0.0)

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, its time added to the part."""

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            started = self.clock()
            value = function(*args, **kwargs)
            self.seconds[part] += self.clock() - started
            return value

        return wrapped

    def counted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`test_counts`, and then the clean rows alone once more: what that does not take is the ladder's."""

        def wrapped(stack: Any, splits: Sequence[Any]) -> Any:
            started = self.clock()
            counts = function(stack, splits)
            whole = self.clock() - started
            function(stack, [replace(split, severities=()) for split in splits])
            clean = self.clock() - started - whole
            self.seconds["clean"] += clean
            self.seconds["noisy"] += whole - clean
            self.seconds["again"] += clean
            return counts

        return wrapped

    @contextmanager
    def running(self) -> Iterator[None]:
        """While the block runs."""
        with (
            patch.object(train._Training, "run_until", self.timed("steps", train._Training.run_until)),
            patch.object(Probe, "of", staticmethod(self.timed("probe", Probe.of))),
            patch.object(Probe, "measure", self.timed("looks", Probe.measure)),
            patch.object(Probe, "measure_off_training", self.timed("looks", Probe.measure_off_training)),
            patch.object(train, "test_counts", self.counted(train.test_counts)),
        ):
            yield


def measure(overrides: Sequence[str], seeds: int, course: Course) -> Parts:
    """The parts of one cell of a stack of so many seeds, trained on one thread."""
    torch.set_num_threads(1)
    random_images()
    cells = seeds_of([*overrides, *course.overrides], seeds)
    watch = Stopwatch()
    started = time.perf_counter()
    with watch.running():
        splits = watch.timed("splitting", splits_of)(cells)
        train_cells(cells, splits)
    return parts_of(watch.seconds, time.perf_counter() - started, seeds, course.scale)


def splits_of(cells: Sequence[Cell]) -> list[Split]:
    """As a worker makes them: one for every seed that draws its rows, one for all where all rows are taken."""
    data = random_images()
    distinct = {
        drawn_by: make_split(data, cell.train_size, cell.seed, cell.evaluate_on, cell.noise, cache_dir=None)
        for drawn_by, cell in {_drawn_by(cell): cell for cell in cells}.items()
    }
    return [distinct[_drawn_by(cell)] for cell in cells]


def _drawn_by(cell: Cell) -> int | None:
    return None if cell.train_size is None else cell.seed


def train_cells(cells: Sequence[Cell], splits: Sequence[Split]) -> None:
    """Train and evaluate the stack on the CPU."""
    first = cells[0]
    spec, activation = first.regularizer, get_activation(first.activation)
    network = build_network(first.model.name, splits[0].input_shape, CLASSES, activation, first.model.options)
    methods = train.Methods(
        get_regularizer(spec.name, spec.strength, spec.options),
        [(get_regularizer(also.name, also.strength, also.options), also.strength) for also in spec.others],
    )
    plans = [
        train.CellPlan(cell.regularizer.strength, cell.streams, split)
        for cell, split in zip(cells, splits, strict=True)
    ]
    train.train_stack(network, methods, first.recipe, plans, torch.device("cpu"))


def parts_of(seconds: Mapping[str, float], total: float, cells: int, scale: int) -> Parts:
    """From the stopwatch of a stack and the time it took in all, to one cell of `scale` times its epochs."""
    other = total - sum(seconds.values())
    return Parts(
        splitting=seconds["splitting"] / cells,
        steps=seconds["steps"] * scale / cells,
        history=(seconds["probe"] + seconds["looks"] * scale) / cells,
        clean=seconds["clean"] / cells,
        noisy=seconds["noisy"] / cells,
        other=other / cells,
    )


def parts_table(found: Mapping[str, Sequence[Parts]]) -> list[str]:
    """One line a training, in Markdown: seconds a cell of its median repeat, and what history and ladder add."""
    columns = [
        "one cell, s", "whole", "steps", "history", "noise ladder", "clean evaluation", "splitting", "other",
        "history and ladder add, %, median", "minimum", "maximum",
    ]  # fmt: skip
    lines = []
    for name, repeats in found.items():
        own = sorted(repeats, key=lambda parts: parts.total)[(len(repeats) - 1) // 2]
        seconds = (own.total, own.steps, own.history, own.noisy, own.clean, own.splitting, own.other)
        added = spread([100 * parts.added for parts in repeats], 1)
        lines.append([name, *(f"{part:.3f}" for part in seconds), *added])
    return table(columns, lines)
