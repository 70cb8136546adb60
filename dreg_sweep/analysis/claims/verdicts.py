"""Reproduced, contradicted or undecided: each claim under every pairing unit, side and correction.

A claim that means order ("the highest", "above these three") asks for one direction against each of its rivals.
It is reproduced where every one of them is significant in that direction, contradicted where one is significant in
the other, and undecided between. What the plain means show stands beside it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dreg_sweep.analysis.claims.reading import Claim, Study
from dreg_sweep.analysis.grid import Grid
from dreg_sweep.analysis.pairing import PRIMARY, PRIMARY_SIDE, PRIMARY_ZEROS, UNITS, Family, comparisons
from dreg_sweep.analysis.scores import Metric
from dreg_sweep.analysis.statistics.rank_tests import ALPHA, holm
from dreg_sweep.analysis.tables.pressure import Pressure, agreement_test
from dreg_sweep.analysis.tables.scarcity import Grids, trend
from dreg_sweep.analysis.tables.wording import p_text, signed

if TYPE_CHECKING:
    import pandas as pd

CORRECTIONS = ("holm", "none")
SIDES = ("two-sided", "one-sided")
COLUMNS = (
    "claim", "sentence", "unit", "side", "correction", "primary", "verdict", "observed", "evidence", "decisive",
    "p", "pairs", "floor", "can_reach", "pairs_needed", "caution",
)  # fmt: skip
_FLIPPED = {"greater": "less", "less": "greater"}

Row = dict[str, Any]


@dataclass(frozen=True)
class Evidence:
    """What claims are judged by: the grid, the grids by training size, and the pressure on layers, if known.

    rivals: of the declared family; None for all. tests: the frame of `comparisons` of the whole grid over all of
    `rivals`, if it has been made for this treatment.
    """

    grid: Grid
    sizes: Grids
    pressure: Pressure | None
    rivals: tuple[Any, ...] | None = None
    treatment: Any = None
    tests: "pd.DataFrame | None" = None


def judge(study: Study, evidence: Evidence) -> "pd.DataFrame":
    """One row a claim × unit × side × correction, with the columns `COLUMNS`.

    verdict: reproduced, contradicted or undecided. observed: what the means show. evidence: each comparison with
    its mean difference and p. decisive, p: the comparison that the verdict hangs on. floor: the smallest p it
    could have. primary: the row that the report puts first (dataset means, two-sided, Holm; for claims that only
    have one-sided tests, one-sided).
    """
    import pandas as pd

    rows: list[Row] = []
    for claim in study.claims:
        for row in _JUDGES[claim.kind](claim, evidence):
            caution = UNITS[row["unit"]].caution
            rows.append({"claim": claim.id, "sentence": claim.sentence, **row, "caution": caution})
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    first = (frame["unit"] == PRIMARY) & (frame["correction"] == "holm")
    sides = frame[first].groupby("claim")["side"].agg(lambda found: "two-sided" in set(found))
    frame["primary"] = first & (
        (frame["side"] == "two-sided") | ~frame["claim"].map(sides).fillna(False).astype(bool)
    )
    numbers = {"p": "float64", "pairs": "Int64", "floor": "float64", "pairs_needed": "Int64"}
    return frame.astype(numbers)


def _order(claim: Claim, evidence: Evidence) -> list[Row]:
    """Kinds highest, higher and placed."""
    grid = _where(claim, evidence.grid)
    lacking = _lacking(claim, grid)
    if lacking is None:
        rivals = tuple(level for level in grid.compared if level != claim.method)
        wanted: Mapping[Any, str] = {
            rival: "less" if rival in claim.behind else "greater"
            for rival in (claim.rivals if claim.kind == "higher" else rivals)
        }
        family = tuple(rival for rival in rivals if evidence.rivals is None or rival in evidence.rivals)
        lacking = "" if wanted else "no rival has a result"
    if lacking:
        return [_undecided(unit, side, correction, lacking) for unit, side, correction in _settings()]
    metric = next(metric for metric in grid.metrics if metric.name == claim.metric)
    tests = evidence.tests
    if tests is None or claim.where or claim.method != evidence.treatment or not set(wanted) <= set(family):
        corrected = Family(tuple(dict.fromkeys((*family, *wanted))))
        tests = comparisons(replace(grid, metrics=(metric,)), claim.method, corrected)
    tests = tests[(tests["zeros"] == PRIMARY_ZEROS) & (tests["metric"] == metric.name)]
    return [
        _ordered(tests, wanted, metric, claim, unit, side, correction) for unit, side, correction in _settings()
    ]


def _ordered(
    tests: "pd.DataFrame",
    wanted: Mapping[Any, str],
    metric: Metric,
    claim: Claim,
    unit: str,
    side: str,
    correction: str,
) -> Row:
    column = "p_holm" if correction == "holm" else "p"
    here = tests[tests["unit"] == unit]
    found: list[Row] = []
    for rival, direction in wanted.items():
        by_side = here[here["rival"] == rival].set_index("alternative")
        if by_side.empty or not int(by_side["pairs"].iloc[0]):
            return _undecided(unit, side, correction, f"no pair with {rival}")
        gain = float(by_side.at[PRIMARY_SIDE, "mean_difference"])
        as_claimed = gain > 0 if direction == "greater" else gain < 0
        against = gain < 0 if direction == "greater" else gain > 0
        if side == "two-sided":
            p = float(by_side.at["two-sided", column])
            opposite = p
            row = by_side.loc["two-sided"]
        else:
            p = float(by_side.at[direction, column])
            opposite = float(by_side.at[_FLIPPED[direction], column])
            row = by_side.loc[direction]
        found.append(
            {
                "rival": rival,
                "gain": gain,
                "p": p,
                "as_claimed": as_claimed,
                "holds": as_claimed and p <= ALPHA,
                "fails": against and opposite <= ALPHA,
                "opposite": opposite,
                "pairs": int(row["pairs"]),
                "floor": float(row["floor_holm" if correction == "holm" else "floor"]),
                "needed": int(row["pairs_needed"]),
            }
        )
    failing = [one for one in found if one["fails"]]
    weakest = max(found, key=lambda one: (not one["as_claimed"], one["p"]))
    decisive = min(failing, key=lambda one: one["opposite"]) if failing else weakest
    verdict = "contradicted" if failing else "reproduced" if all(one["holds"] for one in found) else "undecided"
    reachable = max(one["floor"] for one in found) <= ALPHA
    return {
        "unit": unit,
        "side": side,
        "correction": correction,
        "verdict": verdict,
        "observed": _observed(here, found),
        "evidence": "; ".join(f"{one['rival']} {signed(one['gain'], metric)} (p {_p(one['p'])})" for one in found),
        "decisive": decisive["rival"],
        "p": decisive["opposite"] if failing else decisive["p"],
        "pairs": min(one["pairs"] for one in found),
        "floor": max(one["floor"] for one in found),
        "can_reach": reachable,
        "pairs_needed": None if reachable else max(one["needed"] for one in found),
    }


def _observed(here: "pd.DataFrame", found: Sequence[Row]) -> str:
    """`holds: place 1 of 6`, by the mean differences of the unit."""
    gains = here[here["alternative"] == PRIMARY_SIDE]["mean_difference"].dropna()
    place = 1 + int((gains < 0).sum())
    holds = all(one["as_claimed"] for one in found)
    lead = "holds" if holds else "does not hold"
    broken = [str(one["rival"]) for one in found if not one["as_claimed"]]
    return f"{lead}: place {place} of {len(gains) + 1}{' (against ' + ', '.join(broken) + ')' if broken else ''}"


def _two(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")


def _p(p: float) -> str:
    text = p_text(p)
    return text if text.startswith("<") else f"= {text}"


def _scarcity(claim: Claim, evidence: Evidence) -> list[Row]:
    settings = [(unit, "one-sided", correction) for unit in UNITS for correction in CORRECTIONS]
    grids = {size: _where(claim, grid) for size, grid in evidence.sizes.items()}
    lacking = next((text for grid in grids.values() if (text := _lacking(claim, grid))), "")
    if len(grids) < 3:
        sizes = f"{len(grids)} training size{'s' * (len(grids) != 1)}" if grids else "one training size a dataset"
        lacking = f"the data have {sizes}; a trend needs three"
    if lacking:
        return [_undecided(*setting, lacking) for setting in settings]
    metric = next(m for m in next(iter(grids.values())).metrics if m.name == claim.metric)
    tests = trend(grids, metric, claim.method)
    rows = []
    for unit, side, correction in settings:
        here = tests[(tests["unit"] == unit) & (tests["blocks"] > 0)].reset_index(drop=True)
        if here.empty:
            rows.append(_undecided(unit, side, correction, "no block has every training size"))
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
            f"{signed(row.slope, metric)} a doubling (p {_p(float(p.iloc[place]))})"
            for place, row in enumerate(here.itertuples())
        ]
        falling = int(((here["slope"] < 0) & (here["smallest"] > 0)).sum())
        rows.append(
            {
                "unit": unit,
                "side": side,
                "correction": correction,
                "verdict": "contradicted" if fails else "reproduced" if holds else "undecided",
                "observed": f"{'holds' if falling == len(here) else 'does not hold'}: positive and falling with "
                f"size against {falling} of {len(here)} rivals",
                "evidence": "; ".join(shown),
                "decisive": here["rival"].iloc[worst],
                "p": float((reverse if fails else p).iloc[worst]),
                "pairs": int(here["blocks"].min()),
                "floor": float(floor.max()),
                "can_reach": bool((floor <= ALPHA).all()),
            }
        )
    return rows


def _pressure(claim: Claim, evidence: Evidence) -> list[Row]:
    settings = [(unit, side, correction) for unit in UNITS for side in SIDES for correction in CORRECTIONS]
    found = evidence.pressure
    if found is None:
        lacking = "the history has no layer norms of both regularizers in two or more hidden layers"
        return [_undecided(*setting, lacking) for setting in settings]
    rows = []
    for unit, side, correction in settings:
        test, mean, pairs = agreement_test(found, unit, "greater" if side == "one-sided" else "two-sided")
        reverse, _, _ = agreement_test(found, unit, "less" if side == "one-sided" else "two-sided")
        holds, fails = mean > 0 and test.p <= ALPHA, mean < 0 and reverse.p <= ALPHA
        rows.append(
            {
                "unit": unit,
                "side": side,
                "correction": correction,
                "verdict": "contradicted" if fails else "reproduced" if holds else "undecided",
                "observed": f"{'holds' if mean > 0 else 'does not hold'}: mean agreement {_two(mean)}",
                "evidence": f"Kendall's τ of a layer's σ'² and its reduction, mean {_two(mean)} (p {_p(test.p)})",
                "decisive": claim.baseline,
                "p": reverse.p if fails else test.p,
                "pairs": pairs,
                "floor": test.floor,
                "can_reach": test.floor <= ALPHA,
            }
        )
    return rows


_JUDGES: dict[str, Callable[[Claim, Evidence], list[Row]]] = {
    "highest": _order,
    "higher": _order,
    "placed": _order,
    "scarcity": _scarcity,
    "pressure": _pressure,
}


def _settings() -> list[tuple[str, str, str]]:
    return [(unit, side, correction) for unit in UNITS for side in SIDES for correction in CORRECTIONS]


def _where(claim: Claim, grid: Grid) -> Grid:
    """The part of the grid that the claim speaks of."""
    kept: dict[str, Sequence[Any]] = {
        factor: levels for factor, levels in claim.where.items() if factor in ("dataset", "activation", "seed")
    }
    groups = {name: claim.where[name] for name in ("modality", "regime") if name in claim.where}
    if groups:
        kept["dataset"] = [
            dataset
            for dataset in kept.get("dataset", grid.levels["dataset"])
            if all(grid.groups[name].get(dataset) in levels for name, levels in groups.items())
        ]
    return grid.restricted(kept)


def _lacking(claim: Claim, grid: Grid) -> str | None:
    """Why the data cannot speak about the claim; None where they can."""
    if any(not levels for levels in grid.levels.values()):
        limits = ", ".join(f"{name}={'/'.join(map(str, levels))}" for name, levels in claim.where.items())
        return f"no data where {limits}"
    absent = [name for name in (claim.method, *claim.rivals, *claim.behind) if name not in grid.compared]
    if absent:
        return f"no result of {', '.join(absent)}"
    if claim.metric not in [metric.name for metric in grid.metrics]:
        return f"no {claim.metric} accuracy in the data"
    return None


def _undecided(unit: str, side: str, correction: str, reason: str) -> Row:
    return {
        "unit": unit,
        "side": side,
        "correction": correction,
        "verdict": "undecided",
        "observed": reason,
        "evidence": "",
        "decisive": "",
        "can_reach": False,
    }
