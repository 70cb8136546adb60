"""Variants: a regularizer that was run under several settings of its options, named as in `dreg[mean]`.

A row says whether all options are at their defaults. Where the rows tell which variant that is, it keeps the bare
name.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from dreg_sweep.analysis.rows.levels import listed, ordered
from dreg_sweep.analysis.rows.select import OPTION, untold
from dreg_sweep.analysis.rows.spelling import condition
from dreg_sweep.errors import UserError
from dreg_sweep.factors import COMPARED, FACTORS

if TYPE_CHECKING:
    import pandas as pd

_ADDED = f"{OPTION}also"  # of which levels are named after: spectreg+confidence_penalty
_SAME = [factor.name for factor in FACTORS if factor.name not in (COMPARED, "seed", "strength")]
_WORD = re.compile(r"[^\W\d][\w+-]*")
_NO_NAMES = ("true", "false", "null", "none", "nan", "inf", "infinity")

T = TypeVar("T")
Settings = Mapping[str, str | None]


@dataclass(frozen=True)
class Variant:
    """A regularizer under one setting of its options.

    settings: option → its value as text, of the options that differ between the variants; None for rows whose
    configuration lacks it.
    """

    regularizer: str
    settings: Settings

    def among(self, rows: "pd.DataFrame") -> np.ndarray:
        """Of each row, whether it is one of this variant's."""
        found = _equal(rows["regularizer"], self.regularizer)
        for option, value in self.settings.items():
            found = found & _equal(rows[f"{OPTION}{option}"], value)
        return found

    @property
    def written(self) -> str:
        """`form=local, reduction=sum`."""
        return _written(self.settings)


@dataclass(frozen=True)
class Variants:
    """The variants of all regularizers that have some, each regularizer's in display order; empty without such.

    main: regularizer → the variant that stands for it in every table but those that compare variants: the one with
    the default options, which bears the regularizer's name, or the first where the rows do not tell.
    """

    by_level: Mapping[str, Variant] = field(default_factory=dict)
    main: Mapping[str, str] = field(default_factory=dict)

    @property
    def others(self) -> list[str]:
        """All but the main ones."""
        return [level for level, one in self.by_level.items() if self.main[one.regularizer] != level]

    def kept(self, rows: "pd.DataFrame", level: str | None = None) -> "pd.DataFrame":
        """The rows with one variant of each regularizer: `level` of its own, the main one of the others.

        A row that tells neither result nor configuration is taken for one of the main variant.
        """
        if not self.main:
            return rows
        keep = np.ones(len(rows), dtype=bool)
        for name, main in self.main.items():
            chosen = level if level is not None and self.by_level[level].regularizer == name else main
            wanted = self.by_level[chosen].among(rows)
            if chosen == main:
                wanted = wanted | untold(rows)
            keep &= wanted | ~_equal(rows["regularizer"], name)
        return rows[keep].reset_index(drop=True)

    def instead(self, arranged: Callable[[str], T]) -> tuple[dict[str, T], list[str]]:
        """What `arranged` makes of each variant beside the main ones, and a line on each that it refuses."""
        found: dict[str, T] = {}
        said = []
        for level in self.others:
            try:
                found[level] = arranged(level)
            except UserError as error:
                said.append(f"{level} is left out: {error}")
        return found, said

    def lines(self) -> list[str]:
        """What became of each regularizer with variants, and how to analyse another of them by itself."""
        said = []
        for name, main in self.main.items():
            others = [level for level in self.others if self.by_level[level].regularizer == name]
            pick = " ".join(
                f"--where {condition(f'{OPTION}{option}', 'null' if value is None else value)}"
                for option, value in self.by_level[others[0]].settings.items()
            )
            doubt = "" if main == name else ", the first, since no row tells which is the default"
            said.append(
                f"{name} was run under several settings of its options: tables are about {main} "
                f"({self.by_level[main].written}{doubt}) unless they say otherwise; the chapter Variants has "
                f"{listed(others)}; analyse {others[0]} in its place with {pick}"
            )
        return said


def find(rows: "pd.DataFrame", configured: Sequence[str]) -> Variants:
    """The variants of each regularizer with several settings of its options on the same data, under one model.

    configured: the columns of `rows` that `select.with_configured_factors` took from the configurations. One whose
    options differ only between datasets, activations, models or training sizes has none: that is for
    `select.refuse_hidden_factors` to refuse. Raises UserError where a regularizer is called as a variant would be.
    """
    options = [name for name in configured if name.startswith(OPTION) and name != _ADDED]
    by_level: dict[str, Variant] = {}
    main: dict[str, str] = {}
    told = rows[~untold(rows)] if options else rows[:0]
    known = set(told["regularizer"].unique())
    for name in ordered("regularizer", known):
        own = told[told["regularizer"] == name]
        varying = [option for option in options if own[option].nunique(dropna=False) > 1]
        if not varying or not _crossed(own, varying):
            continue
        found = _settings(own, varying)
        default = _default(own, found)
        for level, settings in _named(name, found, default).items():
            if level != name and (level in known or level in by_level):
                raise UserError(f"{name} under {_written(settings)} would be called {level}, as another one is")
            by_level[level] = Variant(name, settings)
            main.setdefault(name, level)
    return Variants(by_level, main)


def _crossed(own: "pd.DataFrame", varying: Sequence[str]) -> bool:
    """Whether some data were trained on under several of these settings."""
    groups = own.groupby(list(varying), dropna=False, sort=False, observed=True).ngroup()
    pairs = own[_SAME].assign(settings=groups).drop_duplicates()
    return int(pairs.groupby(_SAME, dropna=False, observed=True)["settings"].nunique().max()) > 1


def _settings(own: "pd.DataFrame", varying: Sequence[str]) -> list[Settings]:
    """The distinct settings, options in the order in which the configurations have them."""
    import pandas as pd

    options = [column.removeprefix(OPTION) for column in varying]
    rows = own[list(varying)].drop_duplicates().itertuples(index=False, name=None)
    return [
        dict(zip(options, (None if pd.isna(value) else str(value) for value in row), strict=True)) for row in rows
    ]


def _default(own: "pd.DataFrame", found: Sequence[Settings]) -> Settings | None:
    """The only setting none of whose rows changed an option that differs; None where there is no such, or several.

    A row that does not say which options were changed may have changed any.
    """
    changed = own["options_changed"].isna().to_numpy(dtype=bool)
    for option in found[0]:
        here = own["options_changed"].str.contains(json.dumps(option), regex=False)
        changed = changed | here.fillna(True).to_numpy(dtype=bool)
    silent = [one for one in found if not changed[Variant(own["regularizer"].iloc[0], one).among(own)].any()]
    return silent[0] if len(silent) == 1 else None


def _named(name: str, found: Sequence[Settings], default: Settings | None) -> dict[str, Settings]:
    """Level → settings: the default first, then those that differ from it in one option, in two and so on.

    A name has the values in which a variant differs from the default, or all of them without a default.
    """
    values = {option: {one[option] for one in found} for option in found[0]}

    def differing(one: Settings) -> list[str]:
        return [option for option, value in one.items() if default is None or value != default[option]]

    def said(option: str, value: str | None) -> str:
        elsewhere = any(value in held for other, held in values.items() if other != option)
        plain = value is not None and _WORD.fullmatch(value) and value.lower() not in _NO_NAMES
        return value if plain and value is not None and not elsewhere else _pair(option, value)

    def place(one: Settings) -> tuple[int, list[bool], list[tuple[bool, float, str]]]:
        own = differing(one)
        return len(own), [option not in own for option in one], [_rank(value) for value in one.values()]

    return {
        f"{name}[{','.join(said(option, one[option]) for option in differing(one))}]"
        if differing(one)
        else name: one
        for one in sorted(found, key=place)
    }


def _equal(column: "pd.Series[str]", value: str | None) -> np.ndarray:
    """Of each row, whether it has this value; None stands for a null."""
    found = column.isna() if value is None else (column == value).fillna(False)
    return found.to_numpy(dtype=bool)


def _pair(option: str, value: str | None) -> str:
    return f"{option}={'null' if value is None else value}"


def _rank(value: str | None) -> tuple[bool, float, str]:
    """By which values ascend: numbers first, then texts."""
    try:
        return False, float(value or ""), ""
    except ValueError:
        return True, 0.0, value or ""


def _written(settings: Settings) -> str:
    """`form=local, reduction=sum`."""
    return ", ".join(_pair(*setting) for setting in settings.items())
