"""Accuracy by the levels of another factor: activation × regularizer, dataset × regularizer, and by group."""

from typing import TYPE_CHECKING, Any

from dreg_sweep.analysis.grid import Grid
from dreg_sweep.analysis.report.render import Mark, Table
from dreg_sweep.analysis.scores import Metric
from dreg_sweep.analysis.tables.wording import (
    MARKS,
    about,
    best_in,
    heading,
    mean,
    numbers,
    percent,
    sentences,
    text,
)

if TYPE_CHECKING:
    import pandas as pd

OTHERS = {"activation": "datasets and seeds", "dataset": "activations and seeds"}


def by_factor(grid: Grid, factor: str) -> Table:
    """Mean: (metric, level of the factor) × regularizer, over the complete blocks.

    factor: "activation" or "dataset". Values: the columns metric, the factor, and one column a regularizer, in
    the metric's printed unit. Levels without a complete block have no row; the caption names them.
    """
    rows: list[list[Any]] = []
    for metric in grid.metrics:
        means = grid.means(metric.name, (factor, "regularizer"))
        for level in grid.levels[factor]:
            found = [means.get((level, method)) for method in grid.compared]
            if None not in found:
                rows.append(
                    [metric.name, level, *(percent(value, metric) for value in found if value is not None)]
                )
    present = {row[1] for row in rows}
    absent = [str(level) for level in grid.levels[factor] if level not in present]
    return _table(
        grid,
        name=f"{factor}_by_regularizer",
        title=f"{factor.capitalize()} by regularizer: {_heading(grid.metrics)}",
        keys=("metric", factor),
        rows=rows,
        caption=sentences(
            f"Mean over {OTHERS[factor]}.",
            MARKS,
            about(grid),
            f"Without a complete block: {', '.join(absent)}." if absent else "",
        ),
    )


def by_group(grid: Grid) -> Table | None:
    """Activation × regularizer in each modality and regime: the split behind "best under GELU, on messy data".

    Values: the columns metric, group ("messy vision"), activation, and one a regularizer; "all" stands for the
    mean over activations. None where fewer than two groups of datasets are known.
    """
    groups: dict[str, list[Any]] = {}
    for dataset in grid.levels["dataset"]:
        named = [grid.groups[kind].get(dataset) for kind in ("regime", "modality")]
        if any(named):
            groups.setdefault(" ".join(name for name in named if name), []).append(dataset)
    if len(groups) < 2:
        return None
    rows: list[list[Any]] = []
    for metric in grid.metrics:
        for group in sorted(groups):
            part = grid.restricted({"dataset": groups[group]})
            if part.compared != grid.compared:
                continue
            by_activation = part.means(metric.name, ("activation", "regularizer"))
            over_all = part.means(metric.name, ("regularizer",))
            for level in (*grid.levels["activation"], "all"):
                found = [
                    over_all.get((method,)) if level == "all" else by_activation.get((level, method))
                    for method in grid.compared
                ]
                if None not in found:
                    values = [percent(value, metric) for value in found if value is not None]
                    rows.append([metric.name, group, level, *values])
    return _table(
        grid,
        name="activation_by_regularizer_by_group",
        title=f"Activation by regularizer in each group of datasets: {_heading(grid.metrics)}",
        keys=("metric", "group", "activation"),
        rows=rows,
        caption=sentences("Mean over the group's datasets and the seeds.", MARKS, about(grid)),
        block="group",
    )


def _heading(metrics: tuple[Metric, ...]) -> str:
    return heading(metrics[0]) if len(metrics) == 1 else "accuracy in %"


def _table(
    grid: Grid,
    name: str,
    title: str,
    keys: tuple[str, ...],
    rows: list[list[Any]],
    caption: str,
    block: str = "metric",
) -> Table:
    import pandas as pd

    methods = [str(method) for method in grid.compared]
    frame = pd.DataFrame(rows, columns=[*keys, *methods])
    metrics = {metric.name: metric for metric in grid.metrics}
    marks: dict[tuple[int, str], Mark] = {}
    for place, row in enumerate(rows):
        found = best_in(row[len(keys) :], metrics[row[0]])
        marks |= {(place, method): mark for method, mark in zip(methods, found, strict=True) if mark}
    return Table(
        name=name,
        title=title,
        caption=caption,
        values=frame,
        columns=(*(text(key) for key in keys), *(numbers(method, grid.metrics[0]) for method in methods)),
        marks=marks,
        block=block,
    )


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
