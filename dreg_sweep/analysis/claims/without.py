"""Every claim again without each of its rivals in turn: on which rivals do the verdicts depend?"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dreg_sweep.analysis.claims.evidence import Evidence, unit_of
from dreg_sweep.analysis.claims.reading import Claim, Study
from dreg_sweep.analysis.claims.verdicts import OrderTests, order_rows, order_tests
from dreg_sweep.analysis.grid import Grid
from dreg_sweep.analysis.pairing import Family, corrected
from dreg_sweep.analysis.report.render import Table
from dreg_sweep.analysis.tables.wording import about, p_values, sentences, text

if TYPE_CHECKING:
    import pandas as pd

ORDERS = ("highest", "higher", "placed")  # the kinds that name rivals one by one
NOTHING_LEFT_OUT = "none of them"
# What is judged, beside the primary unit: side and correction.
_READINGS = (("primary", "two-sided", "holm"), ("seeds", "one-sided", "none"))


def verdicts_without_rivals(study: Study, evidence: Evidence) -> "pd.DataFrame":
    """Claim × rival left out: the verdict without it, in the primary reading and by seeds.

    Args:
        study: its claims of the kinds `ORDERS` with two rivals or more take part.
        evidence: what they are judged by.

    Returns:
        Columns claim, left_out (`NOTHING_LEFT_OUT` in the first row of a claim), primary and seeds (verdicts: of the
        primary unit, two-sided, after Holm's correction over the rivals that are left; and by seed means, one-sided
        and uncorrected), decisive and decisive_seeds (the rival that each depends on), p and p_seeds (of the
        comparison with it), changes (whether a verdict is another than with all rivals).
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for claim in study.claims:
        tests = None if claim.kind not in ORDERS else order_tests(claim, evidence)
        if tests is None or isinstance(tests, str) or len(tests.wanted) < 2:
            continue
        every = _judged(claim, evidence, tests, tests.wanted, NOTHING_LEFT_OUT)
        rows.append({**every, "changes": False})
        for rival in tests.wanted:
            left = {name: side for name, side in tests.wanted.items() if name != rival}
            row = _judged(claim, evidence, tests, left, str(rival))
            changes = any(row[name] != every[name] for name in ("primary", "seeds"))
            rows.append({**row, "changes": changes})
    names = [
        "claim", "left_out", "primary", "decisive", "p", "seeds", "decisive_seeds", "p_seeds", "changes",
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=names)


def _judged(
    claim: Claim, evidence: Evidence, tests: OrderTests, wanted: dict[Any, str], left_out: str
) -> dict[str, Any]:
    """The verdicts on the claim as if it spoke of these rivals alone."""
    units = {"primary": unit_of(claim, evidence), "seeds": "seed"}
    here = tests.frame[tests.frame["unit"].isin(units.values())]
    part = replace(tests, frame=corrected(here, Family(tuple(wanted)), 1), wanted=wanted)
    settings = [(units[name], side, correction) for name, side, correction in _READINGS]
    row: dict[str, Any] = {"claim": claim.id, "left_out": left_out}
    for (name, *_), found in zip(_READINGS, order_rows(part, settings), strict=True):
        end = "" if name == "primary" else "_seeds"
        row |= {name: found["verdict"], f"decisive{end}": str(found["decisive"]), f"p{end}": found.get("p")}
    return row


def table(frame: "pd.DataFrame", reading: str, grid: Grid) -> Table | None:
    """`verdicts_without_rivals` as a table; None without a claim that can be judged so."""
    if frame.empty:
        return None
    alone = frame[frame["changes"]].groupby("left_out")["claim"].agg(lambda names: ", ".join(names))
    changed = "; ".join(f"without {rival}: {names}" for rival, names in alone.items())
    return Table(
        name="claims_without_rivals",
        title="Claims without each rival in turn",
        caption=sentences(
            "Each claim is judged again without one of its rivals, with Holm's correction over those that are left. "
            "Verdict: of the primary reading. Seeds: by seed means, one-sided and uncorrected"
            f"{f', {reading}' if reading else ''}. Decides: the rival that the verdict depends on.",
            f"Another verdict than with all rivals: {changed}." if changed else "No verdict depends on one rival.",
            about(grid, pairs=True),
        ),
        values=frame,
        columns=(
            text("claim", "id"),
            text("left_out", "left out"),
            text("primary", "verdict"),
            text("decisive", "decides"),
            p_values("p", "p"),
            text("seeds"),
            text("decisive_seeds", "decides (seeds)"),
            p_values("p_seeds", "p (seeds)"),
        ),
        block="claim",
    )
