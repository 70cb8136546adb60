"""How much hangs on the strength: every regularizer that was run at several, against the baseline."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dreg_sweep.analysis.grid import Grid, paired_differences
from dreg_sweep.analysis.pairing import UNITS, primary_unit, why_primary
from dreg_sweep.analysis.report.render import NOTHING, Column, Table
from dreg_sweep.analysis.rows.strengths import Strengths, middle
from dreg_sweep.analysis.scores import Metric
from dreg_sweep.analysis.statistics.bootstrap import clustered_interval
from dreg_sweep.analysis.tables.wording import (
    about,
    count,
    heading,
    mean_sd,
    percent,
    plural,
    sd,
    sentences,
    signed,
    text,
)

if TYPE_CHECKING:
    import pandas as pd

MOST_PANELS = 9  # datasets that the figure shows one by one
PROBABILITIES = ("dropout",)  # methods whose strength is one


def sensitivity(
    grid: Grid, metric: Metric, strengths: Strengths, baseline: Any | None, dataset: Any | None = None
) -> "pd.DataFrame":
    """Level `name@strength` by level: mean, sd, interval over seeds, and the difference to the baseline.

    Columns regularizer, strength, written (the strength as levels write it), blocks, mean, sd (over the seeds'
    means, n − 1), low, high (95 % bootstrap interval of the mean over the seeds' means), difference (the gain over
    the baseline, in the printed unit), difference_low, difference_high (bootstrap over the primary unit), pairs
    (of that unit). A level counts over the blocks that it shares with the baseline, whatever the other levels
    have, so that one strength that diverges takes no block from the others. dataset: the only one to count;
    otherwise all.
    """
    import pandas as pd

    part = grid if dataset is None else grid.restricted({"dataset": [dataset]})
    unit = UNITS[primary_unit(part)]
    rows: list[dict[str, Any]] = []
    for level, one in strengths.by_level.items():
        if level not in part.compared:
            continue
        row: dict[str, Any] = {"regularizer": one.regularizer, "strength": one.value}
        row |= {"written": strengths.written(level)} | _seeds(part, metric, level, baseline)
        if baseline is not None and baseline in part.compared:
            paired = paired_differences(part, metric, level, baseline, unit.factors)
            row["pairs"] = len(paired)
            if len(paired):
                row["difference"] = percent(paired.mean, metric)
            if len(paired) > 1:
                found = clustered_interval([float(metric.scale * value) for value in paired.values])
                row |= {"difference_low": found.low, "difference_high": found.high}
        rows.append(row)
    numbers = ("mean", "sd", "low", "high", "difference", "difference_low", "difference_high")
    names = ["regularizer", "strength", "written", "blocks", *numbers, "pairs"]
    frame = pd.DataFrame(rows, columns=names)
    return frame.astype({"strength": "float64", **dict.fromkeys(numbers, "float64"), "pairs": "Int64"})


def _seeds(grid: Grid, metric: Metric, level: Any, baseline: Any | None) -> dict[str, Any]:
    """blocks, mean, sd, low, high of a level, over the blocks that it shares with the baseline, if any."""
    together = [level] if baseline is None or baseline not in grid.compared else [level, baseline]
    both = grid.restricted({"regularizer": together})
    means = both.means(metric.name, ("regularizer", "seed"))
    runs = [value for (method, _), value in means.items() if method == level]
    row: dict[str, Any] = {"blocks": int(both.complete.sum())}
    if runs:
        row["mean"] = percent(both.means(metric.name, ("regularizer",))[level,], metric)
        row["sd"] = sd(runs, metric) if both.seeds_alike else None
    if len(runs) > 1:
        found = clustered_interval([float(metric.scale * value) for value in runs])
        row |= {"low": found.low, "high": found.high}
    return row


def table(grid: Grid, metric: Metric, strengths: Strengths, baseline: Any | None) -> Table:
    """`sensitivity` over all datasets, a block of rows a regularizer."""
    frame = sensitivity(grid, metric, strengths, baseline)
    unit = UNITS[primary_unit(grid)]
    against = f"the baseline {baseline}" if baseline is not None else ""

    def interval(row: Any) -> str:
        if row["difference_low"] != row["difference_low"]:
            return NOTHING
        return f"[{signed(row['difference_low'], metric)}, {signed(row['difference_high'], metric)}]"

    uneven = frame["blocks"].nunique() > 1
    return Table(
        name="strengths",
        title=f"Every strength: {metric.label}",
        caption=sentences(
            f"{heading(metric).capitalize()}: mean ± standard deviation (n − 1) over the seeds' means."
            if metric.unit
            else f"{metric.label.capitalize()}: mean ± standard deviation (n − 1) over the seeds' means.",
            f"Difference: the gain over {against}, positive is better, with the 95 % interval of a bootstrap over "
            f"{unit.short}, too short rather than too long with few of them. The best of many strengths, "
            "chosen here, gains less on new data than it seems to. "
            f"Primary unit: {why_primary(grid)}."
            if against
            else "No baseline to take differences from.",
            f"Levels are over the blocks (dataset, activation, seed) that each shares with {against or 'itself'}, "
            "which are not equally many."
            if uneven
            else "",
            about(grid, pairs=True),
        ),
        values=frame,
        columns=(
            text("regularizer"),
            Column("strength", _strength(strengths), value="strength"),
            count("blocks"),
            mean_sd("mean", "sd", metric, metric.name),
            Column("difference", lambda row: signed(row["difference"], metric), value="difference"),
            Column("95 % interval", interval),
        ),
        block="regularizer",
    )


def _strength(strengths: Strengths) -> Callable[[Mapping[str, Any]], str]:
    fixed = {(name, strengths.written(level)) for name, level in strengths.fixed.items()}
    return lambda row: row["written"] + " (fixed)" * ((row["regularizer"], row["written"]) in fixed)


@dataclass(frozen=True)
class Relative:
    """Strengths as factors of the one that is fixed, or of the middle one of the grid.

    frame: columns regularizer, factor, value (difference to the baseline), low, high. middle: the regularizers
    whose fixed strength is not known. odds: those whose strength is a probability, of whose odds the factors are.
    without: levels that have no place on the axis, as they are written.
    """

    frame: "pd.DataFrame"
    middle: tuple[str, ...]
    odds: tuple[str, ...]
    without: tuple[str, ...]


def relative(grid: Grid, metric: Metric, strengths: Strengths, baseline: Any) -> Relative:
    """`sensitivity` over all datasets against relative strengths.

    A probability p ends at 1, and what it does is not proportional to it: dropout on the inputs of a linear layer
    penalizes its weights, to second order, by p / (1 - p) (Wager, Wang & Liang 2013, arXiv 1307.1493). Its
    factors are therefore those of the odds p / (1 - p). A strength without a positive number for it is left out.
    """
    frame = sensitivity(grid, metric, strengths, baseline)
    one: dict[str, float] = {}
    for name, levels in strengths.levels().items():
        one[name] = _amount(name, strengths.by_level[strengths.fixed.get(name, middle(levels))].value)
    frame["factor"] = [
        _amount(name, strength) / (one[name] or math.nan)
        for name, strength in zip(frame["regularizer"], frame["strength"], strict=True)
    ]
    there = (frame["factor"] > 0) & np.isfinite(frame["factor"])
    kept = frame[there & frame["difference"].notna()]
    lost = frame[~there]
    names = list(dict.fromkeys(kept["regularizer"]))
    columns = {"difference": "value", "difference_low": "low", "difference_high": "high"}
    shown = kept.drop(columns=["low", "high"]).rename(columns=columns)
    return Relative(
        shown[["regularizer", "factor", "value", "low", "high"]].reset_index(drop=True),
        tuple(name for name in names if name not in strengths.fixed),
        tuple(name for name in names if _is_probability(name)),
        tuple(f"{row.regularizer} at {row.written}" for row in lost.itertuples()),
    )


def _amount(name: str, strength: float) -> float:
    """What a strength is on a scale of ratios: itself, or the odds of a probability."""
    if not _is_probability(name):
        return strength
    return strength / (1 - strength) if strength < 1 else math.inf


def _is_probability(name: str) -> bool:
    return name.partition("+")[0] in PROBABILITIES


def curves(
    grid: Grid, metric: Metric, strengths: Strengths, baseline: Any | None
) -> tuple["pd.DataFrame", "pd.DataFrame", bool]:
    """What the figure draws: sensitivity by panel, the baseline by panel, and whether a panel is a dataset.

    The first is of the columns of `sensitivity` and panel; the second has panel, value, low, high (mean of the
    baseline over its blocks, bootstrap over seeds), one row a panel where the baseline has a result. With more
    than `MOST_PANELS` datasets there is one panel, of the means over them.
    """
    import pandas as pd

    datasets: Sequence[Any] = grid.levels["dataset"]
    split = len(datasets) <= MOST_PANELS
    frames: list[pd.DataFrame] = []
    bands: list[dict[str, Any]] = []
    for dataset in datasets if split else [None]:
        panel = (
            str(dataset) if dataset is not None else f"mean of {len(datasets)} {plural(len(datasets), 'dataset')}"
        )
        frame = sensitivity(grid, metric, strengths, baseline, dataset)
        if frame["mean"].isna().all():
            continue
        frames.append(frame.assign(panel=panel))
        part = grid if dataset is None else grid.restricted({"dataset": [dataset]})
        if baseline is not None and baseline in part.compared:
            own = _seeds(part, metric, baseline, None)
            bands.append({"panel": panel, "value": own["mean"], "low": own.get("low"), "high": own.get("high")})
    joined = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
    names = ["panel", "value", "low", "high"]
    return joined, pd.DataFrame(bands, columns=names).astype(dict.fromkeys(names[1:], "float64")), split
