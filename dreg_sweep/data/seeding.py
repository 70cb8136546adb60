"""Named random streams: a generator depends on what it is for, never on what was drawn before it."""

import hashlib
import json

import numpy as np

Part = str | int | float | bool | None | list["Part"] | dict[str, "Part"]


def digest(*parts: Part) -> str:
    """sha256, as 64 hex digits, of the parts written as JSON (so 1 and "1" differ)."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def generator(*parts: Part) -> np.random.Generator:
    """The PCG64 generator of the stream with this name, e.g. `generator("split", "mnist", 2000, 0)`."""
    return np.random.Generator(np.random.PCG64(int(digest(*parts), 16)))
