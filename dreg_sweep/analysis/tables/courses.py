"""What the history tells over the steps of training: accuracy on evaluation rows, gradients at three places."""

from typing import TYPE_CHECKING, Any

import numpy as np

from dreg_sweep.analysis.grid import Grid
from dreg_sweep.analysis.marginal import marginal_column
from dreg_sweep.analysis.rows.strengths import Strengths
from dreg_sweep.analysis.tables.joined import KEYS, done_cells, in_complete_blocks
from dreg_sweep.analysis.tables.off_training import HEADS, PLACES, measured

if TYPE_CHECKING:
    import pandas as pd


def learning(grid: Grid, cells: "pd.DataFrame", history: "pd.DataFrame") -> "pd.DataFrame | None":
    """Dataset × regularizer × step: accuracy on the evaluation rows in %, mean over activations and seeds.

    Columns panel (the dataset), method, step, value, low, high: value ∓ the standard deviation over seeds (n − 1;
    NaN for one seed). Over the blocks in which every regularizer is measured at that step. None without any.
    """
    needed = (*KEYS, "step", "test_accuracy")
    if any(name not in history.columns for name in needed):
        return None
    rows = history[list(needed)].dropna().merge(done_cells(grid, cells), on=list(KEYS))
    rows["value"] = 100 * rows["test_accuracy"].astype(float)
    return _course(grid, rows.drop_duplicates([*KEYS, "step"]))


def gradients(grid: Grid, cells: "pd.DataFrame", history: "pd.DataFrame", measure: str) -> "pd.DataFrame | None":
    """(Dataset and) place × regularizer × step: geometric mean of a gradient over activations and seeds.

    As `learning`; low and high are a factor of exp(sd of the logarithms over seeds) away. Values are positive;
    where a gradient of some seed is 0, which has no logarithm, they are NaN.
    """
    import pandas as pd

    rows = measured(grid, cells, history, measure)
    if rows is None:
        return None
    parts = []
    for place in PLACES:
        with np.errstate(divide="ignore"):
            logs = np.log(rows[place].astype(float))
        found = _course(grid, rows.assign(value=logs))
        if found is None:
            return None
        where = found["panel"] + ": " if found["panel"].nunique() > 1 else ""
        parts.append(found.assign(dataset=found["panel"], panel=where + HEADS[place]))
    frame = pd.concat(parts, ignore_index=True)
    frame = frame.sort_values(
        "dataset", key=lambda column: column.map(grid.levels["dataset"].index), kind="stable"
    )
    frame = frame.assign(**{name: np.exp(frame[name]) for name in ("value", "low", "high")})
    return frame.drop(columns="dataset").reset_index(drop=True)


def by_name(grid: Grid, frame: "pd.DataFrame", strengths: Strengths, baseline: Any | None) -> "pd.DataFrame":
    """The frame of `learning` or `gradients` with a panel a regularizer, its lines being the strengths.

    The baseline is in every panel, as strength 0. Panels: what they were, and the regularizer's name behind a
    comma; regularizers in the grid's order, and of each the panels in theirs.
    """
    import pandas as pd

    several = strengths.levels()
    names = {level: name for name, levels in several.items() for level in levels}
    single = [str(level) for level in grid.compared if level not in names and level != baseline]
    kinds = list(dict.fromkeys(frame["panel"]))
    parts = []
    for name in [*several, *single]:
        lines = {str(baseline): f"0 ({baseline})"}
        lines |= {str(level): strengths.written(level) for level in several.get(name, ())} or {name: name}
        for kind in kinds:
            own = frame[(frame["panel"] == kind) & frame["method"].isin(lines)]
            parts.append(own.assign(panel=f"{name}, {kind}", method=own["method"].map(lines)))
    return pd.concat(parts, ignore_index=True)


def _course(grid: Grid, rows: "pd.DataFrame") -> "pd.DataFrame | None":
    """Means over seeds of means over activations; rows: dataset, regularizer, activation, seed, step, value."""
    import pandas as pd

    rows = in_complete_blocks(rows, len(grid.compared), "step")
    if rows.empty:
        return None
    keys = ["dataset", "regularizer", "step"]
    by_seed = rows.groupby([*keys, "seed"], observed=True)["value"].mean()
    spread = by_seed.groupby(level=keys, observed=True).std().rename("std")
    found = pd.concat([marginal_column(rows, "value", keys).rename("mean"), spread], axis=1).reset_index()
    found.loc[~np.isfinite(found["mean"].to_numpy(dtype=float)), ["mean", "std"]] = np.nan
    order = [
        pd.Categorical(found[name], grid.levels[name], ordered=True).codes for name in ("dataset", "regularizer")
    ]
    found = found.iloc[np.lexsort((found["step"].to_numpy(dtype=float), order[1], order[0]))]
    return pd.DataFrame(
        {
            "panel": found["dataset"].astype(str),
            "method": found["regularizer"].astype(str),
            "step": found["step"].astype(float),
            "value": found["mean"],
            "low": found["mean"] - found["std"],
            "high": found["mean"] + found["std"],
        }
    ).reset_index(drop=True)
