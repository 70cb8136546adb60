"""Hands stacks to slots until all are trained, and outlives the workers it hands them to."""

import itertools
import os
import sys
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerContext
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


@dataclass
class Summary:
    """How a run ended. `errors`: a traceback → the cells it ended."""

    trained: Counter[str] = field(default_factory=Counter)  # status → cells
    errors: dict[str, list[Cell]] = field(default_factory=dict)
    seconds: float = 0.0
    stopped_early: bool = False


class Dispatch:
    """One run of a plan's stacks.

    costs: cell key → work in arbitrary units. finished: keys with a result in the store, which no failure may
    replace. first: a worker that has already been asked to check the stacks.
    """

    def __init__(
        self,
        stacks: Sequence[Sequence[Cell]],
        costs: Mapping[str, float],
        finished: Set[str],
        settings: SweepSettings,
        store: Store,
        device: str,
        context: ForkServerContext,
        first: Slot,
    ) -> None:
        self._settings, self._store, self._device, self._context = settings, store, device, context
        self._costs, self._finished = costs, finished
        self._sequences = itertools.count(store.next_sequence())
        self._queue = deque(self._new_work(stack) for stack in stacks)
        workers = min(settings.slots or default_slots(device), len(stacks))
        self._slots = [first, *(Slot.start(context) for _ in range(workers - 1))]
        self._fractions: dict[int, float] = {}  # sequence of a running stack → trained fraction
        self._progress = SweepProgress(sum(len(stack) for stack in stacks), sum(map(self._cost, stacks)))
        self._summary = Summary()
        self._alike: Counter[str] = Counter()  # traceback → stacks it ended

    def _new_work(self, cells: Sequence[Cell], retry: bool = False) -> Work:
        settings = self._settings
        return Work(next(self._sequences), cells, settings.data_dir, settings.results_dir, self._device, retry)

    def run(self) -> Summary:
        """Train everything and leave no worker behind.

        Errors: `StoreError` where the results folder refuses a write.
        """
        started = time.perf_counter()
        try:
            with self._progress:
                while self._queue or any(slot.work for slot in self._slots):
                    self._turn()
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
            self._cost(s.work.cells) * self._fractions.get(s.work.sequence, 0.0) for s in self._slots if s.work
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
            lost = [cell for cell in work.cells if cell.key not in self._finished]
            if lost:
                self._store.write_stack(work.sequence, failed_rows(lost, error, provenance))
            self._summary.errors.setdefault(error, []).extend(work.cells)
            self._count(work.cells, Counter(failed=len(work.cells)))
        if self._alike[error] >= _ALIKE and not self._summary.trained["done"]:
            self._summary.stopped_early = True
            self._queue.clear()

    def _cost(self, cells: Sequence[Cell]) -> float:
        return sum(self._costs[cell.key] for cell in cells)

    def _count(self, cells: Sequence[Cell], statuses: Counter[str]) -> None:
        self._summary.trained += statuses
        self._progress.finished += len(cells)
        self._progress.finished_cost += self._cost(cells)
        self._progress.failed += statuses["failed"]
        self._progress.diverged += statuses["diverged"]


def default_slots(device: str) -> int:
    """One a CPU core that this process may use, or one for the GPU."""
    if device == "cuda":
        return 1
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
