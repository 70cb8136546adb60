"""Two numbers against each other: clean and noisy accuracy, slope of the activation and its effect."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dreg_sweep.analysis.figures.labels import free_places, write
from dreg_sweep.analysis.figures.layout import Key, Panels, compose
from dreg_sweep.analysis.figures.names import shortened
from dreg_sweep.analysis.figures.scales import Limits, around, finite, set_x, set_y, tick_room
from dreg_sweep.analysis.figures.style import (
    FAINT,
    GRID,
    INK,
    MARKERS,
    Style,
    bare,
    drawn,
    numbers,
    require,
    styles,
)

FIELD, LARGE_FIELD = (4.2, 3.3), (6.3, 4.6)  # the second fills a page of two columns


@drawn
def clean_vs_noisy(frame: pd.DataFrame, *, title: str) -> Figure:
    """Mean clean against mean noisy accuracy, a mark with its name for each method, bars = one sd to either side.

    frame: index = methods; columns clean, clean_sd, noisy, noisy_sd in %; a sd that is NaN or 0 has no bar. A
    method without a finite mean is named in the note. Where names find no room beside their marks, the field is
    enlarged to the width of a page, and if that is not enough a legend takes the names.
    Raises ValueError for a missing column, no rows, or a method twice.
    """
    require(frame.assign(method=frame.index), ("clean", "clean_sd", "noisy", "noisy_sd"), ("method",))
    centres = np.column_stack([numbers(frame["clean"]), numbers(frame["noisy"])])
    spreads = np.column_stack([numbers(frame["clean_sd"]), numbers(frame["noisy_sd"])])
    spreads[~np.isfinite(spreads)] = 0.0
    there = np.isfinite(centres).all(axis=1)
    said = shortened(frame.index)
    names = [said[name] for name in frame.index[there]]
    absent = [said[name] for name in frame.index[~there]]
    look = styles(frame.index)
    shown = [look[name] for name in frame.index[there]]
    centres, spreads = centres[there], spreads[there]
    note = f"No value: {', '.join(absent)}." if absent else ""
    if spreads.any():
        note = f"Bars: ± sd. {note}".strip()
    limits = [around(finite((centres - spreads)[:, axis], (centres + spreads)[:, axis]), 0.13) for axis in (0, 1)]

    def draw(size: tuple[float, float], keys: Sequence[Key] = ()) -> tuple[Figure, Axes]:
        figure, axes = _field(size, limits, title, "clean accuracy, %", "noisy accuracy, %", keys, note)
        for (x, y), (dx, dy), style in zip(centres, spreads, shown, strict=True):
            axes.errorbar(
                x,
                y,
                xerr=dx or None,
                yerr=dy or None,
                elinewidth=1,
                capsize=2,
                markeredgecolor="white",
                markeredgewidth=0.6,
                **_mark(style),
            )
        return figure, axes

    for size in (FIELD, LARGE_FIELD):
        figure, axes = draw(size)
        places = free_places(axes, names, centres, spreads)
        if places is not None:
            write(axes, names, centres, places)
            return figure
    handles = [Line2D([], [], linestyle="none", **_mark(style)) for style in shown]
    return draw(FIELD, [Key("", handles, names)])[0]


@drawn
def pressure(frame: pd.DataFrame, *, title: str, xlabel: str, ylabel: str) -> Figure:
    """A reduction against the activation's mean squared slope: colour and filling = activation, shape = layer.

    frame: columns activation, layer (int, from 1), slope (mean σ'²), reduction (log ratio), optionally low and
    high, the ends of the reduction's bar (NaN: no bar). Rows without a finite slope and reduction are counted in
    the note.
    Raises ValueError for a missing column, no rows, or a layer that is not a whole number from 1.
    """
    require(frame, ("activation", "layer", "slope", "reduction"))
    layers = numbers(frame["layer"])
    if not (np.isfinite(layers) & (layers >= 1) & (layers == np.round(layers))).all():
        raise ValueError("layer must be a whole number from 1 in every row")
    bounded = {"low", "high"} <= set(frame.columns)
    x, y = numbers(frame["slope"]), numbers(frame["reduction"])
    low, high = (numbers(frame[end]) if bounded else np.full(len(frame), np.nan) for end in ("low", "high"))
    there = np.isfinite(x) & np.isfinite(y)
    absent = int((~there).sum())
    note = f"Not drawn, without a value: {absent} of {len(frame)} points." if absent else ""
    limits = [around(finite(x[there])), around(finite(y[there], low[there], high[there]))]

    activations = list(dict.fromkeys(frame["activation"]))
    look = styles(activations, "activation")
    depths = sorted({int(layer) for layer in layers})
    keys = [
        Key(
            "activation",
            [_handle(look[name].colour, "o", look[name].fill) for name in activations],
            list(shortened(activations).values()),
        ),
        Key(
            "layer", [_handle(FAINT, _shape(depth), "full") for depth in depths], [str(depth) for depth in depths]
        ),
    ]
    figure, axes = _field(FIELD, limits, title, xlabel, ylabel, keys, note)
    if limits[1][0] < 0 < limits[1][1]:
        axes.axhline(0, color=FAINT, linewidth=0.8, zorder=1)
    for place, name in enumerate(frame["activation"]):
        if not there[place]:
            continue
        style, shape = look[name], _shape(int(layers[place]))
        if np.isfinite(low[place]) and np.isfinite(high[place]):
            axes.plot([x[place]] * 2, [low[place], high[place]], color=style.colour, linewidth=1, zorder=2)
        mark = _handle(style.colour, shape, style.fill)
        mark.set_data([x[place]], [y[place]])
        mark.set_zorder(3)
        axes.add_line(mark)
    return figure


def _field(
    size: tuple[float, float],
    limits: Sequence[Limits],
    title: str,
    xlabel: str,
    ylabel: str,
    keys: Sequence[Key],
    note: str,
) -> tuple[Figure, Axes]:
    """The one panel of a scatter plot with its grid."""
    wide, tall = size
    panels = Panels(count=1, columns=1, width=wide, height=tall, left=tick_room(limits[1:], tall), right=0.12)
    figure, (axes,) = compose(panels, title=title, xlabel=xlabel, ylabel=ylabel, keys=keys, note=note)
    set_x(axes, limits[0], wide)
    set_y(axes, limits[1], tall)
    axes.grid(color=GRID, linewidth=0.7)
    bare(axes, "left", "bottom")
    return figure, axes


def _mark(style: Style) -> dict[str, Any]:
    return {"marker": style.marker, "color": style.colour, "markersize": style.size + 1}


def _handle(colour: str, shape: str, fill: Any) -> Line2D:
    """A mark with a dark edge, so that its shape is seen whatever its filling."""
    return Line2D(
        [],
        [],
        linestyle="none",
        marker=shape,
        markersize=9 if shape == "*" else 7,
        fillstyle=fill,
        color=colour,
        markerfacecoloralt="white",
        markeredgecolor=colour if fill == "none" else INK,
        markeredgewidth=1.4 if fill == "none" else 0.7,
    )


def _shape(layer: int) -> str:
    return MARKERS[(layer - 1) % len(MARKERS)]
