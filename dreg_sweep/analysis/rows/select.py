"""Which rows an analysis is about: filters by level, and the refusal to average over an unnamed factor."""

import math
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from dreg_sweep.analysis.rows.before import OPTION
from dreg_sweep.analysis.rows.columns import COLUMNS
from dreg_sweep.analysis.rows.levels import ordered
from dreg_sweep.analysis.rows.settings import by_name, shared
from dreg_sweep.analysis.rows.spelling import condition, quoted, split_levels
from dreg_sweep.errors import UserError, unknown_level
from dreg_sweep.factors import CROSSED

if TYPE_CHECKING:
    import pandas as pd

ALL = "all"  # how a null train_size is written: the whole training set
WHOLE = math.inf  # and as a number: more rows than any size


def where(frame: "pd.DataFrame", conditions: Iterable[str]) -> "pd.DataFrame":
    """The rows that meet every `factor=level` or `factor=level,level`.

    Conditions on one factor widen each other (seed=0 and seed=1 keep both seeds), those on different factors
    narrow. A null level is written `all` for train_size, `null` for any factor. A condition on an option of a
    regularizer (regularizer.form=local) leaves those alone that have no such option. Raises UserError for a
    condition without "=", an unknown factor or an unknown level; both list the choices.
    """
    wanted: dict[str, list[str]] = {}
    for text in conditions:
        factor, equals, levels = (part.strip() for part in text.partition("="))
        if not equals or not factor or not levels:
            raise UserError(f"--where {text} is not of the form factor=level, such as train_size=2000")
        if factor not in frame.columns:
            raise unknown_factor(factor, frame)
        whole = _levels(factor, frame[factor])[1]
        wanted.setdefault(factor, []).extend([levels] if levels in whole else split_levels(levels))
    keep = np.ones(len(frame), dtype=bool)
    for factor, written in wanted.items():
        row_level, names = _levels(factor, frame[factor])
        met: set[str] = set()
        for level in written:
            name = level if level in names else _as_written(factor, level, frame)
            if name not in names:
                raise unknown_level(factor, level, map(quoted, dict.fromkeys(names)))
            met.add(name)
        meets = np.array([name in met for name in names], dtype=bool)[row_level]
        if factor.startswith(OPTION):
            have = frame.loc[frame[factor].notna(), "regularizer"].unique()
            meets |= ~frame["regularizer"].isin(have).to_numpy(dtype=bool)
        keep &= meets
    kept = frame[keep].reset_index(drop=True)
    if kept.empty:
        asked = " ".join(condition(factor, *written) for factor, written in wanted.items())
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


def size_name(size: float) -> str:
    """A training size as one writes it: 2000, or `all` for `WHOLE`."""
    return ALL if size == WHOLE else str(int(size))


def _levels(factor: str, values: "pd.Series[Any]") -> tuple[np.ndarray, list[str]]:
    """For each row the place of its level's name, and the names; two levels may have one name."""
    import pandas as pd

    try:
        row_level, levels = pd.factorize(values, use_na_sentinel=False)
    except TypeError:  # lists, which cannot be told apart by hash
        row_level, levels = pd.factorize(values.astype(str), use_na_sentinel=False)
    return row_level, [level_name(factor, level) for level in levels]


def _as_written(factor: str, level: str, frame: "pd.DataFrame") -> str:
    """The spelling `level_name` gives this level: 1e-3 finds 0.001, null finds all."""
    import pandas as pd

    if level == "null":
        return level_name(factor, None)
    if level.startswith("["):  # as json.dumps spaces a list
        return ", ".join(part.strip() for part in level.split(","))
    if pd.api.types.is_numeric_dtype(frame[factor]):
        try:
            return level_name(factor, float(level))
        except (ValueError, OverflowError):
            return level
    return level


def with_configured_factors(frame: "pd.DataFrame") -> "tuple[pd.DataFrame, list[str]]":
    """The frame with a column for each setting in `config` that has more than one value, and their names.

    Such as model.widths or regularizer.form, as "string". What has a column already is left out. Rows without a
    readable `config` have nulls. `config` is text, or the categorical of `load_cells(..., brief=True)`.
    """
    import pandas as pd

    config = shared(frame["config"])
    codes = config.cat.codes.to_numpy()
    there = pd.unique(codes[codes >= 0])  # a filtered frame keeps the categories of rows that went
    by_code = np.full(len(config.cat.categories) + 1, len(there))  # the last place stands for no configuration
    by_code[there] = np.arange(len(there))
    row_config = by_code[codes]
    texts = config.cat.categories.take(there).tolist()
    extra: dict[str, Any] = {}
    for name, values in by_name(texts).items():
        if name not in frame.columns and len(set(values) - {None}) > 1:
            levels = pa.array([*values, None], pa.large_string())
            extra[name] = pd.array(levels.take(pa.array(row_config)), dtype=pd.StringDtype("pyarrow"))
    return frame.assign(**extra), list(extra)


def refuse_hidden_factors(frame: "pd.DataFrame", configured: Sequence[str] = ()) -> None:
    """Raise UserError where a mean over datasets, activations and seeds would also average something else.

    `strength` and a regularizer's options must not vary within one regularizer. `train_size`, `model` and the
    other `configured` columns (see `with_configured_factors`) must not vary within one dataset; between
    datasets they may (each has its own size), being then part of what the dataset is. A row without a result and
    without a configuration tells nothing of the `configured` columns.
    """
    told = frame[~untold(frame)] if configured else frame
    for factor in ("strength", "train_size", "model", *configured):
        within = "regularizer" if factor == "strength" or factor.startswith(OPTION) else "dataset"
        pairs = (told if factor in configured else frame)[[within, factor]].drop_duplicates()
        names = pairs[factor].map(lambda value, factor=factor: level_name(factor, value))
        for level in ordered(within, pairs[within]):
            present = _ascending(names[pairs[within] == level].unique())
            if len(present) > 1:
                raise UserError(
                    f"{factor} has {len(present)} levels for {within}={level} ({', '.join(map(quoted, present))}); "
                    f"they are not averaged over: pick one with --where {condition(factor, present[-1])}"
                )


def untold(frame: "pd.DataFrame") -> np.ndarray:
    """Of each row, whether it has neither a result nor a configuration."""
    if "status" not in frame.columns or "config" not in frame.columns:
        return np.zeros(len(frame), dtype=bool)
    waiting = frame["status"] != "done"
    return (waiting & frame["config"].isna()).to_numpy(dtype=bool)


def refuse_told_apart(frame: "pd.DataFrame", repeated: Collection[tuple[Any, ...]]) -> None:
    """Raise UserError for a column of the user's own that tells the rows of repeated cells apart.

    repeated: cells (dataset, activation, regularizer, seed) with several done rows. The column has a level of its
    own in each row of a cell, and each of its levels in several of the cells: a factor, not a time stamp.
    """
    import pandas as pd

    done = frame[frame["status"] == "done"]
    keys = pd.MultiIndex.from_frame(done[list(CROSSED)].astype(object))
    rows = done[keys.isin(list(repeated))]
    found: list[tuple[int, str]] = []
    for name in (column for column in frame.columns if column not in COLUMNS):
        row_level, levels = _levels(name, rows[name])
        cells = rows[list(CROSSED)].assign(_level=row_level).drop_duplicates()
        if len(levels) > 1 and len(cells) == len(rows) and int(cells["_level"].value_counts().min()) > 1:
            found.append((len(levels), name))
    if found:
        name = min(found)[1]
        present = _ascending(_levels(name, rows[name])[1])
        raise UserError(
            f"{len(repeated)} cells (dataset, activation, regularizer, seed) have several rows that {name} tells "
            f"apart ({', '.join(map(quoted, present))}); it is not averaged over: pick one with --where "
            f"{condition(name, present[-1])}"
        )


def _ascending(names: Sequence[str]) -> list[str]:
    def key(name: str) -> tuple[bool, float, str]:
        try:
            return False, float(name), ""
        except ValueError:
            return True, 0.0, name

    return sorted(names, key=key)
