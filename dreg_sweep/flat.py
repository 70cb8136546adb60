"""Nested configurations as one level of dotted keys."""

import json
from collections.abc import Mapping
from typing import Any


def flat(config: Mapping[str, Any], prefix: str = "", depth: int | None = None) -> dict[str, Any]:
    """A configuration without nesting.

    Args:
        config: as in a cell, with mappings inside mappings.
        prefix: what stands before every key.
        depth: how many mappings may be opened inside each other; one further inside is a value. None opens all.

    Returns:
        Dotted key → value, for example `{"optimizer.lr": 0.001}`. Lists are values; a mapping that is opened and empty
        has no keys.
    """
    fields: dict[str, Any] = {}
    inside = None if depth is None else depth - 1
    for key, value in config.items():
        opened = isinstance(value, Mapping) and depth != 0
        fields |= flat(value, f"{prefix}{key}.", inside) if opened else {f"{prefix}{key}": value}
    return fields


def fields_of(text: object, depth: int | None = None) -> dict[str, Any] | None:
    """The same of a configuration as JSON text; None for what is no text of a JSON object."""
    try:
        parsed = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return None
    return flat(parsed, depth=depth) if isinstance(parsed, dict) else None
