"""What runner and slot processes say to each other; all of it pickles and none of it needs torch."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from dreg_sweep.cells import Cell


@dataclass(frozen=True)
class Inputs:
    """What a dataset asks of a network. n_outputs: classes, or numbers in a target. task: see dreg_sweep.tasks."""

    shape: tuple[int, ...]
    n_outputs: int
    task: str


@dataclass(frozen=True)
class Check:
    """To a slot: are these cells something that the code can train, and on what device?

    cells: each with its inputs, None where the data are not there yet. device: auto, cpu or cuda; None where the
    cells will be trained on another machine.
    """

    cells: Sequence[tuple[Cell, Inputs | None]]
    device: str | None


@dataclass(frozen=True)
class Device:
    """A torch device (`cpu`, `cuda:0`, …) and its memory in bytes, 0 where that is not counted."""

    name: str
    memory: int = 0

    @property
    def kind(self) -> str:
        """cpu or cuda."""
        return self.name.partition(":")[0]


@dataclass(frozen=True)
class Checked:
    """The answer: the mistake in one line, or None; the devices to train on.

    sliceable: the activations whose cells may share a stack there. environment: of a run there, without the
    precision; None where no device is asked for.
    """

    mistake: str | None
    devices: Sequence[Device] = ()
    sliceable: Collection[str] = ()
    environment: str | None = None


@dataclass(frozen=True)
class Pilot:
    """To a slot: how long would the first n of these cells take as one stack, for each n of `sizes`?

    Only of one cell where the network does not stack on that device.
    """

    cells: Sequence[Cell]
    sizes: Sequence[int]
    data_dir: Path
    device: str
    cuda_graphs: bool = True


@dataclass(frozen=True)
class Measure:
    """Of a stack of this size: predicted seconds of training and evaluation, and the slot's peak memory."""

    size: int
    seconds: float
    peak_bytes: int


@dataclass(frozen=True)
class Piloted:
    """The answer: one measure a size, as far as the pilot came."""

    measures: Sequence[Measure]


@dataclass(frozen=True)
class Work:
    """To a slot: train these cells as one stack and store their rows under this sequence number.

    code_fingerprints: one a cell. source: digest of the code, see `source_digest`.
    """

    sequence: int
    cells: Sequence[Cell]
    data_dir: Path
    results_dir: Path
    device: str
    code_version: str
    code_fingerprints: Sequence[str]
    source: str
    cuda_graphs: bool = True


@dataclass(frozen=True)
class Progress:
    """From a slot: the trained fraction of its stack."""

    fraction: float


@dataclass(frozen=True)
class Finished:
    """From a slot: the stack is stored; one status a cell, in the order of its cells."""

    statuses: Sequence[str]
    peak_bytes: int


@dataclass(frozen=True)
class Broken:
    """From a slot: an exception ended the stack; nothing of it is stored."""

    error: str  # the whole traceback
    out_of_memory: bool = False  # on the GPU: fewer cells at once may do


@dataclass(frozen=True)
class Unwritable:
    """From a slot: the results folder refuses; nothing of the stack is stored."""

    reason: str
