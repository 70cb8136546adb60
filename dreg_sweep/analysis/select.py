"""Which rows an analysis is about: filters by level, and the refusal to average over an unnamed factor."""

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from dreg_sweep.analysis.levels import ordered
from dreg_sweep.errors import UserError, unknown_level

if TYPE_CHECKING:
    import pandas as pd

_TOLD_BY_COLUMNS = {
    *("model.name", "regularizer.name", "regularizer.strength", "dataset.name", "dataset.source"),
    *("dataset.modality", "dataset.regime"),
}
ALL = "all"  # how a null train_size is written: the whole training set


def where(frame: "pd.DataFrame", conditions: Iterable[str]) -> "pd.DataFrame":
    """The rows that meet every `factor=level` or `factor=level,level`.

    Conditions on one factor widen each other (seed=0 and seed=1 keep both seeds), those on different factors
    narrow. A null level is written `all` for train_size, `null` for any factor. Raises UserError for a
    condition without "=", an unknown factor or an unknown level; both list the choices.
    """
    import pandas as pd

    wanted: dict[str, list[str]] = {}
    for condition in conditions:
        factor, equals, levels = (part.strip() for part in condition.partition("="))
        if not equals or not factor or not levels:
            raise UserError(f"--where {condition} is not of the form factor=level, such as train_size=2000")
        if factor not in frame.columns:
            raise unknown_factor(factor, frame)
        wanted.setdefault(factor, []).extend(level.strip() for level in levels.split(","))
    keep = pd.Series(True, index=frame.index)
    for factor, written in wanted.items():
        names = frame[factor].map(lambda value, factor=factor: level_name(factor, value))
        met = pd.Series(False, index=frame.index)
        for level in written:
            matches = names == _as_written(factor, level, frame)
            if not matches.any():
                raise unknown_level(factor, level, names.unique())
            met |= matches
        keep &= met
    kept = frame[keep].reset_index(drop=True)
    if kept.empty:
        asked = " ".join(f"{factor}={','.join(written)}" for factor, written in wanted.items())
        raise UserError(f"no row meets all of --where {asked}")
    return kept


def unknown_factor(factor: str, frame: "pd.DataFrame") -> UserError:
    """`UserError` for a column that is not there, listing those with values."""
    unfit = ("cell", "config", "error")
    usable = sorted(name for name in frame.columns if name not in unfit and frame[name].notna().any())
    return UserError(f"--where {factor}=...: no such column; choose one of: {', '.join(usable)}")


def level_name(factor: str, value: Any) -> str:
    """A level as one writes it: 2000, 0.003, gelu; `all` for a null train_size, `null` for another null."""
    import pandas as pd

    if pd.isna(value):
        return ALL if factor == "train_size" else "null"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    return str(value)


def _as_written(factor: str, level: str, frame: "pd.DataFrame") -> str:
    """The spelling `level_name` gives this level: 1e-3 finds 0.001, null finds all."""
    import pandas as pd

    if level == "null":
        return level_name(factor, None)
    if pd.api.types.is_numeric_dtype(frame[factor]):
        try:
            return level_name(factor, float(level))
        except (ValueError, OverflowError):
            return level
    return level


def with_configured_factors(frame: "pd.DataFrame") -> "tuple[pd.DataFrame, list[str]]":
    """The frame with a column for each setting in `config` that has more than one value, and their names.

    Such as model.widths or regularizer.form. What has a column already is left out. Rows without a readable
    `config` have nulls.
    """
    flat = [_flat_config(text) for text in frame["config"]]
    names = dict.fromkeys(name for config in flat for name in config)
    extra: dict[str, Any] = {}
    for name in names:
        values = [config.get(name) for config in flat]
        if name not in frame.columns and len(set(values) - {None}) > 1:
            extra[name] = values
    return frame.assign(**extra), list(extra)


def _flat_config(text: Any) -> dict[str, str]:
    """Dotted name → value as text, of the settings that no other column tells."""
    try:
        config = json.loads(text)
    except (TypeError, ValueError):
        return {}
    flat: dict[str, str] = {}
    for group, value in config.items() if isinstance(config, dict) else ():
        if value is not None:
            nested = value if isinstance(value, dict) else {"": value}
            for key, part in nested.items():
                name = f"{group}.{key}".removesuffix(".")
                flat[name] = part if isinstance(part, str) else json.dumps(part)
    return {name: value for name, value in flat.items() if name not in _TOLD_BY_COLUMNS}


def refuse_hidden_factors(frame: "pd.DataFrame", configured: Sequence[str] = ()) -> None:
    """Raise UserError where a mean over datasets, activations and seeds would also average something else.

    `strength` and a regularizer's options must not vary within one regularizer. `train_size`, `model` and the
    other `configured` columns (see `with_configured_factors`) must not vary within one dataset; between
    datasets they may (each has its own size), being then part of what the dataset is.
    """
    for factor in ("strength", "train_size", "model", *configured):
        within = "regularizer" if factor == "strength" or factor.startswith("regularizer.") else "dataset"
        names = frame[factor].map(lambda value, factor=factor: level_name(factor, value))
        for level in ordered(within, frame[within]):
            present = _ascending(names[frame[within] == level].unique())
            if len(present) > 1:
                raise UserError(
                    f"{factor} has {len(present)} levels for {within}={level} ({', '.join(present)}); they "
                    f"are not averaged over: pick one with --where {factor}={present[-1]}"
                )


def _ascending(names: Sequence[str]) -> list[str]:
    def key(name: str) -> tuple[bool, float, str]:
        try:
            return False, float(name), ""
        except ValueError:
            return True, 0.0, name

    return sorted(names, key=key)
