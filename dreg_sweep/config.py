"""From a Hydra configuration to frozen dataclasses: the one place that knows the names in conf/."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from dreg_sweep.cells import (
    AugmentationSpec,
    Cell,
    ModelSpec,
    OptimizerSpec,
    Recipe,
    RegularizerSpec,
    ScheduleSpec,
)
from dreg_sweep.data import DatasetSpec, NoiseLadder
from dreg_sweep.data.spec import EVALUATE_ON
from dreg_sweep.errors import UserError, unknown_level
from dreg_sweep.factors import FACTORS
from dreg_sweep.paths import expanded

DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("float32", "tf32", "bf16")  # see dreg_sweep.precision, which this does without: it imports torch
RERUNS = ("failed", "stale", "mixed", "all", "none")

_RUN_KEYS = (
    "name", "device", "slots", "slots_per_gpu", "stack_size", "data_dir", "results_dir", "rerun", "dry_run",
    "timeout", "cuda_graphs",
)  # fmt: skip
_CELL_KEYS = ("activation", "seed", "train_size", "epochs", "steps", "batch_size", "precision", "evaluate_on")
_GROUPS = ("regularizer", "dataset", "model", "noise", "optimizer", "schedule", "augmentation")
# `always` is part of what a cell is; `strengths` is only referred to, by the files of conf/regularizer/.
_SHARED_KEYS = ("always",)
_REFERRED_KEYS = ("strengths",)
_CROSSED_KEYS = frozenset(factor.key for factor in FACTORS if factor.crossed)
# Overrides of these are levels of a factor and always part of a cell's key; others only as axes of a grid.
_LEVEL_KEYS = frozenset(factor.key for factor in FACTORS if not factor.crossed)


@dataclass(frozen=True)
class SweepSettings:
    """Where and how a sweep runs: nothing here changes a result."""

    results_dir: Path
    data_dir: Path
    device: str
    slots: int | None
    slots_per_gpu: int | None  # None: as many as the pilots say
    stack_size: int | None
    rerun: str
    dry_run: bool
    timeout: float | None  # seconds without a sign of life from a worker; None: as the pilots say
    cuda_graphs: bool = True


SETTINGS = tuple(field.name for field in fields(SweepSettings))  # their keys in the configuration


def conf_dir() -> Path:
    """The configuration folder: inside an installed wheel, or beside the package in a checkout."""
    packaged = Path(__file__).parent / "conf"
    return packaged if packaged.is_dir() else Path(__file__).parent.parent / "conf"


def settings_from_config(config: Mapping[str, Any]) -> SweepSettings:
    """Run settings from a resolved configuration; `UserError` for values out of range."""
    return SweepSettings(
        results_dir=expanded(_text(config, "results_dir"), "results_dir"),
        data_dir=expanded(_text(config, "data_dir"), "data_dir"),
        device=_choice(config, "device", DEVICES),
        slots=_optional_integer(config, "slots", 1),
        slots_per_gpu=None if config.get("slots_per_gpu") == "auto" else _integer(config, "slots_per_gpu", 1),
        stack_size=_optional_integer(config, "stack_size", 1),
        rerun=_choice(config, "rerun", RERUNS),
        dry_run=_boolean(config, "dry_run"),
        timeout=None if config.get("timeout") is None else _positive(config, "timeout"),
        cuda_graphs=_boolean(config, "cuda_graphs"),
    )


@dataclass(frozen=True)
class Groups:
    """What the cells of one combination of groups share; `config` is their share of a cell's configuration."""

    dataset: DatasetSpec
    regularizer: RegularizerSpec
    model: ModelSpec
    optimizer: OptimizerSpec
    schedule: ScheduleSpec
    augmentation: AugmentationSpec
    noise: NoiseLadder
    config: Mapping[str, Any]


def groups_from_config(config: Mapping[str, Any]) -> Groups:
    """The groups of a resolved configuration; `UserError` naming the key, its value and what it may be."""
    given = {name: _group(config, name) for name in _GROUPS}
    dataset, model = given["dataset"], given["model"]
    always = config.get("always") or {}
    regularizer = _regularizer(given["regularizer"], always)
    return Groups(
        dataset=DatasetSpec(
            name=_text(dataset, "name", "dataset."),
            source=_text(dataset, "source", "dataset."),
            modality=_text(dataset, "modality", "dataset."),
            regime=_text(dataset, "regime", "dataset."),
            path=None if dataset.get("path") is None else _text(dataset, "path", "dataset."),
            options=_options(dataset),
        ),
        regularizer=regularizer,
        model=ModelSpec(model["name"], _without(model, "name")),
        optimizer=_optimizer(given["optimizer"]),
        schedule=ScheduleSpec(given["schedule"]["name"], _without(given["schedule"], "name")),
        augmentation=AugmentationSpec(given["augmentation"]["name"], _without(given["augmentation"], "name")),
        noise=NoiseLadder(
            pixel_sigma=_numbers(given["noise"], "pixel_sigma", "noise."),
            text_rate=_numbers(given["noise"], "text_rate", "noise."),
        ),
        config={
            **given,
            "regularizer": {**given["regularizer"], "strength": regularizer.strength},
            "always": always,
            "dataset": {key: value for key, value in dataset.items() if key != "path"},
        },
    )


def refuse_misnamed(level: str, regularizer: Any) -> None:
    """`UserError` where the file of a level lacks its name or its strength, or names another method.

    regularizer: what the file of the level says. A copy that was not renamed would train the other method.
    """
    file = f"conf/regularizer/{level}.yaml"
    given = regularizer if isinstance(regularizer, Mapping) else {}
    for key in ("name", "strength"):
        if given.get(key) is None:
            raise UserError(f"{file} lacks {key}")
    method = level.partition("+")[0]
    if given["name"] != method:
        raise UserError(f"{file} says name: {given['name']}; it must be {method}, as the file is called")


@dataclass(frozen=True)
class Naming:
    """What a command's overrides say of the name of a cell.

    levels: configuration key → level, of those that join the crossed factors in the cell's key.
    strength_is_default: whether no override changed the regularizer's strength.
    options_changed: the options of the regularizer that an override changed.
    """

    levels: Mapping[str, str] = field(default_factory=dict)
    strength_is_default: bool = True
    options_changed: Sequence[str] = ()


def cell_from_config(
    config: Mapping[str, Any],
    naming: Naming,
    overrides: Sequence[str] = (),
    groups: Groups | None = None,
) -> Cell:
    """A cell from a resolved configuration.

    naming: what the overrides say of the cell's name.
    groups: those of this configuration, where they were made before for another cell.
    Errors: `UserError` naming the key, its value and what it may be.
    """
    _refuse_unknown(config)
    groups = groups or groups_from_config(config)
    _refuse_strengths_without_effect(config, groups.regularizer, overrides)
    extra_levels, baseline = naming.levels, groups.regularizer.name == "none"
    if baseline:
        extra_levels = {key: level for key, level in extra_levels.items() if key != "regularizer.strength"}
    steps = _optional_integer(config, "steps", 1)
    cell_config: dict[str, Any] = {
        "activation": _text(config, "activation"),
        "seed": _integer(config, "seed", 0),
        "train_size": _optional_integer(config, "train_size", 1),
        "epochs": None if steps else _integer(config, "epochs", 1),
        "steps": steps,
        "batch_size": _integer(config, "batch_size", 1),
        "precision": _choice(config, "precision", PRECISIONS),
        "evaluate_on": _choice(config, "evaluate_on", EVALUATE_ON),
        **groups.config,
    }
    cell = Cell(
        key="",
        dataset=groups.dataset,
        activation=cell_config["activation"],
        regularizer=groups.regularizer,
        model=groups.model,
        recipe=Recipe(
            epochs=cell_config["epochs"] or 1,
            steps=steps,
            batch_size=cell_config["batch_size"],
            optimizer=groups.optimizer,
            schedule=groups.schedule,
            augmentation=groups.augmentation,
            precision=cell_config["precision"],
        ),
        noise=groups.noise,
        seed=cell_config["seed"],
        train_size=cell_config["train_size"],
        evaluate_on=cell_config["evaluate_on"],
        config=cell_config,
        overrides=tuple(overrides),
        strength_is_default=baseline or naming.strength_is_default,
        options_changed=tuple(sorted(naming.options_changed)),
    )
    return replace(cell, key=_key(cell, extra_levels))


def _key(cell: Cell, extra_levels: Mapping[str, str]) -> str:
    """The levels of the crossed factors, then `name=level` of the others that were asked for."""
    crossed = [f"{factor.prefix}{factor.value(cell)}" for factor in FACTORS if factor.crossed]
    extras = [f"{key.removeprefix('regularizer.')}={level}" for key, level in sorted(extra_levels.items())]
    return "/".join([*crossed, *extras])


def group_values(config: Mapping[str, Any]) -> list[Any]:
    """The values of the groups, for whoever wants to know whether two configurations share them."""
    return [config.get(name) for name in (*_GROUPS, *_SHARED_KEYS)]


def names_a_level(key: str, swept: frozenset[str]) -> bool:
    """Whether an override of this key may belong in a cell's key beside the four factors.

    A grid's axes (`swept`) tell its cells apart, and a strength, a model or a training size is a level of a
    factor even when it does not vary. Any other setting that changes between two runs of one key makes the
    older row stale, instead of standing beside it under another name.
    """
    return (key in swept or key in _LEVEL_KEYS) and key not in (*_CROSSED_KEYS, *_RUN_KEYS, "experiment")


def _optimizer(group: Mapping[str, Any]) -> OptimizerSpec:
    lr = _number(group, "lr", "optimizer.")
    if lr <= 0:
        raise UserError(f"optimizer.lr={lr:g} must be above 0")
    return OptimizerSpec(group["name"], lr, _without(group, "name", "lr"))


def _refuse_unknown(config: Mapping[str, Any]) -> None:
    known = (*_RUN_KEYS, *_CELL_KEYS, *_GROUPS, *_SHARED_KEYS, *_REFERRED_KEYS)
    unknown = sorted(set(config) - set(known) - {"experiment"})
    if unknown:
        raise UserError(f"{unknown[0]} is not a key of the configuration; the keys: {', '.join(sorted(known))}")
    strengths = config.get("strengths") or {}
    if strengths:
        methods = [path.stem for path in (conf_dir() / "regularizer").glob("*.yaml") if "+" not in path.stem]
        for name in strengths:
            if name not in methods:
                raise unknown_level("strengths", name, methods)


def _refuse_strengths_without_effect(
    config: Mapping[str, Any], regularizer: RegularizerSpec, overrides: Sequence[str]
) -> None:
    """A level's file reads `strengths`; one with a plain number, or a copy that reads another's, does not."""
    asked = (config.get("strengths") or {}).get(regularizer.name)
    by_hand = any(text.lstrip("+").startswith("regularizer.strength=") for text in overrides)
    if asked is not None and asked != regularizer.strength and regularizer.name != "none" and not by_hand:
        name = regularizer.name
        raise UserError(
            f"strengths.{name}={asked} has no effect: conf/regularizer/{name}.yaml must say "
            f"strength: ${{oc.select:strengths.{name},{regularizer.strength:g}}}"
        )


def _group(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    group = config.get(name)
    if not isinstance(group, Mapping) or (name != "noise" and not isinstance(group.get("name"), str)):
        raise UserError(f"{name}={group} must be a level of the group {name}, one of the files in conf/{name}/")
    return group


def _options(dataset: Mapping[str, Any]) -> Mapping[str, Any]:
    options = dataset.get("options") or {}
    if not isinstance(options, Mapping):
        raise UserError(f"dataset.options={options} must be keys with values, for example {{difficulty: 0.8}}")
    return options


def _without(group: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in group.items() if key not in names}


def _regularizer(group: Mapping[str, Any], always: Any) -> RegularizerSpec:
    """The level, with what it adds and what every cell has; a method of the level replaces its namesake there."""
    also = _added(group.get("also"), "regularizer.also")
    name = group["name"]
    twice = next((other.name for other in also if other.name == name), None)
    if twice:
        raise UserError(f"regularizer.also.{twice} adds {twice} to itself")
    strength = _strength(group, "regularizer.")
    if name == "none":  # nothing to be strong: one baseline, whatever strength its rivals have
        strength = 0.0
    own = {name, *(other.name for other in also)}
    shared = tuple(spec for spec in _added(always, "always") if spec.name not in own)
    return RegularizerSpec(name, strength, _without(group, "name", "strength", "also"), also, shared)


def _added(methods: Any, key: str) -> tuple[RegularizerSpec, ...]:
    """Methods as `name: strength`, or `name: {strength: …, option: …}`; a null takes one out again."""
    if not methods:
        return ()
    if not isinstance(methods, Mapping):
        raise UserError(f"{key}={methods} must be methods with strengths, for example {{confidence_penalty: 0.1}}")
    specs = []
    for name, value in methods.items():
        if value is None:
            continue
        group = value if isinstance(value, Mapping) else {"strength": value}
        if "strength" not in group:
            raise UserError(f"{key}.{name} has no strength; give a number, or strength with the method's options")
        specs.append(RegularizerSpec(str(name), _strength(group, f"{key}.{name}."), _without(group, "strength")))
    return tuple(specs)


def _strength(group: Mapping[str, Any], prefix: str) -> float:
    strength = _number(group, "strength", prefix)
    if strength < 0:
        raise UserError(f"{prefix}strength={strength:g} must not be negative")
    return strength


def _text(config: Mapping[str, Any], key: str, prefix: str = "") -> str:
    value = config.get(key)
    if not isinstance(value, str) or not value:
        raise UserError(f"{prefix}{key}={value} must be a text")
    return value


def _choice(config: Mapping[str, Any], key: str, choices: Sequence[str]) -> str:
    value = config.get(key)
    if value not in choices:
        raise UserError(f"{key}={value} is unknown; choose one of: {', '.join(choices)}")
    return str(value)


def _boolean(config: Mapping[str, Any], key: str) -> bool:
    value = config.get(key)
    if not isinstance(value, bool):
        raise UserError(f"{key}={value} must be true or false")
    return value


def _integer(config: Mapping[str, Any], key: str, minimum: int) -> int:
    value = config.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value < 2**63:
        raise UserError(f"{key}={value} must be a whole number of at least {minimum} and below 2^63")
    return value


def _optional_integer(config: Mapping[str, Any], key: str, minimum: int) -> int | None:
    return None if config.get(key) is None else _integer(config, key, minimum)


def _number(config: Mapping[str, Any], key: str, prefix: str) -> float:
    value = config.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UserError(f"{prefix}{key}={value} must be a finite number")
    return float(value)


def _positive(config: Mapping[str, Any], key: str) -> float:
    value = _number(config, key, "")
    if value <= 0:
        raise UserError(f"{key}={value:g} must be above 0")
    return value


def _numbers(config: Mapping[str, Any], key: str, prefix: str) -> tuple[float, ...]:
    values = config.get(key)
    if values is None:
        return ()
    if not isinstance(values, list) or any(isinstance(v, bool) or not isinstance(v, int | float) for v in values):
        raise UserError(f"{prefix}{key}={values} must be a list of numbers, for example [0.5,1.0]")
    return tuple(float(value) for value in values)
