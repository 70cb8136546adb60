"""How much hangs on the strength of each regularizer."""

from typing import TYPE_CHECKING, Any

from dreg_sweep.analysis import figures
from dreg_sweep.analysis.chapters.parts import Chapter, Drawing
from dreg_sweep.analysis.pairing import UNITS, primary_unit
from dreg_sweep.analysis.rows.levels import listed
from dreg_sweep.analysis.scores import Metric
from dreg_sweep.analysis.study import Data
from dreg_sweep.analysis.tables import strengths, tuning, tuning_fragility, tuning_ranks
from dreg_sweep.analysis.tables.wording import heading, sentences

if TYPE_CHECKING:
    import pandas as pd

_DECADE = 10.0
_FIXED, _MIDDLE = "fixed strength", "middle of the grid"


def by_strength(data: Data, treatment: Any, baseline: Any | None) -> Chapter | None:
    """The sensitivity to the strength where some regularizer was run at several, and what tuning would change."""
    grid, levels = data.tried.grid, data.tried.strengths
    if not any(level in grid.compared for level in levels.by_level):
        return None
    metric = grid.metrics[0]
    table = strengths.table(grid, metric, levels, baseline)
    frame, bands, split = strengths.curves(grid, metric, levels, baseline)
    found = tuning.tuning(grid, data.tried.held_out, levels, baseline, treatment)
    drawings = _sensitivity(data, metric, baseline)
    if len(frame) and frame["strength"].notna().any():
        band = f"The dashed line with its band is {baseline}." if len(bands) else ""
        drawing = Drawing(
            "strengths",
            f"{metric.label.capitalize()} by strength",
            sentences(
                "Means over activations and seeds." if split else "Means over datasets, activations and seeds.",
                "Bars: 95 % bootstrap intervals over seeds, too short rather than too long with few of them."
                if frame["low"].notna().any()
                else "",
                band,
                "The strength 0 stands at the left edge of the logarithmic axis."
                if (frame["strength"] == 0).any()
                else "",
            ),
            lambda: figures.strength_curves(
                frame,
                bands,
                baseline=str(baseline),
                title=f"{metric.label.capitalize()} by strength",
                ylabel=heading(metric),
                log=_wide(metric, frame),
            ),
        )
        drawings = (*drawings, drawing)
    if found is None:
        return Chapter("Strengths", (), (table,), drawings)
    said = tuple(filter(None, [tuning_ranks.finding(found)]))
    assert data.tried.held_out is not None  # or nothing were tuned
    fragile = tuning_fragility.table(found, data.tried.held_out, metric)
    tables = (
        tuning.gains_table(found), tuning_ranks.ranks_table(found), *([fragile] if fragile else []),
        tuning.chosen_table(found), table,
    )  # fmt: skip
    return Chapter("Strengths", said, tables, drawings)


def _sensitivity(data: Data, metric: Metric, baseline: Any | None) -> tuple[Drawing, ...]:
    """Every method's curve in one picture; none without a baseline."""
    grid, levels = data.tried.grid, data.tried.strengths
    if baseline is None or baseline not in grid.compared:
        return ()
    relative = strengths.relative(grid, metric, levels, baseline)
    if relative.frame.empty:
        return ()
    unit = UNITS[primary_unit(grid)]
    mark = _MIDDLE if set(relative.middle) == set(relative.frame["regularizer"]) else _FIXED
    gain = f"gain over {baseline}{f' in {metric.difference_unit}' if metric.difference_unit else ''}"
    title = f"Sensitivity to the strength: {metric.label}"
    drawing = Drawing(
        "sensitivity",
        title,
        sentences(
            f"The {gain}, positive is better: mean over datasets, activations and seeds, with the 95 % "
            f"interval of a bootstrap over {unit.short}, too short rather than too long with few of them.",
            f"Strengths as factors of the {mark}."
            if not relative.middle or mark != _FIXED
            else f"Strengths as factors of the fixed one; of {listed(relative.middle)}, whose fixed strength is "
            "not known, of the middle of the grid.",
            f"The strength of {listed(relative.odds)} is a probability p, which ends at 1: its factors are those "
            "of the odds p / (1 − p), to which the penalty that dropout amounts to is proportional."
            if relative.odds
            else "",
            f"Without a place on the logarithmic axis: {listed(relative.without)}." if relative.without else "",
        ),
        lambda: figures.sensitivity_curves(
            relative.frame,
            title=title,
            xlabel=f"strength / {mark} (log scale)",
            ylabel=gain,
            mark=mark,
        ),
    )
    return (drawing,)


def _wide(metric: Metric, frame: "pd.DataFrame") -> bool:
    """Whether the means of an error span so much that a logarithmic axis shows them better."""
    least, most = frame[["mean", "low"]].min().min(), frame["mean"].max()
    return not metric.unit and not metric.higher_is_better and bool(least > 0 and most > _DECADE * least)
