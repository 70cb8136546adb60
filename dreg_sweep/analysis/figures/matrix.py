"""The heat map: a number for every dataset and method."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from dreg_sweep.analysis.figures.layout import Panels, add_axes, compose, text_width, widest, wrap
from dreg_sweep.analysis.figures.names import shortened
from dreg_sweep.analysis.figures.scales import finite, signed, significant, ticks
from dreg_sweep.analysis.figures.style import SMALL, bare, drawn, numbers

ROW, NARROWEST_CELL = 0.28, 0.5
SLANT = 40  # degrees
POINTS = "points"  # the unit of differences of accuracies
MOST_COLUMNS = 12  # more methods than that stand one below the other
BAR = 0.13  # width of the colour bar


@drawn
def heatmap(points: pd.DataFrame, *, title: str, label: str = POINTS) -> Figure:
    """Dataset x method, colours diverging from 0: blue better, red worse; every cell with its value.

    points: one row a dataset, one column a method, in their order; e.g. accuracy minus the baseline's, in points.
    More than 12 methods are the rows. A cell without a finite value is hatched grey and says "–". label: the unit,
    at the colour bar; points have two decimals, all else two significant digits.
    Raises ValueError for a frame without cells.
    """
    if points.empty:
        raise ValueError("the frame has no cells, so there is nothing to draw")
    if points.shape[1] > max(MOST_COLUMNS, points.shape[0]):
        points = points.T
    values = np.column_stack([numbers(points.iloc[:, column]) for column in range(points.shape[1])])
    rows, columns = values.shape
    present = finite(values)
    limit = float(np.abs(present).max(initial=0.0))
    limit = max(limit, 0.1) if label == POINTS else limit or 0.1
    written = (lambda value: signed(value, 2)) if label == POINTS else significant
    texts = [[written(value) if np.isfinite(value) else "–" for value in row] for row in values]

    names, methods = (list(map(shortened(axis).__getitem__, axis)) for axis in (points.index, points.columns))
    width = max(NARROWEST_CELL, widest(text for row in texts for text in row) + 0.14)
    slanted = widest(methods) > width - 0.08
    rise, run = (np.sin(np.deg2rad(SLANT)), np.cos(np.deg2rad(SLANT))) if slanted else (0.0, 0.0)
    overhang = max(text_width(name) * run - (place + 0.5) * width for place, name in enumerate(methods))
    tall = rows * ROW
    bar_tall = min(max(tall, 0.8), 2.0)
    bar_ticks, bar_labels = ticks((-limit, limit), bar_tall, upright=True, most=5)
    unit = wrap(label, max(tall, bar_tall))
    panels = Panels(
        count=1,
        columns=1,
        width=columns * width,
        height=tall,
        left=max(widest(names) + 0.08, overhang + 0.1),
        right=0.2 + BAR + 0.08 + widest(bar_labels) + 0.08 + 0.15 * (unit.count("\n") + 1),
        below=max(widest(methods) * rise + (0.15 if slanted else 0.18), bar_tall - tall + 0.05),
    )
    figure, (axes,) = compose(panels, title=title)
    edges = np.arange(columns + 1) - 0.5, np.arange(rows + 1) - 0.5
    mesh = axes.pcolormesh(
        *edges,
        np.ma.masked_invalid(values),
        cmap="RdBu",
        vmin=-limit,
        vmax=limit,
        edgecolors="white",
        linewidth=1.2,
    )
    axes.invert_yaxis()
    for (row, column), value in np.ndenumerate(values):
        blank = not np.isfinite(value)
        if blank:
            cell = Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor="0.93", edgecolor="0.6", hatch="////")
            cell.set(linewidth=0, zorder=0.5)
            axes.add_patch(cell)
        axes.text(
            column,
            row,
            texts[row][column],
            ha="center",
            va="center",
            color="black" if blank else _readable(mesh.to_rgba(value)),
            bbox={"facecolor": "0.93", "edgecolor": "none", "pad": 1.5} if blank else None,
        )
    place: dict[str, Any] = {"rotation": SLANT, "ha": "right", "rotation_mode": "anchor"} if slanted else {}
    axes.set_xticks(range(columns), methods, **place)
    axes.set_yticks(range(rows), names)
    axes.tick_params(length=0)
    bare(axes)

    across, down = figure.get_size_inches()
    box = axes.get_position()
    left, top = box.x1 * across + 0.2, box.y1 * down
    beside = add_axes(figure, left, top - bar_tall, BAR, bar_tall)
    bar = figure.colorbar(mesh, cax=beside, ticks=bar_ticks)
    bar.ax.set_yticklabels(bar_labels)
    bar.ax.minorticks_off()
    assert bar.solids is not None
    bar.solids.set_edgecolor("face")  # else viewers of a pdf show seams between the steps
    bar.outline.set_visible(False)
    beside_bar = left + BAR + 0.16 + widest(bar_labels)
    figure.text(beside_bar / across, (top - bar_tall / 2) / down, unit, rotation=90, ha="left", va="center")
    for tick in bar.ax.get_yticklabels():
        tick.set_fontsize(SMALL)
    return figure


def _readable(colour: Any) -> str:
    """Black or white, whichever has the higher contrast on a colour (WCAG's relative luminance)."""
    channels = np.asarray(colour[:3])
    linear = np.where(channels <= 0.03928, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return "white" if float(linear @ (0.2126, 0.7152, 0.0722)) < 0.179 else "black"
