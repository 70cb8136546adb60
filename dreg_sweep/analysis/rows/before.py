"""What rows of folders written before have in other places: the one room that reads the text of a cell's key.

Rows now say by themselves whether the strength and the options of their regularizer are the default ones. Before,
only the cell's key did: a sweep that changed them named them there (`mnist/relu/dreg/s0/strength=0.01`).
"""

import json
from typing import TYPE_CHECKING

from dreg_sweep.analysis.rows.settings import by_name, shared

if TYPE_CHECKING:
    import pandas as pd

OPTION = "regularizer."  # starts the name of a setting that is an option of a regularizer
_STRENGTH = r"/strength(?:s\.[^/=]+)?="


def with_defaults(rows: "pd.DataFrame") -> "pd.DataFrame":
    """The rows with `strength_is_default` and `options_changed` where a cell's key says what they lack.

    Rows without a key, of files made by hand, keep their nulls: nothing tells what their defaults are.
    """
    lacking = rows["strength_is_default"].isna() & rows["cell"].notna()
    if not lacking.any():
        return rows
    texts = shared(rows["config"]).cat.categories.tolist()
    options = [name.removeprefix(OPTION) for name in by_name(texts) if name.startswith(OPTION)]
    keys = rows.loc[lacking, "cell"]
    default, changed = rows["strength_is_default"].copy(), rows["options_changed"].copy()
    default[lacking] = ~keys.str.contains(_STRENGTH, regex=True).astype("boolean")
    named = [keys.str.contains(f"/{option}=", regex=False).to_numpy(dtype=bool) for option in options]
    if any(one.any() for one in named):
        sets = [
            [option for option, has in zip(options, row, strict=True) if has] for row in zip(*named, strict=True)
        ]
        changed[lacking] = [json.dumps(one) for one in sets]
    else:
        changed[lacking] = "[]"
    return rows.assign(strength_is_default=default, options_changed=changed)
