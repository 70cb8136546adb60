"""Progress of a sweep: a bar on a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

_LINE_EVERY = 15.0  # seconds between plain lines


class SweepProgress:
    """Counts cells and their cost, and tells rate and remaining time.

    The remaining time extrapolates the cost done so far, running stacks counted by their trained fraction. Where
    pilots have `predicted` the seconds of the whole, it starts from that, and half believes it until as much as
    half a minute of it, or a twentieth, is done.
    """

    def __init__(
        self,
        cells: int,
        cost: float,
        predicted: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.cells, self.cost, self.predicted, self.clock = cells, cost, predicted, clock
        self.finished = self.failed = self.diverged = 0
        self.finished_cost = self.running_cost = 0.0
        self.started = self.last_line = clock()
        self._console = Console(file=sys.stderr)
        self._bar: Progress | None = None

    def __enter__(self) -> "SweepProgress":
        if self._console.is_terminal:
            columns = (BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
            self._bar = Progress(*columns, console=self._console)
            self._task = self._bar.add_task(self.text(), total=self.cost)
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.show(force=True)
        if self._bar is not None:
            self._bar.stop()

    def show(self, force: bool = False) -> None:
        """Redraw the bar, or print a line when the last one is old."""
        if self._bar is not None:
            done = self.finished_cost + self.running_cost
            self._bar.update(self._task, completed=done, description=self.text())
        elif force or self.clock() - self.last_line >= _LINE_EVERY:
            self.last_line = self.clock()
            print(self.text(), file=sys.stderr, flush=True)

    def text(self) -> str:
        """For example `120/240 cells, 310 cells/min, 0:23 left, 2 diverged`."""
        elapsed = self.clock() - self.started
        parts = [f"{self.finished}/{self.cells} cells"]
        if self.finished and elapsed > 0:
            parts.append(f"{60 * self.finished / elapsed:.0f} cells/min")
        left = self.seconds_left(elapsed)
        if left is not None and self.finished < self.cells:
            parts.append(f"{_clock_text(left)} left")
        parts += [f"{self.failed} failed"] * bool(self.failed)
        parts += [f"{self.diverged} diverged"] * bool(self.diverged)
        return ", ".join(parts)

    def seconds_left(self, elapsed: float) -> float | None:
        """The remaining time; None where there is nothing yet to tell it from."""
        done = self.finished_cost + self.running_cost
        believed = 0.0 if self.predicted is None else max(30.0, self.predicted / 20)  # seconds
        virtual = believed * self.cost / self.predicted if self.predicted else 0.0
        if not done + virtual:
            return None
        return (elapsed + believed) * (self.cost - done) / (done + virtual)


def _clock_text(seconds: float) -> str:
    minutes, rest = divmod(round(max(seconds, 0.0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
