"""The one list of the factors of a grid and of the columns that identify a cell.

The store's schemas, the key of a cell, the plan, dreg-status and the analysis take their factors from here. A new
factor is one more line in `FACTORS`.
"""

import json
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

    setting: the configuration key that sets the level, where it is not the name. crossed: whether every grid is
    crossed over this factor, so that its levels name a cell without further words; the levels of the others stand
    in a cell's key as `name=level`. prefix: stands before the level in the key of a cell. null: how a null level is
    written. within: the factor each of whose levels has levels of its own of this one (a strength belongs to a
    regularizer); empty where the levels mean the same everywhere.
    """

    setting: str = ""
    crossed: bool = False
    prefix: str = ""
    null: str = "null"
    within: str = ""

    @property
    def key(self) -> str:
        """The configuration key that sets the level."""
        return self.setting or self.name


FACTORS = (  # the crossed ones in the order in which they stand in a cell's key, for example mnist/relu/dreg/s0
    Factor("dataset", str, lambda cell: cell.dataset.name, crossed=True),
    Factor("activation", str, lambda cell: cell.activation, crossed=True),
    Factor("regularizer", str, lambda cell: cell.regularizer.level, crossed=True),
    Factor("seed", int, lambda cell: cell.seed, crossed=True, prefix="s"),
    Factor(
        "strength",
        float,
        lambda cell: cell.regularizer.strength,
        setting="regularizer.strength",
        within="regularizer",
    ),
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
    Column("modality", str, lambda cell: cell.dataset.modality),
    Column("regime", str, lambda cell: cell.dataset.regime),
    Column("evaluated_on", str, lambda cell: cell.evaluate_on),
    Column("precision", str, lambda cell: cell.recipe.precision),
)
