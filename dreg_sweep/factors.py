"""The one list of the factors of a grid and of the columns that identify a cell.

The store's schemas, the key of a cell, the plan, dreg-status and the analysis take their factors from here. A new
factor is one more line in `FACTORS`.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dreg_sweep.cells import Cell


@dataclass(frozen=True)
class Column:
    """A column that identifies a cell.

    name: of the column. kind: the type of its values, of which each may be null. value: a cell's value.
    """

    name: str
    kind: type[str] | type[int] | type[float] | type[bool]
    value: "Callable[[Cell], Any]"


@dataclass(frozen=True)
class Factor(Column):
    """A column whose levels a grid may vary.

    setting: the configuration key that sets the level, where it is not the name.
    crossed: whether every grid is crossed over this factor. The levels of crossed factors name a cell without
        further words; those of the others stand in a cell's key as `name=level`.
    prefix: stands before the level in a cell's key.
    null: how a null level is written.
    """

    setting: str = ""
    crossed: bool = False
    prefix: str = ""
    null: str = "null"

    @property
    def key(self) -> str:
        """The configuration key that sets the level."""
        return self.setting or self.name


FACTORS = (  # the crossed ones in the order in which they stand in a cell's key, for example mnist/relu/dreg/s0
    Factor("dataset", str, lambda cell: cell.dataset.name, crossed=True),
    Factor("activation", str, lambda cell: cell.activation, crossed=True),
    Factor("regularizer", str, lambda cell: cell.regularizer.level, crossed=True),
    Factor("seed", int, lambda cell: cell.seed, crossed=True, prefix="s"),
    Factor("strength", float, lambda cell: cell.regularizer.strength, setting="regularizer.strength"),
    Factor("model", str, lambda cell: cell.model.name),
    Factor("train_size", int, lambda cell: cell.train_size, null="all"),
)
COMPARED = "regularizer"  # the factor whose levels the analysis compares within blocks
CROSSED = tuple(factor.name for factor in FACTORS if factor.crossed)
BLOCK = tuple(name for name in CROSSED if name != COMPARED)  # a block's cells differ in the compared factor alone
BY_NAME = {factor.name: factor for factor in FACTORS}

IDENTITY = (  # what else a stored row says of its cell
    Column("cell", str, lambda cell: cell.key),
    Column("config_hash", str, lambda cell: cell.config_hash),
    Column("strength_is_default", bool, lambda cell: cell.strength_is_default),
    Column("options", str, lambda cell: json.dumps(cell.regularizer.options, sort_keys=True)),
    Column("options_changed", str, lambda cell: json.dumps(cell.options_changed)),
    Column("modality", str, lambda cell: cell.dataset.modality),
    Column("regime", str, lambda cell: cell.dataset.regime),
    Column("evaluated_on", str, lambda cell: cell.evaluate_on),
    Column("precision", str, lambda cell: cell.recipe.precision),
)


_WRITTEN_OUT = 10**15  # larger whole numbers are written as floats are, with an exponent


def level_text(value: Any) -> str:
    """A level in the one spelling that keys have.

    Args:
        value: of a resolved configuration: a number, text, bool, None, or a list of such.

    Returns:
        The same text for values that are equal: 1, 1.0 and 1e0 are `1`; lists have no spaces.
    """
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, float) and value.is_integer() and abs(value) < _WRITTEN_OUT:
        value = int(value)
    if (
        isinstance(value, int)
        and abs(value) >= _WRITTEN_OUT
        and abs(value) < 2**1023
        and int(float(value)) == value
    ):
        value = float(value)
    if isinstance(value, list | tuple):
        return f"[{','.join(map(level_text, value))}]"
    return repr(value) if isinstance(value, float) else str(value)


_LEVEL = re.compile(r"=([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?=/|$)")


def key_of_before(key: str) -> str:
    """A cell's key with its numbers spelled as `level_text` does; folders written before have them as typed."""
    return _LEVEL.sub(lambda match: f"={level_text(_number(match[1]))}", key)


def _number(text: str) -> int | float:
    return int(text) if text.lstrip("+-").isdigit() else float(text)


def like(value: Any, before: Any) -> Any:
    """A value that was typed, with the type of the one that it replaces, so that equal numbers are one value.

    Args:
        value: a number, a list of numbers, or anything else, which is returned as it is.
        before: what stands in its place in the configuration; None where nothing does.

    Returns:
        A float in the place of a float; in the place of any other value a whole number as an int.
    """
    if isinstance(value, list):
        first = before[0] if isinstance(before, list) and before else None
        if first is None and not all(isinstance(one, float) and one.is_integer() for one in value):
            return value
        return [like(one, first) for one in value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    if isinstance(before, float):
        return float(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value
