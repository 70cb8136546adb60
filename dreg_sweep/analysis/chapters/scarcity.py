"""The regularizers, and the treatment's advantage, by training size."""

import math
from typing import TYPE_CHECKING, Any

from dreg_sweep.analysis import figures
from dreg_sweep.analysis.chapters.parts import Chapter, Drawing
from dreg_sweep.analysis.rows.select import ALL, size_name
from dreg_sweep.analysis.scores import Metric
from dreg_sweep.analysis.study import Data
from dreg_sweep.analysis.tables import scarcity, scarcity_fragility, sizes
from dreg_sweep.analysis.tables.wording import heading, sentences

if TYPE_CHECKING:
    import pandas as pd


def data_scarcity(data: Data, treatment: Any, baseline: Any | None = None) -> Chapter | None:
    """Means, tests and advantages at every training size, where some dataset was trained at several."""
    if not data.audit.by_size:
        return None
    lacking = scarcity.lacking(data.sizes, treatment)
    if lacking:
        return Chapter("Data scarcity", (lacking,), (), ())
    idle = ", ".join(size_name(size) for size in data.audit.by_size if size not in data.sizes)
    waiting = (f"Nothing is known yet about train_size={idle}, which has no result.",) if idle else ()
    metric = data.grid.metrics[0]
    curve, _, tables = scarcity.tables(data.sizes, metric, treatment)
    fragile = scarcity_fragility.table(data.sizes, metric, treatment)
    tested = sizes.table(data.sizes, metric, treatment, baseline)
    paired = scarcity.unit_of(scarcity.crossed(data.sizes)[0]).short
    numbered, beside = _numbered(curve)
    unit = metric.difference_unit
    advantage = Drawing(
        "scarcity",
        f"Advantage of {treatment} by training size",
        f"Mean over {paired}, at every size over the same blocks, with the 95 % bootstrap interval over {paired}."
        f"{beside}",
        lambda: figures.scarcity_curves(
            numbered,
            treatment=str(treatment),
            title=f"Advantage of {treatment}: {metric.label}",
            ylabel=f"difference{f' in {unit}' if unit else ''}",
        ),
    )
    drawings = [*_means(data, metric, paired), advantage]
    return Chapter("Data scarcity", waiting, (*tables, *filter(None, [fragile, tested])), tuple(drawings))


def _means(data: Data, metric: Metric, paired: str) -> list[Drawing]:
    """The figure of every regularizer's mean; none where no block has them all at every size."""
    frame, beside = _numbered(sizes.by_training_size(data.sizes, metric))
    if frame.empty:
        return []
    blocks, units = int(frame["blocks"].iloc[0]), int(frame["units"].iloc[0])
    if paired == "datasets":  # which differ by far more than methods do, and alike under every method
        frame = frame.assign(low=math.nan, high=math.nan)
    drawing = Drawing(
        "sizes",
        f"{metric.label.capitalize()} by training size",
        sentences(
            f"Means over {paired}, over the same {blocks} blocks (dataset, activation, seed) at every size and "
            "for every regularizer.",
            f"Bars: 95 % bootstrap intervals over {units} seeds, too short rather than too long with few of them. "
            "They speak about other seeds on this dataset, not about other datasets."
            if units > 1 and paired == "seeds"
            else "",
            "Without intervals: methods are compared on the same datasets, as the differences between them show."
            if paired == "datasets"
            else "",
            beside.strip(),
        ),
        lambda: figures.size_curves(
            frame, title=f"{metric.label.capitalize()} by training size", ylabel=heading(metric)
        ),
    )
    return [drawing]


def _numbered(curve: "pd.DataFrame") -> tuple["pd.DataFrame", str]:
    """The rows whose size is a number, and a sentence on the whole training set where there is one beside them."""
    numbered = curve[curve["train_size"] != ALL].astype({"train_size": "float64"})
    beside = f" The table has the whole training set ({ALL}) as well." if len(numbered) < len(curve) else ""
    return numbered, beside
