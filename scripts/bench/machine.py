"""What was measured on, and with what: told beside every table."""

import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from dreg_sweep.errors import UserError
from dreg_sweep.provenance import code_version


def environment(packages: Sequence[str]) -> dict[str, str]:
    """Processor, Python, this code and the versions of the packages; `UserError` for one not installed."""
    try:
        versions = {package: version(package) for package in packages}
    except PackageNotFoundError as missing:
        raise UserError(f"{missing.name} is not installed: pip install {missing.name}") from None
    return {
        "CPU": f"{cpu_model()}, {os.cpu_count()} cores",
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
