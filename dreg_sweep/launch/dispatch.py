"""Hands stacks to slots until all are trained, and outlives the workers it hands them to."""

import itertools
import os
import signal
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerContext
from types import FrameType
from typing import Any

from dreg_sweep.cells import Cell
from dreg_sweep.config import SweepSettings
from dreg_sweep.launch.messages import Broken, Finished, Progress, Unwritable, Work
from dreg_sweep.launch.progress import SweepProgress
from dreg_sweep.launch.slots import Slot, messages
from dreg_sweep.provenance import code_version
from dreg_sweep.rows import failed_rows
from dreg_sweep.store import Store, StoreError

_ALIKE = 3  # failures with one traceback, before anything succeeded, that end a sweep


class Interrupted(Exception):
    """A signal asked the sweep to end. `finished`: cells stored in this run."""

    def __init__(self, signal_number: int, finished: int) -> None:
        super().__init__(signal_number)
        self.signal, self.finished = signal_number, finished


@dataclass
class Summary:
    """How a run ended. `errors`: a traceback → the cells it ended."""

    trained: Counter[str] = field(default_factory=Counter)  # status → cells
    errors: dict[str, list[Cell]] = field(default_factory=dict)
    seconds: float = 0.0
    stopped_early: bool = False


class Dispatch:
    """One run of a plan's stacks. `first`: a worker that has already been asked to check them."""

    def __init__(
        self,
        stacks: Sequence[Sequence[Cell]],
        settings: SweepSettings,
        store: Store,
        device: str,
        context: ForkServerContext,
        first: Slot,
    ) -> None:
        self._settings, self._store, self._device, self._context = settings, store, device, context
        self._sequences = itertools.count(store.next_sequence())
        self._queue = deque(self._new_work(stack) for stack in stacks)
        workers = min(settings.slots or default_slots(device), len(stacks))
        self._slots = [first, *(Slot.start(context) for _ in range(workers - 1))]
        self._fractions: dict[int, float] = {}  # sequence of a running stack → trained fraction
        self._progress = SweepProgress(
            sum(len(stack) for stack in stacks), sum(relative_cost(stack) for stack in stacks)
        )
        self._summary = Summary()
        self._alike: Counter[str] = Counter()  # traceback → stacks it ended

    def _new_work(self, cells: Sequence[Cell], retry: bool = False) -> Work:
        settings = self._settings
        return Work(next(self._sequences), cells, settings.data_dir, settings.results_dir, self._device, retry)

    def run(self) -> Summary:
        """Train everything and leave no worker behind.

        Errors: `Interrupted` on SIGINT or SIGTERM, `StoreError` where the results folder refuses a write.
        """
        started = time.perf_counter()
        try:
            with _signals_raise(), self._progress:
                while self._queue or any(slot.work for slot in self._slots):
                    self._turn()
        except _Signal as stop:
            raise Interrupted(stop.number, self._progress.finished) from None
        finally:
            for slot in self._slots:
                slot.stop()
        self._summary.seconds = time.perf_counter() - started
        return self._summary

    def _turn(self) -> None:
        idle = [slot for slot in self._slots if slot.work is None]
        for slot in idle[: len(self._queue)]:
            slot.give(self._queue.popleft())
        if idle:
            self._store.mark_running([c.key for slot in self._slots if slot.work for c in slot.work.cells])
        for slot, message in messages([slot for slot in self._slots if slot.work], timeout=0.25):
            self._hear(slot, message)
        for slot in [slot for slot in self._slots if slot.work]:
            if time.monotonic() - slot.heard > self._settings.timeout:
                slot.stop()
                self._lose(slot, f"worker silent for {self._settings.timeout:g} s, and ended")
        running = (
            relative_cost(s.work.cells) * self._fractions.get(s.work.sequence, 0.0) for s in self._slots if s.work
        )
        self._progress.running_cost = sum(running)
        self._progress.show()

    def _hear(self, slot: Slot, message: Any) -> None:
        work = slot.work
        assert work is not None
        if isinstance(message, Progress):
            self._fractions[work.sequence] = message.fraction
            return
        match message:
            case Finished():
                slot.work = None
                self._count(work.cells, Counter(message.statuses))
            case Broken():
                slot.work = None
                self._fail(work, message.error, message.out_of_memory)
            case Unwritable():
                raise StoreError(message.reason)
            case _:
                self._lose(slot, f"worker process ended: {slot.ending}")

    def _lose(self, slot: Slot, error: str) -> None:
        """A worker is gone: a new one takes its slot, its stack has failed."""
        assert slot.work is not None
        self._slots[self._slots.index(slot)] = Slot.start(self._context)
        self._fail(slot.work, error)

    def _fail(self, work: Work, error: str, out_of_memory: bool = False) -> None:
        """Give each cell of a failed stack another try, alone; a cell that fails again is stored as failed.

        A stack that was too large for the GPU is halved instead.
        """
        self._fractions.pop(work.sequence, None)
        if out_of_memory and len(work.cells) > 1:
            half = len(work.cells) // 2
            self._queue.extendleft(self._new_work(part) for part in (work.cells[half:], work.cells[:half]))
            return
        self._alike[error] += 1
        if not work.retry:
            self._queue.extendleft(self._new_work([cell], retry=True) for cell in reversed(work.cells))
        else:
            provenance = {"device": self._device, "code_version": code_version()}
            self._store.write_stack(work.sequence, failed_rows(work.cells, error, provenance))
            self._summary.errors.setdefault(error, []).extend(work.cells)
            self._count(work.cells, Counter(failed=len(work.cells)))
        if self._alike[error] >= _ALIKE and not self._summary.trained["done"]:
            self._summary.stopped_early = True
            self._queue.clear()

    def _count(self, cells: Sequence[Cell], statuses: Counter[str]) -> None:
        self._summary.trained += statuses
        self._progress.finished += len(cells)
        self._progress.finished_cost += relative_cost(cells)
        self._progress.failed += statuses["failed"]
        self._progress.diverged += statuses["diverged"]


def default_slots(device: str) -> int:
    """One a CPU core that this process may use, or one for the GPU."""
    if device == "cuda":
        return 1
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def relative_cost(cells: Sequence[Cell]) -> float:
    """A stack's work in arbitrary units; only ratios within one sweep matter, for the remaining time."""
    recipe = cells[0].recipe
    return len(cells) * float(recipe.steps or recipe.epochs)


class _Signal(BaseException):
    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def _signals_raise() -> Iterator[None]:
    """SIGINT and SIGTERM interrupt the block as an exception, once."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        for handled in (signal.SIGINT, signal.SIGTERM):
            signal.signal(handled, signal.SIG_IGN)
        raise _Signal(number)

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
