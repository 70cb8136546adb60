"""Nested configurations as one level of dotted keys."""

import json
from collections.abc import Mapping
from typing import Any


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A configuration without nesting.

    Args:
        config: as in a cell, with mappings inside mappings.
        prefix: what stands before every key.

    Returns:
        Dotted key → value, for example `{"optimizer.lr": 0.001}`. Lists are values; an empty mapping has no keys.
    """
    fields: dict[str, Any] = {}
    for key, value in config.items():
        fields |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return fields


def fields_of(text: object) -> dict[str, Any] | None:
    """The same of a configuration as JSON text; None for what is no text of a JSON object."""
    try:
        parsed = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return None
    return flat(parsed) if isinstance(parsed, dict) else None
