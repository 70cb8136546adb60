"""From axes to jobs: the full cross of an experiment, or a union of crosses, with what it leaves out."""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override

from dreg_sweep.errors import UserError

Axes = Mapping[str, Any]  # key → levels as on the command line: `0,1,2`, or a single one


def jobs(
    parser: OverridesParser,
    params: Axes | None,
    parts: Sequence[Axes] | None,
    exclude: Sequence[Axes] | None,
    arguments: Sequence[str],
) -> list[list[str]]:
    """The jobs of a grid, one list of overrides each, in the order of its axes, a part after the other.

    params: the axes of every part. parts: what each part sets besides; without parts there is one cross.
    exclude: a job that has one of the levels of every key of an entry is left out. arguments: the command line;
    an axis of it replaces its namesake in params. But what a part sets belongs together (a method and the
    strengths that suit it): of a key that some part sets, it picks among the levels of each part that has the
    key, and the others stay without it.

    Errors: `UserError` for a level that no part has, an exclusion of what is not there, and where nothing is left.
    """
    shared = _axes(parser, _texts("params", params or {}))
    own = [_axes(parser, _texts("parts", part)) for part in _entries("parts", parts) or [{}]]
    left_out = [_axes(parser, _texts("exclude", entry)) for entry in _entries("exclude", exclude)]
    grid = _Grid([{**shared, **part} for part in own], {key for part in own for key in part}, left_out)
    typed = _axes(parser, arguments)
    grid.refuse_foreign_levels(typed)
    grid.refuse_empty_exclusions(typed)
    made = grid.cells(typed)
    if not made:
        raise grid.nothing_left(typed)
    return [[level.override for level in cell.values()] for cell in made]


@dataclass(frozen=True)
class _Level:
    """1e-2 and 0.01 are one level, whatever the override says that sets it."""

    value: float | str
    override: str = field(compare=False)


_Axes = Mapping[str, Sequence[_Level]]  # by key without prefix: ++seed=1 is a level of seed


@dataclass(frozen=True)
class _Grid:
    """An experiment's grid, before the command line comes to it."""

    crosses: Sequence[_Axes]  # one a part, the shared axes among its own
    picked: Set[str]  # the keys of which the command line picks levels
    left_out: Sequence[_Axes]

    def cells(self, typed: _Axes) -> list[dict[str, _Level]]:
        """Key → level of each cell that the command line leaves."""
        replacing = {key: levels for key, levels in typed.items() if key not in self.picked}
        made = []
        for cross in self.crosses:
            picks = {key: _both(typed[key], cross[key]) for key in self.picked & typed.keys() & cross.keys()}
            axes = {**cross, **replacing, **picks}
            made += [dict(zip(axes, levels, strict=True)) for levels in itertools.product(*axes.values())]
        return [cell for cell in made if not any(_has(cell, entry) for entry in self.left_out)]

    def refuse_foreign_levels(self, typed: _Axes) -> None:
        """`UserError` for a level that is to be picked and is in no part."""
        for key in (key for key in typed if key in self.picked):
            known = _union(cross.get(key, ()) for cross in self.crosses)
            for level in _without(typed[key], known):
                raise UserError(
                    f"{level.override} is in no part of this experiment's grid; choose of: {_listed(known)} "
                    "(hydra.sweeper.parts=null does without the parts)"
                )

    def refuse_empty_exclusions(self, typed: _Axes) -> None:
        """`UserError` for an axis or a level to leave out that neither the experiment nor the command line has."""
        grids = [*self.crosses, typed]
        for key, levels in (axis for entry in self.left_out for axis in entry.items()):
            if not any(key in axes for axes in grids):
                keys = dict.fromkeys(itertools.chain(*self.crosses)) or typed
                raise UserError(
                    f"hydra.sweeper.exclude: {key} is no axis of the grid; choose of: {', '.join(keys)}"
                )
            known = _union(axes.get(key, ()) for axes in grids)
            for level in _without(levels, known):
                raise UserError(
                    f"hydra.sweeper.exclude: {level.override} is nowhere in the grid; choose of: {_listed(known)}"
                )

    def nothing_left(self, typed: _Axes) -> UserError:
        """What to say where the command line leaves no cell: which key to change, and to what."""
        axes = {
            key: f"{key}={_listed(typed[key], ',')}" for key in typed if any(key in one for one in self.crosses)
        }
        for key in reversed(axes):
            others = {other: levels for other, levels in typed.items() if other != key}
            left = _union([cell[key]] for cell in self.cells(others))
            if left:
                beside = " ".join(text for other, text in axes.items() if other != key)
                why = f"does not go with {beside}" if beside else "is left out"
                return UserError(f"the grid has no cells: {axes[key]} {why}; choose {key} of: {_listed(left)}")
        asked = " ".join(axes.values()) or "these axes"
        return UserError(f"the grid has no cells: none has all of {asked}, or hydra.sweeper.exclude leaves it out")


def _axes(parser: OverridesParser, overrides: Sequence[str]) -> dict[str, list[_Level]]:
    """Key → its levels; of a key that comes twice the last counts."""
    return {one.get_key_element().lstrip("+~"): _levels(one) for one in parser.parse_overrides(list(overrides))}


def _levels(override: Override) -> list[_Level]:
    if not override.is_sweep_override():
        texts = [override.get_value_element_as_str()]
    elif override.is_discrete_sweep():
        texts = list(override.sweep_string_iterator())
    else:
        raise UserError(f"{override.input_line}: a grid needs levels, such as 0,1,2 or range(3)")
    if not texts:
        raise UserError(f"the grid has no cells: {override.input_line} has no levels")
    return _union([[_Level(_value(text), f"{override.get_key_element()}={text}") for text in texts]])


def _value(text: str) -> float | str:
    try:
        return float(text) if math.isfinite(float(text)) else text
    except ValueError:
        return text


def _union(axes: Iterable[Iterable[_Level]]) -> list[_Level]:
    return list(dict.fromkeys(itertools.chain.from_iterable(axes)))


def _both(levels: Sequence[_Level], others: Sequence[_Level]) -> list[_Level]:
    return [level for level in levels if level in others]


def _without(levels: Sequence[_Level], others: Sequence[_Level]) -> list[_Level]:
    return [level for level in levels if level not in others]


def _has(cell: Mapping[str, _Level], entry: _Axes) -> bool:
    return all(cell.get(key) in levels for key, levels in entry.items())


def _listed(levels: Iterable[_Level], between: str = ", ") -> str:
    return between.join(level.override.partition("=")[2] for level in levels)


def _entries(name: str, entries: Any) -> Sequence[Axes]:
    if entries is None:
        return []
    if not isinstance(entries, Sequence) or not all(isinstance(entry, Mapping) and entry for entry in entries):
        raise UserError(f"hydra.sweeper.{name} must be a list of axes, such as [{{dataset: mnist, seed: '0,1'}}]")
    return entries


def _texts(name: str, entry: Axes) -> list[str]:
    if not all(isinstance(key, str) for key in entry):
        raise UserError(f"hydra.sweeper.{name} has {dict(entry)}, whose keys must be texts")
    return [f"{key}={'null' if levels is None else levels}" for key, levels in entry.items()]
