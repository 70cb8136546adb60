"""The seeds of a cell's random streams in training; the data package draws the split by (dataset, size, seed)."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Streams:
    """One seed a stream."""

    initialization: int
    batches: int
    augmentation: int
    penalty: int  # penalty noise, dropout masks, power-iteration starts


def cell_streams(
    *,
    dataset: str,
    train_size: int | None,
    model: Mapping[str, Any],
    seed: int,
    activation: str,
    method: Mapping[str, Any],
    strength: float,
) -> Streams:
    """Initialization, batch order and augmentation depend on (dataset, train_size, model, seed) only."""
    paired = (dataset, train_size, model, seed)
    return Streams(
        initialization=stream_seed("initialization", *paired),
        batches=stream_seed("batches", *paired),
        augmentation=stream_seed("augmentation", *paired),
        penalty=stream_seed("penalty", *paired, activation, method, strength),
    )


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values have equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def stream_seed(*parts: Any) -> int:
    """A 63-bit seed that depends on all the parts (JSON values) and on nothing else."""
    digest = hashlib.blake2b(canonical_json(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
