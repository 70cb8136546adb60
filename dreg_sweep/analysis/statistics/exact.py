"""Numbers compared without round-off, and midranks: what every rank statistic here stands on.

Ranks depend on which values are equal, and binary floats lose equalities that the data have:
0.3 - 0.2 and 0.2 - 0.1 differ in the last bit. Integers, `Fraction` and `Decimal` are therefore compared
exactly. Two floats are equal where they differ by at most 1e-10 of the larger magnitude of the two: far above the
round-off of a difference between accuracies, far below anything a measurement means. The tolerance belongs to the
two values and not to the whole sample, so that one value of 1e16 makes no others equal.
"""

import math
from collections.abc import Iterable, Sequence
from decimal import Decimal
from fractions import Fraction
from numbers import Integral, Rational, Real
from typing import Any, NamedTuple

import numpy as np

FLOAT_TOLERANCE = Fraction(1, 10**10)
LEAST_ROUND_OFF = 1e-17  # of a difference, which is at most twice the values that it was made from
USUAL_ROUND_OFF = 1e-13
INT64_SAFE = 2**61  # below it the sum of two values, and a bound minus a value, stay inside int64


def as_fractions(
    values: Iterable[Any], what: str = "values", advice: str = "drop incomplete pairs before the test"
) -> tuple[list[Fraction], Fraction]:
    """The values as fractions, and the relative tolerance within which two of them count as equal.

    values: a one-dimensional collection of real numbers: list, tuple, array, Series. A bool, Python's or NumPy's,
    is the integer 0 or 1. The tolerance is 0 when every value is of an exact type (int, Fraction, Decimal), else
    `FLOAT_TOLERANCE`, a share of the larger of two magnitudes.
    advice: what to do about a missing value, for its message.
    Raises ValueError for a missing or infinite value, for more than one dimension, and for a number beyond the
    largest float (1.8e308) among floats, TypeError for a value that is not a real number; all say where it stands.
    """
    if getattr(values, "ndim", 1) != 1:
        raise ValueError(f"{what} must be one-dimensional, not of shape {getattr(values, 'shape', '?')}")
    fractions: list[Fraction] = []
    exact = True
    for place, value in enumerate(values):
        if value is None or type(value).__name__ in ("NAType", "NaTType"):
            raise ValueError(f"{what}[{place}] is missing; {advice}")
        if isinstance(value, (Integral, Decimal, Rational, np.bool_)):
            if isinstance(value, Decimal) and not value.is_finite():
                raise ValueError(f"{what}[{place}] is {value}; every value must be finite")
            number: Any = int(value) if isinstance(value, (Integral, np.bool_)) else value
            fractions.append(Fraction(number))
        elif isinstance(value, Real):
            exact = False
            if not math.isfinite(value):
                raise ValueError(f"{what}[{place}] is {float(value)}; every value must be finite")
            fractions.append(Fraction(float(value)))
        else:
            raise TypeError(f"{what}[{place}] is {value!r}, which is not a real number")
    largest = max((abs(value) for value in fractions), default=Fraction(0))
    if not exact and math.isinf(nearest_float(largest)):
        place = next(place for place, value in enumerate(fractions) if abs(value) == largest)
        raise ValueError(f"{what}[{place}] is beyond the largest float (1.8e308), and other values are floats")
    return fractions, Fraction(0) if exact else FLOAT_TOLERANCE


def nearest_float(value: Fraction) -> float:
    """The value as a float; plus or minus infinity where it is beyond the largest one."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def as_rows(table: Any, what: str) -> np.ndarray:
    """A DataFrame, array or nested list as a two-dimensional array; lists keep their values as Python objects.

    what: of a row, such as "block". Raises ValueError for rows of different lengths, naming the first that differs
    from row 0; a table that is not two-dimensional otherwise is returned as it is.
    """
    if hasattr(table, "columns"):
        mixed = len(set(table.dtypes)) > 1  # whole numbers beside floats stay whole
        return np.asarray(table.to_numpy(dtype=object) if mixed else table.to_numpy())
    if isinstance(table, np.ndarray) or not isinstance(table, Iterable):
        return np.asarray(table)
    rows = list(table)
    lengths = [len(row) if hasattr(row, "__len__") and not isinstance(row, str) else None for row in rows]
    for place, length in enumerate(lengths):
        if length != lengths[0]:
            counts = ["a single value" if size is None else f"{size} value(s)" for size in (length, lengths[0])]
            raise ValueError(
                f"{what} {place} has {counts[0]}, {what} 0 has {counts[1]}; every {what} needs the same number"
            )
    return np.asarray(
        [list(row) if size is not None else row for row, size in zip(rows, lengths, strict=True)], dtype=object
    )


class Numbers(NamedTuple):
    """Values as array x unit, and the share of the larger magnitude within which two of them count as equal.

    array: exact values are whole numbers, int64 below 2^61 and Python integers otherwise, with unit = 1 / their
        common denominator and tolerance = 0; values with a float among them are float64, with unit = 1.
    """

    array: np.ndarray
    unit: Fraction
    tolerance: Fraction


def as_numbers(values: Iterable[Any], what: str = "values") -> Numbers:
    """The values of `as_fractions`, with its rules and errors, as an array.

    Integer, bool and float arrays (and Series of such a NumPy type) never become Python objects: 200,000 values
    take milliseconds.
    """
    dtype = getattr(values, "dtype", None)
    plain = isinstance(dtype, np.dtype) and dtype.kind in "biuf" and dtype.itemsize <= 8
    if plain and getattr(values, "ndim", 1) == 1:
        array = np.asarray(values)
        array = array.astype(np.int64) if array.dtype.kind == "b" else array
        if array.dtype.kind == "f" and np.isfinite(array).all():
            return Numbers(array.astype(np.float64), Fraction(1), FLOAT_TOLERANCE)
        if array.dtype.kind in "iu" and max(int(array.max(initial=0)), -int(array.min(initial=0))) < INT64_SAFE:
            return Numbers(array.astype(np.int64), Fraction(1), Fraction(0))
    fractions, tolerance = as_fractions(values, what)
    if tolerance:
        return Numbers(np.array([float(value) for value in fractions]), Fraction(1), tolerance)
    denominator = math.lcm(*(value.denominator for value in fractions))
    integers = [value.numerator * (denominator // value.denominator) for value in fractions]
    fits = max((abs(integer) for integer in integers), default=0) < INT64_SAFE
    return Numbers(np.array(integers, dtype=np.int64 if fits else object), Fraction(1, denominator), tolerance)


def further_apart(low: np.ndarray, high: np.ndarray, tolerance: Fraction) -> np.ndarray:
    """Whether two values differ by more than the tolerance times the larger magnitude of the two.

    Args:
        low: values of one type, none above its partner in `high`.
        high: as many values of that type.
        tolerance: a share, 0 for exact types.

    Returns:
        One bool a pair. The decision is exact for floats as well.
    """
    gaps = high - low
    if not tolerance:
        return np.asarray(gaps > 0, dtype=bool)
    sizes = np.maximum(np.abs(low), np.abs(high))
    if gaps.dtype == object:
        return np.asarray(gaps > tolerance * sizes, dtype=bool)
    limits = float(tolerance) * sizes
    apart = np.asarray(gaps > limits)
    # Only where the rounded gap lies within a few roundings of the limit can the float comparison be wrong.
    for place in np.flatnonzero((np.abs(gaps - limits) <= 2.0**-50 * limits) & (sizes > 0)):
        gap = Fraction(float(high[place])) - Fraction(float(low[place]))
        apart[place] = gap > tolerance * Fraction(float(sizes[place]))
    return apart


def round_off_zeros(sizes: np.ndarray, tolerance: Fraction) -> np.ndarray:
    """Whether a magnitude is zero, or can be nothing but the round-off of a difference that is zero.

    Round-off lies between 1e-17 and 1e-10 of the other differences: nearer to them it is a difference, and further
    below them no round-off reaches. The others are represented by the median of the nonzero magnitudes; and by the
    largest one for magnitudes up to 1e-13, the round-off of accuracies in percent.

    Args:
        sizes: magnitudes of the differences.
        tolerance: 0 for exact types, of which only 0 is zero; `FLOAT_TOLERANCE` for floats.

    Returns:
        One bool a magnitude.
    """
    zero = np.asarray(sizes == 0, dtype=bool)
    if not tolerance or zero.all():
        return zero

    def beside(usual: float) -> np.ndarray:
        return (sizes <= float(tolerance) * usual) & (sizes >= LEAST_ROUND_OFF * usual)

    usual, largest = float(np.median(sizes[~zero])), float(sizes.max())
    return np.asarray(zero | beside(usual) | (beside(largest) & (sizes <= USUAL_ROUND_OFF)))


def array_midranks(values: np.ndarray, tolerance: Fraction = Fraction(0)) -> np.ndarray:
    """Twice the midranks (1 = smallest) of the values, in their order, as int64: sums of them are exact.

    A run of equal values shares the mean of the ranks it covers. Sorted neighbours no further apart than the
    tolerance are equal.
    """
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    ends = np.append(np.flatnonzero(further_apart(ordered[:-1], ordered[1:], tolerance)) + 1, len(values))
    starts = np.append(0, ends[:-1])
    ranks = np.empty(len(values), dtype=np.int64)
    # The ranks start + 1 .. end have the mean (start + 1 + end) / 2.
    ranks[order] = np.repeat(starts + 1 + ends, ends - starts)
    return ranks


def doubled_midranks(values: Sequence[Fraction], tolerance: Fraction = Fraction(0)) -> list[int]:
    """`array_midranks` of fractions, as a list."""
    return array_midranks(np.array(values, dtype=object), tolerance).tolist()
