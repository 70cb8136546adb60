"""How much hangs on one level: the primary test again without each dataset, activation and seed."""

from typing import TYPE_CHECKING, Any

from dreg_sweep.analysis.grid import BLOCK, Grid
from dreg_sweep.analysis.pairing import PRIMARY_SIDE, UNITS, Unit, pair_test, pairs, primary_unit
from dreg_sweep.analysis.report.render import NOTHING, Column, Table
from dreg_sweep.analysis.scores import Metric
from dreg_sweep.analysis.statistics.bootstrap import clustered_interval
from dreg_sweep.analysis.statistics.rank_tests import ALPHA
from dreg_sweep.analysis.tables.wording import about, count, p_values, sentences, signed, text

if TYPE_CHECKING:
    import pandas as pd

_OTHERS = {"dataset": "other datasets of this kind", "seed": "other seeds on this dataset"}
SEEDS_AT_MOST = 50  # levels of one factor that are left out one by one


def fragility(grid: Grid, metric: Metric, treatment: Any) -> Table | None:
    """Rival × left-out level: mean difference and two-sided p of the primary unit without that level.

    The row of nothing left out comes first. flips: the sign of the mean difference changes, or p crosses 0.05.
    None without a rival. A factor with a single level, or with more than 50, is not left out.
    """
    import pandas as pd

    rivals = [level for level in grid.compared if level != treatment]
    if not rivals or treatment not in grid.compared:
        return None
    unit = UNITS[primary_unit(grid)]
    rows: list[dict[str, Any]] = []
    for rival in rivals:
        whole = _test(grid, metric, treatment, rival, unit)
        rows.append({"rival": rival, "factor": "nothing", "level": "", **whole, "flips": ""})
        for factor in BLOCK:
            levels = grid.levels[factor]
            if not 1 < len(levels) <= SEEDS_AT_MOST:
                continue
            for level in levels:
                part = grid.restricted({factor: [other for other in levels if other != level]})
                result = _test(part, metric, treatment, rival, unit)
                rows.append(
                    {
                        "rival": rival,
                        "factor": factor,
                        "level": str(level),
                        **result,
                        "flips": _flips(whole, result),
                    }
                )
    frame = pd.DataFrame(rows).astype({"pairs": "Int64", "mean_difference": "float64", "p": "float64"})
    return Table(
        name=f"fragility_{metric.slug}",
        title=f"One level left out at a time: {treatment} against each rival, {metric.label}",
        caption=sentences(
            f"Two-sided signed-rank test, paired by {unit.label}, uncorrected; differences in "
            f"{metric.difference_unit or metric.name}. Flips: the mean difference changes its sign, or p crosses "
            f"{ALPHA}.",
            about(grid, pairs=True),
        ),
        values=frame,
        columns=(
            text("rival"),
            text("factor", "left out"),
            text("level"),
            count("pairs"),
            Column("mean difference", lambda row: signed(row["mean_difference"], metric), value="mean_difference"),
            p_values("p", "p"),
            text("flips"),
        ),
        block="rival",
    )


def _test(grid: Grid, metric: Metric, treatment: Any, rival: Any, unit: Unit) -> dict[str, Any]:
    paired = pairs(grid, metric, treatment, rival, unit)
    if not len(paired):
        return {"pairs": 0, "mean_difference": None, "p": None}
    test = pair_test(paired, PRIMARY_SIDE)
    return {"pairs": len(paired), "mean_difference": float(paired.mean * metric.scale), "p": test.p}


def _flips(whole: dict[str, Any], part: dict[str, Any]) -> str:
    if None in (whole["p"], part["p"]):
        return "no pair left" if part["p"] is None else ""
    flips = []
    if whole["mean_difference"] * part["mean_difference"] < 0:
        flips.append("sign")
    if (whole["p"] <= ALPHA) != (part["p"] <= ALPHA):
        flips.append("significance")
    return ", ".join(flips)


def intervals(grid: Grid, treatment: Any) -> Table | None:
    """Rival × metric: mean difference over the primary unit's means, with their bootstrap interval.

    Columns metric, rival, datasets (of a sweep on one dataset: seeds), mean_difference, low, high, method. None
    without a rival.
    """
    import pandas as pd

    rivals = [level for level in grid.compared if level != treatment]
    if not rivals or treatment not in grid.compared:
        return None
    unit = UNITS[primary_unit(grid)]
    rows: list[dict[str, Any]] = []
    metrics = {metric.name: metric for metric in grid.metrics}
    for metric in grid.metrics:
        for rival in rivals:
            paired = pairs(grid, metric, treatment, rival, unit)
            row: dict[str, Any] = {"metric": metric.name, "rival": rival, unit.short: len(paired)}
            if len(paired) > 1:
                found = clustered_interval([metric.scale * float(value) for value in paired.values])
                row |= {"mean_difference": found.estimate, "low": found.low, "high": found.high}
                row["method"] = found.method
            elif len(paired):
                row["mean_difference"] = float(paired.mean * metric.scale)
            rows.append(row)
    names = ["metric", "rival", unit.short, "mean_difference", "low", "high", "method"]
    frame = pd.DataFrame(rows, columns=names).astype(dict.fromkeys(("mean_difference", "low", "high"), "float64"))

    def interval(row: Any) -> str:
        metric = metrics[row["metric"]]
        if row["low"] != row["low"]:
            return NOTHING
        return f"[{signed(row['low'], metric)}, {signed(row['high'], metric)}]"

    return Table(
        name="bootstrap",
        title=f"{treatment} against each rival: bootstrap over {unit.short}",
        caption=sentences(
            f"Mean difference over {unit.short} (each counts alike) with the 95 % percentile interval of a "
            f"bootstrap that draws whole {unit.short}: what {_OTHERS[unit.name]} might have shown. With so "
            f"few {unit.short} such intervals are too short rather than too long.",
            about(grid, pairs=True),
        ),
        values=frame,
        columns=(
            text("metric"),
            text("rival"),
            count(unit.short),
            Column(
                "mean difference",
                lambda row: signed(row["mean_difference"], metrics[row["metric"]]),
                value="mean_difference",
            ),
            Column("95 % interval", interval),
        ),
        block="metric",
    )


def flips(table: "pd.DataFrame", rival: Any) -> list[str]:
    """`without dataset mnist: significance` for each omission that flips the rival's test."""
    rows = table[(table["rival"] == rival) & (table["flips"] != "")]
    return [f"without {row.factor} {row.level}: {row.flips}" for row in rows.itertuples()]
