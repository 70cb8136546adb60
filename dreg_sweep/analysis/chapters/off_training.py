"""Are gradients small off the training points too? Tables, figures, the answer in words; learning curves."""

from typing import TYPE_CHECKING, Any

from dreg_sweep.analysis import figures
from dreg_sweep.analysis.chapters.parts import Chapter, Drawing
from dreg_sweep.analysis.study import Data
from dreg_sweep.analysis.tables import courses, off_training

if TYPE_CHECKING:
    import pandas as pd

SYMBOLS = {"logit_jacobian": "‖∂logits/∂x‖", "input_gradient": "‖∂loss/∂x‖"}
_BANDS = "bands: one standard deviation over seeds"


def off_the_training_set(data: Data, baseline: Any | None) -> Chapter | None:
    """None where the history has no gradients off the training points."""
    grid = data.grid
    if data.history is None:
        return None
    found = {
        name: off_training.last_measured(grid, data.main, data.history, name) for name in off_training.MEASURES
    }
    last = {name: rows for name, rows in found.items() if rows is not None}
    if not last:
        return None
    text, tables, drawings = [], [], []
    places = off_training.places(grid, last)
    if len(places):
        tables.append(off_training.places_table(grid, places, last))
        drawings.append(_by_place(places))
    if baseline in grid.compared and len(grid.compared) > 1:
        lower = off_training.reductions(grid, last, baseline)
        if len(lower):
            text += [off_training.answer(lower, baseline, name) for name in last if name in set(lower["measure"])]
            tables.append(off_training.reductions_table(grid, lower, baseline))
    measure = next(iter(last))
    course = courses.gradients(grid, data.main, data.history, measure)
    if course is not None:
        drawings.append(_course(course, measure))
    return Chapter("Off the training set", tuple(text), tuple(tables), tuple(drawings))


def _by_place(places: "pd.DataFrame") -> Drawing:
    import pandas as pd

    long = pd.concat(
        [
            pd.DataFrame(
                {
                    "panel": [f"{off_training.NAMES[name]} {SYMBOLS[name]}" for name in places["measure"]],
                    "method": places["regularizer"].astype(str),
                    "place": off_training.HEADS[place],
                    "value": places[place],
                    "low": places[f"{place}_low"],
                    "high": places[f"{place}_high"],
                }
            )
            for place in off_training.PLACES
        ],
        ignore_index=True,
    )
    return Drawing(
        "off_training",
        "Gradients at, near and off the training points",
        "Geometric means at the last measured epoch; lines are 95 % bootstrap intervals over the primary unit.",
        lambda: figures.gradients_by_place(long, title="Gradients at, near and off the training points"),
    )


def _course(frame: "pd.DataFrame", measure: str) -> Drawing:
    name = off_training.NAMES[measure]
    return Drawing(
        "off_training_course",
        f"The {name} over the steps of training, at three places",
        f"Geometric means over activations and seeds; {_BANDS} (of the logarithm). One scale for all panels.",
        lambda: figures.courses(
            frame,
            title=f"The {name} over the steps of training",
            ylabel=SYMBOLS[measure],
            note="",
            log=True,
            per_row=len(off_training.PLACES),
        ),
    )


def learning_curves(data: Data) -> Chapter | None:
    """Accuracy on the evaluation rows against steps; None where the history has none."""
    if data.history is None:
        return None
    frame = courses.learning(data.grid, data.main, data.history)
    if frame is None:
        return None
    drawing = Drawing(
        "learning_curves",
        "Accuracy on the evaluation rows over the steps of training",
        f"At most 1,024 fixed evaluation rows, at a few epochs and the last; means over activations and seeds; "
        f"{_BANDS}. Where curves still rise at their end, methods are compared before they are done learning.",
        lambda: figures.courses(frame, title="Learning curves", ylabel="accuracy, %", note=""),
    )
    return Chapter("Learning curves", (), (), (drawing,))
