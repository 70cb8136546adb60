"""Multiple comparisons and rank tests over several methods: Holm's correction, Friedman's and Nemenyi's tests.

Sources: Holm 1979 (Scand. J. Statist. 6, 65-70); Friedman 1937 (JASA 32, 675-701); Iman & Davenport 1980
(Commun. Statist. A9, 571-595); Nemenyi's test and critical difference as in Demsar 2006 (JMLR 7, 1-30).
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from dreg_sweep.analysis.statistics.exact import as_fractions, as_rows, doubled_midranks, nearest_float

ALPHA = 0.05


def holm(p_values: Any) -> Any:
    """Holm's step-down adjusted p-values, in input order.

    With the m p-values sorted upwards, adjusted_(i) = min(1, max over j <= i of (m - j + 1) p_(j)).
    p_values: one-dimensional; a Series gives a Series with the same index and name, anything else an array.
    Raises ValueError for a missing value (the family of tests must be stated, not found) or one outside 0..1.
    """
    fractions, _ = as_fractions(p_values, "p_values", "the family needs a p-value of every test")
    raw = np.array([nearest_float(p) for p in fractions])
    for place, p in enumerate(raw):
        if not 0 <= p <= 1:
            raise ValueError(f"p_values[{place}] is {p}; a p-value lies between 0 and 1")
    order = np.argsort(raw, kind="stable")
    adjusted = np.empty(len(raw))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(raw[order] * np.arange(len(raw), 0, -1)))
    if hasattr(p_values, "index") and hasattr(p_values, "name"):
        import pandas as pd

        return pd.Series(adjusted, index=p_values.index, name=p_values.name)
    return adjusted


@dataclass(frozen=True)
class Friedman:
    """The result of `friedman` for n blocks and k methods.

    chi2, p: Friedman's statistic, corrected for ties, and its chi-square p-value on k - 1 degrees of freedom.
    iman_davenport, p_iman_davenport: F = (n - 1) chi2 / (n (k - 1) - chi2) and its p-value on k - 1 and
        (k - 1)(n - 1) degrees of freedom; F = inf, p = 0 when every block has the same order.
    kendall_w: Kendall's coefficient of concordance chi2 / (n (k - 1)), 0..1.
    mean_ranks: mean rank of each method, 1 = best; a Series for a DataFrame, else an array.
    critical_difference: two mean ranks further apart differ by Nemenyi's test at alpha = 0.05:
        q sqrt(k (k + 1) / (6 n)), q the studentized range quantile for k means and infinite df, over sqrt 2.
    """

    chi2: float
    p: float
    iman_davenport: float
    p_iman_davenport: float
    kendall_w: float
    mean_ranks: Any
    critical_difference: float


def friedman(table: Any) -> Friedman:
    """Friedman's test of "all methods are alike" over complete blocks.

    table: DataFrame or two-dimensional array, rows = blocks, columns = methods, higher is better. Within a
    block ties share the midrank; floats within 1e-10 of the block's largest magnitude tie.

    With r_ij the ranks and R_j their column sums, chi2 = (k - 1) sum_j (R_j - n (k + 1) / 2)^2 /
    (sum_ij r_ij^2 - n k (k + 1)^2 / 4), which is Friedman's formula divided by the usual tie correction.
    When all methods tie in all blocks chi2 = F = W = 0 and p = 1.
    Raises ValueError for a missing value, blocks of different lengths, fewer than 2 blocks or fewer than 2
    methods.
    """
    rows = as_rows(table, "block")
    if rows.ndim != 2 or rows.shape[0] < 2 or rows.shape[1] < 2:
        raise ValueError(f"friedman needs at least 2 blocks (rows) and 2 methods (columns), not {rows.shape}")
    blocks, methods = rows.shape
    ranks = _ranks_in_blocks(rows)
    sums = ranks.sum(axis=0)
    between = float(((sums - blocks * (methods + 1)) ** 2).sum())
    spread = float((ranks**2).sum()) - blocks * methods * (methods + 1) ** 2
    chi2 = (methods - 1) * between / spread if spread else 0.0
    mean_ranks: Any = sums / (2 * blocks)
    if hasattr(table, "columns"):
        import pandas as pd

        mean_ranks = pd.Series(mean_ranks, index=table.columns, name="mean_rank")
    statistic = _iman_davenport(chi2, blocks, methods)

    from scipy import stats

    quantile = stats.studentized_range.ppf(1 - ALPHA, methods, np.inf) / math.sqrt(2)
    return Friedman(
        chi2=chi2,
        p=float(stats.chi2.sf(chi2, methods - 1)),
        iman_davenport=statistic,
        p_iman_davenport=float(stats.f.sf(statistic, methods - 1, (methods - 1) * (blocks - 1))),
        kendall_w=chi2 / (blocks * (methods - 1)),
        mean_ranks=mean_ranks,
        critical_difference=float(quantile * math.sqrt(methods * (methods + 1) / (6 * blocks))),
    )


def _ranks_in_blocks(rows: np.ndarray) -> np.ndarray:
    """Doubled midranks of each row, 2 = highest: whole numbers, so that sums of them are exact."""
    if rows.dtype.kind == "i":
        from scipy import stats

        return np.asarray(2 * stats.rankdata(-rows, axis=1))
    ranks = np.empty(rows.shape)
    for place, row in enumerate(rows.astype(object)):
        values, tolerance = as_fractions(row, f"block {place}: values", "drop incomplete blocks before the test")
        ranks[place] = doubled_midranks([-value for value in values], tolerance)
    return ranks


def _iman_davenport(chi2: float, blocks: int, methods: int) -> float:
    room = blocks * (methods - 1) - chi2
    return (blocks - 1) * chi2 / room if room > 1e-9 else math.inf


def nemenyi(mean_ranks: Any, blocks: int) -> Any:
    """Nemenyi's p-values of all pairs of methods, which hold for the k (k - 1) / 2 pairs together.

    p_ij = P(Q > |R_i - R_j| / sqrt(k (k + 1) / (12 n))), Q the studentized range of k means and infinite df:
    p_ij < 0.05 where the mean ranks R differ by more than `Friedman.critical_difference`. Like that, it does
    not correct for ties, which makes it conservative under ties.
    mean_ranks: those of `friedman`, k of them; a Series gives a DataFrame, anything else a k x k array. The
        matrix is symmetric with ones on the diagonal; its error is below 1e-9.
    blocks: the number n of blocks that were ranked.
    Raises ValueError for fewer than 2 methods or blocks, a missing rank, and ranks that do not add up to
    k (k + 1) / 2.
    """
    ranks = np.array(
        [nearest_float(rank) for rank in as_fractions(mean_ranks, "mean_ranks", "every method needs one")[0]]
    )
    methods = len(ranks)
    if methods < 2 or blocks < 2:
        raise ValueError(f"nemenyi needs at least 2 methods and 2 blocks, not {methods} and {blocks}")
    if abs(ranks.sum() - methods * (methods + 1) / 2) > 1e-6 * methods**2:
        raise ValueError(
            f"mean ranks of {methods} methods add up to {methods * (methods + 1) / 2}, not {ranks.sum()}"
        )

    from scipy import stats

    first, second = np.triu_indices(methods, k=1)
    quantiles = np.abs(ranks[first] - ranks[second]) / math.sqrt(methods * (methods + 1) / (12 * blocks))
    p_values = np.ones((methods, methods))
    p_values[first, second] = np.clip(stats.studentized_range.sf(quantiles, methods, np.inf), 0.0, 1.0)
    p_values[second, first] = p_values[first, second]
    if hasattr(mean_ranks, "index") and hasattr(mean_ranks, "name"):
        import pandas as pd

        return pd.DataFrame(p_values, index=mean_ranks.index, columns=mean_ranks.index)
    return p_values
