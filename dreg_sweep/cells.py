"""A cell: one combination of factor levels, that is, one training run; its name, its hash and its random seeds."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from dreg_sweep.data import DatasetSpec, NoiseLadder


@dataclass(frozen=True)
class RegularizerSpec:
    """A regularizer level: `options` are the keyword arguments of its function."""

    name: str
    strength: float
    options: Mapping[str, Any]


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
class Recipe:
    """How long and with what a cell trains. `steps` (optimizer steps), where given, replaces `epochs`."""

    epochs: int
    steps: int | None
    batch_size: int
    optimizer: OptimizerSpec
    schedule: ScheduleSpec


@dataclass(frozen=True)
class Streams:
    """Seeds of a cell's random streams in training; the data package draws the split by (dataset, size, seed)."""

    initialization: int
    batches: int
    penalty: int  # penalty noise, dropout masks, power-iteration starts


@dataclass(frozen=True)
class Cell:
    """One training run. `config` is the resolved configuration without what cannot change the result."""

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

    @cached_property
    def config_json(self) -> str:
        """`config` as canonical JSON (sorted keys): what the results' `config` column holds."""
        return canonical_json(self.config)

    @cached_property
    def config_hash(self) -> str:
        """16 hex digits of SHA-256 over the canonical JSON."""
        return hashlib.sha256(self.config_json.encode()).hexdigest()[:16]

    @cached_property
    def stack_key(self) -> str:
        """Equal for cells with one computation graph: all but the seed and the regularizer's strength."""
        config: dict[str, Any] = {**self.config, "seed": None, "path": self.dataset.path}
        config["regularizer"] = {**config["regularizer"], "strength": None}
        return canonical_json(config)

    @cached_property
    def streams(self) -> Streams:
        """Initialization and batch order depend on (dataset, train_size, model, seed) only."""
        model = {"name": self.model.name, **self.model.options}
        paired = (self.dataset.name, self.train_size, model, self.seed)
        method = {"name": self.regularizer.name, **self.regularizer.options}
        own = (*paired, self.activation, method, self.regularizer.strength)
        return Streams(
            initialization=stream_seed("initialization", *paired),
            batches=stream_seed("batches", *paired),
            penalty=stream_seed("penalty", *own),
        )


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values have equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def stream_seed(*parts: Any) -> int:
    """A 63-bit seed that depends on all the parts (JSON values) and on nothing else."""
    digest = hashlib.blake2b(canonical_json(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
