"""Peak resident memory of a process and its descendants, as the kernel counts it (VmHWM in /proc). Needs Linux."""

import itertools
from pathlib import Path

from dreg_sweep.errors import UserError

PROC = Path("/proc")


def need_proc() -> None:
    """Errors: `UserError` where the system has no /proc."""
    if not (PROC / "self" / "status").exists():
        raise UserError("the peak memory of other processes is read from /proc, which this system does not have")


def peaks(runner: int) -> list[tuple[int, int]]:
    """(generation, peak resident bytes so far) of a process, its children and its grandchildren that live now."""
    statuses = {int(entry.name): status_of(entry) for entry in PROC.iterdir() if entry.name.isdigit()}
    generations = [{runner}, set[int](), set[int]()]
    for parents, children in itertools.pairwise(generations):
        children |= {process for process, status in statuses.items() if int(status.get("PPid", 0)) in parents}
    return [
        (number, 1024 * int(statuses.get(process, {}).get("VmHWM", "0 kB").split()[0]))
        for number, generation in enumerate(generations)
        for process in generation
    ]


def status_of(process: Path) -> dict[str, str]:
    """The fields of its status file; empty where it has just ended."""
    try:
        lines = (process / "status").read_text().splitlines()
    except OSError:
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
