"""Slots: worker processes, one thread each on a CPU, that train one stack at a time.

They are forked from a server process that has imported torch once, while the runner, which does not need
torch, composes the grid.
"""

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, ForkServerProcess
from typing import Any

# One thread a slot. And MKL is to take the same way through a matrix product wherever the matrix lies in memory:
# left alone it looks at the alignment on some processors (AMD's among them), and a cell's last bits would depend
# on its place in the stack. The price was not measurable on an AMD EPYC (five matrices a batch, 16 to 784 wide).
ARITHMETIC = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_CBWR": "AUTO,STRICT",
}
# glibc hands large blocks back to the kernel when they are freed, and every step has its temporaries zeroed by it
# again: 5 to 40 % of a step of an MLP, most where a penalty makes temporaries of the size of the weights. Kept,
# they change no number. 32 MiB is the largest threshold that glibc takes. What the user has set stays.
ALLOCATION = {
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(4 * 2**30),
    "MALLOC_TOP_PAD_": str(64 * 2**20),
}

# Python is started with `-c` for the server and with `-m` for a task of a cluster. Both would import a file
# torch.py or random.py of the current folder in place of the module of that name.
IMPORTS = {"PYTHONSAFEPATH": "1"}


@contextlib.contextmanager
def worker_server() -> Iterator[ForkServerContext]:
    """The process that workers are forked from begins to import torch at once, and ends with the block.

    Within such a block it is the same process, which ends with the inner one: a command begins it before it knows
    what it will be asked to run. Ended it is with SIGKILL: it has nothing to tidy up, and may still be importing
    what nobody needs any more.
    """
    os.environ.update({**ALLOCATION, **os.environ, **ARITHMETIC, **IMPORTS})  # a process reads them when it starts
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["dreg_sweep.launch.preload"])
    with _interrupt_ignored():
        forkserver.ensure_running()
    try:
        yield context
    finally:
        pid = getattr(forkserver._forkserver, "_forkserver_pid", None)
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def _interrupt_ignored() -> Iterator[None]:
    """A server inherits what is ignored when it starts: Ctrl-C is the runner's to handle, from then on."""
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


_STANDSTILL = 3.0  # seconds


class WorkerLost(Exception):
    """A worker that was asked a question is gone; the message is one line."""


@dataclass(eq=False)
class Slot:
    """One worker process and what it is at."""

    process: ForkServerProcess
    connection: Connection
    device: str = "cpu"  # what it trains on, a torch device
    heard: float = 0.0  # monotonic time of the last sign of life

    @classmethod
    def start(cls, context: ForkServerContext, device: str = "cpu") -> "Slot":
        """A new worker, ready for a message."""
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs,), daemon=True)
        try:
            with _interrupt_ignored():  # the server may have to be started anew
                process.start()
        except (EOFError, OSError) as error:
            raise WorkerLost(f"no worker process could be started ({error or 'its server is gone'})") from None
        theirs.close()
        return cls(process, ours, device)

    def ask(self, message: Any) -> Any:
        """Send a message and wait for its answer; `WorkerLost` where the worker died over it."""
        try:
            self.connection.send(message)
            return self.connection.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError):
            self.process.join()
            raise WorkerLost(f"a worker process ended before it could train ({self.ending})") from None

    def give(self, message: Any) -> None:
        """Send a message that is answered later; a worker that has died is seen at the next `messages`."""
        self.heard = time.monotonic()
        try:
            self.connection.send(message)
        except (BrokenPipeError, ConnectionResetError):
            self.process.join()

    @property
    def silence(self) -> float:
        """Seconds since the last message to or from the worker."""
        return time.monotonic() - self.heard

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


class Pauses:
    """Notices where this process itself stood still (Ctrl-Z, a sleeping machine): its workers did so, too."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def forgive(self, slots: list[Slot]) -> None:
        """Add a pause to when each slot was heard. To be called at every turn of a loop of short turns."""
        now = time.monotonic()
        if now - self._last > _STANDSTILL:
            for slot in slots:
                slot.heard += now - self._last
        self._last = now


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
