"""Strengths as levels: a regularizer that was run at several becomes one level a strength, `name@0.03`."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from dreg_sweep.analysis.rows.levels import AT, ordered, split
from dreg_sweep.analysis.rows.select import level_name
from dreg_sweep.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

BASELINE = "none"  # which has no strength, whatever a row says
_SAME = ["regularizer", "dataset", "activation", "train_size", "model"]


@dataclass(frozen=True)
class Strength:
    """What a level `spectreg@0.03` stands for; value: NaN for rows that name no strength."""

    regularizer: str
    value: float


@dataclass(frozen=True)
class Strengths:
    """The levels that stand for a regularizer at one of its strengths, in display order; empty without such."""

    by_level: Mapping[str, Strength]

    @property
    def regularizers(self) -> list[str]:
        """Those that have such levels."""
        return list(dict.fromkeys(strength.regularizer for strength in self.by_level.values()))

    def applied(self, rows: "pd.DataFrame") -> "pd.DataFrame":
        """The rows (of cells, noise, history or fits) with these levels in their column `regularizer`."""
        import pandas as pd

        if not self.by_level:
            return rows
        names = {(one.regularizer, _key(one.value)): level for level, one in self.by_level.items()}
        codes = rows.groupby(["regularizer", "strength"], dropna=False, sort=False, observed=True).ngroup()
        pairs = rows[["regularizer", "strength"]].assign(code=codes).drop_duplicates("code").sort_values("code")
        levels = [
            names.get((name, _key(value)), name)
            for name, value in zip(pairs["regularizer"], pairs["strength"], strict=True)
        ]
        texts = pa.array(levels, pa.large_string()).take(pa.array(codes.to_numpy()))
        return rows.assign(regularizer=pd.array(texts, dtype=pd.StringDtype("pyarrow")))

    def line(self, rows: "pd.DataFrame") -> str:
        """One line on what became of the strengths of `rows`, which have these levels; empty without such."""
        if not self.by_level:
            return ""
        listed = "; ".join(
            f"{name} at {', '.join(self.written(level) for level in levels)}"
            for name, levels in self.levels().items()
        )
        here = rows.loc[rows["regularizer"] == BASELINE, "strength"]
        also = [level_name("strength", value) for value in here.unique().tolist()]
        one = middle(next(iter(self.levels().values())))
        pick = ",".join(dict.fromkeys([*also, level_name("strength", self.by_level[one].value)]))
        kept = f" ({', '.join(also)} keeps {BASELINE})" if also else ""
        return (
            f"several strengths are compared as regularizers of their own ({listed}); pick one with "
            f"--where strength={pick}{kept}"
        )

    def levels(self) -> dict[str, list[str]]:
        """Regularizer → its levels by ascending strength."""
        found: dict[str, list[str]] = {name: [] for name in self.regularizers}
        for level, strength in self.by_level.items():
            found[strength.regularizer].append(level)
        return found

    def written(self, level: str) -> str:
        """The strength of a level as its name says it."""
        return level.removeprefix(f"{self.by_level[level].regularizer}{AT}")


def middle(levels: Sequence[str]) -> str:
    """The level in the middle of a regularizer's grid of strengths, the lower one of two; 0 is no part of it."""
    grid = [level for level in ordered("regularizer", levels) if split(level)[1]] or list(levels)
    return grid[(len(grid) - 1) // 2]


def find(rows: "pd.DataFrame") -> Strengths:
    """The levels that the rows need: of each regularizer with several strengths on the same data, under one model.

    One whose strength differs only between datasets, activations, models or training sizes has none: whether its
    strengths may be averaged over is for `select.refuse_hidden_factors` to say. Raises UserError where a
    regularizer bears the name of such a level already.
    """
    known = rows[["regularizer", "strength"]].drop_duplicates()["regularizer"]
    if known.is_unique:
        return Strengths({})
    pairs = rows[[*_SAME, "strength"]].drop_duplicates()
    sizes = pairs.groupby(_SAME, dropna=False, observed=True)["strength"].nunique(dropna=False)
    several = set(sizes.index[sizes > 1].get_level_values("regularizer")) - {BASELINE}
    by_level: dict[str, Strength] = {}
    for name in ordered("regularizer", several):
        values = pairs.loc[pairs["regularizer"] == name, "strength"].unique()
        for value, written in _written(np.sort(values.astype(float)).tolist()).items():
            level = f"{name}{AT}{written}"
            if level in set(known):
                raise UserError(f"{name} at strength {written} would be called {level}, as another regularizer is")
            by_level[level] = Strength(name, value)
    return Strengths(by_level)


def _written(values: list[float]) -> dict[float, str]:
    """Each strength as %g prints it, or in full where two would print alike."""
    short = [f"{value:g}" for value in values]
    return {
        value: level_name("strength", value) if math.isnan(value) or short.count(text) > 1 else text
        for value, text in zip(values, short, strict=True)
    }


def _key(value: Any) -> float | None:
    """A strength as a key: null, which no number equals, as None."""
    import pandas as pd

    return None if pd.isna(value) else float(value)
