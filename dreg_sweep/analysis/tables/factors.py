"""Accuracy by the levels of another factor: activation × regularizer, dataset × regularizer, and by group."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dreg_sweep.analysis.grid import Grid
from dreg_sweep.analysis.marginal import as_floats, marginal_means, seeds_alike
from dreg_sweep.analysis.report.render import Mark, Table
from dreg_sweep.analysis.scores import Metric
from dreg_sweep.analysis.tables.wording import (
    MARKS,
    about,
    best_in,
    deviation,
    heading,
    mean,
    mean_sd,
    percent,
    plural,
    sentences,
    text,
    unlike_seeds,
)
from dreg_sweep.factors import BLOCK, COMPARED

if TYPE_CHECKING:
    import pandas as pd

OTHERS = {"activation": "datasets", "dataset": "activations"}
WIDEST = 12  # regularizers that a table has side by side; more stand one below the other
Line = list[Any]  # keys, a mean for each regularizer, and a sd for each


def by_factor(grid: Grid, factor: str) -> Table:
    """Mean and sd over seeds: (metric, level of the factor) × regularizer, over the complete blocks.

    factor: "activation" or "dataset". Values, in the metric's printed unit: the columns metric, the factor, one a
    regularizer, and behind them `<regularizer>_sd` (n − 1; null for one seed); see `apart` for names that clash.
    With more than `WIDEST` regularizers these are the rows and the levels the columns. Levels without a complete
    block are left out; the caption names them.
    """
    rows: list[Line] = []
    for metric in grid.metrics:
        means = grid.means(metric.name, (factor, "regularizer"))
        spread = _spreads(grid, metric, factor)
        for place, level in enumerate(grid.levels[factor]):
            found = [means.get((level, method)) for method in grid.compared]
            if None not in found:
                values = [percent(value, metric) for value in found if value is not None]
                rows.append([metric.name, level, *values, *spread[place]])
    present = {row[1] for row in rows}
    absent = [str(level) for level in grid.levels[factor] if level not in present]
    return _table(
        grid,
        name=f"{factor}_by_regularizer",
        title=f"{factor.capitalize()} by regularizer: {_heading(grid.metrics)}",
        keys=("metric", factor),
        rows=rows,
        caption=sentences(
            _spread_sentence(grid, OTHERS[factor]),
            MARKS,
            about(grid),
            f"Without a complete block: {', '.join(absent)}." if absent else "",
        ),
    )


def by_group(grid: Grid) -> Table | None:
    """Activation × regularizer in each modality and regime: the split behind "best under GELU, on messy data".

    Values: the columns metric, group ("messy vision"), activation, and those of `by_factor`; "all" stands for the
    mean over activations. None where fewer than two groups of datasets are known.
    """
    groups: dict[str, list[Any]] = {}
    for dataset in grid.levels["dataset"]:
        named = [grid.groups[kind].get(dataset) for kind in ("regime", "modality")]
        if any(named):
            groups.setdefault(" ".join(name for name in named if name), []).append(dataset)
    if len(groups) < 2:
        return None
    rows: list[Line] = []
    for metric in grid.metrics:
        for group in sorted(groups):
            part = grid.restricted({"dataset": groups[group]})
            if part.compared != grid.compared:
                continue
            by_activation = part.means(metric.name, ("activation", "regularizer"))
            over_all = part.means(metric.name, ("regularizer",))
            spread = np.concatenate([_spreads(part, metric, "activation"), _spreads(part, metric, None)])
            for place, level in enumerate((*grid.levels["activation"], "all")):
                found = [
                    over_all.get((method,)) if level == "all" else by_activation.get((level, method))
                    for method in grid.compared
                ]
                if None not in found:
                    values = [percent(value, metric) for value in found if value is not None]
                    rows.append([metric.name, group, level, *values, *spread[place]])
    return _table(
        grid,
        name="activation_by_regularizer_by_group",
        title=f"Activation by regularizer in each group of datasets: {_heading(grid.metrics)}",
        keys=("metric", "group", "activation"),
        rows=rows,
        caption=sentences(
            _spread_sentence(grid, "the group's datasets", "; `all`: over the activations as well"),
            MARKS,
            about(grid),
        ),
        block="group",
    )


def _spreads(grid: Grid, metric: Metric, factor: str | None) -> np.ndarray:
    """(levels of the factor, or 1; compared regularizers): sd over seeds (n − 1) in the printed unit.

    Of each seed's marginal mean over its complete blocks; NaN where fewer than two seeds have one, and where they
    have different ones.
    """
    chosen = [grid.place(COMPARED, level) for level in grid.compared]
    averaged = [name for name in BLOCK if name not in ("seed", factor)]
    kept = np.broadcast_to(grid.complete, grid.state.shape)[chosen]
    numerators, there, denominator = marginal_means(
        grid.numerators[metric.name][chosen], kept, averaged, grid.denominator, 1
    )
    place = BLOCK.index(factor) if factor else 0
    parts = np.moveaxis(grid.complete, place, 0) if factor else grid.complete[None]
    alike = [seeds_alike(part) for part in parts]
    shape = (len(chosen), len(alike), len(grid.levels["seed"]))
    means = as_floats(numerators, denominator).reshape(shape) * metric.scale
    spread = [
        [
            deviation(runs[some].tolist()) if even else math.nan
            for runs, some, even in zip(*those, alike, strict=True)
        ]
        for those in zip(means, there.reshape(shape), strict=True)
    ]
    return np.array(spread, dtype=float).T


def _spread_sentence(grid: Grid, over: str, also: str = "") -> str:
    seeds = int(grid.complete.any(axis=(0, 1)).sum())
    if seeds < 2:
        return f"Mean over {over} of one seed{also}."
    return (
        f"Marginal mean over {over} and seeds ± standard deviation (n − 1) over {seeds} {plural(seeds, 'seed')}"
        f"{also}.{unlike_seeds(grid)}"
    )


def apart(keys: Sequence[str], columns: Sequence[str]) -> list[str]:
    """Names for key columns beside columns that the data name: `key_` goes before one that clashes."""
    taken, names = {*columns}, []
    for key in keys:
        while key in taken:
            key = f"key_{key}"
        taken.add(key)
        names.append(key)
    return names


def spread_names(methods: Sequence[str]) -> list[str]:
    """`<method>_sd` for each, with further underscores where a method is called so."""
    names: list[str] = []
    for method in methods:
        name = f"{method}_sd"
        while name in methods or name in names:
            name += "_"
        names.append(name)
    return names


def _heading(metrics: tuple[Metric, ...]) -> str:
    return heading(metrics[0]) if len(metrics) == 1 else "accuracy in %"


def _table(
    grid: Grid,
    name: str,
    title: str,
    keys: tuple[str, ...],
    rows: list[Line],
    caption: str,
    block: str = "metric",
) -> Table:
    import pandas as pd

    methods = [str(method) for method in grid.compared]
    metrics = {metric.name: metric for metric in grid.metrics}
    marks: dict[tuple[int, str], Mark] = {}
    if len(methods) > WIDEST:
        keys, methods, rows = upright(rows, keys, methods)
        for line in dict.fromkeys(tuple(row[: len(keys) - 1]) for row in rows):
            places = [place for place, row in enumerate(rows) if tuple(row[: len(line)]) == line]
            for column, level in enumerate(methods, start=len(keys)):
                found = best_in([rows[place][column] for place in places], metrics[line[0]])
                marks |= {(place, level): mark for place, mark in zip(places, found, strict=True) if mark}
    else:
        for place, row in enumerate(rows):
            found = best_in(row[len(keys) : len(keys) + len(methods)], metrics[row[0]])
            marks |= {(place, method): mark for method, mark in zip(methods, found, strict=True) if mark}
    spreads = spread_names(methods)
    named = apart(keys, [*methods, *spreads])
    frame = pd.DataFrame(rows, columns=[*named, *methods, *spreads])
    return Table(
        name=name,
        title=title,
        caption=caption,
        values=frame,
        columns=(
            *(text(key) for key in named),
            *(
                mean_sd(method, spread, grid.metrics[0], method)
                for method, spread in zip(methods, spreads, strict=True)
            ),
        ),
        marks=marks,
        block=named[keys.index(block)],
    )


def upright(
    rows: Sequence[Line], keys: tuple[str, ...], methods: Sequence[str]
) -> tuple[tuple[str, ...], list[str], list[Line]]:
    """Rows of means and sds by the last key's levels (a column a method) as rows of methods (a column a level).

    Returns the keys, of which the last is now `regularizer`, the levels, and the rows; NaN where there was no row.
    """
    last, count = len(keys) - 1, len(methods)
    known = {tuple(row[: last + 1]): row[last + 1 :] for row in rows}
    levels = list(dict.fromkeys(row[last] for row in rows))
    lines: list[Line] = []
    for line in dict.fromkeys(tuple(row[:last]) for row in rows):
        found = [known.get((*line, level), [float("nan")] * (2 * count)) for level in levels]
        for place, method in enumerate(methods):
            entries = [*(values[place] for values in found), *(values[count + place] for values in found)]
            lines.append([*line, method, *entries])
    return (*keys[:last], "regularizer"), [str(level) for level in levels], lines


def gains(grid: Grid, metric: Metric, baseline: Any | None) -> "pd.DataFrame":
    """Dataset × regularizer: gain over the baseline (or over the mean of all) in the printed unit."""
    import pandas as pd

    means = grid.means(metric.name, ("dataset", "regularizer"))
    datasets = [dataset for dataset in grid.levels["dataset"] if (dataset, grid.compared[0]) in means]
    columns = [method for method in grid.compared if method != baseline] or grid.compared
    rows = []
    for dataset in datasets:
        values = [means[dataset, method] for method in grid.compared]
        centre = means[dataset, baseline] if baseline is not None else mean(values)
        rows.append([metric.sign * percent(means[dataset, method] - centre, metric) for method in columns])
    return pd.DataFrame(rows, index=datasets, columns=columns)
