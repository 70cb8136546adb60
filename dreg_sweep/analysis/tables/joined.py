"""The cells of a grid as rows, to which rows of the history are joined."""

from typing import TYPE_CHECKING

import numpy as np

from dreg_sweep.analysis.grid import AXES, BLOCK, Grid

if TYPE_CHECKING:
    import pandas as pd

KEYS = ("cell", "config_hash")


def done_cells(grid: Grid, cells: "pd.DataFrame") -> "pd.DataFrame":
    """cell, config_hash and factors of the rows that the grid counts as done.

    The factors are those of the cells, not of the history: a regularizer may be a level such as spectreg@0.03.
    """
    import pandas as pd

    places = np.argwhere(grid.done)
    done = pd.DataFrame(
        {name: np.array(grid.levels[name], dtype=object)[places[:, axis]] for axis, name in enumerate(AXES)}
    )
    kinds = {name: "Int64" if name == "seed" else "string" for name in AXES}
    rows = cells.loc[cells["status"] == "done", [*KEYS, *AXES]]
    return rows.astype(kinds).merge(done.astype(kinds), on=list(AXES)).drop_duplicates(list(KEYS))


def in_complete_blocks(rows: "pd.DataFrame", methods: int, *within: str) -> "pd.DataFrame":
    """The rows of the blocks (and levels of `within`, such as epochs) that have rows of all `methods`."""
    together = rows.groupby([*BLOCK, *within], observed=True)["regularizer"].transform("nunique")
    return rows[together == methods].reset_index(drop=True)
