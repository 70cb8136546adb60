"""Is the gradient flat off the training points too, or did training find a way to be flat on them only?"""

import math
from typing import TYPE_CHECKING

from dreg_sweep.analysis.claims.evidence import Evidence, Row, lacking, said_p, settings, spoken_of, undecided
from dreg_sweep.analysis.claims.outcome import outcome, told
from dreg_sweep.analysis.claims.reading import Claim
from dreg_sweep.analysis.statistics.rank_tests import ALPHA, holm
from dreg_sweep.analysis.statistics.wilcoxon import Alternative, pairs_needed, signed_rank
from dreg_sweep.analysis.tables.off_training import (
    CLASSES,
    OFF,
    last_measured,
    log_reductions,
    overall_mean,
    unit_means,
)

if TYPE_CHECKING:
    import pandas as pd

_ASKED: dict[str, tuple[Alternative, Alternative]] = {
    "two-sided": ("two-sided", "two-sided"),
    "one-sided": ("greater", "less"),
}


def no_loophole(claim: Claim, evidence: Evidence) -> list[Row]:
    """Kind no_loophole: one row a unit, side and correction, from the last measured gradients of each cell.

    A pair is the mean over a unit of log(baseline / method) in each block. Reproduced: the method's gradient is
    significantly lower at every place off the training points (`OFF`). Contradicted: it is significantly higher
    at one. Holm's correction is over these places.
    """
    grid = spoken_of(claim, evidence)
    missing = lacking(claim, grid, (claim.baseline,), metric=False)
    logs = None
    if not missing and evidence.cells is not None and evidence.history is not None:
        rows = last_measured(grid, evidence.cells, evidence.history, claim.measure)
        logs = None if rows is None else log_reductions(rows, claim.method, claim.baseline)
    if logs is None:
        missing = missing or (
            f"the history has no {CLASSES.names[claim.measure]} off the training points of {claim.method} and "
            f"{claim.baseline} in the same block"
        )
        return [undecided(*case, missing) for case in settings()]
    return [_judged(logs, *case) for case in settings()]


def _judged(logs: "pd.DataFrame", unit: str, side: str, correction: str) -> Row:
    """logs: the frame of `log_reductions`."""
    means = [unit_means(logs, place, unit) for place in OFF]
    correct = holm if correction == "holm" else list
    asked, against = _ASKED[side]
    tests = [signed_rank(values, asked) for values in means]
    p = [float(value) for value in correct([test.p for test in tests])]
    opposite = [float(value) for value in correct([signed_rank(values, against).p for values in means])]
    floor = max(float(value) for value in correct([test.floor for test in tests]))
    gains = [overall_mean(logs, place) for place in OFF]
    agree = [gain * test.rank_biserial > 0 for gain, test in zip(gains, tests, strict=True)]
    places = range(len(OFF))
    holds = [place for place in places if p[place] <= ALPHA and agree[place] and gains[place] > 0]
    fails = [place for place in places if opposite[place] <= ALPHA and agree[place] and gains[place] < 0]
    worst = min(fails, key=lambda place: opposite[place]) if fails else max(places, key=lambda place: p[place])
    shown = [opposite[place] if place in fails else p[place] for place in places]
    lower = [OFF[place] for place in places if gains[place] > 0]
    return {
        "unit": unit,
        "side": side,
        "correction": correction,
        "verdict": outcome(fails=bool(fails), holds=len(holds) == len(OFF)),
        **told(
            len(lower) == len(OFF), f"lower at {len(lower)} of {len(OFF)} places off the training points"
        ).columns,
        "evidence": "; ".join(
            f"{place}: {math.exp(gain):.3g} times lower (p {said_p(value)})"
            for place, gain, value in zip(OFF, gains, shown, strict=True)
        ),
        "decisive": OFF[worst],
        "p": shown[worst],
        "pairs": len(means[0]),
        "floor": floor,
        "can_reach": floor <= ALPHA,
        "pairs_needed": None
        if floor <= ALPHA
        else pairs_needed(ALPHA, asked, len(OFF) if correction == "holm" else 1),
        "family": f"Holm's correction over the {len(OFF)} places" if correction == "holm" else "",
    }
