"""Reproduced, contradicted or undecided: each claim under every pairing unit, side and correction.

A claim that means order ("the highest", "above these three") asks for one direction against each of its rivals.
It is reproduced where every one of them is significant in that direction, contradicted where one is significant in
the other, and undecided between. A test counts in the direction of its ranks, and only where the mean has the same
one. What the plain means show stands beside it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dreg_sweep.analysis.claims.evidence import (
    CORRECTIONS,
    SIDES,
    Evidence,
    Row,
    lacking,
    limited,
    said_p,
    settings,
    spoken_of,
    undecided,
    unit_of,
)
from dreg_sweep.analysis.claims.kept import METRICS
from dreg_sweep.analysis.claims.loophole import no_loophole
from dreg_sweep.analysis.claims.ordering import in_order
from dreg_sweep.analysis.claims.outcome import Observed, outcome, place_among, told
from dreg_sweep.analysis.claims.reading import Claim, Study
from dreg_sweep.analysis.pairing import PRIMARY_SIDE, PRIMARY_ZEROS, UNITS, Family, comparisons
from dreg_sweep.analysis.scores import Metric
from dreg_sweep.analysis.statistics.rank_tests import ALPHA, holm
from dreg_sweep.analysis.statistics.wilcoxon import pairs_needed
from dreg_sweep.analysis.tables.pressure import agreement_test, pressure
from dreg_sweep.analysis.tables.scarcity import crossed, trend
from dreg_sweep.analysis.tables.wording import signed

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "claim", "sentence", "unit", "side", "correction", "family", "primary", "verdict", "observed", "holds",
    "place", "of", "exceptions", "evidence", "decisive", "p", "pairs", "floor", "can_reach", "pairs_needed", "caution",
)  # fmt: skip
_FLIPPED = {"greater": "less", "less": "greater"}


def judge(study: Study, evidence: Evidence) -> "pd.DataFrame":
    """One row a claim × unit × side × correction, with the columns `COLUMNS`.

    verdict: an `Outcome`. observed: what the means show, in words; holds, place, of, exceptions: see `Observed`.
    evidence: each comparison with
    its mean difference and p. family: the tests that share the correction. decisive, p: the comparison that the
    verdict hangs on. floor: the smallest p it could have. primary: the row that the report puts first (by
    `unit_of`, two-sided, Holm; one-sided or uncorrected for claims that have no other tests).
    """
    import pandas as pd

    rows: list[Row] = []
    for claim in study.claims:
        for row in _JUDGES[claim.kind](claim, evidence):
            caution = UNITS[row["unit"]].caution
            rows.append({"claim": claim.id, "sentence": claim.sentence, **row, "caution": caution})
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    strict = frame["claim"].map(frame.groupby("claim")["correction"].agg(lambda found: "holm" in set(found)))
    units = {claim.id: unit_of(claim, evidence) for claim in study.claims}
    first = (frame["unit"] == frame["claim"].map(units)) & ((frame["correction"] == "holm") | ~strict.astype(bool))
    sides = frame[first].groupby("claim")["side"].agg(lambda found: "two-sided" in set(found))
    frame["primary"] = first & (
        (frame["side"] == "two-sided") | ~frame["claim"].map(sides).fillna(False).astype(bool)
    )
    numbers = {"p": "float64", "pairs": "Int64", "floor": "float64", "pairs_needed": "Int64"}
    numbers |= {"holds": "boolean", "place": "Int64", "of": "Int64"}
    return frame.astype(numbers)


@dataclass(frozen=True)
class OrderTests:
    """The tests that a claim about an order rests on.

    frame: rows of `comparisons` against its rivals. wanted: rival → the alternative that the claim asks for.
    """

    frame: "pd.DataFrame"
    wanted: dict[Any, str]
    metric: Metric
    family: Family


def order_tests(claim: Claim, evidence: Evidence) -> OrderTests | str:
    """The tests of a claim of the kinds highest, higher and placed; why there are none where the data lack some."""
    grid = spoken_of(claim, evidence)
    levels = grid.levels["regularizer"]
    rivals = claim.rivals or tuple(level for level in levels if level != claim.method)
    missing = lacking(claim, grid, rivals) or ("" if rivals else "no other regularizer")
    if missing:
        return missing
    metric = next(metric for metric in grid.metrics if metric.name == claim.metric)
    wanted = {rival: "less" if rival in claim.behind else "greater" for rival in rivals}
    declared = evidence.family
    foreign = evidence.treatment not in (
        None,
        claim.method,
    )  # a family is declared of the treatment's rivals; all of them stand for all of another method's
    if declared is not None and foreign and set(declared.rivals) >= set(levels) - {evidence.treatment}:
        declared = replace(declared, rivals=tuple(level for level in levels if level != claim.method))
    elif foreign:
        declared = None
    covers = declared is not None and set(wanted) <= set(declared.rivals)
    family = declared if declared is not None and covers else Family(rivals)
    tests = evidence.tests
    whole = not claim.where and claim.method == evidence.treatment and claim.metric not in METRICS
    if tests is None or family is not evidence.family or not whole:
        part = grid if family.across_metrics else replace(grid, metrics=(metric,))
        tests = comparisons(part, claim.method, family)
    tests = tests[(tests["zeros"] == PRIMARY_ZEROS) & (tests["metric"] == metric.name)]
    return OrderTests(tests, wanted, metric, family)


def order_rows(tests: OrderTests, cases: Sequence[tuple[str, str, str]]) -> list[Row]:
    """The verdict of such a claim for each unit, side and correction."""
    rows = []
    for unit, side, correction in cases:
        here = tests.frame[tests.frame["unit"] == unit]
        row = _ordered(here, tests.wanted, tests.metric, unit, side, correction)
        rows.append({**row, "family": tests.family.sentence} if correction == "holm" else row)
    return rows


def _order(claim: Claim, evidence: Evidence) -> list[Row]:
    """Kinds highest, higher and placed."""
    tests = order_tests(claim, evidence)
    if isinstance(tests, str):
        return [undecided(*case, tests) for case in settings()]
    return order_rows(tests, settings())


@dataclass(frozen=True)
class _Comparison:
    """One of the comparisons a claim makes. gain: the mean difference, in the printed unit. p, opposite: in the
    claimed direction and against it (the same where two-sided). as_claimed: the mean has the claimed sign."""

    rival: Any
    gain: float
    p: float
    opposite: float
    as_claimed: bool
    holds: bool
    fails: bool
    pairs: int
    floor: float

    @property
    def shown(self) -> float:
        """The p that the verdict on this comparison rests on."""
        return self.opposite if self.fails else self.p


def _compared(by_side: Mapping[str, Row], rival: Any, direction: str, side: str, correction: str) -> _Comparison:
    """by_side: the tests against one rival, by alternative."""
    column, floor = ("p_holm", "floor_holm") if correction == "holm" else ("p", "floor")
    sign = 1 if direction == "greater" else -1
    chosen, other = ("two-sided", "two-sided") if side == "two-sided" else (direction, _FLIPPED[direction])
    gain = float(by_side[PRIMARY_SIDE]["mean_difference"])
    ranks = sign * float(by_side[PRIMARY_SIDE]["rank_biserial"])
    p, opposite = float(by_side[chosen][column]), float(by_side[other][column])
    return _Comparison(
        rival=rival,
        gain=gain,
        p=p,
        opposite=opposite,
        as_claimed=sign * gain > 0,
        holds=p <= ALPHA and ranks > 0 and sign * gain > 0,
        fails=opposite <= ALPHA and ranks < 0 and sign * gain < 0,
        pairs=int(by_side[chosen]["pairs"]),
        floor=float(by_side[chosen][floor]),
    )


def _ordered(
    here: "pd.DataFrame", wanted: Mapping[Any, str], metric: Metric, unit: str, side: str, correction: str
) -> Row:
    found: list[_Comparison] = []
    by_rival: dict[Any, dict[str, Row]] = {rival: {} for rival in wanted}
    for row in here[here["rival"].isin(list(wanted))].to_dict("records"):
        by_rival[row["rival"]][str(row["alternative"])] = {str(name): value for name, value in row.items()}
    for rival, direction in wanted.items():
        by_side = by_rival[rival]
        if not by_side or not by_side[PRIMARY_SIDE]["pairs"]:
            return undecided(unit, side, correction, f"no pair with {rival}")
        found.append(_compared(by_side, rival, direction, side, correction))
    failing = [one for one in found if one.fails]
    weakest = max(found, key=lambda one: (not one.as_claimed, one.p))
    decisive = min(failing, key=lambda one: one.opposite) if failing else weakest
    floor = max(one.floor for one in found)
    tests = int(here["family"].max()) if correction == "holm" else 1
    return {
        "unit": unit,
        "side": side,
        "correction": correction,
        "verdict": outcome(fails=bool(failing), holds=all(one.holds for one in found)),
        **_observed(here, found).columns,
        "evidence": "; ".join(f"{one.rival} {signed(one.gain, metric)} (p {said_p(one.shown)})" for one in found),
        "decisive": decisive.rival,
        "p": decisive.shown,
        "pairs": min(one.pairs for one in found),
        "floor": floor,
        "can_reach": floor <= ALPHA,
        "pairs_needed": None
        if floor <= ALPHA
        else pairs_needed(ALPHA, "two-sided" if side == "two-sided" else "greater", max(1, tests)),
    }


def _observed(here: "pd.DataFrame", found: Sequence[_Comparison]) -> Observed:
    """The place of the method by the mean differences of the unit."""
    gains = here[here["alternative"] == PRIMARY_SIDE]["mean_difference"].dropna()
    broken = [one.rival for one in found if not one.as_claimed]
    return place_among(1 + int((gains < 0).sum()), len(gains) + 1, broken)


def _two(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")


def _scarcity(claim: Claim, evidence: Evidence) -> list[Row]:
    cases = [(unit, "one-sided", correction) for unit in UNITS for correction in CORRECTIONS]
    grids, without_whole = crossed({size: limited(claim, grid, evidence) for size, grid in evidence.sizes.items()})
    named = (level for grid in grids.values() for level in grid.levels["regularizer"] if level != claim.method)
    rivals = claim.rivals or tuple(dict.fromkeys(named))
    missing = next((text for grid in grids.values() if (text := lacking(claim, grid, rivals))), "")
    if len(grids) < 3:
        sizes = f"{len(grids)} training size{'s' * (len(grids) != 1)}" if grids else "one training size a dataset"
        missing = f"the data have {sizes}; a trend needs three"
    note = f" ({without_whole.removesuffix('.')})" if without_whole else ""
    if missing:
        return [undecided(*case, missing + note) for case in cases]
    metric = next(m for m in next(iter(grids.values())).metrics if m.name == claim.metric)
    tests = trend(grids, metric, claim.method)
    tests = tests[tests["rival"].isin(rivals)]
    family = Family(rivals).sentence
    rows = []
    for unit, side, correction in cases:
        here = tests[tests["unit"] == unit].reset_index(drop=True)
        alone = here.loc[here["blocks"] == 0, "rival"].astype(str).tolist()
        if alone:
            reason = f"no block has every training size against {', '.join(alone)}{note}"
            rows.append(undecided(unit, side, correction, reason))
            continue
        p, reverse, floor = here["p"], here["p_reverse"], here["floor"]
        if correction == "holm":
            p, reverse = holm(p), holm(reverse)
            floor = (floor * len(here)).clip(upper=1.0)
        holds = bool(((p <= ALPHA) & (here["smallest"] > 0)).all())
        fails = bool((reverse <= ALPHA).any())
        worst = int(np.argmin(reverse) if fails else np.argmax(p))
        shown = [
            f"{row.rival} {signed(row.smallest, metric)} at the smallest size, "
            f"{signed(row.slope, metric)} a doubling (p {said_p(float(p.iloc[place]))})"
            for place, row in enumerate(here.itertuples())
        ]
        falling = int(((here["slope"] < 0) & (here["smallest"] > 0)).sum())
        bent = ", ".join(here.loc[here["shape"] == "U", "rival"].astype(str))
        u_shaped = f"; U-shaped against {bent}" if bent else ""
        rows.append(
            {
                "unit": unit,
                "side": side,
                "correction": correction,
                "verdict": outcome(fails=fails, holds=holds),
                **told(
                    falling == len(here),
                    f"positive and falling with size against {falling} of {len(here)} rivals{u_shaped}{note}",
                ).columns,
                "evidence": "; ".join(shown),
                "decisive": here["rival"].iloc[worst],
                "p": float((reverse if fails else p).iloc[worst]),
                "pairs": int(here["blocks"].min()),
                "floor": float(floor.max()),
                "can_reach": bool((floor <= ALPHA).all()),
                "family": family if correction == "holm" else "",
            }
        )
    return rows


def _pressure(claim: Claim, evidence: Evidence) -> list[Row]:
    cases = [(unit, side, "none") for unit in UNITS for side in SIDES]
    grid = spoken_of(claim, evidence)
    missing = lacking(claim, grid, (claim.baseline,), metric=False)
    found = None
    if not missing and evidence.cells is not None and evidence.history is not None:
        found = pressure(grid, evidence.cells, evidence.history, claim.method, claim.baseline)
    if found is None:
        missing = missing or (
            f"the history has no layer norms of {claim.method} and {claim.baseline} in two or more hidden layers"
        )
        return [undecided(*case, missing) for case in cases]
    rows = []
    for unit, side, correction in cases:
        test, mean, pairs = agreement_test(found, unit, "greater" if side == "one-sided" else "two-sided")
        reverse, _, _ = agreement_test(found, unit, "less" if side == "one-sided" else "two-sided")
        holds = mean > 0 and test.rank_biserial > 0 and test.p <= ALPHA
        fails = mean < 0 and test.rank_biserial < 0 and reverse.p <= ALPHA
        p = reverse.p if fails else test.p
        rows.append(
            {
                "unit": unit,
                "side": side,
                "correction": correction,
                "verdict": outcome(fails=bool(fails), holds=bool(holds)),
                **told(mean > 0, f"mean agreement {_two(mean)}").columns,
                "evidence": f"Kendall's τ of a layer's σ'² and its reduction, mean {_two(mean)} (p {said_p(p)})",
                "decisive": claim.baseline,
                "p": p,
                "pairs": pairs,
                "floor": test.floor,
                "can_reach": test.floor <= ALPHA,
                "pairs_needed": None
                if test.floor <= ALPHA
                else pairs_needed(ALPHA, "greater" if side == "one-sided" else "two-sided"),
            }
        )
    return rows


_JUDGES: dict[str, Callable[[Claim, Evidence], list[Row]]] = {
    "highest": _order,
    "higher": _order,
    "placed": _order,
    "scarcity": _scarcity,
    "pressure": _pressure,
    "ordering": in_order,
    "no_loophole": no_loophole,
}
