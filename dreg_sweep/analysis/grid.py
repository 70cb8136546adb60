"""The grid as an array: what state each cell is in, what it scored, and means over chosen parts of it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from dreg_sweep.analysis.scores import Metric

AXES = ("regularizer", "dataset", "activation", "seed")
BLOCK = ("dataset", "activation", "seed")


class State(IntEnum):
    """Of a cell. Only DONE has scores."""

    OUTSIDE = 0  # was never asked for
    MISSING = 1
    FAILED = 2
    DIVERGED = 3
    DUPLICATED = 4  # several rows that disagree
    INCOMPLETE = 5  # done, but without one of the metrics, such as noisy accuracy
    DONE = 6


@dataclass(frozen=True)
class Grid:
    """All cells of an experiment: R regularizers × D datasets × A activations × S seeds.

    levels: factor → its levels in display order. state: (R, D, A, S) of `State`. numerators: metric name →
    (R, D, A, S) integers; a cell's value is numerator / denominator. places: see `scores.Exact`. metrics: the
    primary one first. groups: "modality" and "regime" → dataset → its value there, where known.
    """

    levels: dict[str, list[Any]]
    state: np.ndarray
    numerators: dict[str, np.ndarray]
    denominator: int
    places: int | None
    metrics: tuple[Metric, ...]
    groups: dict[str, dict[Any, str]]

    @cached_property
    def done(self) -> np.ndarray:
        """(R, D, A, S) of bool."""
        return np.asarray(self.state == State.DONE)

    @cached_property
    def compared(self) -> list[Any]:
        """The regularizers with a result; the others are named by the audit and compared with nothing."""
        some = np.asarray(self.done.any(axis=(1, 2, 3))).tolist()
        return [level for level, any_done in zip(self.levels["regularizer"], some, strict=True) if any_done]

    @cached_property
    def complete(self) -> np.ndarray:
        """(D, A, S) of bool: the blocks in which every compared regularizer is done.

        Within a block the regularizers were trained on one split, from the same weights and on the same
        batches, so it compares them fairly only where all are there.
        """
        done = self.done
        return np.asarray(done[done.any(axis=(1, 2, 3))].all(axis=0) & done.any())

    @property
    def unbalanced(self) -> bool:
        """Whether some block of the grid is not complete, so that means are over fewer blocks."""
        return not bool(self.complete.all())

    def place(self, factor: str, level: Any) -> int:
        """Position of a level on its axis."""
        return self.levels[factor].index(level)

    def restricted(self, kept: Mapping[str, Sequence[Any]]) -> "Grid":
        """The part with these levels only, such as {"activation": ["gelu"]}; factors not named stay whole."""
        levels = dict(self.levels)
        state, numerators = self.state, dict(self.numerators)
        for factor, wanted in kept.items():
            axis = AXES.index(factor)
            places = [place for place, level in enumerate(levels[factor]) if level in wanted]
            levels[factor] = [levels[factor][place] for place in places]
            state = state.take(places, axis)
            numerators = {name: values.take(places, axis) for name, values in numerators.items()}
        return replace(self, levels=levels, state=state, numerators=numerators)

    def means(self, metric: str, factors: Sequence[str]) -> dict[tuple[Any, ...], Fraction]:
        """Mean value of the complete blocks for each combination of the factors that has one.

        The keys are tuples of levels in the order of `factors`, in display order; `regularizer` should be among
        the factors. Exact, so it depends neither on the order of rows nor on round-off; `settle` before ranking.
        """
        kept = np.broadcast_to(self.complete, self.state.shape) & self._compared_axis()
        axes = tuple(place for place, name in enumerate(AXES) if name not in factors)
        sums = np.where(kept, self.numerators[metric], 0).sum(axis=axes)
        counts = kept.sum(axis=axes)
        order = [name for name in AXES if name in factors]
        means: dict[tuple[Any, ...], Fraction] = {}
        for places in np.ndindex(*counts.shape):
            if counts[places]:
                levels = {name: self.levels[name][place] for name, place in zip(order, places, strict=True)}
                key = tuple(levels[name] for name in factors)
                means[key] = Fraction(int(sums[places]), int(counts[places]) * self.denominator)
        return means

    def block_table(self, metric: Metric, factors: Sequence[str]) -> tuple[list[tuple[Any, ...]], np.ndarray, int]:
        """Gains of every combination of the factors that has complete blocks: labels, integers, denominator.

        The integers, (combinations, compared regularizers), are mean values over one denominator with the metric's
        sign, so higher is better and ties are exact.
        """
        complete = self.complete
        axes = tuple(place for place, name in enumerate(BLOCK) if name not in factors)
        counts = np.asarray(complete.sum(axis=axes))
        labels, there = _labels(self, factors, counts)
        chosen = [self.place("regularizer", level) for level in self.compared]
        sums = np.where(complete, self.numerators[metric.name][chosen], 0).sum(
            axis=tuple(axis + 1 for axis in axes)
        )
        values, denominator = _over_one(np.asarray(sums)[:, there] * metric.sign, counts[there], self.denominator)
        if self.places is not None:
            values, denominator = _settled(values, denominator, self.places)
        return labels, values.T, denominator

    def settle(self, value: Fraction) -> Fraction:
        """The value, rounded where it stems from numbers that were rounded before."""
        return value if self.places is None else round(value, self.places)

    def _compared_axis(self) -> np.ndarray:
        return np.asarray(self.done.any(axis=(1, 2, 3), keepdims=True))


@dataclass(frozen=True)
class Pairs:
    """Paired differences, treatment minus rival, of one pairing unit.

    labels: of each pair, a tuple of levels. numerators: integers (int64, or Python's in an object array); a
    difference is numerator / denominator, as a gain: positive where the treatment is better. blocks: how many
    blocks each pair is the mean of. mean: of the differences, each pair counting alike; 0 without a pair.
    """

    labels: list[tuple[Any, ...]]
    numerators: np.ndarray
    denominator: int
    blocks: np.ndarray
    mean: Fraction

    def __len__(self) -> int:
        return len(self.numerators)

    @property
    def values(self) -> list[Fraction]:
        """The differences as fractions."""
        return [Fraction(int(numerator), self.denominator) for numerator in self.numerators.tolist()]

    @property
    def balanced(self) -> bool:
        """Whether every pair is the mean of equally many blocks."""
        return len(set(self.blocks.tolist())) < 2


def paired_differences(grid: Grid, metric: Metric, treatment: Any, rival: Any, factors: Sequence[str]) -> Pairs:
    """One pair for each combination of the factors' levels: the mean difference over its complete pairs.

    factors: out of `BLOCK`; all three give one pair a block. A block counts where both regularizers are done,
    whatever the others are; a combination without one gives no pair.
    """
    one, other = grid.place("regularizer", treatment), grid.place("regularizer", rival)
    both = grid.done[one] & grid.done[other]
    values = grid.numerators[metric.name]
    gains = np.where(both, values[one] - values[other], 0) * metric.sign
    axes = tuple(place for place, name in enumerate(BLOCK) if name not in factors)
    counts = np.asarray(both.sum(axis=axes))
    labels, there = _labels(grid, factors, counts)
    numerators, denominator = _over_one(np.asarray(gains.sum(axis=axes))[there], counts[there], grid.denominator)
    counts = counts[there]
    mean = Fraction(sum(numerators.tolist()), max(1, len(numerators)) * denominator)
    if grid.places is not None:
        numerators, denominator = _settled(numerators, denominator, grid.places)
    return Pairs(labels, numerators, denominator, counts, mean)


def _labels(grid: Grid, factors: Sequence[str], counts: np.ndarray) -> tuple[list[tuple[Any, ...]], np.ndarray]:
    """The level tuples of the combinations with a block, and which of them have one (bool, shaped as counts)."""
    order = [name for name in BLOCK if name in factors]
    places = np.argwhere(counts)
    names = [np.array(grid.levels[name], dtype=object)[places[:, axis]] for axis, name in enumerate(order)]
    return list(zip(*names, strict=True)), counts > 0


def _over_one(sums: np.ndarray, counts: np.ndarray, denominator: int) -> tuple[np.ndarray, int]:
    """The means sums / (counts × denominator), counts along the last axis, as integers over one denominator."""
    common = math.lcm(*np.unique(counts).tolist()) if len(counts) else 1
    largest = int(np.abs(sums).max()) if sums.size else 0
    if largest * common >= 2**62:
        sums = sums.astype(object)
    return sums * (common // counts), common * denominator


def _settled(numerators: np.ndarray, denominator: int, places: int) -> tuple[np.ndarray, int]:
    """The same fractions rounded to decimal places."""
    scale = 10**places
    rounded = [round(Fraction(int(value), denominator) * scale) for value in numerators.ravel().tolist()]
    fits = all(abs(value) < 2**61 for value in rounded)
    return np.array(rounded, dtype=np.int64 if fits else object).reshape(numerators.shape), scale
