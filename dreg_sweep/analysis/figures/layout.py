"""The page: panels of a stated size, with title, axis titles, legend and note around them.

Everything is measured before anything is placed, so the canvas fits its contents: nothing is clipped, whatever the
length of a level's name, and no layout engine has to give up. Lengths are inches.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from matplotlib import rcParams
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.legend import Legend
from matplotlib.text import Text

from dreg_sweep.analysis.figures.style import DPI, FAINT, SMALL, TITLE, TWO_COLUMNS, canvas

PAD = 0.08  # round the canvas
GAP = 0.09  # between title, panels, legend and note
NEAR = 0.03  # between tick labels and the x axis title
LINE = 0.152  # a line of 8 pt text with its leading
NARROWEST = 2.6  # a title needs some room

_renderer = RendererAgg(8, 8, DPI)


@dataclass(frozen=True)
class Panels:
    """A grid of equal panels, row by row.

    width, height: of one panel's data area. left: for the tick labels of the first column; right: for what stands
    beside the last. between: from one column to the next, tick labels included. above, below: for the heading and
    the tick labels of each panel.
    """

    count: int
    columns: int
    width: float
    height: float
    left: float = 0.0
    right: float = 0.0
    between: float = 0.3
    above: float = 0.0
    below: float = 0.22

    @property
    def rows(self) -> int:
        """Rows of panels; the last may be incomplete."""
        return -(-self.count // self.columns)

    @property
    def across(self) -> float:
        """From the left edge of the first column to the right edge of the last."""
        return self.columns * self.width + (self.columns - 1) * self.between

    @property
    def down(self) -> float:
        """All rows with their headings and tick labels."""
        return self.rows * (self.above + self.height + self.below) + (self.rows - 1) * GAP


@dataclass(frozen=True)
class Key:
    """A legend: what its handles mean, the handles, their labels."""

    heading: str
    handles: Sequence[Artist]
    labels: Sequence[str]


def columns(count: int, *, left: float, right: float = 0.0, narrowest: float, between: float) -> tuple[int, float]:
    """How many panels stand side by side, and the room each has, on a page of two columns.

    As few rows as possible, filled evenly; a panel that needs more than the page has makes the figure wider.
    """
    room = TWO_COLUMNS - 2 * PAD - left - right
    most = max(1, int((room + between + 1e-9) / (narrowest + between)))
    rows = -(-count // most)
    side_by_side = -(-count // rows)
    return side_by_side, max(narrowest, (room - (side_by_side - 1) * between) / side_by_side)


def text_width(text: str, size: float = SMALL, weight: str = "normal") -> float:
    """Width of the widest line of a text in inches, in the fonts of the figure that is being drawn."""
    return _text_width(text, size, weight, tuple(rcParams["font.family"]))


@lru_cache(maxsize=4096)
def _text_width(text: str, size: float, weight: str, fonts: tuple[str, ...]) -> float:
    font = FontProperties(family=list(fonts), size=size, weight=weight)
    widths = (_renderer.get_text_width_height_descent(line, font, False)[0] for line in text.split("\n"))
    return float(max(widths)) / DPI


def widest(texts: Iterable[Any], size: float = SMALL, weight: str = "normal") -> float:
    """Width of the widest of some lines; 0 for none."""
    return max((text_width(str(text), size, weight) for text in texts), default=0.0)


def wrap(text: str, room: float, size: float = SMALL, weight: str = "normal") -> str:
    """Break text into lines of at most `room` inches: at spaces, and within a word only if it alone is too long.

    A no-break space keeps its words together.
    """
    return "\n".join(_wrapped(paragraph, room, size, weight) for paragraph in text.split("\n"))


def _wrapped(text: str, room: float, size: float, weight: str) -> str:
    lines: list[str] = []
    line = ""
    for word in text.split(" "):
        longer = f"{line} {word}" if line else word
        if text_width(longer, size, weight) <= room:
            line = longer
            continue
        if line:
            lines.append(line)
        while text_width(word, size, weight) > room and len(word) > 1:
            cut = next(
                n for n in range(len(word) - 1, 0, -1) if n == 1 or text_width(word[:n], size, weight) <= room
            )
            seam = max(word.rfind(mark, 0, cut) for mark in "_-/") + 1
            cut = seam or cut
            lines.append(word[:cut])
            word = word[cut:]
        line = word
    return "\n".join([*lines, line] if line else lines)


def compose(
    panels: Panels, *, title: str, xlabel: str = "", ylabel: str = "", keys: Sequence[Key] = (), note: str = ""
) -> tuple[Figure, list[Axes]]:
    """A figure of the size its parts need, and its panels row by row.

    From the top: title, panels, x axis title, legends, note (grey); the y axis title stands at the left. Titles
    and note are broken into lines where the canvas is too narrow for them.
    """
    figure = canvas()
    tall = panels.down
    beside = figure.text(0, 0, wrap(ylabel, tall), rotation=90, ha="left", va="center") if ylabel else None
    margin = PAD + (_size(beside)[0] + 0.05 if beside else 0.0) + panels.left
    width = max(margin + panels.across + panels.right + PAD, NARROWEST)
    room = width - 2 * PAD
    head = figure.text(0, 0, wrap(title, room, TITLE), fontsize=TITLE, ha="left", va="top") if title else None
    under = figure.text(0, 0, wrap(xlabel, panels.across), ha="center", va="top") if xlabel else None
    legends = [_legend(figure, key, room) for key in keys]
    foot = figure.text(0, 0, wrap(note, room), color=FAINT, ha="left", va="top") if note else None

    parts = [_size(part)[1] for part in (head, under, *legends, foot) if part]
    height = 2 * PAD + tall + sum(parts) + GAP * len(parts) - (GAP - NEAR if under else 0.0)
    figure.set_size_inches(width, height)

    y = height - PAD
    if head:
        head.set_position((PAD / width, y / height))
        y -= _size(head)[1] + GAP
    top = y
    axes = []
    for place in range(panels.count):
        row, column = divmod(place, panels.columns)
        x = margin + column * (panels.width + panels.between)
        bottom = top - row * (panels.above + panels.height + panels.below + GAP) - panels.above - panels.height
        axes.append(add_axes(figure, x, bottom, panels.width, panels.height))
    y -= tall
    if beside:
        beside.set_position((PAD / width, (y + tall / 2) / height))
    if under:
        y -= NEAR
        under.set_position(((margin + panels.across / 2) / width, y / height))
        y -= _size(under)[1]
    for legend in legends:
        y -= GAP
        legend.set_bbox_to_anchor((PAD / width, y / height))
        y -= _size(legend)[1]
    if foot:
        foot.set_position((PAD / width, (y - GAP) / height))
    return figure, axes


def add_axes(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """An axes at a place in inches, with ticks and labels in the common look."""
    across, down = figure.get_size_inches()
    axes = figure.add_axes((left / across, bottom / down, width / across, height / down))
    axes.tick_params(which="both", labelsize=SMALL, width=0.8, length=3, pad=2.5, color="0.3")
    axes.set_axisbelow(True)
    return axes


def above(axes: Axes, text: str, line: int = 0, side: str = "left", weight: str = "normal") -> None:
    """Text above a panel, at its left or right end, its last line `line` lines up from the panel."""
    up = (0.08 + line * LINE) * 72
    x = 0 if side == "left" else 1
    axes.annotate(
        text,
        (x, 1),
        (0, up),
        "axes fraction",
        "offset points",
        ha=side,
        va="baseline",
        weight=weight,
        linespacing=1.1,
    )


def lines(texts: Iterable[str]) -> int:
    """The most lines that one of the texts has."""
    return max(text.count("\n") + 1 for text in texts)


def _legend(figure: Figure, key: Key, room: float) -> Legend:
    """A legend in as many columns as fit side by side, its upper left corner to be placed."""
    for side_by_side in range(len(key.handles), 0, -1):
        legend = figure.legend(
            key.handles,
            key.labels,
            title=key.heading or None,
            ncols=side_by_side,
            loc="upper left",
            alignment="left",
            frameon=False,
            borderpad=0,
            borderaxespad=0,
            handlelength=2.6,
            handletextpad=0.5,
            columnspacing=1.4,
            labelspacing=0.35,
            title_fontsize=SMALL,
            fontsize=SMALL,
        )
        if _size(legend)[0] <= room or side_by_side == 1:
            break
        legend.remove()
    return legend


def _size(part: Text | Legend) -> tuple[float, float]:
    extent = part.get_window_extent(_renderer)
    return extent.width / DPI, extent.height / DPI
