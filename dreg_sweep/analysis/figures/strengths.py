"""A measure against the strength of each regularizer."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from dreg_sweep.analysis.figures.layout import (
    LINE,
    Key,
    Panels,
    above,
    columns,
    compose,
    lines,
    text_width,
    widest,
    wrap,
)
from dreg_sweep.analysis.figures.log import around_log, log_ticks
from dreg_sweep.analysis.figures.names import shortened
from dreg_sweep.analysis.figures.scales import CLEARANCE, around, differ, finite, shared, ticks
from dreg_sweep.analysis.figures.style import FAINT, GRID, Style, bare, drawn, numbers, require, styles

TALL, NARROWEST, WIDEST = 1.9, 1.9, 4.2
_MARGIN = 0.05  # of the axis, on either side


@drawn
def strength_curves(
    frame: pd.DataFrame, bands: pd.DataFrame, *, baseline: str, title: str, ylabel: str, log: bool = False
) -> Figure:
    """A measure over the strength (log axis), a panel a dataset, a line a regularizer, the baseline as a band.

    frame: columns panel, regularizer, strength (not negative), mean, low, high; the strength 0 stands at the left
    edge, apart from the others. bands: columns panel, value, low, high, at most one row a panel: the baseline, a
    dashed line with its interval. NaN limits leave a point without its interval; a point without a finite mean is
    a gap, and a strength that is no number is left out. Panels have one scale unless that squeezes one of them.
    log: the upright axis is logarithmic as well, for a measure all of whose values are above 0.
    Raises ValueError for a missing column, no rows, no strength at all, a negative one, or two rows for one point.
    """
    require(
        frame, ("panel", "regularizer", "strength", "mean", "low", "high"), ("panel", "regularizer", "strength")
    )
    frame = frame[np.isfinite(numbers(frame["strength"]))]
    if frame.empty or (numbers(frame["strength"]) < 0).any():
        raise ValueError("strength must be a number that is not negative: the axis is logarithmic")
    kinds, methods = list(dict.fromkeys(frame["panel"])), list(dict.fromkeys(frame["regularizer"]))
    inside = [frame[(frame["panel"] == kind).to_numpy()] for kind in kinds]
    under = [bands[(bands["panel"] == kind).to_numpy()] for kind in kinds]
    limits = shared(
        [
            (around_log if log else around)(
                finite(
                    *(own[name] for name in ("mean", "low", "high")), *(band[n] for n in ("value", "low", "high"))
                )
            )
            for own, band in zip(inside, under, strict=True)
        ]
    )
    scale = [(log_ticks if log else ticks)(one, TALL, upright=True) for one in limits]
    left = widest(name for _, names in scale for name in names) + 0.09
    between = left + 0.15 if differ(limits) else 0.3
    side_by_side, room = columns(len(kinds), left=left + 0.2, narrowest=NARROWEST, between=between)
    room = min(room, WIDEST)
    heads = [wrap(str(kind), room, weight="bold") for kind in kinds]
    panels = Panels(
        count=len(kinds),
        columns=side_by_side,
        width=room,
        height=TALL,
        left=left,
        right=0.08,
        between=between,
        above=lines(heads) * LINE + 0.08,
        below=0.24,
    )
    look, said = styles([baseline, *methods]), shortened([baseline, *methods])
    handles: list[Line2D | Patch] = [_line(look[name]) for name in methods]
    labels = [said[name] for name in methods]
    if len(bands):
        handles.append(Line2D([], [], color=FAINT, linestyle=(0, (4, 2)), linewidth=1.1))
        labels.append(f"{said[baseline]} (baseline)")
    figure, axes = compose(
        panels,
        title=title,
        xlabel="strength (log scale)",
        ylabel=f"{ylabel} (log scale)" if log else ylabel,
        keys=[Key("", handles, labels)],
        note="The panels' scales differ." if differ(limits) else "",
    )
    place = _Places(numbers(frame["strength"]))
    for number, (panel, own, band) in enumerate(zip(axes, inside, under, strict=True)):
        above(panel, heads[number], weight="bold")
        panel.set_yscale("log" if log else "linear")
        panel.set_yticks(*scale[number])
        panel.minorticks_off()
        panel.set_ylim(limits[number])
        panel.tick_params(axis="y", labelleft=number % side_by_side == 0 or differ(limits))
        panel.grid(axis="y", color=GRID, linewidth=0.7)
        place.ticks(panel, room)
        for row in band.itertuples():
            panel.axhline(row.value, color=FAINT, linestyle=(0, (4, 2)), linewidth=1.1, zorder=1.5, gid="baseline")
            if np.isfinite(row.low) and np.isfinite(row.high):
                panel.axhspan(row.low, row.high, color="0.86", linewidth=0, zorder=1.2)
        for rank, name in enumerate(methods):
            line = own[(own["regularizer"] == name).to_numpy()].sort_values("strength")
            _curve(panel, place, line, look[name], name, 3 + (len(methods) - rank) / len(methods))
        bare(panel, "left", "bottom")
    return figure


def _curve(axes: Axes, place: "_Places", line: pd.DataFrame, style: Style, name: str, order: float) -> None:
    strengths, y = numbers(line["strength"]), numbers(line["mean"])
    low, high = numbers(line["low"]), numbers(line["high"])
    x = place.of(strengths)
    axes.vlines(x, low, high, color=style.colour, linewidth=1.0, alpha=0.8, zorder=order - 0.5)
    log = strengths > 0
    axes.plot(x[log], y[log], color=style.colour, linestyle=style.dashes, linewidth=1.2, zorder=order)
    axes.plot(
        x,
        y,
        label=str(name),
        linestyle="none",
        color=style.colour,
        marker=style.marker,
        markersize=style.size - 1,
        markeredgecolor="white",
        markeredgewidth=0.5,
        zorder=order,
    )


def _line(style: Style) -> Line2D:
    return Line2D(
        [],
        [],
        color=style.colour,
        linestyle=style.dashes,
        linewidth=1.2,
        marker=style.marker,
        markersize=style.size - 0.5,
        markeredgecolor="white",
        markeredgewidth=0.5,
    )


class _Places:
    """Positions on the axis: the decimal logarithm of a strength, and for 0 a place before the least of them."""

    def __init__(self, strengths: np.ndarray) -> None:
        logs = np.log10(strengths[strengths > 0]) if (strengths > 0).any() else np.zeros(1)
        self.low, self.high = float(logs.min()), float(logs.max())
        span = max(self.high - self.low, 1.0)
        self.zero = self.low - max(0.5, 0.12 * span) if (strengths == 0).any() else None

    def of(self, strengths: np.ndarray) -> np.ndarray:
        """Where strengths stand."""
        with np.errstate(divide="ignore"):
            logs = np.log10(strengths)
        return np.where(strengths > 0, logs, self.low if self.zero is None else self.zero)

    def ticks(self, axes: Axes, room: float) -> None:
        """Powers of ten as far as they have room, and 0."""
        start = self.low if self.zero is None else self.zero
        pad = _MARGIN * max(self.high - start, 1.0)
        axes.set_xlim(start - pad, self.high + pad)
        inch = room / (self.high - start + 2 * pad)
        powers = np.arange(np.ceil(self.low - pad - 1e-9), np.floor(self.high + pad + 1e-9) + 1)
        if not len(powers):  # all strengths stand between two of them
            powers = np.array([self.low])
        names = [f"{10.0**power:g}" for power in powers]
        needed = max(map(text_width, names)) + CLEARANCE
        every = max(1, int(np.ceil(needed / inch))) if len(powers) > 1 else 1
        shown = [name if number % every == 0 else "" for number, name in enumerate(names)]
        zero = [] if self.zero is None else [self.zero]
        if zero and (powers[0] - zero[0]) * inch < needed / 2 + 0.1:
            shown[0] = ""
        axes.set_xticks([*zero, *powers], ["0"] * len(zero) + shown)
        if zero:
            axes.axvline((zero[0] + self.low) / 2, color=GRID, linewidth=0.7, linestyle=(0, (2, 2)), zorder=1)
