"""Interleaved repeats: what drifts on a machine meets everything that is compared alike."""

import sys
import time
from collections.abc import Callable, Hashable, Sequence
from statistics import mean
from typing import TypeVar

Name = TypeVar("Name", bound=Hashable)
Value = TypeVar("Value")


def interleaved(
    names: Sequence[Name],
    repeats: int,
    measure: Callable[[Name], Value],
    said: Callable[[Name, Value], str],
    clock: Callable[[], float] = time.monotonic,
) -> dict[Name, list[Value]]:
    """One measurement a name and repeat, all names before the next repeat.

    Tells each measurement on stderr, as `said` words it, with the time that the others will take: as long as the
    same name took before, or as the mean of those that were measured.
    """
    values: dict[Name, list[Value]] = {name: [] for name in names}
    took: dict[Name, float] = {}
    for repeat in range(repeats):
        for number, name in enumerate(names, start=1):
            started = clock()
            values[name].append(measure(name))
            took[name] = clock() - started
            waiting = [*names[number:], *list(names) * (repeats - repeat - 1)]
            left = sum(took.get(other, mean(took.values())) for other in waiting)
            done = f"{repeat * len(names) + number} of {repeats * len(names)}"
            print(f"{done}, {duration(left)} left: {said(name, values[name][-1])}", file=sys.stderr, flush=True)
    return values


def duration(seconds: float) -> str:
    """In whole seconds, minutes or tenths of an hour."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
