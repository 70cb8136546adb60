"""Lines of every method, a panel a kind: accuracy over the severity of a corruption, and courses of training."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dreg_sweep.analysis.figures.layout import LINE, Key, Panels, above, columns, compose, lines, text_width, wrap
from dreg_sweep.analysis.figures.log import around_log, log_ticks, worth_showing
from dreg_sweep.analysis.figures.names import shortened
from dreg_sweep.analysis.figures.scales import (
    CLEARANCE,
    around,
    differ,
    finite,
    labelled,
    set_x,
    set_y,
    shared,
    tick_room,
    ticks,
)
from dreg_sweep.analysis.figures.style import (
    COLOURS,
    DASHES,
    FILLS,
    GRID,
    MARKERS,
    Style,
    bare,
    drawn,
    numbers,
    require,
    styles,
)

TALL, NARROWEST = 1.9, 1.7
ALONE = 5.2  # width of a course without others beside it


@drawn
def noise_curves(frame: pd.DataFrame, *, title: str) -> Figure:
    """Accuracy against severity, a panel for each kind of corruption, a line for each method.

    frame: columns panel (such as "vision: gaussian noise"), method, severity (number, 0 = clean), accuracy (%),
    sd (%, drawn as a band; NaN: none). Panels and methods appear in the frame's order. Severities that are not
    equally spaced, such as geometric ones, stand at equal distances with their true values written below. A NaN
    accuracy is a gap in its line; a method without any is named in the note.
    Raises ValueError for a missing column, no rows, a severity that is no number, or two rows for one point.
    """
    require(frame, ("panel", "method", "severity", "accuracy", "sd"), ("panel", "method", "severity"))
    if not np.isfinite(numbers(frame["severity"])).all():
        raise ValueError("severity must be a number in every row")
    kinds, methods = list(dict.fromkeys(frame["panel"])), list(dict.fromkeys(frame["method"]))
    inside = [frame[(frame["panel"] == kind).to_numpy()] for kind in kinds]
    limits = []
    for own in inside:
        accuracy, sd = numbers(own["accuracy"]), np.nan_to_num(numbers(own["sd"]))
        limits.append(around(finite(accuracy - sd, accuracy + sd)))
    limits = shared(limits)

    left = tick_room(limits, TALL)
    between = left + 0.15
    side_by_side, room = columns(len(kinds), left=left + 0.2, narrowest=NARROWEST, between=between)
    room = min(room, 3.2)
    heads = [wrap(str(kind), room, weight="bold") for kind in kinds]
    panels = Panels(
        count=len(kinds),
        columns=side_by_side,
        width=room,
        height=TALL,
        left=left,
        right=0.05,
        between=between,
        above=lines(heads) * LINE + 0.08,
    )
    look, said = styles(methods), shortened(methods)
    accuracies = numbers(frame["accuracy"])
    empty = [
        said[name] for name in methods if not np.isfinite(accuracies[(frame["method"] == name).to_numpy()]).any()
    ]
    notes = ["Bands: ± sd." if np.isfinite(numbers(frame["sd"])).any() else ""]
    notes.append("The panels' scales differ." if differ(limits) else "")
    notes.append(f"No value: {', '.join(empty)}." if empty else "")
    figure, axes = compose(
        panels,
        title=title,
        xlabel="severity (0 = clean)",
        ylabel="accuracy, %",
        keys=[_key(methods, styles(methods))],
        note=" ".join(filter(None, notes)),
    )
    for place, (panel, own) in enumerate(zip(axes, inside, strict=True)):
        severities = np.unique(numbers(own["severity"]))
        at, names = _positions(severities, room)
        above(panel, heads[place], weight="bold")
        panel.set_xticks(at, names)
        panel.set_xlim(*around(at))
        set_y(panel, limits[place], TALL)
        panel.grid(axis="y", color=GRID, linewidth=0.7)
        for rank, name in enumerate(methods):
            line = own[(own["method"] == name).to_numpy()].sort_values("severity")
            x = at[np.searchsorted(severities, numbers(line["severity"]))]
            y, sd = numbers(line["accuracy"]), numbers(line["sd"])
            _line(panel, name, look[name], rank / len(methods), x, y, y - sd, y + sd)
        bare(panel, "left", "bottom")
    return figure


@drawn
def courses(
    frame: pd.DataFrame,
    *,
    title: str,
    ylabel: str,
    note: str,
    log: bool = False,
    graded: bool = False,
    per_row: int | None = None,
) -> Figure:
    """A measure against the optimizer's steps, a panel for each kind, a line for each method.

    frame: columns panel, method, step, value (NaN: not drawn), low, high (drawn as a band; NaN: none). log: a
    logarithmic axis, for positive values, cut where some are far below the others, which the note then says.
    graded: methods are steps of one thing, such as strengths, in ascending order and coloured from pale to dark
    behind the first, which is black and dotted. per_row: panels side by side, by default as many as fit. Panels
    and methods appear in the frame's order.
    Raises ValueError for a missing column, no rows, or two rows for one point.
    """
    require(frame, ("panel", "method", "step", "value", "low", "high"), ("panel", "method", "step"))
    kinds, methods = list(dict.fromkeys(frame["panel"])), list(dict.fromkeys(frame["method"]))
    if graded:
        methods[1:] = sorted(methods[1:], key=_step)
    inside = [frame[(frame["panel"] == kind).to_numpy()] for kind in kinds]
    bounds = [finite(*(numbers(own[name]) for name in ("value", "low", "high"))) for own in inside]
    tall = TALL if len(kinds) > 1 else 1.5 * TALL
    if log:
        shown = worth_showing(numbers(frame["value"]))
        within = [part[part >= shown.min(initial=np.inf)] for part in bounds]
        limits = [around_log(np.concatenate(within))] * len(kinds)
        marks = [log_ticks(limits[0], tall, upright=True)] * len(kinds)
    else:
        limits = shared([around(own) for own in bounds])
        marks = [ticks(low_high, tall, upright=True) for low_high in limits]
    left = max(text_width(label) for _, labels in marks for label in labels) + 0.09
    between = left + 0.15
    side_by_side, room = columns(len(kinds), left=left + 0.2, narrowest=NARROWEST, between=between)
    side_by_side = min(side_by_side, per_row or side_by_side)
    room = min(room, 3.2 if len(kinds) > 1 else ALONE)
    heads = [wrap(str(kind), room, weight="bold") for kind in kinds]
    panels = Panels(
        count=len(kinds),
        columns=side_by_side,
        width=room,
        height=tall,
        left=left,
        right=0.15,
        between=between,
        above=lines(heads) * LINE + 0.08,
    )
    look = _graded(methods) if graded else styles(methods)
    notes = [note, "The panels' scales differ." if differ(limits) else ""]
    below = log and bool((numbers(frame["value"]) < limits[0][0]).any())
    notes.append(f"Values below {limits[0][0]:.1g} are not drawn." if below else "")
    figure, axes = compose(
        panels,
        title=title,
        xlabel="step",
        ylabel=ylabel,
        keys=[_key(methods, look)],
        note=" ".join(filter(None, notes)),
    )
    for place, (panel, own) in enumerate(zip(axes, inside, strict=True)):
        above(panel, heads[place], weight="bold")
        if log:
            panel.set_yscale("log")
            panel.minorticks_off()
        panel.set_yticks(*marks[place])
        panel.set_ylim(limits[place])
        set_x(panel, around(numbers(own["step"])), room, most=4)
        panel.grid(axis="y", color=GRID, linewidth=0.7)
        for rank, name in enumerate(methods):
            line = own[(own["method"] == name).to_numpy()].sort_values("step")
            x, y, low, high = (numbers(line[column]) for column in ("step", "value", "low", "high"))
            _line(panel, name, look[name], rank / len(methods), x, y, low, high)
        bare(panel, "left", "bottom")
    return figure


def _step(name: Any) -> float:
    """A step's number; what is none comes last."""
    try:
        return float(name)
    except ValueError:
        return np.inf


def _graded(methods: list[Any]) -> dict[Any, Style]:
    """Styles of the steps of one thing, pale to dark; the first is black and dotted."""
    first, *others = methods
    shades = colormaps["viridis_r"](np.linspace(0.1, 1.0, max(1, len(others))))
    found = {first: Style(COLOURS[0], MARKERS[0], DASHES[0], FILLS[0])}
    for place, (name, shade) in enumerate(zip(others, shades, strict=False)):
        found[name] = Style(to_hex(shade), MARKERS[(place + 1) % len(MARKERS)], "solid", FILLS[0])
    return found


def _key(methods: list[Any], look: Mapping[Any, Style]) -> Key:
    """The legend of the methods' lines."""
    handles = [
        Line2D(
            [], [], color=look[name].colour, linestyle=look[name].dashes, linewidth=1.3, marker=look[name].marker
        )
        for name in methods
    ]
    for handle, name in zip(handles, methods, strict=True):
        handle.set(markersize=look[name].size - 0.5, markeredgecolor="white", markeredgewidth=0.5)
    return Key("", handles, list(shortened(methods).values()))


def _line(
    panel: Axes,
    name: Any,
    style: Style,
    rank: float,
    x: np.ndarray,
    y: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
) -> None:
    """A method's line with its band. rank: 0 for the first method, towards 1 for the last.

    Equal lines lie on each other: the dashed and smaller ones on top let those below be seen.
    """
    panel.fill_between(x, low, high, color=style.colour, alpha=0.13, linewidth=0)
    panel.plot(
        x,
        y,
        label=str(name),
        color=style.colour,
        linestyle=style.dashes,
        linewidth=1.3,
        marker=style.marker,
        markersize=style.size - 1 + 1.5 * rank,
        markeredgecolor="white",
        markeredgewidth=0.5,
        zorder=4 - rank,
    )


def _positions(severities: np.ndarray, room: float) -> tuple[np.ndarray, list[str]]:
    """Where the severities stand on an axis of `room` inches, and their tick labels.

    At their values if these are equally spaced, else at their ranks; with more labels than the axis has room for,
    every second, third ... is written, and all keep their ticks.
    """
    steps = np.diff(severities)
    even = len(steps) < 2 or np.allclose(steps, steps[0], rtol=0.01)
    at = severities if even else np.arange(len(severities), dtype=float)
    names = [labelled([severity])[0] for severity in severities]
    low, high = around(at)
    step = room / (high - low) * (at[1] - at[0]) if len(at) > 1 else room
    every = int(np.ceil((max(map(text_width, names)) + CLEARANCE) / step))
    return at, [name if place % every == 0 else "" for place, name in enumerate(names)]
