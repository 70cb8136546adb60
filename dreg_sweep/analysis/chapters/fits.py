"""The fitted functions of a regression, and how steep they are between the training points."""

from typing import TYPE_CHECKING, Any

from dreg_sweep.analysis import figures
from dreg_sweep.analysis.chapters.parts import Chapter, Drawing
from dreg_sweep.analysis.study import Data
from dreg_sweep.analysis.tables import fits
from dreg_sweep.analysis.tables.wording import sentences

if TYPE_CHECKING:
    import pandas as pd

_SIDE_BY_SIDE = 4  # regularizers, where none has several strengths


def fitted_functions(data: Data, baseline: Any | None) -> Chapter | None:
    """A figure a dataset and activation, and one table; None without rows of fits/ for cells that are done."""
    if data.fits is None:
        return None
    rows = fits.fitted(data.grid, data.main, data.fits)
    if rows.empty:
        return None
    frame = fits.slopes(data.grid, rows, data.strengths)
    places = _places(data, baseline)
    activations = data.grid.levels["activation"]
    drawings: list[Drawing] = []
    for dataset in data.grid.levels["dataset"]:
        for activation in activations:
            own = rows[(rows["dataset"] == dataset) & (rows["activation"] == activation)]
            if (own["place"] == "test").any():
                under = f"{dataset}, {activation}" if len(activations) > 1 else str(dataset)
                name = f"fits_{len(drawings) + 1}"
                drawings.append(_drawing(name, under, own, places))
    return Chapter(
        "Fitted functions", tuple(filter(None, [fits.finding(frame)])), (fits.table(frame),), tuple(drawings)
    )


def _drawing(name: str, under: str, rows: "pd.DataFrame", places: "pd.DataFrame") -> Drawing:
    drawn = rows.merge(places, on="regularizer").sort_values(["order", "seed"], kind="stable")
    plane = bool(drawn["x2"].notna().any())
    seeds = drawn["seed"].nunique()
    caption = sentences(
        f"Mean fit over {seeds} seeds minus the true function, on the test grid; blue is too low, red too high."
        if plane
        else f"Fits of {seeds} seeds (thin) over the true function (grey); dots: training points of one seed.",
        "Above each panel the strength; 0 is the baseline, repeated in every row."
        if (drawn["row"].str.strip() != "").any()
        else "",
    )
    title = f"Fitted functions: {under}"
    if plane:
        return Drawing(
            name, title, caption, lambda: figures.fitted_maps(drawn, title=title, label="mean fit − true")
        )
    return Drawing(name, title, caption, lambda: figures.fitted_curves(drawn, title=title))


def _places(data: Data, baseline: Any | None) -> "pd.DataFrame":
    """Where a regularizer's panels stand: regularizer, row, column, title, order; the baseline once in every row.

    A row a regularizer, its strengths ascending, behind the baseline as strength 0. Without any such levels all
    stand in rows of `_SIDE_BY_SIDE` that have no heading of their own.
    """
    import pandas as pd

    grid, strengths = data.grid, data.strengths
    lines: list[dict[str, Any]] = []

    def place(level: Any, row: str, column: int, title: str) -> None:
        lines.append({"regularizer": level, "row": row, "column": column, "title": title, "order": len(lines)})

    if not strengths.by_level:
        for number, level in enumerate(grid.compared):
            row, column = divmod(number, _SIDE_BY_SIDE)
            place(level, " " * row, column, str(level))
        return pd.DataFrame(lines)
    first = baseline if baseline in grid.compared else None
    several = strengths.levels()
    for name in [
        *several,
        *(level for level in grid.compared if level not in strengths.by_level and level != first),
    ]:
        if first is not None:
            place(first, str(name), 0, f"0 ({first})")
        for column, level in enumerate(several.get(name, [name]), start=int(first is not None)):
            title = strengths.written(level) if level in strengths.by_level else str(level)
            place(level, str(name), column, title)
    return pd.DataFrame(lines)
