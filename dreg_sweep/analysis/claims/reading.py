"""The sentences of an abstract as data, and how one is read from a file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from dreg_sweep.analysis.claims.strict_yaml import read_yaml
from dreg_sweep.errors import UserError
from dreg_sweep.factors import BLOCK, level_text

KINDS = ("highest", "higher", "placed", "ordering", "scarcity", "pressure", "no_loophole")
GROUPS = ("modality", "regime")
PLACES = (*BLOCK, *GROUPS, "train_size")
# By the method a study is about; the first of these in the data is the default treatment.
BUILT_IN = {
    "dreg": "dreg.yaml",
    "double_backprop": "gradreg.yaml",
    "spectreg": "gradreg.yaml",
    "double_backprop+confidence_penalty": "gradreg.yaml",
    "spectreg+confidence_penalty": "gradreg.yaml",
    "confidence_penalty": "gradreg.yaml",
}
_STUDY_KEYS = ("study", "source", "method", "rivals", "claims", "metric", "reading")
_KEYS = (
    "id", "sentence", "kind", "metric", "rivals", "behind", "order", "baseline", "measure", "where", "method",
)  # fmt: skip
_SHARED = ("method", "rivals", "metric")
_WITHOUT_METRIC = ("pressure", "no_loophole")
_ONE_SIZE = ("highest", "higher", "placed", "ordering")
_MEASURES = ("logit_jacobian", "input_gradient")


@dataclass(frozen=True)
class Claim:
    """One sentence about one method.

    id, sentence: as printed. kind: out of `KINDS`, see dreg.yaml. method: the regularizer it praises.
    metric: the measure it speaks of. rivals: whom it is compared with, empty for all others. behind: those of
    `placed` that are better. order: of `ordering`, best first, each place the methods that are called equal.
    baseline: of `pressure` and `no_loophole`. measure: of `no_loophole`, logit_jacobian or input_gradient.
    where: factor, group of datasets, training size or setting → the levels it is limited to.
    """

    id: str
    sentence: str
    kind: str
    method: str
    metric: str = "overall"
    rivals: tuple[str, ...] = ()
    behind: tuple[str, ...] = ()
    order: tuple[tuple[str, ...], ...] = ()
    baseline: str = "none"
    measure: str = "logit_jacobian"
    where: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Study:
    """Claims with where they stand. reading: what the one-sided tests by seed, uncorrected, are to this study."""

    title: str
    source: str
    claims: tuple[Claim, ...]
    reading: str = ""


def read_study(path: Path) -> Study:
    """A study's claims from YAML; raises UserError for what cannot be read or understood."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--claims {path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    return parse_study(text, str(path))


def built_in(
    treatment: Any, baseline: Any | None, metrics: Sequence[str], called: Mapping[str, str] | None = None
) -> Study:
    """The study about this treatment, or else what anyone would claim of one: that it is the best.

    A study speaks where the data have the metric of its first claim. called: what sentences
    call a metric, where that is not its name.
    """
    if treatment in BUILT_IN:
        text = resources.files(__package__).joinpath(BUILT_IN[treatment]).read_text("utf-8")
        study = parse_study(text, BUILT_IN[treatment])
        if study.claims[0].metric in metrics:
            return study
    general: list[Claim] = []
    for place, metric in enumerate(metrics, start=1):
        said = (called or {}).get(metric, metric)
        general.append(
            Claim(f"{place}a", f"{treatment} is the best of all in {said}.", "highest", str(treatment), metric)
        )
        if baseline not in (None, treatment):
            sentence = f"{treatment} is significantly better than {baseline} in {said}."
            general.append(Claim(f"{place}b", sentence, "higher", str(treatment), metric, rivals=(str(baseline),)))
    return Study(f"What one would claim of {treatment}", "no published claims were given", tuple(general))


def parse_study(text: str, name: str) -> Study:
    """A study from YAML text; `name` is what messages call it."""
    content = read_yaml(text, name)
    if not isinstance(content, dict) or not isinstance(content.get("claims"), list) or not content["claims"]:
        raise UserError(f"{name} has no list `claims`; see the fields in dreg_sweep/analysis/claims/dreg.yaml")
    unknown = sorted(set(map(str, content)) - set(_STUDY_KEYS))
    if unknown:
        raise UserError(f"{name}: unknown key {unknown[0]}; choose from: {', '.join(_STUDY_KEYS)}")
    shared = {key: content[key] for key in _SHARED if content.get(key) is not None}
    claims = tuple(
        _claim(entry, shared, f"{name}, claim {place}") for place, entry in enumerate(content["claims"], start=1)
    )
    ids = [claim.id for claim in claims]
    twice = next((one for one in ids if ids.count(one) > 1), None)
    if twice is not None:
        raise UserError(f"{name}: two claims have the id {twice}")
    title, source, reading = (
        _name(content.get(key, default), f"{name}: {key}")
        for key, default in (("study", name), ("source", ""), ("reading", ""))
    )
    return Study(title, source, claims, reading)


def _claim(entry: Any, shared: Mapping[str, Any], place: str) -> Claim:
    if not isinstance(entry, dict):
        raise UserError(f"{place} is not a mapping with id, sentence and kind")
    for key in entry:
        if key not in _KEYS:
            raise UserError(f"{place}: unknown key {key}; choose from: {', '.join(_KEYS)}")
    for key in ("id", "sentence", "kind"):
        if entry.get(key) in (None, ""):
            raise UserError(f"{place} has no {key}")
    kind = _name(entry["kind"], f"{place}: kind")
    if kind not in KINDS:
        raise UserError(f"{place}: kind {kind} is unknown; choose from: {', '.join(KINDS)}")
    fields = {**shared, **entry}
    order = _order(fields.get("order"), place) if kind == "ordering" else ()
    if order:
        fields["method"] = order[0][0]  # the best is the one that is praised
    if "method" not in fields:
        raise UserError(f"{place} has no method, and the study names none")
    needed = {"higher": "rivals", "placed": "behind", "ordering": "order"}.get(kind)
    if needed and not entry.get(needed):
        raise UserError(f"{place}: kind {kind} needs {needed}")
    where = fields.get("where") or {}
    if not isinstance(where, dict) or any(name not in PLACES and "." not in str(name) for name in where):
        raise UserError(f"{place}: where takes {', '.join(PLACES)}, or a setting such as augmentation.name")
    if "train_size" in where and kind not in _ONE_SIZE:
        raise UserError(f"{place}: where takes a train_size for the kinds {', '.join(_ONE_SIZE)} only")
    measure = _name(fields.get("measure", _MEASURES[0]), f"{place}: measure")
    if measure not in _MEASURES:
        raise UserError(f"{place}: measure {measure} is unknown; choose from: {', '.join(_MEASURES)}")
    method = _name(fields["method"], f"{place}: method")
    rivals, behind = (_names(fields.get(key), f"{place}: {key}") for key in ("rivals", "behind"))
    if method in (*_names(entry.get("rivals"), f"{place}: rivals"), *behind):
        raise UserError(f"{place}: {method} cannot be compared with itself")
    return Claim(
        id=_name(entry["id"], f"{place}: id"),
        sentence=_name(entry["sentence"], f"{place}: sentence").strip(),
        kind=kind,
        method=method,
        metric=_name(fields.get("metric", "overall"), f"{place}: metric"),
        rivals=tuple(name for name in dict.fromkeys((*rivals, *(behind if rivals else ()))) if name != method),
        behind=behind,
        order=order,
        baseline=_name(fields.get("baseline", "none"), f"{place}: baseline"),
        measure=measure,
        where={key: _levels(key, value, f"{place}: where: {key}") for key, value in where.items()},
    )


def _order(value: Any, place: str) -> tuple[tuple[str, ...], ...]:
    """Best first; a place is a method or a list of methods that are called equal."""
    if not isinstance(value, list):
        value = []
    order = tuple(_names(one, f"{place}: order") for one in value)
    names = [name for one in order for name in one]
    if len(order) < 2 or not all(order) or len(set(names)) < len(names):
        raise UserError(
            f"{place}: kind ordering needs order, best first, such as [[a], [b, c], [d]]: two places or more, "
            "each with a method, and no method twice"
        )
    return order


def _name(value: Any, place: str) -> str:
    """A single text; YAML reads `no` and `off` as false, which no level is called."""
    if isinstance(value, bool):
        word = str(value).lower()
        raise UserError(
            f"{place} is {word}, not a name: YAML reads yes, no, on and off as true and false; put the name in quotes"
        )
    if not isinstance(value, str | int | float):
        raise UserError(f"{place} is {value!r:.60}, not a name; put it in quotes if it is one")
    return value if isinstance(value, str) else level_text(value)


def _names(value: Any, place: str) -> tuple[str, ...]:
    values = value if isinstance(value, list) else [] if value is None else [value]
    return tuple(_name(one, place) for one in values)


def _levels(factor: str, value: Any, place: str) -> tuple[Any, ...]:
    names = _names(value, place)
    if not names:
        raise UserError(f"{place} has no level")
    if factor == "train_size" and len(names) > 1:
        raise UserError(f"{place} takes one size, not {', '.join(names)}: sizes are not averaged over")
    if factor != "seed":
        return names
    try:
        return tuple(int(name) for name in names)
    except ValueError as error:
        raise UserError(f"{place}: a seed is a whole number, not {', '.join(names)}") from error
