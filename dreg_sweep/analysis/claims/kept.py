"""What noise leaves of the clean accuracy: the second reading of noise robustness, as metrics of a grid."""

from dataclasses import replace
from fractions import Fraction

import numpy as np

from dreg_sweep.analysis.grid import Grid
from dreg_sweep.analysis.scores import EXACT, Metric, decimals
from dreg_sweep.analysis.statistics.exact import nearest_float

LOST = Metric("lost", 100, "%", higher_is_better=False, called="points of accuracy lost to noise")
KEPT = Metric("kept", 100, "%", called="share of the clean accuracy kept under noise")
METRICS = {metric.name: metric for metric in (LOST, KEPT)}


def with_kept(grid: Grid, name: str) -> Grid:
    """The grid with one of these metrics as its only one; the grid itself where it lacks clean or noisy accuracy.

    Args:
        grid: with the metrics clean and noisy.
        name: lost, clean − noisy accuracy of each cell, exact; or kept, noisy / clean accuracy of each cell, 0
            where the clean accuracy is 0.
    """
    if not {"clean", "noisy"} <= set(grid.numerators):
        return grid
    clean, noisy = grid.numerators["clean"], grid.numerators["noisy"]
    metric = METRICS[name]
    if metric is LOST:
        limits = [grid.round_off[one] for one in ("clean", "noisy") if one in grid.round_off]
        round_off = {LOST.name: np.maximum.reduce(limits)} if limits else {}
        return replace(grid, metrics=(LOST,), numerators={LOST.name: clean - noisy}, round_off=round_off)
    pairs = zip(noisy.ravel().tolist(), clean.ravel().tolist(), strict=True)
    shares = np.array([nearest_float(Fraction(int(one), int(all_))) if all_ else 0.0 for one, all_ in pairs])
    numerators, places, limits_of = decimals(shares)
    limits_of = np.where(grid.done.ravel(), limits_of, EXACT)
    return replace(
        grid,
        metrics=(KEPT,),
        numerators={KEPT.name: numerators.reshape(clean.shape)},
        denominator=10**places,
        round_off={KEPT.name: limits_of.reshape(clean.shape)} if (limits_of != EXACT).any() else {},
    )
