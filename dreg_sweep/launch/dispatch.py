"""Hands stacks to slots until all are trained, and outlives the workers it hands them to."""

import itertools
import time
from collections import Counter, deque
from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerContext
from typing import Any

from dreg_sweep.cells import Cell
from dreg_sweep.config import SweepSettings
from dreg_sweep.launch.messages import Broken, Finished, Progress, Unwritable, Work
from dreg_sweep.launch.pilot import Forecast
from dreg_sweep.launch.progress import SweepProgress
from dreg_sweep.launch.slots import Pauses, Slot, messages
from dreg_sweep.rows import failed_rows
from dreg_sweep.store import Store, StoreError
from dreg_sweep.store.runners import Presence
from dreg_sweep.versions import code_fingerprint, code_version

_ALIKE = 3  # stacks that fail with one traceback, before anything was trained, and so end a sweep
_FILES = 300  # stacks stored since files were last joined: readers want few files
# A worker is hung when it is silent (an epoch is a sign of life) for this many times as long as the whole stack
# was predicted to take, and for some minutes at least: a laptop that is busy with something else is no hang.
_PATIENCE, _PATIENCE_AT_LEAST, _PATIENCE_UNKNOWN = 10.0, 300.0, 1800.0


@dataclass
class Summary:
    """How a run ended. `errors`: a traceback → the cells it ended."""

    trained: Counter[str] = field(default_factory=Counter)  # status → cells
    errors: dict[str, list[Cell]] = field(default_factory=dict)
    seconds: float = 0.0
    peak_bytes: int = 0  # of the slot that needed most
    stopped_early: bool = False


@dataclass
class _Stack:
    """Cells to train together; `cost` in the units of the forecast, `patience` in seconds."""

    cells: Sequence[Cell]
    cost: float
    patience: float
    retry: bool = False  # has failed once
    sequence: int = 0
    fraction: float = 0.0  # trained

    def part(self, cells: Sequence[Cell], retry: bool) -> "_Stack":
        """Some of the cells, to be trained by themselves."""
        return _Stack(cells, self.cost * len(cells) / len(self.cells), self.patience, retry)


class Dispatch:
    """One run of a plan's stacks on slots that are there.

    finished: keys with a result in the store, which no failure may replace. source: digest of the code as planned.
    """

    def __init__(
        self,
        stacks: Sequence[Sequence[Cell]],
        forecast: Forecast,
        finished: Set[str],
        settings: SweepSettings,
        store: Store,
        presence: Presence,
        context: ForkServerContext,
        slots: list[Slot],
        source: str,
    ) -> None:
        self._source, self._pauses = source, Pauses()
        self._settings, self._store, self._presence = settings, store, presence
        self._context, self._slots, self._finished = context, slots, finished
        self._sequences = itertools.count(store.next_sequence())
        costs = forecast.costs(stacks)
        self._queue = deque(
            _Stack(cells, cost, settings.timeout or _patience(forecast.seconds(cells)))
            for cells, cost in zip(stacks, costs, strict=True)
        )
        self._running: dict[Slot, _Stack] = {}
        self._files = 0
        predicted = sum(costs) / len(slots) if forecast.chosen else None
        self._progress = SweepProgress(sum(map(len, stacks)), sum(costs), predicted)
        self._summary = Summary()
        self._alike: Counter[str] = Counter()  # traceback → stacks it ended

    def run(self) -> Summary:
        """Train everything and leave no worker behind.

        Errors: `StoreError` where the results folder refuses a write.
        """
        started = time.perf_counter()
        try:
            with self._progress:
                while self._queue or self._running:
                    self._turn()
        finally:
            for slot in self._slots:
                slot.stop()
        self._summary.seconds = time.perf_counter() - started
        return self._summary

    def _turn(self) -> None:
        self._pauses.forgive(self._slots)
        for slot in self._slots:
            if slot not in self._running and self._queue:
                self._begin(slot, self._queue.popleft())
        self._presence.trains([cell.key for stack in self._running.values() for cell in stack.cells])
        for slot, message in messages(list(self._running), timeout=0.25):
            self._hear(slot, message)
        for slot, stack in list(self._running.items()):
            if slot.silence > stack.patience:
                slot.stop()
                self._lose(slot, f"worker silent for {stack.patience:.0f} s, and ended")
        if self._files >= _FILES and self._presence.sole:
            self._store.compact(below=min((stack.sequence for stack in self._running.values()), default=None))
            self._files = 0
        self._progress.running_cost = sum(stack.cost * stack.fraction for stack in self._running.values())
        self._progress.show()

    def _begin(self, slot: Slot, stack: _Stack) -> None:
        settings = self._settings
        stack.sequence, stack.fraction = next(self._sequences), 0.0
        self._running[slot] = stack
        slot.give(
            Work(
                stack.sequence,
                stack.cells,
                settings.data_dir,
                settings.results_dir,
                slot.device,
                code_version(),
                [code_fingerprint(cell) for cell in stack.cells],
                self._source,
                settings.cuda_graphs,
            )
        )

    def _hear(self, slot: Slot, message: Any) -> None:
        match message:
            case Progress():
                self._running[slot].fraction = message.fraction
            case Finished():
                stack = self._running.pop(slot)
                self._files += 1
                self._summary.peak_bytes = max(self._summary.peak_bytes, message.peak_bytes)
                self._count(stack, Counter(message.statuses))
            case Broken():
                if slot.device != "cpu" and not message.out_of_memory:  # its CUDA context may be broken for good
                    slot.stop()
                    self._slots[self._slots.index(slot)] = Slot.start(self._context, slot.device)
                self._fail(self._running.pop(slot), message.error, slot.device, message.out_of_memory)
            case Unwritable():
                raise StoreError(message.reason)
            case _:
                self._lose(slot, f"worker process ended: {slot.ending}")

    def _lose(self, slot: Slot, error: str) -> None:
        """A worker is gone: a new one takes its slot, its stack has failed."""
        self._slots[self._slots.index(slot)] = Slot.start(self._context, slot.device)
        self._fail(self._running.pop(slot), error, slot.device)

    def _fail(self, stack: _Stack, error: str, device: str, out_of_memory: bool = False) -> None:
        """Give each cell of a failed stack another try, alone; a cell that fails again is stored as failed.

        A stack that was too large for the GPU is halved instead.
        """
        cells = stack.cells
        if out_of_memory and len(cells) > 1:
            half = len(cells) // 2
            self._queue.extendleft(stack.part(cells, stack.retry) for cells in (cells[half:], cells[:half]))
            return
        if stack.retry:
            self._store_failure(stack, error, device)
            return
        # After all others: what is wrong with these cells must not keep the rest from being trained.
        self._queue.extend(stack.part([cell], retry=True) for cell in cells)
        self._alike[error] += 1
        if self._alike[error] >= _ALIKE and not self._summary.trained.keys() - {"failed"}:
            self._summary.stopped_early = True
            for untried in self._queue:
                if untried.retry:
                    self._store_failure(untried, error, device)
            self._queue.clear()

    def _store_failure(self, stack: _Stack, error: str, device: str) -> None:
        for cell in stack.cells:
            if cell.key in self._finished:
                continue
            provenance = {
                "device": device.partition(":")[0],
                "code_version": code_version(),
                "code_fingerprint": code_fingerprint(cell),
            }
            self._store.write_stack(next(self._sequences), failed_rows([cell], error, provenance))
            self._files += 1
        self._summary.errors.setdefault(error, []).extend(stack.cells)
        self._count(stack, Counter(failed=len(stack.cells)))

    def _count(self, stack: _Stack, statuses: Counter[str]) -> None:
        self._summary.trained += statuses
        self._progress.finished += len(stack.cells)
        self._progress.finished_cost += stack.cost
        self._progress.failed += statuses["failed"]
        self._progress.diverged += statuses["diverged"]


def _patience(predicted: float | None) -> float:
    if predicted is None:
        return _PATIENCE_UNKNOWN
    return max(_PATIENCE * predicted, _PATIENCE_AT_LEAST)
