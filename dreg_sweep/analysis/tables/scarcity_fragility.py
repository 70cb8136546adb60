"""How much of the trend over training sizes hangs on one dataset: the primary test again without each."""

from typing import TYPE_CHECKING, Any

from dreg_sweep.analysis.report.render import Column, Table
from dreg_sweep.analysis.scores import Metric
from dreg_sweep.analysis.statistics.rank_tests import ALPHA
from dreg_sweep.analysis.tables.scarcity import Grids, by_size, crossed, trend, unit_of
from dreg_sweep.analysis.tables.wording import count, p_values, sentences, signed, text

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("rival", "left_out", "datasets", "smallest", "largest", "slope", "p", "p_reverse", "flips")
LEAST = 3  # datasets that must be left


def without_each_dataset(grids: Grids, metric: Metric, treatment: Any) -> "pd.DataFrame | None":
    """Rival × left-out dataset: the gains at both ends and the trend over the others, by dataset means.

    Columns rival, left_out (`nothing` first), datasets (that are left), smallest and largest (mean gain at the
    smallest and at the largest size), slope, p and p_reverse (see `scarcity.trend`), flips (which of the p crosses
    0.05). None where sizes are not compared by dataset, or with fewer than four that have all sizes.
    """
    import pandas as pd

    grids, _ = crossed(grids)
    unit = unit_of(grids)
    if unit.name != "dataset":
        return None
    whole = _trends(grids, metric, treatment)
    rows: list[dict[str, Any]] = []
    for rival, told in whole.items():
        taking_part = [label[0] for label in by_size(grids, metric, treatment, rival, unit)]
        if len(taking_part) <= LEAST:
            continue
        rows.append({"rival": rival, "left_out": "nothing", **told, "flips": ""})
        for dataset in taking_part:
            part = {
                size: grid.restricted({"dataset": [one for one in grid.levels["dataset"] if one != dataset]})
                for size, grid in grids.items()
            }
            again = _trends(part, metric, treatment)[rival]
            rows.append({"rival": rival, "left_out": str(dataset), **again, "flips": _flips(told, again)})
    return pd.DataFrame(rows, columns=list(COLUMNS)) if rows else None


def _trends(grids: Grids, metric: Metric, treatment: Any) -> dict[Any, dict[str, Any]]:
    """Rival → what a row tells of it, by dataset means."""
    tests = trend(grids, metric, treatment)
    found = {}
    for row in tests[tests["unit"] == "dataset"].to_dict("records"):
        gains = by_size(grids, metric, treatment, row["rival"], unit_of(grids))
        last = [metric.scale * float(line[-1]) for line in gains.values()]
        found[row["rival"]] = {
            "datasets": row["blocks"],
            "largest": sum(last) / len(last) if last else None,
            **{name: row[name] for name in ("smallest", "slope", "p", "p_reverse")},
        }
    return found


def _flips(whole: dict[str, Any], part: dict[str, Any]) -> str:
    directions = {"p": "falls", "p_reverse": "grows"}
    return ", ".join(said for name, said in directions.items() if (whole[name] <= ALPHA) != (part[name] <= ALPHA))


def table(grids: Grids, metric: Metric, treatment: Any) -> Table | None:
    """`without_each_dataset`, a block of rows a rival."""
    frame = without_each_dataset(grids, metric, treatment)
    if frame is None:
        return None
    unit = metric.difference_unit

    def gain(name: str, header: str) -> Column:
        return Column(header, lambda row: signed(row[name], metric), value=name)

    return Table(
        name="scarcity_fragility",
        title=f"The trend over training sizes, one dataset left out at a time: {treatment}, {metric.label}",
        caption=sentences(
            f"Mean gain of {treatment}{f' in {unit}' if unit else ''} over the datasets that are left, at the "
            "smallest and at the largest size, its change for each doubling, and Page's trend test, one-sided and "
            "uncorrected: p that the gain falls as the training size grows, and the reverse. Flips: which of them "
            f"crosses {ALPHA}.",
        ),
        values=frame,
        columns=(
            text("rival"),
            text("left_out", "left out"),
            count("datasets"),
            gain("smallest", "smallest size"),
            gain("largest", "largest size"),
            gain("slope", "slope"),
            p_values("p", "p falls"),
            p_values("p_reverse", "p grows"),
            text("flips"),
        ),
        block="rival",
    )
