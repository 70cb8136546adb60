"""Validation rows: cells evaluated on data that choose, which stand apart from those that judge the choice."""

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from dreg_sweep.analysis.rows.settings import by_name, shared
from dreg_sweep.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

VALIDATION = "validation"
_SETTING = "evaluate_on"  # of a configuration, whose level the column `evaluated_on` has


def told(declared: "pd.DataFrame") -> "pd.DataFrame":
    """Declared cells with what they are evaluated on, as their configurations say it; null where these do not."""
    import pandas as pd

    config = shared(declared["config"].reset_index(drop=True))
    texts = config.cat.categories.tolist()
    levels = pa.array([*by_name(texts).get(_SETTING, [None] * len(texts)), None], pa.large_string())
    places = config.cat.codes.to_numpy().astype(np.int64)
    named = levels.take(pa.array(np.where(places < 0, len(texts), places)))
    return declared.assign(evaluated_on=pd.array(named, dtype=pd.StringDtype("pyarrow")))


def set_aside(rows: "pd.DataFrame") -> "tuple[pd.DataFrame, pd.DataFrame | None]":
    """The rows that an analysis is about, and the validation rows that stood among them, if any.

    Rows that are all evaluated on validation data are what the analysis is about; one that does not say on what
    counts as evaluated on test data. Raises UserError where only validation rows have a result.
    """
    held = (rows["evaluated_on"] == VALIDATION).fillna(False).to_numpy(dtype=bool)
    if held.all() or not held.any():
        return rows, None
    done = (rows["status"] == "done").to_numpy(dtype=bool)
    if done[held].any() and not done[~held].any():
        raise UserError(
            f"none of the {int((~held).sum())} cells evaluated on test data has a result; for the others, "
            f"--where evaluated_on={VALIDATION}"
        )
    return rows[~held].reset_index(drop=True), rows[held].reset_index(drop=True)
