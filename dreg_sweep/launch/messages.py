"""What runner and slot processes say to each other; all of it pickles and none of it needs torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dreg_sweep.cells import Cell


@dataclass(frozen=True)
class Check:
    """To a slot: are these cells something that the code can train?"""

    cells: Sequence[Cell]
    device: str


@dataclass(frozen=True)
class Checked:
    """The answer: the mistake in one line, or None; the device that `auto` means here."""

    mistake: str | None
    device: str


@dataclass(frozen=True)
class Pilot:
    """To a slot: how long would these cells take as one stack?"""

    cells: Sequence[Cell]
    data_dir: Path
    device: str


@dataclass(frozen=True)
class Piloted:
    """The answer, extrapolated from a few steps; the peak is the process's so far."""

    seconds: float
    peak_bytes: int


@dataclass(frozen=True)
class Work:
    """To a slot: train these cells as one stack and store their rows under this sequence number."""

    sequence: int
    cells: Sequence[Cell]
    data_dir: Path
    results_dir: Path
    device: str
    retry: bool = False  # cells that have failed once


@dataclass(frozen=True)
class Progress:
    """From a slot: the trained fraction of its stack."""

    fraction: float


@dataclass(frozen=True)
class Finished:
    """From a slot: the stack is stored; one status a cell, in the order of its cells."""

    statuses: Sequence[str]


@dataclass(frozen=True)
class Broken:
    """From a slot: an exception ended the stack; nothing of it is stored."""

    error: str  # the whole traceback
    out_of_memory: bool = False  # on the GPU: fewer cells at once may do


@dataclass(frozen=True)
class Unwritable:
    """From a slot: the results folder refuses; nothing of the stack is stored."""

    reason: str
