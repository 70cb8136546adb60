"""Names written beside their points, where they cover neither marks nor each other."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from dreg_sweep.analysis.figures.layout import LINE, text_width
from dreg_sweep.analysis.figures.style import DPI, FAINT

# Where a label may stand around its point, in degrees, most welcome first.
DIRECTIONS = np.deg2rad((0, 45, -45, 90, -90, 135, -135, 180, 22, -22, 158, -158, 67, -67, 112, -112))
DISTANCES = np.arange(9, 100, 4) * DPI / 72
NEAR = 17 * DPI / 72  # up to here a label needs no line to its point
MARK = 6 * DPI / 72  # half the side of a marker's square


@dataclass(frozen=True)
class Place:
    """Where a label stands: its centre in pixels, and whether a line has to lead from it to its point."""

    x: float
    y: float
    line: bool


def free_places(axes: Axes, names: Sequence[str], points: np.ndarray, spreads: np.ndarray) -> list[Place] | None:
    """A free place for each name near its point, or None where one of them finds none.

    points, spreads: (n, 2) in data units, the points and their error bars (0: none). Candidates go around the
    point at growing distance and the first is taken whose text covers no marker, error bar, other name or line,
    and whose own line to the point crosses no name and no other marker.
    """
    pixels = axes.transData.transform(points)
    low, high = axes.transData.transform(points - spreads), axes.transData.transform(points + spreads)
    marks = np.concatenate(
        [
            np.hstack([pixels - MARK, pixels + MARK]),
            np.column_stack([low[:, 0] - 2, pixels[:, 1] - 2, high[:, 0] + 2, pixels[:, 1] + 2]),
            np.column_stack([pixels[:, 0] - 2, low[:, 1] - 2, pixels[:, 0] + 2, high[:, 1] + 2]),
        ]
    )
    frame = axes.get_window_extent()
    inside = np.array([frame.x0, frame.y0, frame.x1, frame.y1])
    halves = np.array([[text_width(name) * DPI / 2 + 2, LINE * DPI / 2] for name in names]).reshape(-1, 2)
    orders = (
        np.lexsort((pixels[:, 1], pixels[:, 0])),  # from the left
        np.lexsort((pixels[:, 1], -pixels[:, 0])),
        np.argsort(-pixels[:, 1], kind="stable"),
        np.argsort(pixels[:, 1], kind="stable"),
    )
    for order in orders:
        places = _in_order(order, pixels, halves, marks, inside)
        if places is not None:
            return places
    return None


def _in_order(
    order: np.ndarray, pixels: np.ndarray, halves: np.ndarray, marks: np.ndarray, frame: np.ndarray
) -> list[Place] | None:
    """The nearest free place for each label, found in that order."""
    texts, lines = np.empty((0, 4)), np.empty((0, 4))
    found: dict[int, Place] = {}
    for row in order:
        half = halves[row]
        apart = np.abs(pixels - pixels[row]).max(axis=1) > 2 * MARK
        strangers = marks[: len(pixels)][apart]  # a line must not seem to lead to one of them
        for centre, line in _candidates(pixels[row], half):
            box = np.concatenate([centre - half, centre + half])
            beyond = (box[:2] < frame[:2]).any() or (box[2:] > frame[2:]).any()
            if beyond or _meets(box, np.concatenate([marks, texts, lines])):
                continue
            steps = _steps(centre, pixels[row]) if line else np.empty((0, 4))
            if any(_meets(step, np.concatenate([strangers, texts])) for step in steps):
                continue
            texts, lines = np.vstack([texts, box]), np.vstack([lines, steps])
            found[int(row)] = Place(float(centre[0]), float(centre[1]), line)
            break
        else:
            return None
    return [found[row] for row in range(len(found))]


def write(axes: Axes, names: Sequence[str], points: np.ndarray, places: Sequence[Place]) -> None:
    """Write the names at the places that `free_places` found."""
    for name, point, place in zip(names, points, places, strict=True):
        arrow = {"arrowstyle": "-", "color": FAINT, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 4}
        axes.annotate(
            name,
            xy=(point[0], point[1]),
            xytext=tuple(axes.transData.inverted().transform((place.x, place.y))),
            ha="center",
            va="center",
            annotation_clip=False,
            arrowprops=arrow if place.line else None,
        )


def _candidates(point: np.ndarray, half: np.ndarray) -> list[tuple[np.ndarray, bool]]:
    """Centres for a label of that half size around a point, nearest first."""
    aside = np.sign(np.round(np.cos(DIRECTIONS), 6)) * half[0]
    return [
        (point + distance * np.array([np.cos(angle), np.sin(angle)]) + (shift, 0.0), bool(distance > NEAR))
        for distance in DISTANCES
        for angle, shift in zip(DIRECTIONS, aside, strict=True)
    ]


def _steps(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """A straight line as a row of small boxes."""
    way = start + np.linspace(0, 1, 40)[:, None] * (end - start)
    return np.hstack([way - 1.5, way + 1.5])


def _meets(box: np.ndarray, others: np.ndarray) -> bool:
    """Whether a box (left, bottom, right, top) shares area with any of the others."""
    wide = np.minimum(box[2], others[:, 2]) - np.maximum(box[0], others[:, 0])
    tall = np.minimum(box[3], others[:, 3]) - np.maximum(box[1], others[:, 1])
    return bool(((wide > 0) & (tall > 0)).any())
