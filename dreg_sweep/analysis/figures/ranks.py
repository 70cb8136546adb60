"""Mean ranks and which of them differ: Demsar's diagram (2006, JMLR 7, 1-30)."""

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dreg_sweep.analysis.figures.layout import PAD, Panels, compose, text_width, widest
from dreg_sweep.analysis.figures.names import shortened
from dreg_sweep.analysis.figures.scales import labelled
from dreg_sweep.analysis.figures.style import INK, TWO_COLUMNS, Style, bare, drawn, numbers, styles

# All in inches, downwards from the top of the panel.
CD_TEXT, CD_BAR, AXIS = 0.07, 0.22, 0.56
FIRST_GROUP, GROUP = 0.12, 0.1  # below the axis
FIRST_LABEL, LABEL = 0.2, 0.2  # below the last group
MARKER_ROOM, STEM = 0.19, 0.14


@drawn
def critical_difference(mean_ranks: pd.Series, cd: float, *, blocks: int, title: str) -> Figure:
    """Demsar's diagram: the methods on an axis of mean ranks, rank 1 (best) at the right, as in his paper.

    mean_ranks: index = methods, 1 = best; cd: Nemenyi's critical difference of two mean ranks, drawn as a bar
    above the axis; blocks: how many rankings each mean is over. A thick bar joins methods of which no two are
    further apart than cd; only groups that are not part of another are drawn. Each label has its mean rank.
    Raises ValueError for fewer than two methods, a name twice, a missing rank or one outside 1..k, or a cd that is
    not positive.
    """
    ranks = pd.Series(numbers(mean_ranks), index=[str(name) for name in mean_ranks.index])
    k = len(ranks)
    if k < 2 or not ranks.index.is_unique:
        raise ValueError(f"needs at least two methods with names of their own, not {list(ranks.index)}")
    if not ((ranks >= 1 - 1e-9) & (ranks <= k + 1e-9)).all():
        raise ValueError(f"mean ranks of {k} methods lie between 1 and {k}, not {ranks.to_list()}")
    if not (math.isfinite(cd) and cd > 0):
        raise ValueError(f"cd is {cd}; a critical difference is a positive number")
    ranks = ranks.sort_values(ascending=False, kind="stable")  # from left to right
    groups = _groups(ranks.to_numpy()[::-1], cd)

    half = _split(ranks.to_numpy())
    worse, better = ranks.iloc[:half], ranks.iloc[half:][::-1]  # both from the outside inwards
    said = shortened(ranks.index)
    texts = {name: (f"{said[name]}  {rank:.2f}", f"{rank:.2f}  {said[name]}") for name, rank in ranks.items()}
    left = widest(texts[name][0] for name in worse.index) + MARKER_ROOM + STEM
    right = widest(texts[name][1] for name in better.index) + MARKER_ROOM + STEM
    room = TWO_COLUMNS - 2 * PAD - left - right
    axis = min(max(room, 2.4, (k - 1) * 0.2), 3.6)
    unit = axis / max(k - 1, cd)
    lanes = _lanes(groups, apart=0.12 / unit)
    words = f"CD = {cd:.2f}"
    left = max(left, 0.1)
    labels_from = AXIS + FIRST_GROUP + GROUP * max(lanes, default=-1) + FIRST_LABEL
    close = half > 0 and (worse.iloc[-1] - better.iloc[-1]) * unit < STEM
    lower = LABEL / 2 if close else 0.0  # else two lines, one to each side, could look like one
    panels = Panels(
        count=1,
        columns=1,
        width=left + max(axis, text_width(words)) + right,
        height=labels_from + max(LABEL * (len(worse) - 1), LABEL * (len(better) - 1) + lower) + 0.09,
        below=0.0,
    )
    figure, (axes,) = compose(
        panels,
        title=title,
        note=f"Mean ranks over {blocks} block{'' if blocks == 1 else 's'}, 1 = best, at the right. A thick bar "
        "joins methods whose mean ranks differ by no more than the critical difference (CD).",
    )
    axes.set_xlim(0, panels.width)
    axes.set_ylim(panels.height, 0)
    axes.set_xticks([])
    axes.set_yticks([])
    bare(axes)

    def across(rank: float) -> float:
        return left + (k - rank) * unit

    axes.plot([across(k), across(1)], [AXIS, AXIS], color=INK, linewidth=1.2, gid="axis")
    for rank in range(1, k + 1):
        axes.plot([across(rank)] * 2, [AXIS - 0.06, AXIS], color=INK, linewidth=1)
        axes.text(across(rank), AXIS - 0.13, labelled([rank])[0], ha="center", va="center_baseline")
    axes.plot([across(k), across(k) + cd * unit], [CD_BAR, CD_BAR], color=INK, linewidth=1.2, gid="cd")
    for end in (across(k), across(k) + cd * unit):
        axes.plot([end, end], [CD_BAR - 0.04, CD_BAR + 0.04], color=INK, linewidth=1.2)
    axes.text(across(k), CD_TEXT, words, ha="left", va="center")
    for (best, worst), lane in zip(groups, lanes, strict=True):
        y = AXIS + FIRST_GROUP + GROUP * lane
        ends = [across(worst) - 0.035, across(best) + 0.035]
        axes.plot(ends, [y, y], color=INK, linewidth=3.5, solid_capstyle="butt", gid="group", zorder=3)

    look = styles(ranks.index)
    ends_of_lines = ((-1, left - STEM, worse, 0.0), (1, panels.width - right + STEM, better, lower))
    for outward, x, names, down in ends_of_lines:
        for place, (name, rank) in enumerate(names.items()):
            y = labels_from + LABEL * place + down
            axes.plot([across(rank), across(rank), x], [AXIS, y, y], color=INK, linewidth=0.7, gid=f"stem {name}")
            _label(axes, x, y, texts[name][outward > 0], look[name], outward)
    return figure


def _label(axes: Axes, x: float, y: float, text: str, style: Style, outward: int) -> None:
    """The marker at a stem's end and the text beyond it; outward is -1 on the left side, 1 on the right."""
    axes.plot([x + outward * 0.08], [y], marker=style.marker, markersize=style.size, color=style.colour)
    axes.text(x + outward * MARKER_ROOM, y, text, ha="right" if outward < 0 else "left", va="center_baseline")


def _split(ranks: np.ndarray) -> int:
    """How many methods stand at the left: about half, and methods of one mean rank all on one side.

    Else the lines of two of them could join to one that runs from label to label.
    """
    steps = np.flatnonzero(np.abs(np.diff(ranks)) > 1e-9) + 1
    return int(steps[np.abs(steps - len(ranks) / 2).argmin()]) if len(steps) else 0


def _groups(ranks: np.ndarray, cd: float) -> list[tuple[float, float]]:
    """Best and worst rank of each maximal run of methods within cd of each other; ranks ascend."""
    groups: list[tuple[float, float]] = []
    reached = 0
    for first in range(len(ranks)):
        last = int(np.searchsorted(ranks, ranks[first] + cd * (1 + 1e-12), side="right")) - 1
        if last > first and last > reached:
            groups.append((float(ranks[first]), float(ranks[last])))
            reached = last
    return groups


def _lanes(groups: list[tuple[float, float]], apart: float) -> list[int]:
    """The highest lane for each group's bar where it keeps that distance (in ranks) from the bars before it."""
    ends: list[float] = []
    lanes = []
    for best, worst in groups:
        lane = next((place for place, end in enumerate(ends) if best > end + apart), len(ends))
        ends[lane:] = [worst, *ends[lane + 1 :]]
        lanes.append(lane)
    return lanes
