"""Slots: worker processes, one thread each on a CPU, that train one stack at a time.

They are forked from a server process that has imported torch once, while the runner, which does not need
torch, composes the grid.
"""

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, ForkServerProcess
from typing import Any

from dreg_sweep.launch.messages import Work

_ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def start_server() -> ForkServerContext:
    """Start importing torch in the server process; returns at once."""
    for variable in _ONE_THREAD:
        os.environ[variable] = "1"
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["dreg_sweep.launch.worker"])
    from multiprocessing import forkserver

    # The server inherits what is ignored: Ctrl-C is the runner's to handle, from the first moment on.
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGINT, handler)
    return context


class WorkerLost(Exception):
    """A worker that was asked a question is gone; the message is one line."""


@dataclass
class Slot:
    """One worker process and what it is at."""

    process: ForkServerProcess
    connection: Connection
    work: Work | None = None
    heard: float = 0.0  # monotonic time of the last sign of life

    @classmethod
    def start(cls, context: ForkServerContext) -> "Slot":
        """A new worker, ready for a message."""
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs,), daemon=True)
        process.start()
        theirs.close()
        return cls(process, ours)

    def ask(self, message: Any) -> Any:
        """Send a message and wait for its answer; `WorkerLost` where the worker died over it."""
        try:
            self.connection.send(message)
            return self.connection.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError):
            self.process.join()
            raise WorkerLost(f"a worker process ended before it could train ({self.ending})") from None

    def give(self, work: Work) -> None:
        """Hand over a stack; a worker that has died meanwhile is seen at the next `messages`."""
        self.work = work
        self.heard = time.monotonic()
        try:
            self.connection.send(work)
        except (BrokenPipeError, ConnectionResetError):
            self.process.join()

    @property
    def ending(self) -> str:
        """How a dead worker ended, in words."""
        code = self.process.exitcode or 0
        return f"killed by signal {-code}" if code < 0 else f"exit code {code}"

    def stop(self) -> None:
        """End the worker now, whatever it is at: what it writes appears whole or not at all."""
        self.connection.close()
        self.process.kill()
        self.process.join()


def messages(slots: list[Slot], timeout: float) -> Iterator[tuple[Slot, Any]]:
    """What the slots have said by now, waiting at most `timeout` seconds; None from one that has died."""
    by_connection: dict[Any, Slot] = {slot.connection: slot for slot in slots}
    for ready in wait(list(by_connection), timeout):
        slot = by_connection[ready]
        slot.heard = time.monotonic()
        try:
            yield slot, slot.connection.recv()
        except (EOFError, ConnectionResetError):
            slot.process.join()
            yield slot, None


def _serve(connection: Connection) -> None:
    from dreg_sweep.launch.worker import serve

    serve(connection)
