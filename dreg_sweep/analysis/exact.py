"""Numbers compared without round-off, and midranks: what every rank statistic here stands on.

Ranks depend on which values are equal, and binary floats lose equalities that the data have:
0.3 - 0.2 and 0.2 - 0.1 differ in the last bit. Integers, `Fraction` and `Decimal` are therefore compared
exactly, and floats with a tolerance of 1e-10 of the largest magnitude: far above the round-off of a
difference between accuracies (2e-16, also where the largest difference is one image in 10,000), far below
anything a measurement means.
"""

import math
from collections.abc import Iterable, Sequence
from decimal import Decimal
from fractions import Fraction
from numbers import Integral, Rational, Real
from typing import Any

FLOAT_TOLERANCE = Fraction(1, 10**10)


def as_fractions(values: Iterable[Any], what: str = "values") -> tuple[list[Fraction], Fraction]:
    """The values as fractions, and the tolerance within which two of them count as equal.

    values: a one-dimensional collection of real numbers: list, tuple, array, Series. The tolerance is 0 when
    every value is of an exact type (int, Fraction, Decimal), else `FLOAT_TOLERANCE` x the largest magnitude.
    Raises ValueError for a missing or infinite value and for more than one dimension, TypeError for a value
    that is not a real number; both say where it stands.
    """
    if getattr(values, "ndim", 1) != 1:
        raise ValueError(f"{what} must be one-dimensional, not of shape {getattr(values, 'shape', '?')}")
    fractions: list[Fraction] = []
    exact = True
    for place, value in enumerate(values):
        if value is None or type(value).__name__ in ("NAType", "NaTType"):
            raise ValueError(f"{what}[{place}] is missing; drop incomplete pairs before the test")
        if isinstance(value, (Integral, Decimal, Rational)):
            if isinstance(value, Decimal) and not value.is_finite():
                raise ValueError(f"{what}[{place}] is {value}; every value must be finite")
            fractions.append(Fraction(int(value) if isinstance(value, Integral) else value))
        elif isinstance(value, Real):
            exact = False
            if not math.isfinite(value):
                raise ValueError(f"{what}[{place}] is {float(value)}; every value must be finite")
            fractions.append(Fraction(float(value)))
        else:
            raise TypeError(f"{what}[{place}] is {value!r}, which is not a real number")
    largest = max((abs(value) for value in fractions), default=Fraction(0))
    return fractions, Fraction(0) if exact else FLOAT_TOLERANCE * largest


def doubled_midranks(values: Sequence[Fraction], tolerance: Fraction = Fraction(0)) -> list[int]:
    """Twice the midranks (1 = smallest) of the values, in their order: integers, so sums of them are exact.

    A run of equal values shares the mean of the ranks it covers. Sorted neighbours no further apart than the
    tolerance are equal.
    """
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = [0] * len(values)
    start = 0
    for end in range(1, len(order) + 1):
        if end < len(order) and values[order[end]] - values[order[end - 1]] <= tolerance:
            continue
        for place in order[start:end]:
            ranks[place] = start + 1 + end  # the ranks start+1 .. end have the mean (start + 1 + end) / 2
        start = end
    return ranks
