"""Accuracy over the severity of a corruption."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dreg_sweep.analysis.figures.layout import LINE, Key, Panels, above, columns, compose, lines, text_width, wrap
from dreg_sweep.analysis.figures.names import shortened
from dreg_sweep.analysis.figures.scales import (
    CLEARANCE,
    around,
    differ,
    finite,
    labelled,
    set_y,
    shared,
    tick_room,
)
from dreg_sweep.analysis.figures.style import GRID, bare, drawn, numbers, require, styles

TALL, NARROWEST = 1.9, 1.7


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
    handles = [
        Line2D(
            [], [], color=look[name].colour, linestyle=look[name].dashes, linewidth=1.3, marker=look[name].marker
        )
        for name in methods
    ]
    for handle, name in zip(handles, methods, strict=True):
        handle.set(markersize=look[name].size - 0.5, markeredgecolor="white", markeredgewidth=0.5)
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
        keys=[Key("", handles, list(said.values()))],
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
            style = look[name]
            # Equal lines lie on each other: the dashed and smaller ones on top let those below be seen.
            over = 3 + (len(methods) - rank) / len(methods)
            panel.fill_between(x, y - sd, y + sd, color=style.colour, alpha=0.13, linewidth=0)
            panel.plot(
                x,
                y,
                label=str(name),
                color=style.colour,
                linestyle=style.dashes,
                linewidth=1.3,
                marker=style.marker,
                markersize=style.size - 1 + 1.5 * rank / len(methods),
                markeredgecolor="white",
                markeredgewidth=0.5,
                zorder=over,
            )
        bare(panel, "left", "bottom")
    return figure


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
