"""Does the treatment's advantage grow as training data get scarce? By training size, with a trend test."""

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from dreg_sweep.analysis.grid import Grid
from dreg_sweep.analysis.pairing import PRIMARY, UNITS, Unit, pairs
from dreg_sweep.analysis.report.render import NOTHING, Column, Table
from dreg_sweep.analysis.scores import Metric
from dreg_sweep.analysis.statistics.bootstrap import clustered_interval
from dreg_sweep.analysis.statistics.trend import page
from dreg_sweep.analysis.statistics.wilcoxon import signed_rank
from dreg_sweep.analysis.tables.wording import about, count, p_text, p_values, sentences, signed, text

if TYPE_CHECKING:
    import pandas as pd

Grids = dict[int, Grid]  # by training size, ascending


def advantages(grids: Grids, metric: Metric, treatment: Any) -> "pd.DataFrame":
    """Rival × training size: mean gain over datasets in the printed unit, with its bootstrap interval.

    Columns rival, train_size, datasets, difference, low, high. Only datasets with a pair at every size count,
    so that the curve compares sizes and not datasets.
    """
    import pandas as pd

    rows = []
    for rival in _rivals(grids, treatment):
        table = by_size(grids, metric, treatment, rival, UNITS[PRIMARY])
        for place, size in enumerate(grids):
            values = [metric.scale * float(row[place]) for row in table.values()]
            row: dict[str, Any] = {"rival": rival, "train_size": size, "datasets": len(values)}
            if len(values) > 1:
                found = clustered_interval(values)
                row |= {"difference": found.estimate, "low": found.low, "high": found.high}
            elif values:
                row["difference"] = values[0]
            rows.append(row)
    names = ["rival", "train_size", "datasets", "difference", "low", "high"]
    return pd.DataFrame(rows, columns=names).astype(dict.fromkeys(names[3:], "float64"))


def by_size(
    grids: Grids, metric: Metric, treatment: Any, rival: Any, unit: Unit
) -> dict[tuple[Any, ...], list[Fraction]]:
    """Pair → its difference at every size; pairs that lack a size are left out."""
    found = []
    for grid in grids.values():
        if treatment in grid.compared and rival in grid.compared:
            paired = pairs(grid, metric, treatment, rival, unit)
            found.append(dict(zip(paired.labels, paired.values, strict=True)))
        else:
            found.append({})
    everywhere = [label for label in found[0] if all(label in other for other in found)]
    return {label: [other[label] for other in found] for label in everywhere}


def trend(grids: Grids, metric: Metric, treatment: Any) -> "pd.DataFrame":
    """Rival × unit: Page's trend test that the advantage grows as the training size falls, and the reverse.

    Columns: rival, unit, blocks, sizes, statistic (Page's L), p (falls with size), p_reverse (grows with size),
    floor, slope (mean change of the gain per doubling of the training size, least squares in log₂ size), p_slope
    (two-sided signed-rank test of the blocks' slopes), smallest (mean gain at the smallest size).
    """
    import pandas as pd

    log_sizes = [math.log2(size) for size in grids]
    centre = sum(log_sizes) / len(log_sizes)
    spread = sum((x - centre) ** 2 for x in log_sizes)
    rows = []
    for rival in _rivals(grids, treatment):
        for unit in UNITS.values():
            table = by_size(grids, metric, treatment, rival, unit)
            row: dict[str, Any] = {"rival": rival, "unit": unit.name, "blocks": len(table), "sizes": len(grids)}
            if len(table) > 0:
                values = list(table.values())
                falling = page([list(reversed(line)) for line in values])
                rising = page(values)
                slopes = [
                    metric.scale
                    * sum((x - centre) * float(v) for x, v in zip(log_sizes, line, strict=True))
                    / spread
                    for line in values
                ]
                smallest = [float(line[0]) for line in values]
                row |= {
                    "statistic": falling.statistic,
                    "p": falling.p,
                    "p_reverse": rising.p,
                    "floor": falling.floor,
                    "slope": sum(slopes) / len(slopes),
                    "p_slope": signed_rank(slopes).p,
                    "smallest": metric.scale * sum(smallest) / len(smallest),
                }
            rows.append(row)
    names = ("statistic", "p", "p_reverse", "floor", "slope", "p_slope", "smallest")
    frame = pd.DataFrame(rows, columns=["rival", "unit", "blocks", "sizes", *names])
    return frame.astype(dict.fromkeys(names, "float64"))


def _rivals(grids: Grids, treatment: Any) -> list[Any]:
    everywhere = [set(grid.compared) for grid in grids.values()]
    first = next(iter(grids.values()))
    return [level for level in first.compared if level != treatment and all(level in some for some in everywhere)]


def tables(grids: Grids, metric: Metric, treatment: Any) -> tuple["pd.DataFrame", "pd.DataFrame", list[Table]]:
    """The frames of `advantages` and `trend`, and both as tables."""
    curve, tests = advantages(grids, metric, treatment), trend(grids, metric, treatment)
    last = next(reversed(grids.values()))
    sizes = ", ".join(map(str, grids))
    unit = metric.difference_unit

    def interval(row: Any) -> str:
        return (
            NOTHING
            if row["low"] != row["low"]
            else f"[{signed(row['low'], metric)}, {signed(row['high'], metric)}]"
        )

    advantage = Table(
        name="scarcity",
        title=f"Advantage of {treatment} over each rival by training size: {metric.label}",
        caption=sentences(
            f"Mean gain{f' in {unit}' if unit else ''} over the datasets that have every size, with the 95 % "
            "interval of a bootstrap over datasets.",
            about(last),
        ),
        values=curve,
        columns=(
            text("rival"),
            count("train_size", "training size"),
            count("datasets"),
            Column("mean difference", lambda row: signed(row["difference"], metric), value="difference"),
            Column("95 % interval", interval),
        ),
        block="rival",
    )
    trends = Table(
        name="scarcity_trend",
        title=f"Does the advantage of {treatment} grow as data get scarce? {metric.label.capitalize()}",
        caption=sentences(
            f"Page's trend test over the sizes {sizes} (midranks for ties), one-sided: p that the advantage falls "
            "as the training size grows, and the reverse. Slope: change of the gain for each doubling of the "
            "training size, least squares, with a two-sided signed-rank test of the blocks' slopes. Uncorrected. "
            f"Primary: {UNITS[PRIMARY].label}.",
            about(last),
        ),
        values=tests,
        columns=(
            text("rival"),
            Column("blocks are", lambda row: UNITS[row["unit"]].short, numeric=False),
            count("blocks"),
            p_values("p", "p falls"),
            p_values("p_reverse", "p grows"),
            Column("least p", lambda row: p_text(row["floor"]), value="floor"),
            Column("slope", lambda row: signed(row["slope"], metric), value="slope"),
            p_values("p_slope", "p slope"),
        ),
        block="rival",
    )
    return curve, tests, [advantage, trends]
