"""Repeated-measures analysis of variance for one or two within factors, with the Greenhouse-Geisser correction.

Sources: Box 1954 (Ann. Math. Stat. 25, 484-498) and Greenhouse & Geisser 1959 (Psychometrika 24, 95-112) for
epsilon; Olejnik & Algina 2003 (Psychological Methods 8, 434-447) and Bakeman 2005 (Behavior Research Methods 37,
379-384) for generalized eta squared.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from dreg_sweep.analysis.statistics.exact import as_fractions, nearest_float

ROUND_OFF = 1e-12  # of the largest deviation from the grand mean: far above what the contrasts lose


@dataclass(frozen=True)
class Effect:
    """The test of one effect over n subjects; q is the number of its orthonormal contrasts.

    f, df, df_error, p: F = (ss / q) / (ss_error / (q (n - 1))) and its p-value on df = q and df_error = q (n - 1).
    greenhouse_geisser: epsilon = tr(S)^2 / (q tr(S^2)), S the covariance of the contrast scores; 1/q..1, and 1
        where S = 0.
    p_greenhouse_geisser: the p-value of F on epsilon df and epsilon df_error.
    partial_eta_squared: ss / (ss + ss_error).
    generalized_eta_squared: ss / (ss + all error sums of squares of the design, that of the subjects included).
    ss, ss_error: sums of squares in squared units of the scores.

    Without any error F = inf and p = 0, or, without an effect either, F = 0 and p = 1 and both etas are 0.
    """

    f: float
    df: int
    df_error: int
    p: float
    greenhouse_geisser: float
    p_greenhouse_geisser: float
    partial_eta_squared: float
    generalized_eta_squared: float
    ss: float
    ss_error: float


@dataclass(frozen=True)
class TwoWay:
    """The result of `two_way`: main effects of the factors A and B, and their interaction."""

    a: Effect
    b: Effect
    interaction: Effect


def repeated_measures(scores: Any) -> Effect:
    """Analysis of variance of one within factor, every subject measured at every level.

    scores: DataFrame or two-dimensional array, rows = subjects, columns = levels.

    With C an orthonormal basis of the contrasts between levels, every subject has q = levels - 1 contrast scores
    Y C; ss = n |mean score|^2 and ss_error is the sum of squares of the scores about their mean. The result does
    not depend on the choice of C. Scores that vary by no more than 1e-10 of the largest magnitude (if one is a
    float) or by round-off count as constant, and likewise for means and zero.
    Raises ValueError for a missing or infinite score, one further from the mean than the largest float, fewer than
    2 subjects and fewer than 2 levels.
    """
    table = _table(scores, 2)
    levels = table.values.shape[1]
    (effect,) = _effects(table, np.full((levels, 1), 1 / math.sqrt(levels)), [_contrasts(levels)])
    return effect


def two_way(scores: Any) -> TwoWay:
    """Analysis of variance of two crossed within factors, every subject measured in every cell of the design.

    scores: three-dimensional array, subjects x levels of A x levels of B.

    As in `repeated_measures`, with the contrasts C_A x 1/sqrt(b), 1/sqrt(a) x C_B and C_A x C_B (Kronecker
    products), so that each effect is tested against its own interaction with the subjects.
    Raises ValueError for a missing or infinite score, fewer than 2 subjects and fewer than 2 levels of a factor.
    """
    table = _table(scores, 3)
    _, a, b = table.values.shape
    flat = table._replace(values=table.values.reshape(len(table.values), a * b))
    mean_a, mean_b = np.full((a, 1), 1 / math.sqrt(a)), np.full((b, 1), 1 / math.sqrt(b))
    bases = [
        np.kron(_contrasts(a), mean_b),
        np.kron(mean_a, _contrasts(b)),
        np.kron(_contrasts(a), _contrasts(b)),
    ]
    return TwoWay(*_effects(flat, np.kron(mean_a, mean_b), bases))


class _Table(NamedTuple):
    values: np.ndarray  # scores minus the grand mean
    tolerance: float
    scale: float  # the largest magnitude, in whose units the values are


def _table(scores: Any, dimensions: int) -> _Table:
    """The scores minus their grand mean, subtracted exactly so that a large common level costs no digits.

    The values are in units of their largest magnitude.
    """
    raw = scores.to_numpy(dtype=object) if hasattr(scores, "columns") else np.asarray(scores, dtype=object)
    if raw.ndim != dimensions or min(raw.shape) < 2:
        shape = "subjects x levels" if dimensions == 2 else "subjects x levels of A x levels of B"
        raise ValueError(f"scores must be {shape} with at least 2 of each, not {raw.shape}")
    cells: list[Fraction] = []
    tolerance = Fraction(0)
    for subject, row in enumerate(raw.reshape(len(raw), -1)):
        fractions, within = as_fractions(
            row, f"subject {subject}: scores", "drop incomplete subjects before the test"
        )
        cells += fractions
        tolerance = max(tolerance, within * max(map(abs, fractions)))
    mean = sum(cells, Fraction(0)) / len(cells)
    values = np.array([nearest_float(cell - mean) for cell in cells])
    if not np.isfinite(values).all():
        raise ValueError("scores lie further from their mean than the largest float (1.8e308)")
    largest = float(np.abs(values).max())
    if not largest:
        return _Table(values.reshape(raw.shape), 0.0, 1.0)
    # In units of the largest, which changes no ratio, so that no square overflows.
    return _Table(
        values.reshape(raw.shape) / largest, max(float(tolerance / Fraction(largest)), ROUND_OFF), largest
    )


def _contrasts(levels: int) -> np.ndarray:
    """An orthonormal basis (Helmert's) of the vectors of this length that sum to 0, as columns."""
    columns = np.zeros((levels, levels - 1))
    for place in range(1, levels):
        columns[:place, place - 1] = 1.0
        columns[place, place - 1] = -place
    return columns / np.linalg.norm(columns, axis=0)


def _effects(table: _Table, level: np.ndarray, bases: list[np.ndarray]) -> list[Effect]:
    """The effect of each basis; `level` is the column whose scores tell the subjects' own levels."""
    errors = [_parts(table, basis) for basis in (level, *bases)]
    residual = math.fsum(error for _, error, _ in errors)
    unit = table.scale * table.scale  # of the sums of squares; infinite where it is beyond the largest float
    return [_effect(*parts, len(table.values), residual, unit) for parts in errors[1:]]


def _parts(table: _Table, basis: np.ndarray) -> tuple[float, float, np.ndarray]:
    """Sum of squares of the effect and of its error, and the cross products of the error."""
    scores = table.values @ basis
    means = scores.mean(axis=0)
    deviations = scores - means
    if np.abs(means).max() <= table.tolerance:
        means = np.zeros_like(means)
    if np.abs(deviations).max() <= table.tolerance:
        deviations = np.zeros_like(deviations)
    products = deviations.T @ deviations
    return len(scores) * float(means @ means), float(np.trace(products)), products


def _effect(
    ss: float, ss_error: float, products: np.ndarray, subjects: int, residual: float, unit: float
) -> Effect:
    from scipy import stats

    df = len(products)
    df_error = df * (subjects - 1)
    if ss_error:
        f = (ss / df) / (ss_error / df_error)
        epsilon = min(1.0, max(1 / df, ss_error**2 / (df * float((products**2).sum()))))
    else:
        f = math.inf if ss else 0.0
        epsilon = 1.0
    return Effect(
        f=f,
        df=df,
        df_error=df_error,
        p=float(stats.f.sf(f, df, df_error)),
        greenhouse_geisser=epsilon,
        p_greenhouse_geisser=float(stats.f.sf(f, epsilon * df, epsilon * df_error)),
        partial_eta_squared=ss / (ss + ss_error) if ss else 0.0,
        generalized_eta_squared=ss / (ss + residual) if ss else 0.0,
        ss=ss * unit if ss else 0.0,
        ss_error=ss_error * unit if ss_error else 0.0,
    )
