"""Axes of norms and ratios, which differ by factors."""

import math

import numpy as np

from dreg_sweep.analysis.figures.layout import LINE, text_width
from dreg_sweep.analysis.figures.scales import CLEARANCE, Limits, around

DECADES = 5  # that an axis of gradients reaches below their median
_MANTISSAS = ((1, 2, 5), (1, 3), (1,))


def around_log(values: np.ndarray) -> Limits:
    """Limits, as positive numbers, that hold all positive values with a margin on a logarithmic axis."""
    low, high = around(np.log10(values[values > 0]), margin=0.08)
    if high - low < 0.1:  # equal values get a fifth of a decade
        low, high = (low + high) / 2 - 0.1, (low + high) / 2 + 0.1
    return 10**low, 10**high


def worth_showing(values: np.ndarray) -> np.ndarray:
    """The positive values, without those more than `DECADES` decades below their median.

    A gradient of 1e-14 is that of a constant: an axis that reaches it shows nothing else.
    """
    positive = values[values > 0]
    return positive[positive >= np.median(positive) / 10.0**DECADES] if positive.size else positive


def log_ticks(limits: Limits, room: float, *, upright: bool = False) -> tuple[list[float], list[str]]:
    """Round numbers within the limits and their labels, as many as stand apart on an axis of `room` inches.

    1, 2, 5 of each decade, else 1 and 3, else 1, else every second, third ... decade, else one in the middle.
    """
    low, high = (math.log10(limit) for limit in limits)
    decades = range(math.floor(low) - 1, math.ceil(high) + 1)
    best: tuple[list[float], list[str]] = ([], [])
    for places in (
        *([m * 10.0**d for d in decades for m in mantissas] for mantissas in _MANTISSAS),
        *([10.0**d for d in decades if d % every == 0] for every in range(2, len(decades) + 1)),
        [float(f"{math.sqrt(limits[0] * limits[1]):.1e}")],
    ):
        inside = [place for place in places if limits[0] <= place <= limits[1]]
        labels = [f"{place:g}" for place in inside]
        needed = LINE if upright else max(map(text_width, labels), default=0.0) + CLEARANCE
        steps = np.diff(np.log10(inside)) * room / (high - low) if inside else np.zeros(0)
        if len(inside) > 1 and steps.min() >= needed:
            return inside, labels
        best = best if best[0] else (inside[:1], labels[:1])
    return best
