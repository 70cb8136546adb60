"""An order of several methods, some of them called equal: `a > b = c > d`."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations, pairwise, product
from typing import Any

from dreg_sweep.analysis.claims.evidence import Evidence, Row, lacking, said_p, settings, spoken_of, undecided
from dreg_sweep.analysis.claims.outcome import Observed, outcome
from dreg_sweep.analysis.claims.reading import Claim
from dreg_sweep.analysis.grid import Grid
from dreg_sweep.analysis.pairing import PRIMARY_SIDE, SIDES, UNITS, pair_test, pairs
from dreg_sweep.analysis.scores import Metric
from dreg_sweep.analysis.statistics.rank_tests import ALPHA, holm
from dreg_sweep.analysis.statistics.wilcoxon import Alternative, SignedRank, pairs_needed
from dreg_sweep.analysis.tables.wording import plural, signed


@dataclass(frozen=True)
class _Step:
    """Two methods of an order: `better` is claimed to be above `other`, or equal to it.

    gain: mean difference better − other in the printed unit. pairs: how many. tests: by alternative.
    """

    better: Any
    other: Any
    equal: bool
    gain: float
    pairs: int
    tests: Mapping[Alternative, SignedRank]

    @property
    def name(self) -> str:
        """`a > b` or `a = b`."""
        return f"{self.better} {'=' if self.equal else '>'} {self.other}"

    @property
    def direction(self) -> float:
        """Above 0 where both mean and ranks put `better` above, below 0 where both put it below, else 0."""
        ranks = self.tests[PRIMARY_SIDE].rank_biserial
        return ranks if self.gain * ranks > 0 else 0.0

    def test(self, side: str, against: bool = False) -> SignedRank:
        """In the claimed direction, or against it; both are two-sided where the methods are called equal."""
        if self.equal or side == PRIMARY_SIDE:
            return self.tests[PRIMARY_SIDE]
        return self.tests["less" if against else "greater"]


def in_order(claim: Claim, evidence: Evidence) -> list[Row]:
    """Kind ordering: one row a unit, side and correction.

    Compared are all methods of neighbouring places, and those that share a place. Reproduced: every step between
    places is significant in its direction, and no two methods of one place differ significantly (two-sided on
    either side). Contradicted: a step is significant the other way, or two of one place differ significantly.
    Holm's correction is over all these comparisons. That two methods do not differ significantly does not prove
    them equal: with few pairs nothing does.
    """
    grid = spoken_of(claim, evidence)
    names = [name for place in claim.order for name in place]
    missing = lacking(claim, grid, names)
    if missing:
        return [undecided(*case, missing) for case in settings()]
    metric = next(metric for metric in grid.metrics if metric.name == claim.metric)
    steps = {unit: _steps(claim, grid, metric, unit) for unit in UNITS}
    return [_judged(steps[unit], metric, unit, side, correction) for unit, side, correction in settings()]


def _steps(claim: Claim, grid: Grid, metric: Metric, unit: str) -> list[_Step]:
    between = [(*pair, False) for one, next_one in pairwise(claim.order) for pair in product(one, next_one)]
    within = [(*pair, True) for place in claim.order for pair in combinations(place, 2)]
    steps = []
    for better, other, equal in (*between, *within):
        paired = pairs(grid, metric, better, other, UNITS[unit])
        tests = {side: pair_test(paired, side) for side in SIDES} if len(paired) else {}
        gain = float(paired.mean * metric.scale)
        steps.append(_Step(better, other, equal, gain, len(paired), tests))
    return steps


def _judged(steps: list[_Step], metric: Metric, unit: str, side: str, correction: str) -> Row:
    alone = [f"{step.better} and {step.other}" for step in steps if not step.tests]
    if alone:
        return undecided(unit, side, correction, f"no pair of {', '.join(alone)}")
    correct = holm if correction == "holm" else list
    p = [float(value) for value in correct([step.test(side).p for step in steps])]
    opposite = [float(value) for value in correct([step.test(side, against=True).p for step in steps])]
    floors = [float(value) for value in correct([step.test(side).floor for step in steps])]
    places = range(len(steps))
    differs = [opposite[place] <= ALPHA and steps[place].direction != 0 for place in places]
    fails = [place for place in places if differs[place] and (steps[place].equal or steps[place].direction < 0)]
    asked = [place for place in places if not steps[place].equal]
    open_ = [place for place in asked if not (p[place] <= ALPHA and steps[place].direction > 0)]
    worst = (
        min(fails, key=lambda place: opposite[place])
        if fails
        else max(asked, key=lambda place: (place in open_, p[place]))
    )
    shown = [opposite[place] if place in fails else p[place] for place in places]
    floor = max(floors[place] for place in asked)
    tests = len(steps)
    return {
        "unit": unit,
        "side": side,
        "correction": correction,
        "verdict": outcome(fails=bool(fails), holds=not open_),
        **_observed(steps).columns,
        "evidence": "; ".join(
            f"{step.name}: {signed(step.gain, metric)} (p {said_p(shown[place])})"
            for place, step in enumerate(steps)
        ),
        "decisive": steps[worst].name,
        "p": shown[worst],
        "pairs": min(step.pairs for step in steps),
        "floor": floor,
        "can_reach": floor <= ALPHA,
        "pairs_needed": None
        if floor <= ALPHA
        else pairs_needed(
            ALPHA, "two-sided" if side == "two-sided" else "greater", tests if correction == "holm" else 1
        ),
        "family": f"Holm's correction over the {tests} {plural(tests, 'comparison')} of the order"
        if correction == "holm"
        else "",
    }


def _observed(steps: list[_Step]) -> Observed:
    """What the means alone show of the steps; of methods that are called equal they can show nothing."""
    asked = [step for step in steps if not step.equal]
    broken = [step.name for step in asked if step.gain <= 0]
    said = f"{len(asked) - len(broken)} of {len(asked)} steps as claimed"
    text = f"does not hold: {said}; not so: {', '.join(broken)}" if broken else f"holds: {said}"
    return Observed(not broken, text, exceptions=tuple(broken))
