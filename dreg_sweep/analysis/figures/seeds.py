"""Every seed of every method."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from dreg_sweep.analysis.figures.layout import Panels, compose, widest
from dreg_sweep.analysis.figures.names import shortened
from dreg_sweep.analysis.figures.scales import around, finite, set_x
from dreg_sweep.analysis.figures.style import FAINT, GRID, INK, bare, drawn, numbers, require, styles

ROW, ROOM = 0.36, 3.6
SPREAD = 0.27  # of a row: how far the outermost seeds stand from its middle


@drawn
def seed_strip(frame: pd.DataFrame, *, title: str, xlabel: str) -> Figure:
    """The value of each seed, a row a method: a mark a seed, a bar at the mean of the finite values.

    frame: columns method, seed, value (the unit is for xlabel to say); methods and seeds appear in the frame's
    order. A seed has the same height within every row, and a faint line joins its marks from row to row. A seed
    without a finite value breaks its line, and the row says how many seeds it has.
    Raises ValueError for a missing column, no rows, or two rows for one method and seed.
    """
    require(frame, ("method", "seed", "value"), ("method", "seed"))
    methods, seeds = list(dict.fromkeys(frame["method"])), list(dict.fromkeys(frame["seed"]))
    values = np.full((len(methods), len(seeds)), np.nan)
    rows = {name: place for place, name in enumerate(methods)}
    columns = {seed: place for place, seed in enumerate(seeds)}
    for method, seed, value in zip(frame["method"], frame["seed"], numbers(frame["value"]), strict=True):
        values[rows[method], columns[seed]] = value if np.isfinite(value) else np.nan

    counts = np.isfinite(values).sum(axis=1)
    beside = [f"{count} of {len(seeds)}" if count < len(seeds) else "" for count in counts]
    said = shortened(methods)
    left = widest(said.values()) + 0.12
    panels = Panels(
        count=1,
        columns=1,
        width=ROOM,
        height=ROW * len(methods),
        left=left,
        right=max(widest(beside) + 0.08, 0.12),
    )
    many = len(seeds) > 1
    notes = [f"Marks: {len(seeds)} seeds, each joined by a line; bars: means." if many else "One seed."]
    notes.append("At the right: seeds with a value." if any(beside) else "")
    figure, (axes,) = compose(panels, title=title, xlabel=xlabel, note=" ".join(filter(None, notes)))

    middle = np.arange(len(methods), dtype=float)
    offsets = np.linspace(-SPREAD, SPREAD, len(seeds)) if many else np.zeros(1)
    set_x(axes, around(finite(values)), ROOM)
    axes.set_ylim(len(methods) - 0.5, -0.5)
    axes.grid(axis="x", color=GRID, linewidth=0.7)
    for row in middle[1:]:
        axes.axhline(row - 0.5, color=GRID, linewidth=0.7, zorder=1)
    crowd = min(1.0, 14 / len(seeds))
    if many:
        for place, offset in enumerate(offsets):
            axes.plot(
                values[:, place], middle + offset, color="0.8", linewidth=0.3 + 0.3 * crowd, zorder=1.5, gid="seed"
            )
    look = styles(methods)
    for row, name in enumerate(methods):
        style = look[name]
        if counts[row] and many:
            mean = float(np.nanmean(values[row]))
            (bar,) = axes.plot([mean] * 2, [row - 0.38, row + 0.38], color=INK, linewidth=1.8, gid="mean")
            bar.set_zorder(4 if crowd < 1 else 2)  # few marks are all seen over the bar, many would hide it
            bar.set_path_effects([withStroke(linewidth=3.2, foreground="white")])
        axes.plot(
            values[row],
            row + offsets,
            linestyle="none",
            marker=style.marker,
            markersize=style.size * (0.6 + 0.15 * crowd),
            color=style.colour,
            markeredgecolor="white",
            markeredgewidth=0.3,
            label=str(name),
            zorder=3,
        )
        if beside[row]:
            axes.annotate(
                beside[row], (1, row), (3, 0), ("axes fraction", "data"), "offset points", color=FAINT, va="center"
            )
    axes.set_yticks(middle, list(said.values()))
    axes.tick_params(axis="y", length=0)
    bare(axes, "bottom")
    return figure
