"""What the numbers hang on and what they lack: single levels, the audit, and remarks about a partial sweep."""

from typing import TYPE_CHECKING, Any

from dreg_sweep.analysis.chapters.parts import Chapter
from dreg_sweep.analysis.environments import mixed_environments
from dreg_sweep.analysis.grid import State
from dreg_sweep.analysis.pairing import UNITS, primary, primary_unit
from dreg_sweep.analysis.report.render import Table
from dreg_sweep.analysis.rows.levels import listed
from dreg_sweep.analysis.study import Data
from dreg_sweep.analysis.tables import audited, scarcity
from dreg_sweep.analysis.tables.fragility import fragility, intervals

if TYPE_CHECKING:
    import pandas as pd


def robustness(data: Data, treatment: Any, without_rivals: Table | None) -> Chapter | None:
    """Intervals, and what becomes of the tests and the claims without each level in turn."""
    grid = data.grid
    tables = (without_rivals, intervals(grid, treatment), fragility(grid, grid.metrics[0], treatment))
    kept = tuple(table for table in tables if table is not None)
    return Chapter("How much hangs on single levels", (), kept, ()) if kept else None


def audit(data: Data) -> Chapter:
    tables = (audited.covered(data.audit), audited.not_done(data.audit))
    return Chapter(
        "Audit",
        (*data.audit.lines(), *mixed_environments(data.cells)),
        tuple(table for table in tables if table is not None),
        (),
        is_audit=True,
    )


def remarks(data: Data, tests: "pd.DataFrame") -> list[str]:
    """What a partial sweep cannot tell yet."""
    grid = data.grid
    lines = []
    waiting = data.audit.total(State.MISSING)
    if waiting:
        lines.append(
            f"partial: {waiting} of {data.audit.total_expected} cells are missing; what follows is about the rest"
        )
    if not grid.complete.any():
        lines.append("no block has every regularizer yet, so nothing is ranked; tests use the pairs there are")
    here = primary(tests, grid.metrics[0].name)
    treatment = here["treatment"].iloc[0] if len(here) else None
    if treatment is not None and treatment not in grid.compared:
        lines.append(f"{treatment} has no result yet, so it is compared with nothing")
        here = here[:0]
    elif treatment is not None and data.audit.by_size:
        found = (scarcity.lacking(data.sizes, treatment), scarcity.crossed(data.sizes)[1])
        lines += [sentence[:1].lower() + sentence[1:].removesuffix(".") for sentence in found]
    unit = UNITS[primary_unit(grid)]
    levels = len(grid.levels[unit.name])
    for paired, part in here[here["pairs"] < levels].groupby("pairs", sort=False):
        lines.append(f"against {listed(part['rival'].tolist())}: {paired} of {levels} {unit.short} have a pair")
    stuck = here[~here["can_reach"].astype(bool)]
    if len(stuck):
        needed = int(stuck["pairs_needed"].max())
        lines.append(
            f"by {unit.label} no test against {listed(stuck['rival'].tolist())} can reach 0.05 after correction; "
            f"{needed} {unit.short} could"
        )
    return [line for line in lines if line]
