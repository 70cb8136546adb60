"""Limits and ticks of the axes, chosen before the layout so that their labels can be measured."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from dreg_sweep.analysis.figures.layout import LINE, text_width

Limits = tuple[float, float]
COMPARABLE = 4.0  # panels whose ranges differ by more than this factor get scales of their own
CLEARANCE = 0.1  # inches between two tick labels


def finite(*columns: Iterable[float]) -> np.ndarray:
    """The finite values of some columns, as one array."""
    together = np.concatenate([np.asarray(column, dtype=float).ravel() for column in columns])
    return together[np.isfinite(together)]


def around(values: np.ndarray, margin: float = 0.06) -> Limits:
    """Limits that hold all values with a margin; equal values get some room on either side."""
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
    if high - low <= 1e-9 * max(abs(low), abs(high), 1e-9):
        room = min(0.5, abs(low) / 4) or 0.5
        low, high = low - room, high + room
    pad = margin * (high - low)
    return float(low - pad), float(high + pad)


def around_zero(values: np.ndarray) -> Limits:
    """Limits that hold all values and zero, with at least a third of the longer side on the shorter one."""
    reach = np.abs(values).max() if values.size else 0.0
    reach = reach or 1.0
    low, high = min(values.min(initial=0.0), -reach / 3), max(values.max(initial=0.0), reach / 3)
    return around(np.array([low, high]))


def shared(limits: Sequence[Limits]) -> list[Limits]:
    """One scale for all panels if that leaves none of them squeezed, else each its own."""
    together = min(low for low, _ in limits), max(high for _, high in limits)
    narrowest = min(high - low for low, high in limits)
    if together[1] - together[0] <= COMPARABLE * narrowest:
        return [together] * len(limits)
    return list(limits)


def differ(limits: Sequence[Limits]) -> bool:
    """Whether panels have scales of their own, which a reader has to be told."""
    return len(set(limits)) > 1


def ticks(limits: Limits, room: float, *, upright: bool = False, most: int = 6) -> tuple[list[float], list[str]]:
    """Round numbers within the limits and their labels, as many as stand apart on an axis of `room` inches."""
    low, high = limits
    for count in range(most, 0, -1):
        places = np.asarray(MaxNLocator(count, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high))
        places = places[(places >= low) & (places <= high)]
        labels = labelled(places)
        needed = LINE if upright else max(map(text_width, labels), default=0.0) + CLEARANCE
        step = np.diff(places).min() if len(places) > 1 else np.inf
        if len(places) and step / (high - low) * room >= needed:
            break
    return [float(place) for place in places], labels


def labelled(values: Iterable[float]) -> list[str]:
    """Numbers with the same, smallest sufficient number of decimals, and a minus sign that is one."""
    numbers = [float(value) for value in values]
    reach = max((abs(number) for number in numbers), default=0.0)
    if reach >= 1e5 or 0 < reach < 1e-4:
        return [f"{number:.3g}".replace("-", "\N{MINUS SIGN}") for number in numbers]
    steps = [abs(b - a) for a, b in pairwise(numbers) if a != b]
    slack = 1e-3 * min([reach, *steps])
    exact = (n for n in range(12) if all(abs(round(number, n) - number) <= slack for number in numbers))
    decimals = next(exact, 12)
    return [signed(number, decimals, plus=False) for number in numbers]


def signed(number: float, decimals: int, *, plus: bool = True) -> str:
    """A number with its sign; what rounds to zero has none."""
    rounded = round(number, decimals)
    text = f"{abs(rounded):.{decimals}f}"
    if rounded == 0:
        return text
    return f"\N{MINUS SIGN}{text}" if rounded < 0 else f"{'+' if plus else ''}{text}"


def significant(number: float) -> str:
    """A number with its sign and two significant digits."""
    if number == 0:
        return "0"
    written = f"{number:+.2g}" if 1e-4 <= abs(number) < 100 else f"{number:+.1e}"
    return written.replace("-", "\N{MINUS SIGN}")


def set_x(axes: Axes, limits: Limits, room: float, most: int = 6) -> None:
    """Give a horizontal axis of `room` inches its limits and ticks."""
    axes.set_xticks(*ticks(limits, room, most=most))
    axes.set_xlim(limits)


def set_y(axes: Axes, limits: Limits, room: float, most: int = 6) -> None:
    """Give an upright axis of `room` inches its limits and ticks."""
    axes.set_yticks(*ticks(limits, room, upright=True, most=most))
    axes.set_ylim(limits)


def tick_room(limits: Iterable[Limits], room: float, most: int = 6) -> float:
    """Inches that the tick labels of some upright axes need beside them."""
    labels = [label for low_high in limits for label in ticks(low_high, room, upright=True, most=most)[1]]
    return max(map(text_width, labels), default=0.0) + 0.09
