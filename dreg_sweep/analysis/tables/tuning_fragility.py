"""How much of what tuning says hangs on one dataset: the choices and the order again without each."""

from typing import TYPE_CHECKING

from dreg_sweep.analysis.grid import Grid
from dreg_sweep.analysis.report.render import Table
from dreg_sweep.analysis.scores import Metric
from dreg_sweep.analysis.tables.tuning import Tuning, tuning
from dreg_sweep.analysis.tables.tuning_ranks import place, ranks
from dreg_sweep.analysis.tables.wording import about, sentences, text
from dreg_sweep.analysis.tuning import CHOICES, RULES

if TYPE_CHECKING:
    import pandas as pd

NOTHING_LEFT_OUT = "nothing"


def without_each_dataset(found: Tuning, held_out: Grid, metric: Metric) -> "pd.DataFrame | None":
    """Left-out dataset × method: rank and mean under each rule, the strength for all chosen without that dataset.

    Columns left_out (`nothing` first), regularizer, and of each rule its rank and mean, such as each_rank. None
    with fewer than three datasets, and where nothing is tuned without one of them.
    """
    import pandas as pd

    datasets = found.grid.levels["dataset"]
    if len(datasets) < 3:
        return None
    frames = [_standing(found, metric).assign(left_out=NOTHING_LEFT_OUT)]
    for dataset in datasets:
        others = {"dataset": [other for other in datasets if other != dataset]}
        part, held = found.grid.restricted(others), held_out.restricted(others)
        again = tuning(part, held, found.strengths, found.baseline, found.treatment)
        if again is None:
            return None
        frames.append(_standing(again, metric).assign(left_out=str(dataset)))
    frame = pd.concat(frames, ignore_index=True)
    return frame[["left_out", *(name for name in frame.columns if name != "left_out")]]


def _standing(found: Tuning, metric: Metric) -> "pd.DataFrame":
    frame = ranks(found)
    rules = [rule for rule in CHOICES if rule in found.rules]
    columns = ["regularizer", *(f"{rule}_{what}" for rule in rules for what in ("rank", "mean"))]
    return frame.loc[frame["metric"] == metric.name, columns]


def table(found: Tuning, held_out: Grid, metric: Metric) -> Table | None:
    """`without_each_dataset`, a block of rows a dataset."""
    frame = without_each_dataset(found, held_out, metric)
    if frame is None:
        return None

    return Table(
        name="tuning_fragility",
        title=f"Tuned on validation rows, one dataset left out at a time: {metric.label}",
        caption=sentences(
            "Place by the mean on the other datasets' test rows (in parentheses), 1 is the best. One strength for "
            "all datasets is chosen without the one that is left out.",
            finding(frame),
            about(found.grid, pairs=True),
        ),
        values=frame,
        columns=(
            text("left_out", "left out"),
            text("regularizer"),
            *(place(rule, lambda _: metric) for rule in CHOICES if f"{rule}_rank" in frame),
        ),
        block="left_out",
    )


def finding(frame: "pd.DataFrame") -> str:
    """Without which datasets another method is the first, in one sentence; empty where none is."""
    said = []
    for rule in (rule for rule in CHOICES if f"{rule}_rank" in frame):
        best = frame[frame[f"{rule}_rank"] == 1]
        first: dict[str, str] = {}
        for left, name in zip(best["left_out"], best["regularizer"], strict=True):
            first[left] = f"{first[left]} and {name}" if left in first else name
        usual = first.pop(NOTHING_LEFT_OUT, None)
        others = [f"{name} without {left}" for left, name in first.items() if name != usual]
        if usual and others:
            said.append(f"{RULES[rule]}: {usual}, but {', '.join(others)}")
    return f"First of all methods, {'; '.join(said)}." if said else ""
