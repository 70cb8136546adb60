"""What a chapter is made of."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dreg_sweep.analysis.report.render import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Drawing:
    """A figure to be drawn: its file name, title and caption, and the function that draws it."""

    name: str
    title: str
    caption: str
    draw: Callable[[], "Figure"]


@dataclass(frozen=True)
class Chapter:
    """A part of the report."""

    title: str
    text: tuple[str, ...]
    tables: tuple[Table, ...]
    drawings: tuple[Drawing, ...]
    is_audit: bool = False  # of the cells, which the page puts in places of its own
