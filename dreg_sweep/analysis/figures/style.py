"""What all figures have in common: the look of a level, the type sizes, the canvas, and writing to disk.

A figure function is wrapped in `drawn`, which holds matplotlib's own defaults against whatever matplotlibrc the
user has; pyplot, its global state and the user's backend are not touched. A figure with characters that the usual
font lacks is drawn again with installed fonts that have them. Lengths are inches, type sizes points.
"""

import itertools
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from dreg_sweep.analysis.figures.names import USUAL, families
from dreg_sweep.analysis.rows.levels import PAPER_ORDER, ordered

DPI = 180
SMALL, TITLE = 8.0, 9.5  # no text is smaller than 8 pt
TWO_COLUMNS = 7.1  # the width of a printed page's text; a figure is wider only where its level names need it

# Okabe & Ito's palette, distinguishable with every common colour vision; their yellow is too pale on white.
COLOURS = ("#000000", "#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#D55E00", "#0072B2")
# The lengths of these cycles have no common factor with that of the colours, so that pairs repeat late.
MARKERS = ("o", "s", "^", "D", "v", "*", "P", "X", "<", ">", "p", "h", "d")
DASHES: tuple[Any, ...] = (
    (0, (1, 1.2)),
    (0, (4, 1.5)),
    (0, (5, 1.5, 1, 1.5)),
    (0, (8, 2)),
    (0, (5, 1.2, 1, 1.2, 1, 1.2)),
    "solid",
)
FIRST_STUDY = 6  # regularizers, whose looks no other level takes
FILLS: tuple[Any, ...] = ("full", "none", "left", "top", "right")
INK, FAINT, GRID = "0.15", "0.45", "0.9"

LOOK: dict[Any, Any] = {
    "font.family": [USUAL],
    "font.size": SMALL,
    "pdf.fonttype": 42,  # embedded TrueType: text stays text for search, copying and editing
    "text.parse_math": False,  # a "$" in a level's name is a "$"
    "hatch.linewidth": 0.5,
    "axes.edgecolor": "0.3",
    "axes.linewidth": 0.8,
}

P = ParamSpec("P")


@dataclass(frozen=True)
class Style:
    """How a level looks; any two of the first thirteen levels differ without colour as well.

    fill serves where markers already stand for something else (`pressure`).
    """

    colour: str
    marker: str
    dashes: Any
    fill: Any

    @property
    def size(self) -> float:
        """Marker size in points: a star needs more room than a disc to look as large."""
        return 9.0 if self.marker == "*" else 6.0


def styles(names: Iterable[Any], factor: str = "regularizer") -> dict[Any, Style]:
    """The style of each level: those of the papers keep theirs whichever others are in the data.

    The others take the places that are free behind the first study's.
    """
    known = PAPER_ORDER[factor]
    distinct = ordered(factor, names)
    taken = {known.index(name) for name in distinct if name in known}
    free = (place for place in itertools.count(min(len(known), FIRST_STUDY)) if place not in taken)
    found = {}
    for name in distinct:
        place = known.index(name) if name in known else next(free)
        found[name] = Style(
            COLOURS[place % len(COLOURS)],
            MARKERS[place % len(MARKERS)],
            DASHES[place % len(DASHES)],
            FILLS[place % len(FILLS)],
        )
    return found


@contextmanager
def _look(fonts: Sequence[str] = (USUAL,)) -> Iterator[None]:
    # Type 42 cannot hold the outlines of every font of another script; Type 3 can.
    special: dict[Any, Any] = {"font.family": list(fonts), "pdf.fonttype": 3 if len(fonts) > 1 else 42}
    with matplotlib.style.context(["default", LOOK, special]), warnings.catch_warnings():
        # A name that no installed font can write has boxes, and one such line a glyph and text helps nobody.
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from", UserWarning)
        yield


def _fonts(figure: Figure) -> list[str]:
    """The families that the figure's texts need."""
    return families(text.get_text() for text in figure.findobj(Text))


def drawn(function: Callable[P, Figure]) -> Callable[P, Figure]:
    """Make a figure in the common look; all its texts and ticks exist when it is returned."""

    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with _look():
            figure = function(*args, **kwargs)
            figure.draw_without_rendering()  # ticks are made when first drawn, in the look of that moment
        fonts = _fonts(figure)
        if len(fonts) > 1:  # measured anew, since every text is as wide as in its own font
            with _look(fonts):
                figure = function(*args, **kwargs)
                figure.draw_without_rendering()
        return figure

    return wrapper


def canvas() -> Figure:
    """An empty figure on the Agg canvas; `layout.compose` gives it its size."""
    figure = Figure(figsize=(1, 1), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write `<stem>.png` (180 dpi) and `<stem>.pdf` (vectors, text as text) and return their paths.

    Neither file holds a date or a version, so equal figures are equal bytes on machines with the same fonts; other
    fonts than matplotlib's own matter only to characters that this lacks. Raises OSError as writing does.
    """
    png, pdf = (stem.with_name(f"{stem.name}.{ending}") for ending in ("png", "pdf"))
    with _look(_fonts(figure)):
        figure.savefig(png, dpi=DPI, metadata={"Software": None})
        figure.savefig(pdf, dpi=DPI, metadata={"CreationDate": None, "Creator": None, "Producer": None})
    return [png, pdf]


def require(frame: pd.DataFrame, columns: Iterable[str], unique: Iterable[str] = ()) -> None:
    """Raise ValueError for a frame without rows, without a column, or with two rows for one place.

    unique: the columns whose values together name a row.
    """
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise ValueError(f"the frame lacks {', '.join(missing)}; it has {', '.join(map(str, frame.columns))}")
    if frame.empty:
        raise ValueError("the frame has no rows, so there is nothing to draw")
    keys = list(unique)
    if keys and (twice := frame[frame.duplicated(keys)]).size:
        first = ", ".join(f"{key} {twice[key].iloc[0]}" for key in keys)
        raise ValueError(f"more than one row for {first}")


def numbers(column: Any) -> np.ndarray:
    """A column as floats; missing values of any kind become NaN."""
    return pd.to_numeric(pd.Series(column), errors="raise").to_numpy(dtype=float, na_value=np.nan)


def bare(axes: Axes, *sides: str) -> None:
    """Take away an axes' frame but for the named sides."""
    for side, spine in axes.spines.items():
        spine.set_visible(side in sides)
