"""Means and gains by activation, dataset and group of datasets."""

from typing import Any

from dreg_sweep.analysis import figures
from dreg_sweep.analysis.chapters.parts import Chapter, Drawing
from dreg_sweep.analysis.study import Data
from dreg_sweep.analysis.tables.factors import by_factor, by_group, gains


def by_level(data: Data, baseline: Any | None) -> Chapter | None:
    grid = data.grid
    if not grid.complete.any():
        return None
    metric = grid.metrics[0]
    against = baseline if baseline in grid.compared else None
    points = gains(grid, metric, against)
    other = str(against) if against is not None else "the mean of all regularizers"
    what = f"minus {other}" if metric.higher_is_better else f"of {other} minus each regularizer's"
    unit = metric.difference_unit
    heatmap = Drawing(
        "heatmap",
        f"{metric.label.capitalize()} {what}, by dataset",
        f"Gains{f' in {unit}' if unit else ''}, means over activations and seeds; blue is better.",
        lambda: figures.heatmap(points, title=f"{metric.label.capitalize()} {what}", label=unit or metric.name),
    )
    tables = [by_factor(grid, "activation"), by_group(grid), by_factor(grid, "dataset")]
    return Chapter(
        "By activation and dataset", (), tuple(table for table in tables if table is not None), (heatmap,)
    )
