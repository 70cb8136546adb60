"""From axes to jobs: the full cross of an experiment, or a union of crosses, with what it leaves out."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

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
    an axis of it replaces its namesake in params, but picks among the levels that parts set: these belong
    together (a method and the strengths that suit it).

    Errors: `UserError` for a level that no part has, and where nothing is left.
    """
    shared = [f"{key}={levels}" for key, levels in (params or {}).items()]
    typed = _axes(parser, arguments)
    own = [_axes(parser, _texts("parts", part)) for part in _entries("parts", parts) or [{}]]
    _refuse_foreign_levels(typed, own)
    left_out = [_axes(parser, _texts("exclude", entry)) for entry in _entries("exclude", exclude)]
    made: list[list[str]] = []
    for part in own:
        axes = {**_axes(parser, shared), **part, **typed}
        axes |= {key: _both(typed[key], levels) for key, levels in part.items() if key in typed}
        for job in itertools.product(*([(key, *level) for level in axis.items()] for key, axis in axes.items())):
            chosen = {key: value for key, value, _ in job}
            if not any(all(chosen.get(key) in axis for key, axis in entry.items()) for entry in left_out):
                made.append([text for _, _, text in job])
    if not made:
        asked = " ".join(arguments) or "these axes"
        raise UserError(f"the grid has no cells: with {asked} one of its axes has no levels, or all is left out")
    return made


_Levels = Mapping[float | str, str]  # a level → the override that sets it; 1e-2 and 0.01 are one level


def _axes(parser: OverridesParser, overrides: Sequence[str]) -> dict[str, _Levels]:
    """Key as typed → its levels; of a key that comes twice the last counts."""
    return {one.get_key_element(): _levels(one) for one in parser.parse_overrides(list(overrides))}


def _levels(override: Override) -> _Levels:
    if not override.is_sweep_override():
        texts = [override.get_value_element_as_str()]
    elif override.is_discrete_sweep():
        texts = list(override.sweep_string_iterator())
    else:
        raise HydraException(f"{override.input_line}: a grid needs levels, such as 0,1,2 or range(3)")
    return {_level(text): f"{override.get_key_element()}={text}" for text in texts}


def _level(text: str) -> float | str:
    try:
        return float(text) if math.isfinite(float(text)) else text
    except ValueError:
        return text


def _both(picked: _Levels, levels: _Levels) -> _Levels:
    return {value: text for value, text in picked.items() if value in levels}


def _refuse_foreign_levels(typed: Mapping[str, _Levels], parts: Sequence[Mapping[str, _Levels]]) -> None:
    for key, picked in typed.items():
        known = {value: text for part in parts for value, text in part.get(key, {}).items()}
        foreign = [text for value, text in picked.items() if value not in known]
        if known and foreign:
            levels = ", ".join(text.removeprefix(f"{key}=") for text in known.values())
            raise UserError(
                f"{foreign[0]} is in no part of this experiment's grid; choose of: {levels} "
                "(hydra.sweeper.parts=null does without the parts)"
            )


def _entries(name: str, entries: Any) -> Sequence[Axes]:
    if entries is None:
        return []
    if not isinstance(entries, Sequence) or not all(isinstance(entry, Mapping) and entry for entry in entries):
        raise UserError(f"hydra.sweeper.{name} must be a list of axes, such as [{{dataset: mnist, seed: '0,1'}}]")
    return entries


def _texts(name: str, entry: Axes) -> list[str]:
    if not all(isinstance(key, str) for key in entry):
        raise UserError(f"hydra.sweeper.{name} has {dict(entry)}, whose keys must be texts")
    return [f"{key}={levels}" for key, levels in entry.items()]
