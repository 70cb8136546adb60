"""Who is at work in a results folder: a lock that the kernel drops with its process, and signs of life.

`.lock` is held exclusively by a runner that plans, trains and joins files, and shared by the tasks of a cluster
job. Each of them keeps `.runners/<host>-<pid>.json`, which says what it trains; its modification time is renewed
every few seconds. On one host the lock and the process table tell who lives, whatever the clock does; for another
host, where a file system may not pass locks on, the age of that file by the file system's own clock does.
"""

import contextlib
import fcntl
import json
import os
import socket
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from dreg_sweep.atomic import whole_file
from dreg_sweep.errors import UserError
from dreg_sweep.store.files import refusals

BEAT = 5.0  # seconds between signs of life
SILENT = 60.0  # seconds without one after which a runner of another host counts as dead
_PID_AT_MOST = 2**31 - 1  # what the kernel takes


@dataclass(frozen=True)
class Runner:
    """One runner and the cells it trains now; `job` is its Slurm job, where it is one."""

    pid: int
    host: str
    job: str | None = None
    cells: Sequence[str] = field(default=())
    age: float = 0.0  # seconds since its last sign of life

    @property
    def name(self) -> str:
        """For example `pid 4711 on node3`."""
        return f"pid {self.pid} on {self.host}" + (f" (Slurm job {self.job})" if self.job else "")


class Presence:
    """A runner's own entry in `.runners/`. sole: it has the folder to itself."""

    def __init__(self, folder: Path, sole: bool) -> None:
        self.sole = sole
        self._runner = Runner(os.getpid(), socket.gethostname(), _slurm_job())
        self._folder = folder / ".runners"
        self._path = self._folder / f"{self._runner.host}-{self._runner.pid}.json"
        self._beaten = time.monotonic()
        self._cells: list[str] | None = None

    def trains(self, cells: Sequence[str]) -> None:
        """Say which cells are in training now, and that this runner lives."""
        now = time.monotonic()
        if list(cells) != self._cells:
            self._cells = list(cells)
            entry = {**asdict(self._runner), "cells": self._cells}
            with refusals(self._path):
                self._folder.mkdir(exist_ok=True)
                with whole_file(self._path) as file:
                    file.write(json.dumps(entry).encode())
        elif now - self._beaten > BEAT:
            with refusals(self._path):
                os.utime(self._path)
        else:
            return
        self._beaten = now

    def ends(self) -> None:
        """Take the entry away."""
        self._path.unlink(missing_ok=True)


@contextlib.contextmanager
def sole_runner(folder: Path) -> Iterator[Presence]:
    """Hold the folder alone; `UserError` naming the owners where other runners are at work in it."""
    with _locked(folder, fcntl.LOCK_EX, patience=1.0):  # whoever asks who is at work holds it for a moment
        if others := runners(folder, locked=True):
            raise _in_use(folder, others)
        # Of runners that died: files they were writing, and their entries.
        for leftover in (*folder.glob("**/.*.parquet.*"), *folder.glob(".runners/*")):
            with contextlib.suppress(OSError):  # a folder, say: nobody's entry
                leftover.unlink(missing_ok=True)
        yield from _present(folder, sole=True)


@contextlib.contextmanager
def one_of_many(folder: Path) -> Iterator[Presence]:
    """Hold the folder together with other tasks of a cluster job; `UserError` where a sole runner has it."""
    with _locked(folder, fcntl.LOCK_SH, patience=120.0):
        yield from _present(folder, sole=False)


def _present(folder: Path, sole: bool) -> Iterator[Presence]:
    presence = Presence(folder, sole)
    presence.trains([])
    try:
        yield presence
    finally:
        presence.ends()


@contextlib.contextmanager
def _locked(folder: Path, kind: int, patience: float) -> Iterator[None]:
    deadline = time.monotonic() + patience
    path = folder / ".lock"
    try:
        opened = path.open("a")
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"results_dir={folder} cannot be locked: {path}: {reason}; remove it") from None
    with opened as file:
        while True:
            try:
                fcntl.flock(file, kind | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise _in_use(folder, runners(folder)) from None
                time.sleep(0.2)
        yield


def _in_use(folder: Path, owners: Sequence[Runner]) -> UserError:
    names = ", ".join(owner.name for owner in owners) or "another process"
    return UserError(f"results_dir={folder} is in use by {names}; wait or choose another")


def runners(folder: Path, locked: bool = False) -> list[Runner]:
    """The runners at work in a folder. `locked`: the caller holds the lock alone, so none of this host is."""
    here = not locked and _is_locked(folder)
    now = _file_system_time(folder)
    living = []
    for path in sorted(folder.glob(".runners/*.json")):
        with contextlib.suppress(OSError, ValueError, RecursionError):
            found = path.stat()
            age = now - found.st_mtime
            runner = _entry(path.read_text(), max(age, 0.0)) if stat.S_ISREG(found.st_mode) else None
            if runner is None:
                continue
            local = runner.host == socket.gethostname()
            if here and _process_exists(runner.pid) if local else -BEAT <= age <= SILENT:
                living.append(runner)
    return living


def _entry(text: str, age: float) -> Runner | None:
    """The runner that an entry names; None for what a runner cannot have written. Errors: those of `json`."""
    entry = json.loads(text)
    if not isinstance(entry, dict):
        return None
    pid, host, job, cells = (entry.get(name) for name in ("pid", "host", "job", "cells"))
    if type(pid) is not int or not 1 <= pid <= _PID_AT_MOST:  # True is an int, too
        return None
    if not isinstance(host, str) or not (job is None or isinstance(job, str)):
        return None
    if not isinstance(cells, list) or not all(isinstance(cell, str) for cell in cells):
        return None
    return Runner(pid, host, job, cells, age)


def _is_locked(folder: Path) -> bool:
    try:
        with (folder / ".lock").open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False  # no lock file: nobody ever ran here
    return False


def _file_system_time(folder: Path) -> float:
    """The time by the clock that stamps the files: on a network mount it need not be this machine's."""
    probe = folder / f".clock.{os.getpid()}"
    try:
        probe.touch()
        return probe.stat().st_mtime
    except OSError:
        return time.time()  # a folder that may only be read
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)


def _process_exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True


def _slurm_job() -> str | None:
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array else os.environ.get("SLURM_JOB_ID")
