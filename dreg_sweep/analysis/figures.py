"""The two figures: gain over the baseline by dataset, and clean against noisy accuracy.

Numbers come from `tables`; this module only draws. Agg writes files without a display.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dreg_sweep.analysis.audit import Audit
from dreg_sweep.analysis.levels import PAPER_ORDER, ordered
from dreg_sweep.analysis.tables import group_means, mean

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 180
# Okabe & Ito's palette, distinguishable with every common colour vision; their yellow is too pale on white.
COLOURS = ("#000000", "#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#D55E00", "#0072B2")
# Where a label may stand around its point, in degrees, most welcome first.
DIRECTIONS = (0, 45, -45, 90, -90, 135, -135, 180, 22, -22, 158, -158, 67, -67, 112, -112)
MARKERS = ("o", "s", "^", "D", "v", "*", "P", "X", "<", ">", "p", "h", "d")


def heatmap(audit: Audit, baseline: str | None, path: Path) -> Path:
    """Dataset x regularizer: accuracy minus the baseline's, in points, over the complete blocks.

    Overall accuracy where there is a noisy one, else clean. Without a baseline the difference is to the mean
    of all regularizers of the block. Colours diverge from 0, blue better, red worse.
    """
    metric = "overall" if "overall" in audit.metrics else "clean"
    means = group_means(audit, metric, ("dataset", "regularizer"))
    datasets = ordered("dataset", audit.complete["dataset"])
    columns = [level for level in audit.levels["regularizer"] if level != baseline]
    if not columns:  # a lone baseline still gets its (empty) comparison: 0 throughout
        columns = audit.levels["regularizer"]
    points = np.zeros((len(datasets), len(columns)))
    for row, dataset in enumerate(datasets):
        if baseline is None:
            centre = mean(means[dataset, level] for level in audit.levels["regularizer"])
        else:
            centre = means[dataset, baseline]
        points[row] = [float(100 * (means[dataset, level] - centre)) for level in columns]

    longest = max(len(str(dataset)) for dataset in datasets)
    width = max(4.6, 0.95 * len(columns) + 0.085 * longest + 1.9)
    figure, axes = _canvas(width, 0.46 * len(datasets) + 1.75)
    limit = max(float(np.abs(points).max()), 0.1)
    image = axes.imshow(points, cmap="RdBu", vmin=-limit, vmax=limit, aspect="auto")
    axes.set_xticks(range(len(columns)), columns, rotation=30, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(datasets)), datasets)
    axes.set_xticks(np.arange(len(columns) - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(len(datasets) - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="both", length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    for (row, column), value in np.ndenumerate(points):
        dark = abs(value) > 0.6 * limit
        text = f"{value:+.2f}" if round(value, 2) else "0.00"
        axes.text(column, row, text, ha="center", va="center", fontsize=9, color="white" if dark else "black")
    against = f"minus {baseline}" if baseline else "minus the mean over regularizers (no baseline in the data)"
    axes.set_title(f"{metric.capitalize()} accuracy {against}", fontsize=10, loc="left", wrap=True)
    bar = figure.colorbar(image, ax=axes, shrink=min(1.0, 2.2 / (0.46 * len(datasets) + 0.3)), pad=0.03)
    bar.set_label("points")
    bar.outline.set_visible(False)
    return _save(figure, path)


def clean_vs_noisy(audit: Audit, path: Path) -> Path:
    """Each regularizer's mean clean against mean noisy accuracy in %, error bars = sd over seeds (n - 1)."""
    regularizers = audit.levels["regularizer"]
    seeds = ordered("seed", audit.complete["seed"])
    centres = np.zeros((len(regularizers), 2))
    spreads = np.zeros((len(regularizers), 2))
    for place, metric in enumerate(("clean", "noisy")):
        by_seed = group_means(audit, metric, ("regularizer", "seed"))
        for row, level in enumerate(regularizers):
            runs = [float(100 * by_seed[level, seed]) for seed in seeds]
            centres[row, place] = np.mean(runs)
            spreads[row, place] = np.std(runs, ddof=1) if len(runs) > 1 else 0.0

    styles = _styles(regularizers)
    figure, axes = _canvas(5.8, 4.6)
    axes.grid(color="0.92", linewidth=0.8)
    axes.set_axisbelow(True)
    for row in range(len(regularizers)):
        axes.errorbar(
            centres[row, 0],
            centres[row, 1],
            xerr=spreads[row, 0] or None,
            yerr=spreads[row, 1] or None,
            fmt=styles[row][0],
            color=styles[row][1],
            markersize=10 if styles[row][0] == "*" else 7,
            markeredgecolor="white",
            markeredgewidth=0.6,
            elinewidth=1,
            capsize=2,
        )
    axes.set_xlabel("clean accuracy, %")
    axes.set_ylabel("noisy accuracy, %")
    bars = f"; bars: sd over {len(seeds)} seeds" if len(seeds) > 1 else "; one seed"
    axes.set_title(f"Mean accuracy of each regularizer{bars}", fontsize=10, loc="left")
    axes.margins(0.16)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.draw_without_rendering()  # fixes the layout, so that the labels can be placed in its pixels
    figure.set_layout_engine("none")
    _place_labels(axes, regularizers, centres, spreads)
    return _save(figure, path)


def _styles(regularizers: list[str]) -> list[tuple[str, str]]:
    """Marker and colour of each regularizer: the paper's six keep theirs whichever others are in the data."""
    known = PAPER_ORDER["regularizer"]
    others = [level for level in regularizers if level not in known]
    places = [known.index(name) if name in known else len(known) + others.index(name) for name in regularizers]
    return [(MARKERS[place % len(MARKERS)], COLOURS[place % len(COLOURS)]) for place in places]


def _place_labels(axes: "Axes", names: list[str], centres: np.ndarray, spreads: np.ndarray) -> None:
    """Write each name beside its point where it covers no marker, error bar or other name.

    Candidates go around the point at growing distance, the first free one is taken; a name that had to move
    away gets a thin line to its point. Where nothing is free the candidate with the least overlap is taken.
    """
    figure = axes.get_figure()
    renderer: Any = figure.canvas.get_renderer()  # type: ignore[union-attr]
    pixels = axes.transData.transform(centres)
    low, high = axes.transData.transform(centres - spreads), axes.transData.transform(centres + spreads)
    scale = DPI / 72
    mark = 6 * scale
    taken: list[tuple[float, float, float, float]] = []
    for (x, y), (left, bottom), (right, top) in zip(pixels, low, high, strict=True):
        taken.append((x - mark, y - mark, x + mark, y + mark))
        taken.append((left - 2, y - 2, right + 2, y + 2))
        taken.append((x - 2, bottom - 2, x + 2, top + 2))
    frame = axes.get_window_extent(renderer)
    for row in sorted(range(len(names)), key=lambda row: (pixels[row][0], pixels[row][1])):
        text = axes.annotate(names[row], centres[row], color="black", fontsize=9, annotation_clip=False)
        extent = text.get_window_extent(renderer)
        text.remove()
        wide, tall = extent.width, extent.height
        best: tuple[float, float, tuple[float, float, float, float]] | None = None
        for distance in np.arange(9, 130, 4) * scale:
            for angle in np.deg2rad(DIRECTIONS):
                reach_x, reach_y = distance * np.cos(angle), distance * np.sin(angle)
                x = pixels[row][0] + reach_x + wide / 2 * np.sign(round(np.cos(angle), 6))
                y = pixels[row][1] + reach_y
                box = (x - wide / 2 - 2, y - tall / 2 - 1, x + wide / 2 + 2, y + tall / 2 + 1)
                outside = box[0] < frame.x0 or box[2] > frame.x1 or box[1] < frame.y0 or box[3] > frame.y1
                cost = sum(_overlap(box, other) for other in taken) + (1e6 if outside else 0.0)
                if best is None or cost < best[0] - 1e-9:
                    best = (cost, distance, box)
            if best is not None and best[0] == 0:
                break
        assert best is not None
        _, distance, box = best
        taken.append(box)
        x, y = axes.transData.inverted().transform(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2))
        line = {"arrowstyle": "-", "color": "0.45", "linewidth": 0.7, "shrinkA": 0, "shrinkB": 4}
        axes.annotate(
            names[row],
            xy=(centres[row, 0], centres[row, 1]),
            xytext=(x, y),
            ha="center",
            va="center",
            fontsize=9,
            arrowprops=line if distance > 17 * scale else None,
        )


def _overlap(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> float:
    """Shared area of two boxes (left, bottom, right, top)."""
    wide = min(one[2], other[2]) - max(one[0], other[0])
    tall = min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, wide) * max(0.0, tall)


def _canvas(width: float, height: float) -> tuple["Figure", "Axes"]:
    """A figure with one axes on the Agg canvas, apart from pyplot's global state and the user's backend."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08)  # type: ignore[union-attr, call-arg]
    return figure, figure.add_subplot()


def _save(figure: "Figure", path: Path) -> Path:
    figure.savefig(path, dpi=DPI, metadata={"Software": None})
    return path
