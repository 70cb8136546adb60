"""What was measured on, and with what: told beside every table."""

import os
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from dreg_sweep.errors import UserError
from dreg_sweep.launch.slots import ALLOCATION, ARITHMETIC
from dreg_sweep.versions import code_version


def environment(packages: Sequence[str]) -> dict[str, str]:
    """Processor, memory, Python, this code and the versions of the packages; `UserError` for one not installed."""
    try:
        versions = {package: version(package) for package in packages}
    except PackageNotFoundError as missing:
        raise UserError(f"{missing.name} is not installed: pip install {missing.name}") from None
    return {
        "CPU": f"{cpu_model()}, {os.cpu_count()} cores",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "Python": platform.python_version(),
        "dreg-sweep": code_version(),
        **versions,
    }


def cpu_model() -> str:
    """The processor's name as the system gives it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def begin_as_worker() -> None:
    """Begin this process anew with the environment of a worker, where it has another.

    The C library reads its part, how memory is allocated, when a process starts.
    """
    wanted = {**ALLOCATION, **os.environ, **ARITHMETIC}
    if wanted != dict(os.environ):
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], wanted)
