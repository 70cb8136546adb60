"""Fitted functions beside the true one: curves of one variable, and maps of two; a panel a strength."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.tri import Triangulation

from dreg_sweep.analysis.figures.layout import (
    LINE,
    Key,
    Panels,
    above,
    add_axes,
    columns,
    compose,
    text_width,
    widest,
)
from dreg_sweep.analysis.figures.names import shortened
from dreg_sweep.analysis.figures.scales import around, finite, set_x, set_y, tick_room
from dreg_sweep.analysis.figures.style import FAINT, GRID, INK, bare, drawn, require

NARROWEST, WIDEST, GAP = 0.95, 1.6, 0.1
FIT, POINTS, TRUE = "#0072B2", "#E69F00", "0.6"
BAR = 0.13  # width of the colour bar
_STEPS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)  # of the largest error: the borders between colours
_NEEDED = ("row", "column", "title", "seed", "place", "x1", "target", "prediction")


@drawn
def fitted_curves(frame: pd.DataFrame, *, title: str) -> Figure:
    """Functions of one variable: the seeds' fits (thin) over the true function (grey), in rows and columns.

    frame: columns row (heading of a row of panels, may be empty), column (0, 1, ...), title (of the panel), seed,
    place, and lists x1, target, prediction; rows of place `test` are drawn as curves (target: the true function),
    those of `train` as the training points (target: as observed) of the panel's first seed. Rows appear in the
    frame's order. The upright axis holds the true function and all training points; what leaves it is cut off.
    Raises ValueError for a missing column, no rows, no `test` row, or two rows for one place of a fit.
    """
    rows, shape = _checked(frame)
    test, train = rows[rows["place"] == "test"], rows[rows["place"] == "train"]
    seen = finite(*test["target"], *train["target"])
    limits = around(seen, 0.15)
    across = around(finite(*test["x1"]), 0.02)
    figure, axes = _panels(
        rows,
        shape,
        title,
        left=tick_room([limits], 0.9, most=3),
        keys=[
            Line2D([], [], color=FIT, linewidth=1.0),
            Line2D([], [], color=TRUE, linewidth=1.1),
            Line2D([], [], color=POINTS, marker="o", linestyle="none", markersize=3),
        ],
        labels=["fit, one line a seed", "true function", "training points of one seed"],
    )
    for (place, part), panel in zip(_by_panel(rows), axes, strict=True):
        own = part[part["place"] == "test"]
        wide = panel.get_position().width * figure.get_size_inches()[0]
        set_x(panel, across, wide, most=3)
        set_y(panel, limits, 0.9, most=3)
        panel.tick_params(axis="y", labelleft=place[1] == 0)
        panel.grid(color=GRID, linewidth=0.5)
        first = part.loc[(part["seed"] == part["seed"].iloc[0]) & (part["place"] == "train")]
        for one in first.itertuples():
            panel.plot(
                one.x1,
                one.target,
                linestyle="none",
                marker="o",
                markersize=1.6,
                color=POINTS,
                zorder=2,
                gid="points",
            )
        for one in own.itertuples():
            order = np.argsort(np.asarray(one.x1))
            x, y = np.asarray(one.x1)[order], np.asarray(one.prediction)[order]
            panel.plot(x, y, color=FIT, linewidth=0.7, alpha=0.85, zorder=4, gid="fit")
        if len(own):
            order = np.argsort(np.asarray(own["x1"].iloc[0]))
            x, y = (np.asarray(own[name].iloc[0])[order] for name in ("x1", "target"))
            panel.plot(x, y, color=TRUE, linewidth=1.1, zorder=3, gid="true")
        bare(panel, "left", "bottom")
    return figure


@drawn
def fitted_maps(frame: pd.DataFrame, *, title: str, label: str) -> Figure:
    """Functions of two variables: the error of the mean fit over the seeds, in rows and columns.

    frame: as for `fitted_curves`, with lists x2. Filled contours of mean prediction minus target at the `test`
    rows, on one scale for all panels, symmetric about 0, whose steps grow outwards so that small errors are seen
    beside large ones. Dots: the training points of the panel's first seed. label: of the colour bar.
    Raises ValueError as `fitted_curves` does.
    """
    rows, shape = _checked(frame)
    errors = {
        place: np.mean([_array(one.prediction) - _array(one.target) for one in part.itertuples()], axis=0)
        for place, part in _by_panel(rows[rows["place"] == "test"])
    }
    reach = float(f"{np.abs(finite(*errors.values())).max(initial=0.0):.1g}") or 1.0
    levels = reach * np.array([*(-step for step in reversed(_STEPS)), *_STEPS])
    colours = BoundaryNorm(levels, 256, extend="both")
    bar_labels = [f"{level:.2g}".replace("-", "\N{MINUS SIGN}") for level in levels]
    beside = 0.15 + BAR + 0.08 + widest(bar_labels) + 0.05 + LINE
    figure, axes = _panels(
        rows,
        shape,
        title,
        left=tick_room([(-1.0, 1.0)], 0.9, most=3),
        right=beside,
        square=True,
        keys=[Line2D([], [], color=INK, marker="o", linestyle="none", markersize=2)],
        labels=["training points of one seed"],
    )
    filled: Any = None
    for (place, part), panel in zip(_by_panel(rows), axes, strict=True):
        own = part[part["place"] == "test"]
        if place in errors:
            corners = Triangulation(_array(own["x1"].iloc[0]), _array(own["x2"].iloc[0]))
            filled = panel.tricontourf(
                corners, errors[place], levels=levels, cmap="RdBu_r", norm=colours, extend="both"
            )
        first = part.loc[(part["seed"] == part["seed"].iloc[0]) & (part["place"] == "train")]
        for one in first.itertuples():
            panel.plot(
                one.x1, one.x2, linestyle="none", marker="o", markersize=1.0, color=INK, zorder=3, gid="points"
            )
        wide = panel.get_position().width * figure.get_size_inches()[0]
        set_x(panel, around(finite(*own["x1"]), 0.0), wide, most=3)
        set_y(panel, around(finite(*own["x2"]), 0.0), wide, most=3)
        panel.tick_params(axis="y", labelleft=place[1] == 0)
    _bar(figure, axes, filled, levels, bar_labels, label)
    return figure


def _checked(frame: pd.DataFrame) -> tuple[pd.DataFrame, tuple[int, int]]:
    """The rows with the row numbers of the panels, and how many rows and columns of panels there are."""
    require(frame, _NEEDED, ("row", "column", "seed", "place"))
    if not (frame["place"] == "test").any():
        raise ValueError("no row of place test, so there is no function to draw")
    heads = list(dict.fromkeys(frame["row"]))
    numbered = frame.assign(number=[heads.index(head) for head in frame["row"]])
    numbered = numbered.sort_values(["number", "column"], kind="stable")
    return numbered, (len(heads), int(frame["column"].max()) + 1)


def _by_panel(rows: pd.DataFrame) -> list[tuple[tuple[int, int], pd.DataFrame]]:
    """(row, column) of each panel and its part of the rows, in reading order."""
    places = sorted(set(zip(rows["number"].tolist(), rows["column"].tolist(), strict=True)))
    return [(place, rows[(rows["number"] == place[0]) & (rows["column"] == place[1])]) for place in places]


def _panels(
    rows: pd.DataFrame,
    shape: tuple[int, int],
    title: str,
    *,
    left: float,
    keys: list[Line2D],
    labels: list[str],
    right: float = 0.05,
    square: bool = False,
) -> tuple[Figure, list[Axes]]:
    """The figure and the axes of the panels that there are, each with its title, in reading order."""
    down, side_by_side = shape
    between = 2 * GAP if square else GAP  # the tick labels of a map stand at its very ends
    _, room = columns(side_by_side, left=left, right=right, narrowest=0.1, between=between)
    room = min(max(room, NARROWEST), WIDEST)
    heads = shortened(dict.fromkeys(rows["row"]))
    named = any(head.strip() for head in heads.values())
    panels = Panels(
        count=down * side_by_side,
        columns=side_by_side,
        width=room,
        height=room if square else 0.9 * room,
        left=left,
        right=right,
        between=between,
        above=(1 + named) * LINE + 0.08,
        below=0.2,
    )
    figure, axes = compose(panels, title=title, keys=[Key("", keys, labels)])
    there = {place: part["title"].iloc[0] for place, part in _by_panel(rows)}
    kept: list[Axes] = []
    for number, panel in enumerate(axes):
        place = divmod(number, side_by_side)
        if place[1] == 0 and named:
            above(panel, list(heads.values())[place[0]], 1, weight="bold")
        if place not in there:
            panel.set_axis_off()
            continue
        above(panel, _fitting(str(there[place]), room))
        kept.append(panel)
    return figure, kept


def _fitting(text: str, room: float) -> str:
    """The text, cut where it is wider than a panel."""
    while text_width(text) > room and len(text) > 2:
        text = f"{text.removesuffix('…')[:-1]}…"
    return text


def _bar(figure: Figure, axes: list[Axes], filled: Any, levels: np.ndarray, names: list[str], label: str) -> None:
    """The colour bar at the right of the first row of panels."""
    across, down = figure.get_size_inches()
    right = max(panel.get_position().x1 for panel in axes) * across + 0.15
    top = max(panel.get_position().y1 for panel in axes) * down
    bottom = min(panel.get_position().y0 for panel in axes) * down
    tall = min(2.2, top - bottom)
    bar = figure.colorbar(filled, cax=add_axes(figure, right, top - tall, BAR, tall), ticks=levels)
    bar.ax.set_yticklabels(names)
    bar.ax.minorticks_off()
    bar.outline.set_visible(False)
    beside = right + BAR + 0.12 + widest(names)
    figure.text(beside / across, (top - tall / 2) / down, label, rotation=90, ha="left", va="center", color=FAINT)


def _array(values: Any) -> np.ndarray:
    return np.asarray(values, dtype=float)
