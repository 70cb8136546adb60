"""Gradients at, near and off the training points: a row a method."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dreg_sweep.analysis.figures.layout import LINE, Key, Panels, above, columns, compose, lines, widest, wrap
from dreg_sweep.analysis.figures.log import around_log, log_ticks, worth_showing
from dreg_sweep.analysis.figures.names import shortened
from dreg_sweep.analysis.figures.scales import Limits, finite
from dreg_sweep.analysis.figures.style import COLOURS, GRID, bare, drawn, numbers, require

ROW = 0.3
SPREAD = 0.2  # of a row: how far the first and the last place stand from its middle
BELOW = "Arrows at the left edge: values too small for the axis, or 0."
_COLOURS = (COLOURS[0], COLOURS[1], COLOURS[6])
_MARKERS = ("o", "D", "^")


@drawn
def gradients_by_place(frame: pd.DataFrame, *, title: str, note: str = "") -> Figure:
    """A gradient's norm at several places on a logarithmic axis, a panel a measure, a row a method.

    frame: columns panel, method, place (three at most), value (0 or above), low, high (an interval, drawn as a
    line; NaN: none). Values of 0, and those far below the others, are arrows at the left edge. Panels, methods and
    places appear in the frame's order; a row's places are joined by a line.
    Raises ValueError for a missing column, no rows, two rows for one point, or more than three places.
    """
    require(frame, ("panel", "method", "place", "value", "low", "high"), ("panel", "method", "place"))
    kinds, methods, places = (list(dict.fromkeys(frame[name])) for name in ("panel", "method", "place"))
    if len(places) > len(_MARKERS):
        raise ValueError(f"{len(places)} places; at most {len(_MARKERS)} can be told apart")
    inside = [frame[(frame["panel"] == kind).to_numpy()] for kind in kinds]
    limits = [_limits(own) for own in inside]

    said = shortened(methods)
    left, between = widest(said.values()) + 0.12, 0.3
    side_by_side, room = columns(len(kinds), left=left, right=0.1, narrowest=2.0, between=between)
    room = min(room, 3.6)
    heads = [wrap(str(kind), room, weight="bold") for kind in kinds]
    panels = Panels(
        count=len(kinds),
        columns=side_by_side,
        width=room,
        height=ROW * len(methods),
        left=left,
        right=0.1,
        between=between,
        above=lines(heads) * LINE + 0.08,
    )
    handles = [
        Line2D([], [], linestyle="none", marker=marker, color=colour, markersize=5, markeredgecolor="white")
        for marker, colour in zip(_MARKERS, _COLOURS, strict=True)
    ]
    cut = any((numbers(own["value"]) < low).any() for own, (low, _) in zip(inside, limits, strict=True))
    figure, axes = compose(
        panels,
        title=title,
        keys=[Key("", handles[: len(places)], [str(place) for place in places])],
        note=" ".join(filter(None, [note, BELOW if cut else ""])),
    )
    offsets = np.linspace(-SPREAD, SPREAD, len(places)) if len(places) > 1 else np.zeros(1)
    rows = {name: float(row) for row, name in enumerate(methods)}
    for place, (panel, own) in enumerate(zip(axes, inside, strict=True)):
        above(panel, heads[place], weight="bold")
        panel.set_xscale("log")
        panel.set_xlim(limits[place])
        panel.minorticks_off()
        panel.set_xticks(*log_ticks(limits[place], room))
        panel.set_ylim(len(methods) - 0.5, -0.5)
        panel.grid(axis="x", color=GRID, linewidth=0.7)
        for row in range(1, len(methods)):
            panel.axhline(row - 0.5, color=GRID, linewidth=0.7, zorder=1)
        y = np.array(
            [
                rows[method] + offsets[places.index(spot)]
                for method, spot in zip(own["method"], own["place"], strict=True)
            ]
        )
        value, low, high = (numbers(own[name]) for name in ("value", "low", "high"))
        edge, end = limits[place]
        inside_edge = edge * (end / edge) ** (0.05 / room)
        tiny = value < edge
        value, low, high = (np.where(tiny, np.nan, column) for column in (value, low, high))
        for method in methods:
            mine = (own["method"] == method).to_numpy()
            panel.plot(value[mine], y[mine], color="0.75", linewidth=0.8, zorder=1.5)
        for spot, marker, colour in zip(places, _MARKERS, _COLOURS, strict=False):
            mine = (own["place"] == spot).to_numpy()
            panel.hlines(y[mine], low[mine], high[mine], color=colour, linewidth=1.2, zorder=2)
            panel.plot(
                value[mine],
                y[mine],
                linestyle="none",
                marker=marker,
                color=colour,
                markersize=5,
                markeredgecolor="white",
                markeredgewidth=0.5,
                label=str(spot),
                zorder=3,
            )
            out = mine & tiny
            panel.plot(np.full(out.sum(), inside_edge), y[out], "<", color=colour, markersize=4.5, gid="below")
        panel.set_yticks(list(rows.values()), list(said.values()))
        panel.tick_params(axis="y", length=0, labelleft=place % side_by_side == 0)
        bare(panel, "bottom")
    return figure


def _limits(own: pd.DataFrame) -> Limits:
    """Those of the values worth showing and of their intervals; 0.1 to 1 where there is none."""
    shown = worth_showing(numbers(own["value"]))
    if not shown.size:
        return 0.1, 1.0
    inside = own[(numbers(own["value"]) >= shown.min())]
    return around_log(finite(numbers(inside["value"]), numbers(inside["low"]), numbers(inside["high"])))
