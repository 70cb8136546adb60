"""What claims are judged by, and the part of it that one claim speaks of."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dreg_sweep.analysis.claims.kept import METRICS, with_kept
from dreg_sweep.analysis.claims.outcome import Observed, Outcome
from dreg_sweep.analysis.claims.reading import GROUPS, Claim
from dreg_sweep.analysis.grid import Grid
from dreg_sweep.analysis.pairing import UNITS, Family, primary_unit
from dreg_sweep.analysis.rows.select import level_name, size_name
from dreg_sweep.analysis.rows.settings import by_name, shared
from dreg_sweep.analysis.tables.scarcity import Grids
from dreg_sweep.analysis.tables.wording import p_text
from dreg_sweep.factors import BLOCK

if TYPE_CHECKING:
    import pandas as pd

CORRECTIONS = ("holm", "none")
SIDES = ("two-sided", "one-sided")

Row = dict[str, Any]


@dataclass(frozen=True)
class Evidence:
    """What claims are judged by.

    grid, sizes: of all cells, and by training size. family: the declared one; None for all rivals of a claim.
    treatment, tests: the frame of `comparisons` of the whole grid for that treatment and family, if there is one.
    cells, history: rows of `load_cells` and `load_history`, for claims about layers and gradients; the cells also
    tell a dataset's training size and settings.
    """

    grid: Grid
    sizes: Grids
    family: Family | None = None
    treatment: Any = None
    tests: "pd.DataFrame | None" = None
    cells: "pd.DataFrame | None" = None
    history: "pd.DataFrame | None" = None


def settings() -> list[tuple[str, str, str]]:
    """Every unit, side and correction."""
    return [(unit, side, correction) for unit in UNITS for side in SIDES for correction in CORRECTIONS]


def unit_of(claim: Claim, evidence: Evidence) -> str:
    """The primary unit of a claim: the grid's, or `seed` for a claim that names one dataset."""
    return "seed" if len(claim.where.get("dataset", ())) == 1 else primary_unit(evidence.grid)


def spoken_of(claim: Claim, evidence: Evidence) -> Grid:
    """The part of the grid that the claim speaks of, at the training size that it names."""
    grid = evidence.grid
    wanted = claim.where.get("train_size")
    if wanted and evidence.sizes:
        grid = next((part for size, part in evidence.sizes.items() if size_name(size) in wanted), grid)
    return limited(claim, grid, evidence)


def limited(claim: Claim, grid: Grid, evidence: Evidence) -> Grid:
    """The levels of the grid that the claim speaks of, with its metric; datasets also by groups, sizes and settings."""
    if claim.metric in METRICS:
        grid = with_kept(grid, claim.metric)
    kept: dict[str, Sequence[Any]] = {factor: levels for factor, levels in claim.where.items() if factor in BLOCK}
    told = _told(claim, grid, evidence)
    if told:
        kept["dataset"] = [
            dataset
            for dataset in kept.get("dataset", grid.levels["dataset"])
            if all(own.get(dataset) in claim.where[name] for name, own in told.items())
        ]
    return grid.restricted(kept)


def _told(claim: Claim, grid: Grid, evidence: Evidence) -> dict[str, dict[Any, Any]]:
    """For each condition on what a dataset is: its value there. One with several values has none."""
    told: dict[str, dict[Any, Any]] = {name: grid.groups[name] for name in GROUPS if name in claim.where}
    if "train_size" in claim.where:
        (size,) = claim.where["train_size"]
        if evidence.sizes:  # then the grid is that of the size, if there is one
            known = size in map(size_name, evidence.sizes)
            told["train_size"] = dict.fromkeys(grid.levels["dataset"], size) if known else {}
        else:
            told["train_size"] = _of_datasets(evidence.cells, "train_size")
    for name in claim.where:
        if "." in name:
            told[name] = _of_datasets(evidence.cells, name)
    return told


def _of_datasets(cells: "pd.DataFrame | None", name: str) -> dict[Any, str]:
    """Dataset → the one level of a column, or of a setting in `config`, that its done cells have."""
    if cells is None:
        return {}
    done = cells[cells["status"] == "done"]
    if name in done.columns:
        levels = done[name].map(lambda value: level_name(name, value))
    elif "config" in done.columns:
        config = shared(done["config"].reset_index(drop=True))
        texts = config.cat.categories.tolist()
        values = by_name(texts).get(name, [None] * len(texts))
        levels = config.cat.codes.map(lambda code: values[code] if code >= 0 else None).set_axis(done.index)
    else:
        return {}
    found = {dataset: own.dropna().unique() for dataset, own in levels.groupby(done["dataset"], observed=True)}
    return {dataset: own[0] for dataset, own in found.items() if len(own) == 1}


def lacking(claim: Claim, grid: Grid, others: Sequence[Any] = (), metric: bool = True) -> str:
    """Why the data cannot speak about the claim; empty where they can. metric: whether it is about one.

    grid: of `spoken_of` or `limited`.
    """
    narrowed = any(name not in BLOCK for name in claim.where)  # datasets also by what they are
    for factor in BLOCK:
        unknown = [level for level in claim.where.get(factor, ()) if level not in grid.levels[factor]]
        if unknown and not (factor == "dataset" and narrowed):
            return f"no data where {factor}={'/'.join(map(str, unknown))}"
        if unknown:
            return f"no data where {_limits(claim)}"
    if any(not levels for levels in grid.levels.values()):
        return f"no data where {_limits(claim)}"
    names = dict.fromkeys((claim.method, *others, *claim.behind))
    absent = [str(name) for name in names if name not in grid.compared]
    if absent:
        return f"no result of {', '.join(absent)}"
    if metric and claim.metric not in [metric.name for metric in grid.metrics]:
        return f"no {claim.metric} accuracy in the data"
    return ""


def _limits(claim: Claim) -> str:
    return ", ".join(f"{name}={'/'.join(map(str, levels))}" for name, levels in claim.where.items())


def undecided(unit: str, side: str, correction: str, reason: str) -> Row:
    """The row of a claim that the data cannot speak about."""
    return {
        "unit": unit,
        "side": side,
        "correction": correction,
        "verdict": Outcome.UNDECIDED,
        **Observed(None, reason).columns,
        "evidence": "",
        "decisive": "",
        "can_reach": False,
    }


def said_p(p: float) -> str:
    """`= 0.012`, `<0.001`: what stands after a p."""
    text = p_text(p)
    return text if text.startswith("<") else f"= {text}"
