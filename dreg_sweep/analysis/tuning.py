"""Which strength stands for a method: the fixed one, those that validation rows choose, or the best in hindsight.

A choice looks at validation rows only, by the very metric that is reported, and is judged on test rows. The oracle
looks at the test rows themselves: it bounds what any choice could gain, and is no result.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from dreg_sweep.analysis.grid import Grid, State
from dreg_sweep.analysis.rows.strengths import Strengths
from dreg_sweep.analysis.scores import Metric

RULES = {  # as columns call them
    "fixed": "fixed",
    "one": "one for all",
    "each": "by dataset",
    "oracle": "best on test",
}
CHOICES = ("fixed", "one", "each")  # without the oracle, which is none

Chosen = Mapping[
    Any, Any
]  # dataset → the level that stands for the method there; a dataset without one is left out


def tuned(strengths: Strengths, held_out: Grid, test: Grid) -> dict[str, list[str]]:
    """The methods with results at several strengths, both on validation and on test rows.

    Name → the levels with validation results, strengths ascending: test rows do not say what may be chosen.
    """
    found = {
        name: [level for level in levels if level in held_out.compared]
        for name, levels in strengths.levels().items()
        if sum(level in test.compared for level in levels) > 1
    }
    return {name: levels for name, levels in found.items() if len(levels) > 1}


def choices(
    method: str, levels: Sequence[str], strengths: Strengths, test: Grid, held_out: Grid, metric: Metric
) -> dict[str, Chosen]:
    """Rule → what it chooses for one method; without `fixed` where that strength is not known.

    levels: the strengths to choose among. one: the best mean over datasets of the validation rows; each: the best
    on each dataset; oracle: the best on each dataset of the test rows.
    """
    datasets = test.levels["dataset"]
    one = best(held_out, metric, strengths, levels, held_out.levels["dataset"])
    found: dict[str, Chosen] = {"one": dict.fromkeys(datasets, one) if one is not None else {}}
    for rule, grid in (("each", held_out), ("oracle", test)):
        here = {dataset: best(grid, metric, strengths, levels, [dataset]) for dataset in datasets}
        found[rule] = {dataset: level for dataset, level in here.items() if level is not None}
    if method in strengths.fixed:
        found["fixed"] = dict.fromkeys(datasets, strengths.fixed[method])
    return {rule: found[rule] for rule in RULES if rule in found}


def best(
    grid: Grid, metric: Metric, strengths: Strengths, levels: Sequence[str], datasets: Sequence[Any]
) -> Any | None:
    """The level with the best marginal mean over these datasets; None where none can be compared.

    Only a level with a result in every block (dataset, activation, seed) in which any of the levels has one can
    be chosen: one that diverged somewhere, or is not done yet, is not. Of equal ones the strength nearest to the
    fixed one by its factor is taken, then the smaller.
    """
    part = grid.restricted({"regularizer": list(levels), "dataset": list(datasets)})
    asked = part.done.any(axis=0)
    scores: dict[Any, Fraction] = {}
    for place, level in enumerate(part.levels["regularizer"]):
        if asked.any() and (part.done[place] == asked).all():
            alone = part.restricted({"regularizer": [level]})
            scores[level] = metric.sign * alone.means(metric.name, ("regularizer",), settled=True)[level,]
    highest = max(scores.values(), default=None)
    equal = [level for level, score in scores.items() if score == highest]
    return min(equal, key=lambda level: _preference(strengths, level), default=None)


def _preference(strengths: Strengths, level: str) -> tuple[float, float]:
    """What is least of the strength to take: its factor to the fixed one, as a logarithm, and the strength."""
    one = strengths.by_level[level]
    value = math.inf if math.isnan(one.value) else one.value
    if one.regularizer not in strengths.fixed:
        return 0.0, value
    fixed = strengths.by_level[strengths.fixed[one.regularizer]].value
    if value == fixed:
        return 0.0, value
    if min(value, fixed) <= 0 or math.isinf(value):
        return math.inf, value
    return round(abs(math.log(value / fixed)), 9), value  # 0.1 and 10 are equally far from 1


def picked(grid: Grid, chosen: Mapping[Any, Chosen]) -> Grid:
    """The grid whose regularizers are choices: name → dataset → the level of `grid` that stands for it there.

    A name none of whose choices has a result is left out. Only blocks in which all others have a result are kept.
    """
    shape = (len(chosen), *grid.state.shape[1:])
    state = np.full(shape, State.OUTSIDE, dtype=grid.state.dtype)
    numerators = {name: np.zeros(shape, dtype=values.dtype) for name, values in grid.numerators.items()}
    for row, levels in enumerate(chosen.values()):
        for column, dataset in enumerate(grid.levels["dataset"]):
            if levels.get(dataset) in grid.levels["regularizer"]:
                place = grid.place("regularizer", levels[dataset])
                state[row, column] = grid.state[place, column]
                for name, values in numerators.items():
                    values[row, column] = grid.numerators[name][place, column]
    some = (state == State.DONE).any(axis=(1, 2, 3))
    state = state[some]
    shared = (state == State.DONE).all(axis=0)
    state = np.where((state == State.DONE) & ~shared, np.uint8(State.OUTSIDE), state)
    names = [name for name, any_done in zip(chosen, some.tolist(), strict=True) if any_done]
    kept = {name: values[some] for name, values in numerators.items()}
    return replace(grid, levels={**grid.levels, "regularizer": names}, state=state, numerators=kept)
