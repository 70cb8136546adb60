"""Are gradients small off the training points too? Tables, figures, the answer in words; learning curves."""

from typing import TYPE_CHECKING, Any

from dreg_sweep.analysis import figures
from dreg_sweep.analysis.chapters.parts import Chapter, Drawing
from dreg_sweep.analysis.rows.levels import listed
from dreg_sweep.analysis.study import Data
from dreg_sweep.analysis.tables import courses, off_training
from dreg_sweep.analysis.tables.wording import sentences

if TYPE_CHECKING:
    import pandas as pd

MOST_LINES = 12  # that can be told apart in a panel
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
    said_of = off_training.words(data.main)
    text, tables, drawings = [], [], []
    places = off_training.places(grid, last)
    if len(places):
        tables.append(off_training.places_table(grid, places, last, said_of))
        drawings.append(_by_place(places, said_of))
    if baseline in grid.compared and len(grid.compared) > 1:
        lower = off_training.reductions(grid, last, baseline)
        if len(lower):
            asked = [name for name in last if name in set(lower["measure"])]
            text += [off_training.answer(lower, baseline, name, said_of) for name in asked]
            tables.append(off_training.reductions_table(grid, lower, baseline, said_of))
    measure = next(iter(last))
    course = courses.gradients(grid, data.main, data.history, measure)
    if course is not None and course["value"].notna().any():
        drawings.append(_course(data, course, baseline, measure, said_of))
    return Chapter("Off the training set", tuple(text), tuple(tables), tuple(drawings))


def _by_place(places: "pd.DataFrame", said_of: off_training.Words) -> Drawing:
    import pandas as pd

    long = pd.concat(
        [
            pd.DataFrame(
                {
                    "panel": [f"{said_of.names[name]} {said_of.symbols[name]}" for name in places["measure"]],
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
        sentences(
            "Geometric means at the last measured epoch; lines: 95 % bootstrap intervals over the primary unit.",
            "At the left edge: constant functions, whose gradient is 0." if (places["constant"] > 0).any() else "",
        ),
        lambda: figures.gradients_by_place(long, title="Gradients at, near and off the training points"),
    )


def _course(
    data: Data, course: "pd.DataFrame", baseline: Any | None, measure: str, said_of: off_training.Words
) -> Drawing:
    name = said_of.names[measure]
    frame, graded, said = _legible(data, course, baseline)
    zeros = list(dict.fromkeys(course.loc[course["value"].isna(), "method"]))
    return Drawing(
        "off_training_course",
        f"The {name} over the steps of training, at three places",
        sentences(
            f"Geometric means over activations and seeds; {_BANDS} (of the logarithm). One scale for all panels.",
            f"Points where the gradient of a seed is exactly 0 are left out ({listed(zeros)})." if zeros else "",
            said,
        ),
        lambda: figures.courses(
            frame,
            title=f"The {name} over the steps of training",
            ylabel=said_of.symbols[measure],
            note="",
            log=True,
            graded=graded,
            per_row=len(off_training.PLACES),
        ),
    )


def _legible(data: Data, frame: "pd.DataFrame", baseline: Any | None) -> tuple["pd.DataFrame", bool, str]:
    """What of a frame of `courses` is drawn, whether its lines are strengths, and what the caption says of it.

    More lines than a panel can hold become a panel a regularizer where there are strengths; otherwise the first
    are drawn.
    """
    methods = list(dict.fromkeys(frame["method"]))
    if len(methods) <= MOST_LINES:
        return frame, False, ""
    if data.strengths.by_level and baseline is not None:
        panels = courses.by_name(data.grid, frame, data.strengths, baseline)
        return panels, True, f"Lines: the strengths of one regularizer, and {baseline} as strength 0."
    kept = methods[:MOST_LINES]
    lost = listed(methods[MOST_LINES:])
    said = f"Only the first {MOST_LINES} of {len(methods)} regularizers are drawn, without {lost}."
    return frame[frame["method"].isin(kept)], False, said


def learning_curves(data: Data, baseline: Any | None) -> Chapter | None:
    """Accuracy on the evaluation rows against steps; None where the history has none."""
    if data.history is None:
        return None
    frame = courses.learning(data.grid, data.main, data.history)
    if frame is None:
        return None
    shown, graded, said = _legible(data, frame, baseline)
    drawing = Drawing(
        "learning_curves",
        "Accuracy on the evaluation rows over the steps of training",
        sentences(
            "At most 1,024 fixed evaluation rows, at a few epochs and the last; means over activations and seeds; "
            f"{_BANDS}. Where curves still rise at their end, methods are compared before they are done learning.",
            said,
        ),
        lambda: figures.courses(shown, title="Learning curves", ylabel="accuracy, %", note="", graded=graded),
    )
    return Chapter("Learning curves", (), (), (drawing,))
