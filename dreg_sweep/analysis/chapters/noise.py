"""Accuracy along the ladder of corruptions."""

from dreg_sweep.analysis import figures
from dreg_sweep.analysis.chapters.parts import Chapter, Drawing
from dreg_sweep.analysis.study import Data
from dreg_sweep.analysis.tables import noise
from dreg_sweep.analysis.tables.wording import sentences


def along_the_ladder(data: Data) -> Chapter | None:
    if data.noise is None or not data.grid.complete.any():
        return None
    frame = noise.ladder(data.grid, data.main, data.noise)
    if not frame["accuracy"].notna().any():
        return None
    curves = Drawing(
        "noise",
        "Accuracy along the noise ladder",
        sentences(
            "Means over datasets, activations and seeds; severity 0 is the clean test set.", noise.left_out(frame)
        ),
        lambda: figures.noise_curves(frame, title="Accuracy along the noise ladder"),
    )
    return Chapter("Noise", (), tuple(noise.tables(data.grid, frame)), (curves,))
