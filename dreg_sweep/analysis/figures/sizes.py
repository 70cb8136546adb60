"""A measure against the training size, a line a regularizer."""

from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dreg_sweep.analysis.figures.layout import Key, Panels, compose, text_width, widest
from dreg_sweep.analysis.figures.names import shortened
from dreg_sweep.analysis.figures.scales import CLEARANCE, around, finite, set_y, tick_room
from dreg_sweep.analysis.figures.style import GRID, bare, drawn, numbers, require, styles

WIDE, TALL = 5.2, 3.0
_APART = 0.045  # inches between the marks of two regularizers at one size


@drawn
def size_curves(frame: pd.DataFrame, *, title: str, ylabel: str) -> Figure:
    """A measure over the number of training rows (log scale), a line with bars a regularizer.

    frame: columns method, train_size (positive), mean, low, high; methods appear in the frame's order. The marks
    of one size stand side by side where there are bars, so that these can be told apart. A NaN limit leaves a
    point without its bar, a NaN mean is a gap.
    Raises ValueError for a missing column, no rows, a size that is not positive, or two rows for one method and
    size.
    """
    require(frame, ("method", "train_size", "mean", "low", "high"), ("method", "train_size"))
    sizes = np.unique(numbers(frame["train_size"]))
    if not (np.isfinite(sizes).all() and (sizes > 0).all()):
        raise ValueError("train_size must be a positive number in every row: the axis is logarithmic")
    methods = list(dict.fromkeys(frame["method"]))
    limits = around(finite(*(numbers(frame[name]) for name in ("mean", "low", "high"))))
    names = [f"{size:,.0f}" for size in sizes]
    logs = np.log(sizes)
    span = float(np.ptp(logs)) or 1.0
    apart_by = _APART if finite(frame["low"], frame["high"]).size else 0.0
    spread = apart_by * (len(methods) - 1)
    scale = (WIDE - spread - 0.3) / span
    apart = np.diff(logs) * scale
    wide = np.array([text_width(a) + text_width(b) for a, b in pairwise(names)]) / 2
    upright = bool((apart < wide + CLEARANCE).any())
    look, said = styles(methods), shortened(methods)
    handles = [
        Line2D(
            [],
            [],
            color=look[name].colour,
            linestyle=look[name].dashes,
            linewidth=1.2,
            marker=look[name].marker,
            markersize=look[name].size - 0.5,
            markeredgecolor="white",
            markeredgewidth=0.5,
        )
        for name in methods
    ]
    panels = Panels(
        count=1,
        columns=1,
        width=WIDE,
        height=TALL,
        left=tick_room([limits], TALL),
        right=0.05,
        below=(widest(names) if upright else 0.12) + 0.1,
    )
    figure, (axes,) = compose(
        panels,
        title=title,
        xlabel="training rows (log scale)",
        ylabel=ylabel,
        keys=[Key("", handles, list(said.values()))],
    )
    axes.set_xticks(logs, names, rotation=90 if upright else 0)
    margin = (spread / 2 + 0.15) / scale
    axes.set_xlim(logs[0] - margin, logs[-1] + margin)
    set_y(axes, limits, TALL)
    axes.grid(axis="y", color=GRID, linewidth=0.7)
    offsets = (np.arange(len(methods)) - (len(methods) - 1) / 2) * apart_by / scale
    for name, offset in zip(methods, offsets, strict=True):
        line = frame[(frame["method"] == name).to_numpy()].sort_values("train_size")
        x = np.log(numbers(line["train_size"])) + offset
        y, low, high = (numbers(line[column]) for column in ("mean", "low", "high"))
        style = look[name]
        axes.vlines(x, low, high, color=style.colour, linewidth=1.1, zorder=2)
        axes.plot(
            x,
            y,
            label=str(name),
            color=style.colour,
            linestyle=style.dashes,
            linewidth=1.1,
            marker=style.marker,
            markersize=style.size - 1,
            markeredgecolor="white",
            markeredgewidth=0.5,
            zorder=3,
        )
    bare(axes, "left", "bottom")
    return figure
