"""Variants of a method, one below the other: what became of each claim, and the gain over the baseline."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from dreg_sweep.analysis.figures.layout import LINE, Key, Panels, above, add_axes, compose, lines, widest, wrap
from dreg_sweep.analysis.figures.names import shortened
from dreg_sweep.analysis.figures.scales import around_zero, finite, set_x
from dreg_sweep.analysis.figures.style import FAINT, GRID, INK, bare, drawn, numbers, require

ROW, NARROWEST_CELL = 0.26, 0.27
BESIDE, APART = 2.0, 0.22  # width of the differences, and their distance from the verdicts
NO_DATA = "no data"
LOOKS = {  # mark, ground, ink
    "reproduced": ("✓", "#0072B2", "white"),
    "contradicted": ("✗", "#D55E00", "white"),
    "undecided": ("?", "0.91", "0.25"),
    NO_DATA: ("–", "white", "0.45"),
}


@drawn
def variant_claims(verdicts: pd.DataFrame, gains: pd.DataFrame, *, title: str, xlabel: str) -> Figure:
    """Variant x claim: a mark on a ground of its colour; at the right each variant's difference with its interval.

    verdicts: one row a variant, one column a claim, of the words reproduced, contradicted, undecided, no data.
    gains: columns variant, difference, low, high, a row a variant; without any finite difference the right part is
    left out, and NaN limits leave a point without its interval. xlabel: what the differences are.
    Raises ValueError for a frame without cells, another word, a missing column or a variant twice.
    """
    if verdicts.empty:
        raise ValueError("the frame has no cells, so there is nothing to draw")
    others = sorted(set(verdicts.to_numpy().ravel().tolist()) - set(LOOKS))
    if others:
        raise ValueError(f"{others[0]} is no verdict; they are {', '.join(LOOKS)}")
    require(gains, ("variant", "difference", "low", "high"), ("variant",))
    gains = gains.set_index("variant").reindex(verdicts.index)
    rows, columns = verdicts.shape
    names = [shortened(verdicts.index)[name] for name in verdicts.index]
    ids = [str(name) for name in verdicts.columns]
    wide = max(NARROWEST_CELL, widest(ids) + 0.08)
    beside = bool(finite(gains["difference"]).size)
    over = wrap(xlabel, BESIDE)
    heading = lines([over]) * LINE if beside else LINE
    panels = Panels(
        count=1,
        columns=1,
        width=columns * wide,
        height=rows * ROW,
        left=widest(names) + 0.08,
        right=APART + BESIDE if beside else 0.0,
        above=heading + 0.1,
        below=0.24 if beside else 0.06,
    )
    keys = [
        Patch(facecolor=ground, edgecolor="0.8" if ground == "white" else "none", label=f"{mark} {word}")
        for word, (mark, ground, _) in LOOKS.items()
        if word != NO_DATA or (verdicts == NO_DATA).any(axis=None)
    ]
    key = Key("", keys, [str(patch.get_label()) for patch in keys])
    figure, (axes,) = compose(panels, title=title, keys=[key])
    _verdicts(axes, verdicts)
    axes.set_yticks(range(rows), names)
    axes.set_xticks(range(columns), ids)
    if beside:
        across, down = figure.get_size_inches()
        box = axes.get_position()
        left, bottom = box.x1 * across + APART, box.y0 * down
        panel = add_axes(figure, left, bottom, BESIDE, panels.height)
        _gains(panel, gains)
        above(panel, over)
    return figure


def _verdicts(axes: Axes, verdicts: pd.DataFrame) -> None:
    rows, columns = verdicts.shape
    for (row, column), word in np.ndenumerate(verdicts.to_numpy()):
        mark, ground, ink = LOOKS[word]
        place = (column - 0.5, row - 0.5)
        axes.add_patch(Rectangle(place, 1, 1, facecolor=ground, edgecolor="white", linewidth=1.2, gid=word))
        axes.text(column, row, mark, color=ink, ha="center", va="center_baseline")
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(rows - 0.5, -0.5)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    bare(axes)


def _gains(axes: Axes, gains: pd.DataFrame) -> None:
    mean, low, high = (numbers(gains[name]) for name in ("difference", "low", "high"))
    places = np.arange(len(gains))
    axes.axvline(0, color=FAINT, linewidth=0.8, linestyle=(0, (4, 2)), zorder=1)
    axes.hlines(places, low, high, color=INK, linewidth=1.1, zorder=2)
    axes.plot(mean, places, "o", color=INK, markersize=4.5, linestyle="none", zorder=3, gid="gains")
    set_x(axes, around_zero(finite(mean, low, high)), BESIDE)
    axes.set_ylim(len(gains) - 0.5, -0.5)
    axes.set_yticks([])
    axes.grid(axis="x", color=GRID, linewidth=0.7)
    bare(axes, "bottom")
