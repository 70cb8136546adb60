"""Where the treatment presses: each hidden layer's activation derivative against what became of its Jacobian."""

from typing import Any

from dreg_sweep.analysis import figures
from dreg_sweep.analysis.chapters.parts import Chapter, Drawing
from dreg_sweep.analysis.study import Data
from dreg_sweep.analysis.tables import pressure


def on_the_layers(data: Data, treatment: Any, baseline: Any, found: pressure.Pressure | None) -> Chapter | None:
    if found is None:
        return None
    table = pressure.table(data.grid, found, treatment, baseline)
    drawing = Drawing(
        "pressure",
        f"Where {treatment} presses",
        f"One point a hidden layer and activation: σ'² of {baseline} against how far {treatment} lowered the "
        "layer's squared Jacobian norm (log ratio); means over datasets and seeds.",
        lambda: figures.pressure(
            table.values,
            title=f"Pressure of {treatment} on each hidden layer",
            xlabel=f"mean σ'² of {baseline}",
            ylabel=f"log(‖J‖² {baseline} / ‖J‖² {treatment})",
        ),
    )
    return Chapter("Pressure on the layers", (), (table,), (drawing,))
