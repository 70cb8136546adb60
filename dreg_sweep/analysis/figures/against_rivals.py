"""The treatment against each rival, a panel a rival: by dataset (forest) and by training size (scarcity)."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon

from dreg_sweep.analysis.figures.layout import (
    LINE,
    Panels,
    above,
    columns,
    compose,
    lines,
    text_width,
    widest,
    wrap,
)
from dreg_sweep.analysis.figures.names import shortened
from dreg_sweep.analysis.figures.scales import (
    around_zero,
    differ,
    finite,
    labelled,
    set_x,
    set_y,
    shared,
    tick_room,
)
from dreg_sweep.analysis.figures.style import FAINT, GRID, INK, Style, bare, drawn, numbers, require, styles

OWN_SCALES = "The panels' scales differ."
NO_VALUE = "no value"
OPEN_ENDS = "Arrows: the interval has no finite end."
OPEN_BANDS = "A bar to the panel's edge: the interval has no finite end."
WIDEST = 3.2  # a panel, in inches
ALONE = 4.6  # a panel without others beside it
CLOSE = 0.06  # inches between two tick labels, where every one is wanted


@drawn
def forest(frame: pd.DataFrame, *, treatment: str, title: str, xlabel: str, note: str) -> Figure:
    """The difference treatment minus rival with its interval, a row a dataset, a panel a rival.

    frame: columns rival, dataset, difference, low, high (points, positive = treatment better), summary; rivals and
    datasets appear in the frame's order. Rows with summary true stand at the bottom, apart and bold, as a diamond
    from low to high. A row without a finite difference says so; a NaN limit leaves the point without its interval;
    an infinite limit is an arrow to the panel's edge. All panels have one scale unless that squeezes one of them.
    Raises ValueError for a missing column, no rows, or two rows for one rival and dataset.
    """
    require(frame, ("rival", "dataset", "difference", "low", "high", "summary"), ("rival", "dataset", "summary"))
    summary = frame["summary"].astype(bool).to_numpy()
    rivals = list(dict.fromkeys(frame["rival"]))
    names = list(dict.fromkeys(frame["dataset"][~summary]))
    totals = list(dict.fromkeys(frame["dataset"][summary]))
    apart = 1.4 if names else 0.0
    levels = {(name, False): float(place) for place, name in enumerate(names)}
    levels |= {
        (name, True): len(names) - 1 + apart + place if names else place for place, name in enumerate(totals)
    }
    rows = max(levels.values()) + 1

    called, places = shortened([treatment, *rivals]), shortened([*names, *totals])
    left = (
        max(widest(places[name] for name in names), widest((places[name] for name in totals), weight="bold")) + 0.1
    )
    between = 0.3
    side_by_side, room = columns(len(rivals), left=left, right=0.1, narrowest=1.4, between=between)
    room = min(room, WIDEST)
    heads = [wrap(called[rival], room, weight="bold") for rival in rivals]
    worse = [wrap(f"←\N{NO-BREAK SPACE}{called[rival]} better", room) for rival in rivals]
    better = wrap(f"{called[treatment]} better\N{NO-BREAK SPACE}→", room)
    one_line = max(map(text_width, worse)) + text_width(better) + 0.15 <= room
    lift = 0 if one_line else lines([better])
    panels = Panels(
        count=len(rivals),
        columns=side_by_side,
        width=room,
        height=(0.22 if rows <= 12 else 0.165) * rows + 0.06,
        left=left,
        right=0.1,
        between=between,
        above=(lift + max(lines([head]) + lines([side]) for head, side in zip(heads, worse, strict=True))) * LINE
        + 0.08,
    )
    inside = [frame[(frame["rival"] == rival).to_numpy()] for rival in rivals]
    limits = shared([around_zero(finite(numbers(f["difference"]), f["low"], f["high"])) for f in inside])
    notes = [note, OPEN_ENDS if np.isinf(numbers([*frame["low"], *frame["high"]])).any() else ""]
    notes.append(OWN_SCALES if differ(limits) else "")
    figure, axes = compose(panels, title=title, xlabel=xlabel, note=" ".join(filter(None, notes)))

    look = styles([*rivals, treatment])
    for place, (panel, rival, own) in enumerate(zip(axes, rivals, inside, strict=True)):
        above(panel, heads[place], lift + lines([worse[place]]), weight="bold")
        above(panel, worse[place], lift)
        above(panel, better, side="right")
        set_x(panel, limits[place], room)
        panel.set_ylim(rows - 0.5, -0.5 - 0.06)
        panel.axvline(0, color=FAINT, linewidth=0.8, zorder=1)
        if names and totals:
            panel.axhline(len(names) - 0.5 + (apart - 1) / 2, color="0.7", linewidth=0.6, zorder=1)
        _rows(panel, own, levels, look[rival])
        bare(panel, "bottom")
        panel.set_yticks(list(levels.values()), [places[name] for name, _ in levels])
        panel.tick_params(axis="y", length=0, labelleft=place % side_by_side == 0)
        for tick, (_, total) in zip(panel.yaxis.get_major_ticks(), levels, strict=True):
            tick.label1.set_fontweight("bold" if total else "normal")
    return figure


@drawn
def one_dataset(frame: pd.DataFrame, *, treatment: str, title: str, xlabel: str, note: str) -> Figure:
    """The difference treatment minus rival on one dataset with its interval, a row a rival.

    frame: as for `forest`, of one dataset and without summary rows. Raises ValueError as `forest` does, and for
    rows of several datasets.
    """
    require(frame, ("rival", "dataset", "difference", "low", "high"), ("rival",))
    if frame["dataset"].nunique() > 1:
        raise ValueError("rows of several datasets, which are for `forest`")
    rivals = list(frame["rival"])
    called = shortened([treatment, *rivals])
    left = widest(called[rival] for rival in rivals) + 0.1
    _, room = columns(1, left=left, right=0.1, narrowest=1.4, between=0.0)
    room = min(room, ALONE)
    sides = ["←\N{NO-BREAK SPACE}rival better", wrap(f"{called[treatment]} better\N{NO-BREAK SPACE}→", room)]
    lift = 0 if sum(map(text_width, sides)) + 0.15 <= room else lines(sides[1:])
    panels = Panels(
        count=1,
        columns=1,
        width=room,
        height=0.22 * len(rivals) + 0.06,
        left=left,
        right=0.1,
        above=(lift + 1) * LINE + 0.08,
    )
    limits = around_zero(finite(numbers(frame["difference"]), frame["low"], frame["high"]))
    opened = OPEN_ENDS if np.isinf(numbers([*frame["low"], *frame["high"]])).any() else ""
    figure, (panel,) = compose(panels, title=title, xlabel=xlabel, note=" ".join(filter(None, [note, opened])))
    above(panel, sides[0], lift)
    above(panel, sides[1], side="right")
    set_x(panel, limits, room)
    panel.set_ylim(len(rivals) - 0.5, -0.5 - 0.06)
    panel.axvline(0, color=FAINT, linewidth=0.8, zorder=1)
    look = styles([*rivals, treatment])
    for place, rival in enumerate(rivals):
        own = frame[(frame["rival"] == rival).to_numpy()].assign(dataset=rival, summary=False)
        _rows(panel, own, {(rival, False): float(place)}, look[rival])
    bare(panel, "bottom")
    panel.set_yticks(range(len(rivals)), [called[rival] for rival in rivals])
    panel.tick_params(axis="y", length=0)
    return figure


def _rows(axes: Axes, frame: pd.DataFrame, levels: dict[tuple[Any, bool], float], style: Style) -> None:
    """Intervals, points and diamonds of one rival; a level it lacks counts as one without a value."""
    places = {(row.dataset, bool(row.summary)): row for row in frame.itertuples()}
    low, high = axes.get_xlim()
    inset = 0.02 * (high - low)
    edges = low + inset, high - inset
    points = []
    for level, y in levels.items():
        row: Any = places.get(level)
        centre, low, high = (np.nan,) * 3 if row is None else numbers([row.difference, row.low, row.high])
        if not np.isfinite(centre):
            axes.text(
                0,
                y,
                NO_VALUE,
                color=FAINT,
                style="italic",
                ha="center",
                va="center",
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
            )
            continue
        bounded = np.isfinite(low) and np.isfinite(high)
        if level[1] and bounded:
            tips = [(low, y), (centre, y - 0.32), (high, y), (centre, y + 0.32)]
            axes.add_patch(Polygon(tips, facecolor=style.colour, edgecolor=INK, linewidth=0.8, zorder=3))
            if high - low < 4 * inset:  # too flat to be seen
                axes.plot(
                    [centre], [y], marker="d", markersize=8, color=style.colour, markeredgecolor=INK, zorder=3
                )
            continue
        points.append((centre, y))
        if np.isnan(low) or np.isnan(high):
            continue
        for end, edge, tip in ((low, edges[0], "<"), (high, edges[1], ">")):
            reach = end if np.isfinite(end) else edge
            axes.plot([centre, reach], [y, y], color=style.colour, linewidth=1.3, zorder=2, solid_capstyle="butt")
            if not np.isfinite(end):
                axes.plot([edge], [y], marker=tip, color=style.colour, markersize=4.5, clip_on=False, zorder=2)
    if points:
        x, y = zip(*points, strict=True)
        _marks(axes, x, y, style)


def _marks(axes: Axes, x: Any, y: Any, style: Style) -> None:
    axes.plot(
        x,
        y,
        linestyle="none",
        marker=style.marker,
        markersize=style.size,
        color=style.colour,
        markeredgecolor="white",
        markeredgewidth=0.5,
        zorder=4,
    )


@drawn
def scarcity_curves(frame: pd.DataFrame, *, treatment: str, title: str, ylabel: str) -> Figure:
    """The difference treatment minus rival over the number of training rows (log scale), a panel a rival.

    frame: columns rival, train_size (positive), difference, low, high (points, positive = treatment better).
    Points are joined, low..high is a band with a bar at each size; rivals appear in the frame's order. A row
    without a finite difference is a gap, one with a NaN limit has no band there, an infinite limit ends at the
    panel's edge. All panels have one scale unless that squeezes one of them.
    Raises ValueError for a missing column, no rows, a size that is not positive, or two rows for one rival and
    size.
    """
    require(frame, ("rival", "train_size", "difference", "low", "high"), ("rival", "train_size"))
    sizes = np.unique(numbers(frame["train_size"]))
    if not (np.isfinite(sizes).all() and (sizes > 0).all()):
        raise ValueError("train_size must be a positive number in every row: the axis is logarithmic")
    rivals = list(dict.fromkeys(frame["rival"]))
    inside = [frame[(frame["rival"] == rival).to_numpy()].sort_values("train_size") for rival in rivals]
    limits = shared([around_zero(finite(numbers(f["difference"]), f["low"], f["high"])) for f in inside])
    names = [f"{size:,.0f}" if size == round(size) else labelled([size])[0] for size in sizes]

    tall = 1.5
    left = tick_room(limits, tall)
    ends = max(text_width(names[0]), text_width(names[-1])) / 2
    between = max(left + 0.12 if differ(limits) else 0.25, ends + 0.15)
    side_by_side, room = columns(len(rivals), left=left + 0.2, right=0.1, narrowest=1.6, between=between)
    room = min(room, WIDEST)
    called = shortened([treatment, *rivals])
    heads = [wrap(called[rival], room, weight="bold") for rival in rivals]
    margin = 0.07
    span = np.log(sizes[-1] / sizes[0]) or 1.0
    edges = (
        np.exp([np.log(sizes[0]) - margin * span, np.log(sizes[-1]) + margin * span])
        if len(sizes) > 1
        else sizes[0] * np.array([0.5, 2])
    )
    scale = room / np.log(edges[1] / edges[0])
    apart = np.diff(np.log(sizes)) * scale
    wide = (np.array([text_width(a) + text_width(b) for a, b in pairwise(names)])) / 2
    upright = bool((apart < wide + CLOSE).any())
    shown = _clear(np.log(sizes) * scale, names, upright)
    panels = Panels(
        count=len(rivals),
        columns=side_by_side,
        width=room,
        height=tall,
        left=left,
        right=max(0.0, ends - margin * room),
        between=between,
        above=lines(heads) * LINE + 0.08,
        below=(widest(names) if upright else 0.12) + 0.1,
    )
    notes = [f"Above 0 {called[treatment]} is better than the rival, below 0 worse."]
    notes.append(OPEN_BANDS if np.isinf(numbers([*frame["low"], *frame["high"]])).any() else "")
    notes.append(OWN_SCALES if differ(limits) else "")
    figure, axes = compose(
        panels,
        title=title,
        xlabel="training rows (log scale)",
        ylabel=ylabel,
        note=" ".join(filter(None, notes)),
    )

    look = styles([*rivals, treatment])
    for place, (panel, rival, own) in enumerate(zip(axes, rivals, inside, strict=True)):
        style = look[rival]
        x, y, low, high = (numbers(own[name]) for name in ("train_size", "difference", "low", "high"))
        above(panel, heads[place], weight="bold")
        panel.set_xscale("log")
        panel.set_xticks(sizes, shown, rotation=90 if upright else 0)
        panel.minorticks_off()
        panel.set_xlim(*edges)
        set_y(panel, limits[place], tall)
        panel.tick_params(axis="y", labelleft=place % side_by_side == 0 or differ(limits))
        panel.grid(axis="y", color=GRID, linewidth=0.7)
        panel.axhline(0, color=FAINT, linewidth=0.9, zorder=1.5)
        edge_low, edge_high = np.maximum(low, limits[place][0]), np.minimum(high, limits[place][1])
        edge_low[~np.isfinite(y) | np.isnan(high)] = np.nan
        edge_high[~np.isfinite(y) | np.isnan(low)] = np.nan
        panel.fill_between(x, edge_low, edge_high, color=style.colour, alpha=0.18, linewidth=0, zorder=1.6)
        panel.vlines(x, edge_low, edge_high, color=style.colour, linewidth=1, zorder=2)
        panel.plot(
            x, np.where(np.isfinite(y), y, np.nan), color=style.colour, linestyle=style.dashes, linewidth=1.2
        )
        _marks(panel, x, y, style)
        bare(panel, "left", "bottom")
    return figure


def _clear(places: np.ndarray, names: Sequence[str], upright: bool) -> list[str]:
    """The tick labels, but for those that would touch the one before them; their ticks stay."""
    shown: list[str] = []
    end = -np.inf
    for place, name in zip(places, names, strict=True):
        half = LINE / 2 if upright else text_width(name) / 2 + CLOSE / 2
        free = place - half >= end
        shown.append(name if free else "")
        end = place + half if free else end
    return shown
