"""The chapter that comes first: every regularizer's means, and the treatment against each rival."""

from typing import TYPE_CHECKING, Any

from dreg_sweep.analysis import figures
from dreg_sweep.analysis.chapters.parts import Chapter, Drawing
from dreg_sweep.analysis.pairing import UNITS, Family, pair_test, pairs, primary_unit
from dreg_sweep.analysis.report.render import Table
from dreg_sweep.analysis.study import Data
from dreg_sweep.analysis.tables.fragility import intervals
from dreg_sweep.analysis.tables.overall import overall, ranks_table
from dreg_sweep.analysis.tables.pairwise import pairwise
from dreg_sweep.analysis.tables.wording import heading

if TYPE_CHECKING:
    import pandas as pd


_DIAMONDS = " Diamonds: mean of all datasets and its interval over datasets."
_TOTAL = "; the last row is the mean over datasets with the 95 % bootstrap interval over datasets"


def headline(data: Data, treatment: Any, family: Family, tests: "pd.DataFrame") -> Chapter:
    grid = data.grid
    first = grid.metrics[0]
    tables: list[Table] = []
    drawings: list[Drawing] = []
    ranked = bool(grid.complete.any())
    if ranked:
        table = overall(grid, treatment, tests, family)
        tables.append(table)
        if len(grid.metrics) > 1:
            tables.append(ranks_table(grid, treatment, tests, family))
        if {"clean", "noisy"} <= {metric.name for metric in grid.metrics}:
            frame = table.values.set_index("regularizer")[["clean_mean", "clean_sd", "noisy_mean", "noisy_sd"]]
            frame.columns = ["clean", "clean_sd", "noisy", "noisy_sd"]
            drawings.append(
                Drawing(
                    "clean_vs_noisy",
                    "Clean against noisy accuracy",
                    "Means over the complete blocks; bars are one standard deviation over seeds.",
                    lambda: figures.clean_vs_noisy(frame, title="Mean accuracy of each regularizer"),
                )
            )
    if len(grid.compared) > 1 and treatment in grid.compared:
        tables += [pairwise(grid, tests, metric, treatment, family) for metric in grid.metrics]
        forest, reached = forest_frame(data, treatment)
        several, only = primary_unit(grid) == "dataset", grid.levels["dataset"][0]
        drawings.append(
            Drawing(
                "forest",
                f"Gain of {treatment} over each rival{', by dataset' if several else f' on {only}'}",
                f"{heading(first).capitalize()}. A dataset's interval is the Hodges-Lehmann interval of its seed "
                f"means ({reached}){_TOTAL if several else ''}.",
                lambda: (figures.forest if several else figures.one_dataset)(
                    forest,
                    treatment=str(treatment),
                    title=f"{treatment} against each rival{'' if several else f' on {only}'}: {first.label}",
                    xlabel=f"difference{f' in {first.difference_unit}' if first.difference_unit else ''}",
                    note=f"Bars: intervals over seeds.{_DIAMONDS if several else ''}",
                ),
            )
        )
    if ranked:
        drawings.append(_seed_strip(data))
    return Chapter("Overall", (), tuple(tables), tuple(drawings))


def forest_frame(data: Data, treatment: Any) -> tuple["pd.DataFrame", str]:
    """Rival × dataset: mean difference with an interval over seeds; over several datasets a summary row a rival.

    Also the confidence that the intervals over seeds reach, in words.
    """
    import pandas as pd

    grid = data.grid
    metric = grid.metrics[0]
    summary = intervals(grid, treatment)
    assert summary is not None
    overall_rows = summary.values[summary.values["metric"] == metric.name].set_index("rival")
    several = primary_unit(grid) == "dataset"  # of one dataset, the mean over all would be its row again
    rows: list[dict[str, Any]] = []
    reached: set[str] = set()
    for rival in grid.compared:
        if rival == treatment:
            continue
        for dataset in grid.levels["dataset"]:
            seeds = pairs(grid.restricted({"dataset": [dataset]}), metric, treatment, rival, UNITS["seed"])
            row: dict[str, Any] = {"rival": rival, "dataset": str(dataset), "summary": False}
            if len(seeds):
                row["difference"] = float(seeds.mean * metric.scale)
            if len(seeds) > 1:
                interval = pair_test(seeds, "two-sided").interval
                reached.add(f"{100 * interval.confidence:g} %")
                row |= {"low": interval.low * metric.scale, "high": interval.high * metric.scale}
            rows.append(row)
        if not several:
            continue
        whole = overall_rows.loc[rival]
        rows.append(
            {
                "rival": rival,
                "dataset": "all datasets",
                "summary": True,
                "difference": whole["mean_difference"],
                "low": whole["low"],
                "high": whole["high"],
            }
        )
    names = ["rival", "dataset", "difference", "low", "high", "summary"]
    frame = pd.DataFrame(rows, columns=names).astype(dict.fromkeys(names[2:5], "float64"))
    return frame, f"confidence {' or '.join(sorted(reached))}" if reached else "none with one seed"


def _seed_strip(data: Data) -> Drawing:
    import pandas as pd

    grid = data.grid
    metric = grid.metrics[0]
    means = grid.means(metric.name, ("regularizer", "seed"))
    rows = [(method, seed, float(metric.scale * value)) for (method, seed), value in means.items()]
    frame = pd.DataFrame(rows, columns=["method", "seed", "value"])
    return Drawing(
        "seeds",
        "Each seed's mean",
        "One dot a seed: the mean over datasets and activations; bars are the means over seeds.",
        lambda: figures.seed_strip(frame, title=f"Each seed: {metric.label}", xlabel=heading(metric)),
    )
