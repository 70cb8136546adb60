"""The grid as an array: what state each cell is in, what it scored, and means over chosen parts of it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from dreg_sweep.analysis.marginal import marginal_means, seeds_alike
from dreg_sweep.analysis.scores import EXACT, Metric, rounded
from dreg_sweep.factors import BLOCK, COMPARED

AXES = (COMPARED, *BLOCK)


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
    (R, D, A, S) integers; a cell's value is numerator / denominator. round_off: metric name → (R, D, A, S), see
    `scores.Exact`; a metric that is exact everywhere may be left out. metrics: the primary one first. groups:
    "modality" and "regime" → dataset → its value there, where known.
    """

    levels: dict[str, list[Any]]
    state: np.ndarray
    numerators: dict[str, np.ndarray]
    denominator: int
    round_off: dict[str, np.ndarray]
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
    def seeds_alike(self) -> bool:
        """Whether every seed that has a complete block has those of the same datasets and activations."""
        return seeds_alike(self.complete)

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
        state, numerators, round_off = self.state, dict(self.numerators), dict(self.round_off)
        for factor, wanted in kept.items():
            axis = AXES.index(factor)
            places = [place for place, level in enumerate(levels[factor]) if level in wanted]
            levels[factor] = [levels[factor][place] for place in places]
            state = state.take(places, axis)
            numerators = {name: values.take(places, axis) for name, values in numerators.items()}
            round_off = {name: values.take(places, axis) for name, values in round_off.items()}
        return replace(self, levels=levels, state=state, numerators=numerators, round_off=round_off)

    def means(self, metric: str, factors: Sequence[str], settled: bool = False) -> dict[tuple[Any, ...], Fraction]:
        """The marginal mean of the complete blocks for each combination of the factors' levels that has one.

        Args:
            metric: the name of a metric.
            factors: out of `AXES`; `regularizer` should be among them.
            settled: whether means of values with round-off are rounded, so that equal ones tie in a ranking.

        Returns:
            Tuples of levels, in the order of `factors` and in display order, with their means. Exact, so they
            depend neither on the order of rows nor on round-off.
        """
        kept = np.broadcast_to(self.complete, self.state.shape) & self._compared_axis()
        averaged = [name for name in BLOCK if name not in factors]
        values, there, denominator = marginal_means(self.numerators[metric], kept, averaged, self.denominator, 1)
        limits = self._limits(metric, kept, averaged)
        if COMPARED not in factors:
            raise ValueError(f"means are those of a {COMPARED}, which is not among {factors}")
        order = [name for name in AXES if name in factors]
        means: dict[tuple[Any, ...], Fraction] = {}
        for places in np.argwhere(there).tolist():
            levels = {name: self.levels[name][place] for name, place in zip(order, places, strict=True)}
            mean = Fraction(int(values[tuple(places)]), denominator)
            if settled and limits is not None:
                mean = rounded(mean, int(limits[tuple(places)]))
            means[tuple(levels[name] for name in factors)] = mean
        return means

    def block_table(self, metric: Metric, factors: Sequence[str]) -> tuple[list[tuple[Any, ...]], np.ndarray, int]:
        """Gains of every combination of the factors that has complete blocks: labels, integers, denominator.

        The integers, (combinations, compared regularizers), are marginal means over one denominator with the
        metric's sign, so higher is better and ties are exact.
        """
        chosen = [self.place(COMPARED, level) for level in self.compared]
        complete = np.broadcast_to(self.complete, (len(chosen), *self.complete.shape))
        averaged = [name for name in BLOCK if name not in factors]
        values, there, denominator = marginal_means(
            self.numerators[metric.name][chosen], complete, averaged, self.denominator, 1
        )
        there = np.asarray(there.any(axis=0))
        labels = _labels(self, factors, there)
        values = values[:, there] * metric.sign
        limits = self._limits(metric.name, np.broadcast_to(self.complete, self.state.shape), averaged)
        if limits is not None:
            largest = limits[chosen][:, there].max(axis=0, initial=EXACT)  # a block's methods are ranked together
            values, denominator = _settled(values, denominator, np.broadcast_to(largest, values.shape))
        return labels, values.T, denominator

    def _limits(self, metric: str, kept: np.ndarray, averaged: Sequence[str]) -> np.ndarray | None:
        """The round-off of means over the kept cells, as exponents of ten; None where all values are exact."""
        if metric not in self.round_off:
            return None
        axes = tuple(1 + place for place, name in enumerate(BLOCK) if name in averaged)
        return np.asarray(np.where(kept, self.round_off[metric], EXACT).max(axis=axes, initial=EXACT))

    def _compared_axis(self) -> np.ndarray:
        return np.asarray(self.done.any(axis=(1, 2, 3), keepdims=True))


@dataclass(frozen=True)
class Pairs:
    """Paired differences, treatment minus rival, of one pairing unit.

    labels: of each pair, a tuple of levels. numerators: integers (int64, or Python's in an object array); a
    difference is numerator / denominator, as a gain: positive where the treatment is better. blocks: how many
    blocks each pair is the mean of. mean: the marginal mean of all differences, whatever the pairs are; 0 without
    a pair.
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
    """The marginal mean difference of two regularizers for each combination of the factors' levels.

    Args:
        grid: the cells.
        metric: what is compared.
        treatment: the regularizer whose gain is positive where it is better.
        rival: the other one.
        factors: out of `BLOCK`; all three give one pair a block.

    Returns:
        One pair a combination. A block counts where both regularizers are done, whatever the others are; a
        combination without one gives no pair.
    """
    one, other = grid.place(COMPARED, treatment), grid.place(COMPARED, rival)
    both = grid.done[one] & grid.done[other]
    values = grid.numerators[metric.name]
    gains = np.where(both, values[one] - values[other], 0) * metric.sign
    averaged = [name for name in BLOCK if name not in factors]
    numerators, there, denominator = marginal_means(gains, both, averaged, grid.denominator)
    axes = tuple(place for place, name in enumerate(BLOCK) if name in averaged)
    counts = np.asarray(both.sum(axis=axes))[there]
    labels = _labels(grid, factors, there)
    numerators = numerators[there]
    if metric.name in grid.round_off:
        limits = np.where(both, np.maximum(*grid.round_off[metric.name][[one, other]]), EXACT)
        numerators, denominator = _settled(numerators, denominator, limits.max(axis=axes, initial=EXACT)[there])
    whole, _, over = marginal_means(gains, both, BLOCK, grid.denominator)
    return Pairs(labels, numerators, denominator, counts, Fraction(int(whole), over))


def _labels(grid: Grid, factors: Sequence[str], there: np.ndarray) -> list[tuple[Any, ...]]:
    """The level tuples of the combinations that are there."""
    order = [name for name in BLOCK if name in factors]
    places = np.argwhere(there)
    names = [np.array(grid.levels[name], dtype=object)[places[:, axis]] for axis, name in enumerate(order)]
    return list(zip(*names, strict=True))


def _settled(numerators: np.ndarray, denominator: int, limits: np.ndarray) -> tuple[np.ndarray, int]:
    """The fractions rounded each to its own power of ten, or as they are where the limit is `EXACT`, over one."""
    pairs = zip(numerators.ravel().tolist(), limits.ravel().tolist(), strict=True)
    fractions = [rounded(Fraction(int(value), denominator), int(limit)) for value, limit in pairs]
    common = math.lcm(*(value.denominator for value in fractions)) if fractions else 1
    whole = [value.numerator * (common // value.denominator) for value in fractions]
    fits = all(abs(value) < 2**61 for value in whole)
    return np.array(whole, dtype=np.int64 if fits else object).reshape(numerators.shape), common
