"""Learning-rate schedules: the factor on lr at each step, known before training starts."""

import bisect
import math
from collections.abc import Callable, Mapping
from typing import Any

from dreg_sweep.errors import UserError, unknown_level

Schedule = Callable[[int, int], float]  # (step, steps) → factor, step counted from 0


def _constant() -> Schedule:
    return lambda step, steps: 1.0


def _cosine() -> Schedule:
    return lambda step, steps: 0.5 * (1.0 + math.cos(math.pi * step / steps))


def _piecewise(*, milestones: list[float], factors: list[float]) -> Schedule:
    for key, values in (("milestones", milestones), ("factors", factors)):
        if not isinstance(values, list) or any(type(value) not in (int, float) for value in values):
            raise UserError(f"schedule.{key}={values} must be a list of numbers, for example [0.5,0.75]")
    if len(milestones) != len(factors) or milestones != sorted(milestones):
        raise UserError("schedule.milestones must be increasing and have one of schedule.factors each")
    levels = (1.0, *factors)
    return lambda step, steps: levels[bisect.bisect_right(milestones, step / steps)]


SCHEDULES: dict[str, Callable[..., Schedule]] = {
    "constant": _constant,
    "cosine": _cosine,
    "piecewise": _piecewise,
}


def get_schedule(name: str, options: Mapping[str, Any]) -> Schedule:
    """The schedule of that name with its options; `UserError` for a name or option it lacks."""
    if name not in SCHEDULES:
        raise unknown_level("schedule", name, SCHEDULES)
    try:
        return SCHEDULES[name](**options)
    except TypeError as error:
        raise UserError(f"schedule={name}: {error}") from None
