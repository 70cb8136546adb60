"""What the user chooses about the data: a dataset and a ladder of corruptions."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from dreg_sweep.errors import UserError, unknown_level

TaskName = Literal["classification", "regression"]

MODALITIES = ("vision", "text", "tabular")
REGIMES = ("clean", "messy")
EVALUATE_ON = ("test", "validation")


@dataclass(frozen=True)
class DatasetSpec:
    """One level of the factor `dataset`.

    name: the level as tables show it. source: key of `SOURCES`. path: the user's file, only for the sources
    `arrays` and `text_table`. options: knobs of the source, e.g. `n_components` of the text features.
    Raises `UserError` for a name that cannot stand in a key, or an unknown modality or regime.
    """

    name: str
    source: str
    modality: str
    regime: str
    path: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", str(self.name)):
            raise UserError(
                f"dataset.name={self.name!r} cannot be a level name; use letters, digits and any of _ . -"
            )
        if self.modality not in MODALITIES:
            raise unknown_level("dataset.modality", self.modality, MODALITIES)
        if self.regime not in REGIMES:
            raise unknown_level("dataset.regime", self.regime, REGIMES)


@dataclass(frozen=True)
class NoiseLadder:
    """Severities of the test-time corruptions, one tuple a kind of data; an empty tuple means none.

    pixel_sigma: standard deviation of the Gaussian noise, in units of the standardized inputs, > 0.
    text_rate: share of the words that are hit, in (0, 1].
    """

    pixel_sigma: tuple[float, ...] = ()
    text_rate: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for sigma in self.pixel_sigma:
            if not (math.isfinite(sigma) and sigma > 0):
                raise UserError(f"noise.pixel_sigma={list(self.pixel_sigma)}: {sigma} is not a number above 0")
        for rate in self.text_rate:
            if not 0 < rate <= 1:
                raise UserError(f"noise.text_rate={list(self.text_rate)}: {rate} is not above 0 and at most 1")


def check_options(spec: DatasetSpec, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults with the spec's options over them; `UserError` for an option the source does not have."""
    for option in spec.options:
        if option not in defaults:
            known = ", ".join(sorted(defaults)) or "none"
            raise UserError(
                f"dataset.options.{option} is unknown to source {spec.source}; its options are: {known}"
            )
    return {**defaults, **spec.options}


def whole_number(spec: DatasetSpec, options: Mapping[str, Any], name: str, least: int) -> int:
    """Option `name` as an int of at least `least`; `UserError` otherwise."""
    value = options[name]
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UserError(
            f"dataset.options.{name}={value!r} of {spec.name} must be a whole number of at least {least}"
        )
    return value


def real_number(spec: DatasetSpec, options: Mapping[str, Any], name: str, least: float) -> float:
    """Option `name` as a finite float of at least `least`; `UserError` otherwise."""
    value = options[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value < math.inf:
        raise UserError(
            f"dataset.options.{name}={value!r} of {spec.name} must be a finite number of at least {least:g}"
        )
    return float(value)
