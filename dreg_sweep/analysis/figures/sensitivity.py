"""How much hangs on the strength: every method's gain over the baseline on one axis of relative strengths."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dreg_sweep.analysis.figures.layout import LINE, Panels, compose, widest
from dreg_sweep.analysis.figures.log import around_log, log_ticks
from dreg_sweep.analysis.figures.names import shortened
from dreg_sweep.analysis.figures.scales import around_zero, finite, labelled, ticks
from dreg_sweep.analysis.figures.style import FAINT, GRID, Style, bare, drawn, numbers, require, styles

WIDE, TALL = 4.9, 3.4
_MARKS, _NAMES = 0.3, 0.4  # inches from the axes to the marks and the names beside it
_WIDE_RANGE = 8.0  # times the median: from here on an axis that shows the largest difference hides the others
_STEPS = (1, 2, 5)


@drawn
def sensitivity_curves(frame: pd.DataFrame, *, title: str, xlabel: str, ylabel: str, mark: str) -> Figure:
    """A gain over the baseline against relative strengths (log axis), a line with bars for each regularizer.

    frame: columns regularizer, factor (positive), value, low, high; 1 is marked with a line that `mark` names. A
    NaN limit leaves a point without its bar, a NaN value is a gap. Where some values are far larger than most,
    the upright axis is linear around 0 and logarithmic beyond, and its title says so.
    Raises ValueError for a missing column, no rows, a factor that is not positive, or two rows for one point.
    """
    require(frame, ("regularizer", "factor", "value", "low", "high"), ("regularizer", "factor"))
    factors = numbers(frame["factor"])
    if not (np.isfinite(factors).all() and (factors > 0).all()):
        raise ValueError("factor must be a positive number in every row: the axis is logarithmic")
    methods = list(dict.fromkeys(frame["regularizer"]))
    look, said = styles(methods), shortened(methods)
    values = finite(*(numbers(frame[name]) for name in ("value", "low", "high")))
    linear = _linear(finite(numbers(frame["value"])))
    limits = around_zero(values) if linear is None else _beyond(values, linear)
    places, labels = ticks(limits, TALL, upright=True) if linear is None else _ticks(limits, linear)
    across = around_log(factors)
    figure, (axes,) = compose(
        Panels(
            count=1,
            columns=1,
            width=WIDE,
            height=TALL,
            left=widest(labels) + 0.09,
            right=_NAMES + widest(said.values()) + 0.02,
            above=LINE + 0.06,
        ),
        title=title,
        xlabel=xlabel,
        ylabel=ylabel if linear is None else f"{ylabel} (linear within ±{linear:g}, logarithmic beyond)",
    )
    axes.set_xscale("log")
    axes.set_xlim(across)
    axes.set_xticks(*log_ticks(across, WIDE))
    if linear is not None:
        axes.set_yscale("symlog", linthresh=linear, linscale=1.0)
    axes.minorticks_off()
    axes.set_yticks(places, labels)
    axes.set_ylim(limits)
    axes.grid(axis="y", color=GRID, linewidth=0.7)
    axes.axhline(0, color=FAINT, linewidth=1.0, zorder=1.4, gid="baseline")
    axes.axvline(1, color=FAINT, linewidth=1.0, linestyle=(0, (4, 2)), zorder=1.4, gid="fixed")
    axes.annotate(mark, (1, 1), (0, 4), ("data", "axes fraction"), "offset points", ha="center", color=FAINT)
    ends: dict[Any, tuple[float, float]] = {}
    for rank, name in enumerate(methods):
        line = frame[(frame["regularizer"] == name).to_numpy()].sort_values("factor")
        end = _curve(axes, line, look[name], name, 3 + (len(methods) - rank) / len(methods))
        if end is not None:
            ends[name] = end
    bare(axes, "left", "bottom")
    _name(axes, ends, said, look)
    return figure


def _curve(axes: Axes, line: pd.DataFrame, style: Style, name: Any, order: float) -> tuple[float, float] | None:
    """Draw a method; its last point, None without any."""
    x, y, low, high = (numbers(line[column]) for column in ("factor", "value", "low", "high"))
    axes.vlines(x, low, high, color=style.colour, alpha=0.5, linewidth=1.0, zorder=order - 1.5)
    axes.plot(
        x,
        y,
        label=str(name),
        color=style.colour,
        linestyle=style.dashes,
        linewidth=1.3,
        marker=style.marker,
        markersize=style.size - 1,
        markeredgecolor="white",
        markeredgewidth=0.5,
        zorder=order,
    )
    there = np.flatnonzero(np.isfinite(y))
    return (float(x[there[-1]]), float(y[there[-1]])) if there.size else None


def _name(
    axes: Axes, ends: Mapping[Any, tuple[float, float]], said: Mapping[Any, str], look: Mapping[Any, Style]
) -> None:
    """Write each name beside the axes, at the height of its line's end or as near as the others leave room."""
    names = sorted(ends, key=lambda name: ends[name][1])
    wanted = np.array([axes.transData.transform(ends[name])[1] for name in names]).reshape(-1)
    frame = axes.get_window_extent()
    inches = (wanted - frame.y0) / axes.figure.dpi
    for name, height in zip(names, _spread(inches, LINE, TALL), strict=True):
        style, mark = look[name], (1 + _MARKS / WIDE, height / TALL)
        axes.annotate(
            said[name],
            (1 + _NAMES / WIDE, height / TALL),
            xycoords="axes fraction",
            ha="left",
            va="center",
            annotation_clip=False,
        )
        axes.annotate(
            "",
            ends[name],
            mark,
            textcoords="axes fraction",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": FAINT, "linestyle": ":", "linewidth": 0.7, "shrinkB": 4},
        )
        axes.plot(
            *mark,
            transform=axes.transAxes,
            clip_on=False,
            color=style.colour,
            marker=style.marker,
            markersize=style.size - 1,
            markeredgecolor="white",
            markeredgewidth=0.5,
        )


def _spread(heights: np.ndarray, apart: float, room: float) -> list[float]:
    """Ascending heights moved as little as keeps them `apart` and, where they all fit, within 0..room."""
    groups: list[list[float]] = []  # wanted heights of names that touch, which stand around their mean

    def start(group: list[float]) -> float:
        first = sum(group) / len(group) - apart * (len(group) - 1) / 2
        return max(0.0, min(first, room - apart * (len(group) - 1)))

    for height in heights.tolist():
        groups.append([height])
        while len(groups) > 1 and start(groups[-1]) < start(groups[-2]) + apart * len(groups[-2]):
            last = groups.pop()
            groups[-1] += last
    return [start(group) + apart * place for group in groups for place in range(len(group))]


def _linear(values: np.ndarray) -> float | None:
    """Half the linear part of the upright axis, a round number; None where all of it can be.

    It holds the largest gain, for it is gains that a reader compares, and half of all values.
    """
    sizes = np.abs(values[values != 0])
    if not sizes.size or sizes.max() <= _WIDE_RANGE * np.median(sizes):
        return None
    held = max(float(np.median(sizes)), float(values.max()))
    power = 10.0 ** np.floor(np.log10(held))
    return float(min(step * power for step in (*_STEPS, 10) if step * power >= held * (1 - 1e-9)))


def _beyond(values: np.ndarray, linear: float) -> tuple[float, float]:
    """Limits of an axis that is logarithmic beyond ± `linear`, all of which they hold."""
    return min(1.3 * float(values.min()), -linear), max(1.3 * float(values.max()), linear)


def _ticks(limits: tuple[float, float], linear: float) -> tuple[list[float], list[str]]:
    """0, ± `linear` and its half, beyond it 1, 2, 5 of each decade, or powers of ten where those are too many."""
    decades = np.ceil(np.log10(max(map(abs, limits)) / linear)) + 1
    sizes = [step * 10.0**power for power in range(-12, 13) for step in _STEPS]
    if decades > 3:
        sizes = [10.0**power for power in range(-12, 13)]
    beyond = sorted({linear, *(size for size in sizes if size > linear * 1.001)})
    sizes = [linear / 2, *beyond]
    places = [
        place for place in [*(-size for size in reversed(sizes)), 0.0, *sizes] if limits[0] <= place <= limits[1]
    ]
    return places, [labelled([place])[0] for place in places]
