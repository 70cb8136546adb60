"""Strengths as levels: a regularizer that was run at several becomes one level a strength, `name@0.03`.

A row says whether its strength is the method's default, the one that is fixed before anything is tuned. Where the
rows tell which that is, its level keeps the bare name, and the other strengths stand beside it: they are tried, not
compared.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from dreg_sweep.analysis.rows.levels import AT, ordered, split
from dreg_sweep.analysis.rows.select import level_name
from dreg_sweep.errors import UserError
from dreg_sweep.factors import COMPARED, FACTORS

if TYPE_CHECKING:
    import pandas as pd

BASELINE = "none"  # which has no strength, whatever a row says
_SAME = [COMPARED, *(factor.name for factor in FACTORS if factor.name not in (COMPARED, "seed", "strength"))]


@dataclass(frozen=True)
class Strength:
    """What a level such as `spectreg@0.03` stands for.

    value: NaN for rows that name no strength. written: as the levels of its regularizer write it. fixed: it is the
    method's default, and the level bears the method's name alone.
    """

    regularizer: str
    value: float
    written: str
    fixed: bool = False


@dataclass(frozen=True)
class Strengths:
    """The levels that stand for a regularizer at one of its strengths, strengths ascending; empty without such."""

    by_level: Mapping[str, Strength]

    @property
    def regularizers(self) -> list[str]:
        """Those that have such levels."""
        return list(dict.fromkeys(strength.regularizer for strength in self.by_level.values()))

    @property
    def fixed(self) -> dict[str, str]:
        """Regularizer → its level at the fixed strength, where that is known."""
        return {one.regularizer: level for level, one in self.by_level.items() if one.fixed}

    @property
    def beside(self) -> list[str]:
        """The levels at another strength than the fixed one of their regularizer, where that is known."""
        known = self.fixed
        return [level for level, one in self.by_level.items() if one.regularizer in known and not one.fixed]

    @property
    def compared(self) -> "Strengths":
        """Those of the regularizers without a known fixed strength: their levels are compared with each other."""
        known = self.fixed
        return Strengths({level: one for level, one in self.by_level.items() if one.regularizer not in known})

    def has(self, rows: "pd.DataFrame") -> np.ndarray:
        """Of each row, whether its regularizer has no such levels, or one at the row's strength."""
        known = {(one.regularizer, _key(one.value)) for one in self.by_level.values()}
        names = set(self.regularizers)
        pairs = zip(rows["regularizer"], rows["strength"], strict=True)
        found = [name not in names or (name, _key(value)) in known for name, value in pairs]
        return np.array(found, dtype=bool)

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

    def lines(self, rows: "pd.DataFrame") -> list[str]:
        """What became of the strengths of `rows`, which have these levels.

        A line on those that are compared with each other, and one on those that stand beside a fixed one.
        """
        found, compared = self.levels(), self.compared.levels()
        said = []
        if compared:
            here = rows.loc[rows["regularizer"] == BASELINE, "strength"]
            also = [level_name("strength", value) for value in here.unique().tolist()]
            one = middle(next(iter(compared.values())))
            pick = ",".join(dict.fromkeys([*also, level_name("strength", self.by_level[one].value)]))
            kept = f" ({', '.join(also)} keeps {BASELINE})" if also else ""
            said.append(
                f"several strengths are compared as regularizers of their own ({self._listed(compared)}); pick "
                f"one with --where strength={pick}{kept}"
            )
        if self.fixed:
            main = ", ".join(f"{name} at {self.written(level)}" for name, level in self.fixed.items())
            beside = set(self.beside)
            others = {name: [level for level in found[name] if level in beside] for name in self.fixed}
            said.append(
                f"several strengths: tables are about the fixed one of each method ({main}) unless they say "
                f"otherwise; the others ({self._listed(others)}) are in the chapter Strengths, and "
                "--where strength=... picks among all"
            )
        return said

    def _listed(self, found: Mapping[str, Sequence[str]]) -> str:
        """`dreg at 0.01, 0.1; spectreg at 0, 0.001`."""
        return "; ".join(
            f"{name} at {', '.join(self.written(level) for level in levels)}" for name, levels in found.items()
        )

    def levels(self) -> dict[str, list[str]]:
        """Regularizer → its levels by ascending strength."""
        found: dict[str, list[str]] = {name: [] for name in self.regularizers}
        for level, strength in self.by_level.items():
            found[strength.regularizer].append(level)
        return found

    def written(self, level: str) -> str:
        """The strength of a level as the levels of its regularizer write it."""
        return self.by_level[level].written


def middle(levels: Sequence[str]) -> str:
    """The level in the middle of a regularizer's grid of strengths, the lower one of two; 0 is no part of it."""
    grid = [level for level in ordered("regularizer", levels) if split(level)[1]] or list(levels)
    return grid[(len(grid) - 1) // 2]


def find(rows: "pd.DataFrame") -> Strengths:
    """The levels that the rows need: of each regularizer with several strengths on the same data, under one model.

    One whose strength differs only between datasets, activations, models or training sizes has none: whether its
    strengths may be averaged over is for `select.refuse_hidden_factors` to say. The level at the fixed strength,
    if the rows tell it, is called as the regularizer. Raises UserError where a regularizer bears the
    name of such a level already.
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
        default = _default(rows.loc[rows["regularizer"] == name, ["strength_is_default", "strength"]])
        for value, written in _written(np.sort(values.astype(float)).tolist()).items():
            level = str(name) if value == default else f"{name}{AT}{written}"
            if value != default and level in set(known):
                raise UserError(f"{name} at strength {written} would be called {level}, as another regularizer is")
            by_level[level] = Strength(name, value, written, value == default)
    return Strengths(by_level)


def _default(rows: "pd.DataFrame") -> float | None:
    """The strength of the rows at their default, where it is one and no other row has it; else None.

    rows: columns strength_is_default and strength, of one regularizer.
    """
    import pandas as pd

    pairs = rows.drop_duplicates()
    if pairs["strength_is_default"].isna().any():
        return None
    is_default = pairs["strength_is_default"].astype(bool)
    default, others = pairs.loc[is_default, "strength"].tolist(), pairs.loc[~is_default, "strength"].tolist()
    return None if len(default) != 1 or pd.isna(default[0]) or default[0] in others else float(default[0])


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
