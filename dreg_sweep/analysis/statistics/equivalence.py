"""Two one-sided tests: is a difference smaller than what matters?

Source: Schuirmann 1987 (J. Pharmacokinet. Biopharm. 15, 657-680), with the exact signed-rank test in place of t.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from dreg_sweep.analysis.statistics.exact import as_fractions
from dreg_sweep.analysis.statistics.wilcoxon import Zeros, signed_rank


@dataclass(frozen=True)
class Equivalence:
    """The result of `equivalence`.

    p: the larger of `p_above` and `p_below`: p <= alpha shows, at that level, that the centre of the differences
        lies within ±margin.
    p_above: of the one-sided test of "the centre is -margin or less" against "above -margin".
    p_below: likewise of "margin or more" against "below margin".
    n: the pairs.
    margin: as given.
    floor: the smallest p that so many pairs could give, 2^-n.
    """

    p: float
    p_above: float
    p_below: float
    n: int
    margin: float
    floor: float


def equivalence(differences: Iterable[Any], margin: Any, zeros: Zeros = "wilcox") -> Equivalence:
    """Two one-sided exact signed-rank tests of "the differences are centred within ±margin".

    Args:
        differences: one number a pair, as for `signed_rank`.
        margin: the smallest difference that matters, above 0, in their unit. 0.1 means the decimal 0.1 where all
            differences are of exact types.
        zeros: what becomes of differences that equal a bound, see `signed_rank`.

    Returns:
        The p-values. Without any pair p is 1.

    Raises:
        ValueError: for a margin that is not a finite number above 0, and what `signed_rank` refuses.
    """
    if isinstance(margin, bool) or not math.isfinite(margin) or margin <= 0:
        raise ValueError(f"margin must be a finite number above 0, not {margin}")
    given = list(differences)
    fractions, tolerance = as_fractions(given, "differences")
    bound: Any = float(margin) if tolerance else Fraction(str(margin))
    values: list[Any] = [float(value) for value in given] if tolerance else fractions
    above = signed_rank([value + bound for value in values], "greater", zeros)
    below = signed_rank([value - bound for value in values], "less", zeros)
    return Equivalence(
        p=max(above.p, below.p),
        p_above=above.p,
        p_below=below.p,
        n=len(values),
        margin=float(margin),
        floor=max(above.floor, below.floor),
    )
