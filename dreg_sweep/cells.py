"""A cell: one combination of factor levels, that is, one training run; its name, its hash and its random seeds."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from dreg_sweep.data import DatasetSpec, NoiseLadder
from dreg_sweep.streams import Streams, canonical_json, cell_streams


@dataclass(frozen=True)
class RegularizerSpec:
    """A regularizer level: a method, with others beside it where the level combines several.

    options: keyword arguments of the method's function. also: what the level adds. always: what every cell has
    besides, whatever its level.
    """

    name: str
    strength: float
    options: Mapping[str, Any]
    also: tuple["RegularizerSpec", ...] = ()
    always: tuple["RegularizerSpec", ...] = ()

    @property
    def level(self) -> str:
        """The name of the level, such as `spectreg+confidence_penalty`."""
        return "+".join([self.name, *(other.name for other in self.also)])

    @property
    def others(self) -> tuple["RegularizerSpec", ...]:
        """All methods beside the first."""
        return (*self.also, *self.always)

    @property
    def names(self) -> tuple[str, ...]:
        """All methods."""
        return (self.name, *(other.name for other in self.others))


@dataclass(frozen=True)
class ModelSpec:
    """A model level: `options` are the keyword arguments of its builder (widths, …)."""

    name: str
    options: Mapping[str, Any]


@dataclass(frozen=True)
class OptimizerSpec:
    """AdamW or SGD; `options` are the keyword arguments of the torch optimizer beside lr."""

    name: str
    lr: float
    options: Mapping[str, Any]


@dataclass(frozen=True)
class ScheduleSpec:
    """The course of the learning rate over the steps: constant, cosine, or piecewise."""

    name: str
    options: Mapping[str, Any]


@dataclass(frozen=True)
class AugmentationSpec:
    """Random changes of the training images: none or crop_flip with its options."""

    name: str
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Recipe:
    """How long and with what a cell trains. `steps` (optimizer steps), where given, replaces `epochs`.

    precision: of matrix products and convolutions in training (dreg_sweep.precision).
    """

    epochs: int
    steps: int | None
    batch_size: int
    optimizer: OptimizerSpec
    schedule: ScheduleSpec
    augmentation: AugmentationSpec = AugmentationSpec("none", {})
    precision: str = "float32"


@dataclass(frozen=True)
class Cell:
    """One training run. `config` is the resolved configuration without what cannot change the result.

    A grid may have 100,000 of them: what is long and quickly made again (the JSON texts) is not kept.
    """

    key: str  # readable and unique in its grid, for example mnist/relu/dreg/s0
    dataset: DatasetSpec
    activation: str
    regularizer: RegularizerSpec
    model: ModelSpec
    recipe: Recipe
    noise: NoiseLadder
    seed: int
    train_size: int | None
    evaluate_on: str
    config: Mapping[str, Any]
    overrides: tuple[str, ...] = ()  # what `dreg-sweep` takes to run this cell alone
    strength_is_default: bool = True  # no override set the strength
    options_changed: tuple[str, ...] = ()  # the options of the regularizer that an override changed

    @property
    def config_json(self) -> str:
        """`config` as canonical JSON (sorted keys): what the results' `config` column holds."""
        return canonical_json(self.config)

    @cached_property
    def config_hash(self) -> str:
        """16 hex digits of SHA-256 over the canonical JSON."""
        return hashlib.sha256(self.config_json.encode()).hexdigest()[:16]

    @cached_property
    def stack_key(self) -> str:
        """Equal for cells with one computation graph: a digest of all but seed and strength."""
        return self._graph_digest(self.config)

    @cached_property
    def stack_key_of_any_activation(self) -> str:
        """Equal for cells with one computation graph but for their activation."""
        return self._graph_digest({**self.config, "activation": None})

    def _graph_digest(self, config: Mapping[str, Any]) -> str:
        regularizer = {**config["regularizer"], "strength": None}
        graph = {**config, "seed": None, "path": self.dataset.path, "regularizer": regularizer}
        return hashlib.sha256(canonical_json(graph).encode()).hexdigest()[:16]

    @property
    def _method(self) -> Mapping[str, Any]:
        """What the stream of penalty noise depends on."""
        spec = self.regularizer
        also = {other.name: {"strength": other.strength, **other.options} for other in spec.also}
        return {"name": spec.name, **spec.options, **({"also": also} if also else {})}

    @cached_property
    def streams(self) -> Streams:
        """The seeds of the cell's random streams."""
        return cell_streams(
            dataset=self.dataset.name,
            train_size=self.train_size,
            model={"name": self.model.name, **self.model.options},
            seed=self.seed,
            activation=self.activation,
            method=self._method,
            strength=self.regularizer.strength,
        )
