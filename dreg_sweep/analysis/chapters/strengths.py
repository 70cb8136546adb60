"""How much hangs on the strength of each regularizer."""

from typing import TYPE_CHECKING, Any

from dreg_sweep.analysis import figures
from dreg_sweep.analysis.chapters.parts import Chapter, Drawing
from dreg_sweep.analysis.scores import Metric
from dreg_sweep.analysis.study import Data
from dreg_sweep.analysis.tables import strengths
from dreg_sweep.analysis.tables.wording import heading, sentences

if TYPE_CHECKING:
    import pandas as pd

_DECADE = 10.0


def by_strength(data: Data, baseline: Any | None) -> Chapter | None:
    """The sensitivity to the strength, where some regularizer was run at several."""
    grid, levels = data.grid, data.strengths
    if not any(level in grid.compared for level in levels.by_level):
        return None
    metric = grid.metrics[0]
    table = strengths.table(grid, metric, levels, baseline)
    frame, bands, split = strengths.curves(grid, metric, levels, baseline)
    drawings: tuple[Drawing, ...] = ()
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
        drawings = (drawing,)
    return Chapter("Strengths", (), (table,), drawings)


def _wide(metric: Metric, frame: "pd.DataFrame") -> bool:
    """Whether the means of an error span so much that a logarithmic axis shows them better."""
    least, most = frame[["mean", "low"]].min().min(), frame["mean"].max()
    return not metric.unit and not metric.higher_is_better and bool(least > 0 and most > _DECADE * least)
