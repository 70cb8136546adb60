"""How often the signed-rank test finds an effect where there is none, under each pairing unit.

    python scripts/type_one_error.py [--simulations 10000] [--seed 0] [--scenario NAME[,NAME]]
    python scripts/type_one_error.py --estimate RESULTS_DIR [--treatment dreg]

Grids of 2 methods × 8 datasets × 4 activations × 5 seeds, each cell a count out of 10,000 test images, go through
the project's own pairing and tests. The methods do not differ in the mean over the population of datasets; what a
scenario adds is how much the difference between them varies with the dataset, the activation and the seed. The
last scenarios have a true effect, so that their rates are power. Prints the share of p ≤ 0.05, uncorrected, with
its Monte Carlo standard error, as a Markdown table. A scenario's rates depend on the seed and the simulations
alone.

`--estimate` prints those variance components of a complete results folder, for the treatment against each rival.
"""

import argparse
import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np

from dreg_sweep.analysis.grid import BLOCK, Grid, State, paired_differences
from dreg_sweep.analysis.pairing import PRIMARY_ZEROS, UNITS
from dreg_sweep.analysis.scores import Metric
from dreg_sweep.analysis.statistics.rank_tests import ALPHA
from dreg_sweep.analysis.statistics.wilcoxon import Alternative, signed_ranks
from dreg_sweep.analysis.study import read
from dreg_sweep.arguments import OneLineParser
from dreg_sweep.errors import UserError

PROGRAM = "type_one_error"
DATASETS, ACTIVATIONS, SEEDS = 8, 4, 5
SHAPE = (DATASETS, ACTIVATIONS, SEEDS)
TEST_SIZE = 10_000
ACCURACY = Metric("clean")
METHODS = ("treatment", "rival")
SIDES: tuple[Alternative, ...] = ("two-sided", "greater")
SIDE_NAMES = {"two-sided": "two-sided", "greater": "one-sided"}
COMPONENTS = (
    "cell noise",
    "dataset",
    "activation",
    "seed",
    "dataset × activation",
    "dataset × seed",
    "activation × seed",
)
SECONDS_A_LINE = 5.0  # of progress


@dataclass(frozen=True)
class Scenario:
    """What the difference treatment − rival of a cell is made of: standard deviations in points of accuracy.

    noise: independent from cell to cell. dataset, activation, seed: the method's interaction with that factor
    alone; dataset_activation: with each combination of the two. drawn: the activations are drawn from many, else
    they are all there are and their effects add up to 0. effect: the true mean.
    """

    noise: float
    dataset: float = 0.0
    activation: float = 0.0
    seed: float = 0.0
    dataset_activation: float = 0.0
    drawn: bool = False
    effect: float = 0.0

    @property
    def label(self) -> str:
        """`noise 0.55, dataset 0.7`, and the true effect if there is one."""
        parts = {
            "noise": self.noise,
            "dataset": self.dataset,
            f"activation{' (drawn)' if self.drawn else ''}": self.activation,
            "seed": self.seed,
            "dataset × activation": self.dataset_activation,
        }
        sizes = ", ".join(f"{name} {size:g}" for name, size in parts.items() if size)
        return f"{sizes}; effect {self.effect:g}" if self.effect else sizes


# Sizes from `--estimate`, overall accuracy, of a run of the paper's grid at train_size=500: medians over the five
# rivals, the largest for dataset_strong. No rival there has a method × seed SD above 0.1; that one is of the order
# of the largest in results/quickstart.
NOISE, DATASET, STRONG, ACTIVATION, SEED, DATASET_ACTIVATION = 0.55, 0.7, 2.7, 0.5, 0.25, 1.0
_ALL = Scenario(NOISE, DATASET, ACTIVATION, SEED, DATASET_ACTIVATION)
SCENARIOS = {
    "noise": Scenario(NOISE),
    "dataset": Scenario(NOISE, DATASET),
    "dataset_strong": Scenario(NOISE, STRONG),
    "activation": Scenario(NOISE, DATASET, ACTIVATION),
    "activation_drawn": Scenario(NOISE, DATASET, ACTIVATION, drawn=True),
    "seed": Scenario(NOISE, DATASET, ACTIVATION, SEED),
    "all": _ALL,
    "power_noise": Scenario(NOISE, effect=0.1),
    "power_all": replace(_ALL, effect=1.0),
}

LEVELS: dict[str, list[object]] = {
    "regularizer": [*METHODS],
    "dataset": [*range(DATASETS)],
    "activation": [*range(ACTIVATIONS)],
    "seed": [*range(SEEDS)],
}
DONE = np.full((len(METHODS), *SHAPE), State.DONE, dtype=np.uint8)


def counts(scenario: Scenario, rng: np.random.Generator) -> np.ndarray:
    """(2, D, A, S) right answers; both methods share a block's level, as they share its split and weights."""
    points = TEST_SIZE / 100
    by_activation = rng.normal(0, scenario.activation, (1, ACTIVATIONS, 1))
    if not scenario.drawn:
        # Centred, four effects lose a quarter of their variance.
        by_activation = (by_activation - by_activation.mean()) * math.sqrt(ACTIVATIONS / (ACTIVATIONS - 1))
    difference = (
        scenario.effect
        + rng.normal(0, scenario.dataset, (DATASETS, 1, 1))
        + by_activation
        + rng.normal(0, scenario.seed, (1, 1, SEEDS))
        + rng.normal(0, scenario.dataset_activation, (DATASETS, ACTIVATIONS, 1))
    )
    blocks = np.linspace(60, 85, DATASETS)[:, None, None] + rng.normal(0, 0.5, SHAPE)
    noise = rng.normal(0, scenario.noise / math.sqrt(2), (len(METHODS), *SHAPE))
    cells = np.stack([blocks + difference, blocks]) + noise
    return np.rint(points * cells).astype(np.int64)


def significant(numerators: np.ndarray) -> np.ndarray:
    """(units, sides) of bool: whether p ≤ 0.05."""
    grid = Grid(LEVELS, DONE, {ACCURACY.name: numerators}, TEST_SIZE, {}, (ACCURACY,), {})
    found = np.zeros((len(UNITS), len(SIDES)), dtype=bool)
    for place, unit in enumerate(UNITS.values()):
        pairs = paired_differences(grid, ACCURACY, *METHODS, unit.factors)
        tests = signed_ranks(pairs.numerators, [(side, PRIMARY_ZEROS) for side in SIDES])
        found[place] = [tests[side, PRIMARY_ZEROS].p <= ALPHA for side in SIDES]
    return found


def rates(names: Sequence[str], simulations: int, seed: int) -> dict[str, np.ndarray]:
    """Scenario → (units, sides) of the share of tests with p ≤ 0.05."""
    progress = _Progress(len(names) * simulations)
    found = {}
    for name in names:
        # Of its own, so that a scenario's numbers do not depend on the others that are asked for.
        rng = np.random.default_rng([seed, list(SCENARIOS).index(name)])
        total = np.zeros((len(UNITS), len(SIDES)), dtype=np.int64)
        for _ in range(simulations):
            total += significant(counts(SCENARIOS[name], rng))
            progress.step()
        found[name] = total / simulations
    return found


class _Progress:
    """A line on stderr every few seconds, with the time that is left."""

    def __init__(self, total: int) -> None:
        self.total, self.done = total, 0
        self.begun = self.said = time.monotonic()

    def step(self) -> None:
        self.done += 1
        now = time.monotonic()
        if now - self.said < SECONDS_A_LINE:
            return
        self.said = now
        left = round((now - self.begun) * (self.total - self.done) / self.done)
        line = f"{PROGRAM}: {self.done:,} of {self.total:,} simulations, {left // 60}:{left % 60:02d} left"
        print(line, file=sys.stderr, flush=True)


def table(found: dict[str, np.ndarray], simulations: int) -> Iterator[str]:
    """One line a scenario and side, in Markdown."""
    sizes = [math.prod(SHAPE[BLOCK.index(factor)] for factor in unit.factors) for unit in UNITS.values()]
    heads = [f"{unit.label}, n = {size}" for unit, size in zip(UNITS.values(), sizes, strict=True)]
    yield f"| how the methods differ: SDs in points | side | {' | '.join(heads)} |"
    yield f"| :--- | :--- |{' ---: |' * len(heads)}"
    for name, values in found.items():
        for side, column in zip(SIDES, values.T, strict=True):
            shown = [f"{rate:.4f} ± {math.sqrt(rate * (1 - rate) / simulations):.4f}" for rate in column.tolist()]
            yield f"| {SCENARIOS[name].label} | {SIDE_NAMES[side]} | {' | '.join(shown)} |"


def components(differences: np.ndarray) -> list[float]:
    """Standard deviations, in the order of `COMPONENTS`, of a complete (D, A, S) array of differences.

    The model is an additive one of all factors and their interactions in pairs, all random; the interaction of all
    three is the noise. Variances are those by which the mean squares equal their expectations, 0 if negative.
    """
    sizes = differences.shape
    squares: dict[tuple[int, ...], float] = {}
    effects: dict[tuple[int, ...], np.ndarray] = {(): differences.mean(keepdims=True)}
    for axes in ((0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)):
        others = tuple(axis for axis in range(3) if axis not in axes)
        below = [part for part in effects if set(part) < set(axes)]
        effects[axes] = differences.mean(axis=others, keepdims=True) - sum(effects[part] for part in below)
        copies = math.prod(sizes[axis] for axis in others)
        freedom = math.prod(sizes[axis] - 1 for axis in axes)
        squares[axes] = copies * float((effects[axes] ** 2).sum()) / freedom
    noise = squares[0, 1, 2]
    variances = [noise]
    for one, two, three in ((0, 1, 2), (1, 0, 2), (2, 0, 1)):
        with_two, with_three = (tuple(sorted((one, other))) for other in (two, three))
        excess = squares[(one,)] - squares[with_two] - squares[with_three] + noise
        variances.append(excess / (sizes[two] * sizes[three]))
    variances += [(squares[one, two] - noise) / sizes[3 - one - two] for one, two in ((0, 1), (0, 2), (1, 2))]
    return [math.sqrt(max(0.0, variance)) for variance in variances]


def estimated(folder: Path, treatment: str) -> Iterator[str]:
    """The components of a results folder, one line a rival, with their medians and maxima."""
    grid = read(folder).grid
    metric = grid.metrics[0]
    rivals = [level for level in grid.compared if level != treatment]
    if treatment not in grid.compared or not rivals:
        raise UserError(f"{folder}: {treatment} or a rival has no result; it has {', '.join(grid.compared)}")
    sizes = tuple(len(grid.levels[factor]) for factor in BLOCK)
    if not grid.complete.all() or min(sizes) < 2:
        raise UserError(f"{folder}: the components need a complete grid with two levels of each factor")
    found = {}
    for rival in rivals:
        pairs = paired_differences(grid, metric, treatment, rival, BLOCK)
        values = [float(metric.scale * value) for value in pairs.values]
        found[str(rival)] = components(np.array(values).reshape(sizes))
    found["median"] = [median(column) for column in zip(*found.values(), strict=True)]
    found["largest"] = [max(column) for column in zip(*found.values(), strict=True)]
    yield f"{metric.label}, {treatment} minus each rival, {' × '.join(map(str, sizes))} blocks: SDs\n"
    yield f"| rival | {' | '.join(COMPONENTS)} |"
    yield f"| :--- |{' ---: |' * len(COMPONENTS)}"
    for name, values in found.items():
        yield f"| {name} | {' | '.join(f'{value:.2f}' for value in values)} |"


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = OneLineParser(
        prog=PROGRAM, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--simulations", type=int, default=10_000, help="of each scenario")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--scenario", metavar="NAME[,NAME]", help=f"default all: {', '.join(SCENARIOS)}")
    options.add_argument("--estimate", type=Path, metavar="RESULTS_DIR")
    options.add_argument("--treatment", default="dreg", metavar="NAME", help="of --estimate")
    return options


def main(argv: list[str] | None = None) -> int:
    """The command; 2 with one line on stderr for a mistake of the user."""
    try:
        options = parser().parse_args(argv)
        if options.estimate:
            print("\n".join(estimated(options.estimate, options.treatment)))
            return 0
        if options.simulations < 1:
            raise UserError(f"--simulations {options.simulations}: at least 1")
        if options.seed < 0:
            raise UserError(f"--seed {options.seed}: not below 0")
        names = list(dict.fromkeys((options.scenario or ",".join(SCENARIOS)).split(",")))
        for name in names:
            if name not in SCENARIOS:
                raise UserError(f"--scenario {name} is unknown; choose from: {', '.join(SCENARIOS)}")
        found = rates(names, options.simulations, options.seed)
    except UserError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 2
    print(f"{options.simulations:,} simulations of each scenario, seed {options.seed}: share of p ≤ {ALPHA}\n")
    print("\n".join(table(found, options.simulations)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
