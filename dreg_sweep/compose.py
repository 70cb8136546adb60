"""Composes the cells of a grid with Hydra's own machinery, as few times as will do.

Hydra composes a job by merging YAML files (0.2 s: all groups, Hydra's own included), setting the value overrides
and resolving interpolations (10 ms). The jobs of a grid share few combinations of files, so each combination is
merged once. And many differ in plain values only, such as seeds: a number or a word in the place of another,
which nothing else in the configuration refers to. Those are set in a copy of a configuration that was resolved
once (microseconds). The result equals Hydra's job by job; whatever is not as plain as that takes the longer way.
"""

import copy
import re
from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from dreg_sweep.cells import Cell
from dreg_sweep.config import (
    SETTINGS,
    Groups,
    Naming,
    SweepSettings,
    cell_from_config,
    group_values,
    groups_from_config,
    names_a_level,
    refuse_misnamed,
    settings_from_config,
)
from dreg_sweep.errors import UserError
from dreg_sweep.factors import level_text, like

_STRENGTH = "regularizer.strength"


@dataclass(frozen=True)
class Grid:
    """The cells of one command and the settings they share."""

    cells: Sequence[Cell]
    settings: SweepSettings


class GridComposer:
    """Resolved configurations for the jobs of one command. `master` is the command's own configuration."""

    def __init__(self, loader: ConfigLoader, master: DictConfig) -> None:
        assert isinstance(loader, ConfigLoaderImpl)
        self._loader = loader
        self._config_name = master.hydra.job.config_name
        self._hydra_overrides = list(master.hydra.overrides.hydra)
        self._parser = OverridesParser.create(config_loader=loader)
        self._parsed: dict[str, _Parsed] = {}
        self._merged: dict[tuple[str, ...], tuple[DictConfig, DictConfig]] = {}
        self._templates: dict[tuple[str, ...], _Template | None] = {}
        self._bare: dict[tuple[tuple[str, ...], frozenset[str]], dict[str, Any]] = {}

    def resolve(self, overrides: Sequence[str]) -> dict[str, Any]:
        """The configuration of the job with these overrides, as plain values without the hydra node.

        Jobs share the nodes in which they do not differ: not to be changed.
        """
        parsed = [self._parse(text) for text in overrides]
        template = self._template_of(parsed)
        plain = [p for p in parsed if p.plain]
        if template is None or not all(template.is_free(p.key) for p in plain):
            return self._resolve(overrides)
        config = template.config
        for p in plain:
            config = _with(config, p.key.split("."), like(p.value, _at(config, p.key)))
        return config

    def _template_of(self, parsed: Sequence["_Parsed"]) -> "_Template | None":
        """The template of jobs with these overrides, whatever their plain values are."""
        others = tuple(p.text for p in parsed if not p.plain)
        if others not in self._templates:
            self._templates[others] = self._template(others)
        return self._templates[others]

    def _resolve(self, overrides: Sequence[str]) -> dict[str, Any]:
        """As Hydra does it."""
        return _resolved(self._with_values_set(overrides))

    def _with_values_set(self, overrides: Sequence[str]) -> DictConfig:
        """The merged configuration of the job, interpolations unresolved; not to be changed."""
        parsed = [self._parse(text).override for text in overrides]
        groups = [o for o in parsed if self._loader.repository.group_exists(o.key_or_group)]
        merged, hydra_config = self._merge(tuple(str(o.input_line) for o in groups))
        HydraConfig.instance().set_config(hydra_config)  # what ${hydra:…} reads
        values = [o for o in parsed if o not in groups]
        if not values:
            return merged
        config = copy.deepcopy(merged)
        ConfigLoaderImpl._apply_overrides_to_config(values, config)
        for override in values:
            _take_type_of_before(config, merged, override.key_or_group)
        return config

    def _template(self, overrides: tuple[str, ...]) -> "_Template | None":
        """What jobs with these overrides and plain values beside them start from; None where that cannot be."""
        try:
            config = self._with_values_set(overrides)
            resolved, referred = _resolved(config), _referred_keys(config)
        except (HydraException, OmegaConfBaseException):  # a plain value may be what it lacks
            return None
        if referred is None:
            return None
        values = {p.key for p in map(self._parse, overrides) if not self._loader.repository.group_exists(p.key)}
        return _Template(resolved, referred | values)

    def _parse(self, text: str) -> "_Parsed":
        """One override, parsed once however many jobs have it."""
        if text not in self._parsed:
            (override,) = self._parser.parse_overrides([text])
            is_group = self._loader.repository.group_exists(override.key_or_group)
            value = None if override.is_delete() or override.is_sweep_override() else override.value()
            simple = override.type is OverrideType.CHANGE and override.package is None and not is_group
            plain = (
                simple and type(value) in (int, float, bool, str) and not ("${" in str(value) or value == "???")
            )
            as_typed = None if override.is_delete() else str(override.get_value_element_as_str())
            self._parsed[text] = _Parsed(text, override, override.key_or_group, as_typed, value, plain)
        return self._parsed[text]

    def texts(self, overrides: Sequence[str]) -> dict[str, str]:
        """Key → value of the overrides, as typed."""
        parsed = (self._parse(text) for text in overrides)
        return {p.key: p.as_typed for p in parsed if p.as_typed is not None}

    def naming(
        self,
        overrides: Sequence[str],
        texts: Mapping[str, str],
        config: Mapping[str, Any],
        swept: frozenset[str],
    ) -> Naming:
        """What the overrides say of the cell's name. texts: see `texts`. config: what they resolve to.

        In its key stand the levels of a grid's axes and of a factor, where they make a difference to what the cell
        would be without them: one run has one key, however it was asked for.
        """
        named = {key: text for key, text in texts.items() if names_a_level(key, swept)}
        levels = {
            key: level_text(value) if not isinstance(value := _at(config, key), Mapping) else named[key]
            for key in self._that_matter(overrides, config, named)
        }
        strengths = [key for key in texts if key == _STRENGTH or key.startswith("strengths.")]
        options = [key for key in texts if key.startswith("regularizer.") and key != _STRENGTH]
        return Naming(
            levels,
            _at(config, _STRENGTH) == _at(self._without(overrides, strengths), _STRENGTH) if strengths else True,
            [key.partition(".")[2] for key in self._that_matter(overrides, config, options)],
        )

    def _that_matter(
        self, overrides: Sequence[str], config: Mapping[str, Any], keys: Collection[str]
    ) -> list[str]:
        """Those of the keys whose value would be another without the overrides of them all."""
        if not keys:
            return []
        without = self._without(overrides, keys)
        return [key for key in keys if _at(config, key) != _at(without, key)]

    def _without(self, overrides: Sequence[str], keys: Collection[str]) -> dict[str, Any]:
        """As if none of these keys were set, nor what only the levels have that they choose.

        Plain values elsewhere, such as the seed, are left out: they change nothing at these keys.
        """
        parsed = [p for p in map(self._parse, overrides) if p.key not in keys]
        template = self._template_of(parsed)
        if template is not None:
            parsed = [p for p in parsed if not (p.plain and template.is_free(p.key)) or _related(p.key, keys)]
        asked = tuple(p.text for p in parsed), frozenset(keys)
        if asked not in self._bare:
            try:
                self._bare[asked] = self.resolve(asked[0])
            except (HydraException, OmegaConfBaseException):  # model.padding without the model=lenet that has one
                below = tuple(f"{key}." for key in keys)
                self._bare[asked] = self.resolve([p.text for p in parsed if not p.key.startswith(below)])
        return self._bare[asked]

    def _merge(self, groups: tuple[str, ...]) -> tuple[DictConfig, DictConfig]:
        if groups not in self._merged:
            hydra_config = self._loader.load_configuration(
                self._config_name, [*self._hydra_overrides, *groups], RunMode.RUN
            )
            config = copy.deepcopy(hydra_config)
            with open_dict(config):
                del config["hydra"]
            level, regularizer = hydra_config.hydra.runtime.choices.get("regularizer"), config.get("regularizer")
            if level is not None and isinstance(regularizer, DictConfig):
                refuse_misnamed(str(level), OmegaConf.to_container(regularizer, resolve=False))
            self._merged[groups] = (config, hydra_config)
        return self._merged[groups]


@dataclass(frozen=True)
class _Parsed:
    """An override. plain: it sets a key to a number or a word; as_typed: its value, None where it deletes."""

    text: str
    override: Override
    key: str
    as_typed: str | None
    value: Any
    plain: bool


class _Template:
    """A resolved configuration, and the keys that other nodes of it (or overrides in it) speak of."""

    def __init__(self, config: dict[str, Any], referred: Set[str]) -> None:
        self.config, self._referred = config, referred
        self._free: dict[str, bool] = {}

    def is_free(self, key: str) -> bool:
        """Whether setting this key changes nothing but the key: it is there, a leaf, and nobody refers to it."""
        if key not in self._free:
            value: Any = self.config
            for part in key.split("."):
                value = value.get(part, {}) if isinstance(value, dict) else {}
            related = (
                f"{other}.".startswith(f"{key}.") or f"{key}.".startswith(f"{other}.") for other in self._referred
            )
            self._free[key] = not isinstance(value, dict | list) and not any(related)
        return self._free[key]


def _resolved(config: DictConfig) -> dict[str, Any]:
    """As plain values."""
    resolved = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    assert isinstance(resolved, dict)
    return {str(key): value for key, value in resolved.items()}


_REFERENCE = re.compile(r"\$\{(?:oc\.select:)?([A-Za-z_]\w*(?:\.\w+)*)(?:,[^${}]*)?\}")


def _referred_keys(config: DictConfig) -> set[str] | None:
    """The keys that interpolations name; None where one is not simply `${key}` or `${oc.select:key,default}`."""
    keys: set[str] = set()
    todo: list[Any] = [OmegaConf.to_container(config, resolve=False)]
    while todo:
        value = todo.pop()
        if isinstance(value, dict | list):
            todo.extend(value.values() if isinstance(value, dict) else value)
        elif isinstance(value, str) and "${" in value:
            keys.update(_REFERENCE.findall(value))
            if "${" in _REFERENCE.sub("", value):
                return None
    return keys


def _take_type_of_before(config: DictConfig, merged: DictConfig, key: str) -> None:
    """Give the number that an override has set the type of the one that it replaces (see `factors.like`)."""
    try:
        before, now = (OmegaConf.select(one, key) for one in (merged, config))
    except OmegaConfBaseException:  # an interpolation that cannot be resolved yet
        return
    before, now = (OmegaConf.to_container(one) if OmegaConf.is_list(one) else one for one in (before, now))
    typed = like(now, before)
    if repr(typed) != repr(now):
        OmegaConf.update(config, key, typed)


def _with(config: dict[str, Any], path: Sequence[str], value: Any) -> dict[str, Any]:
    """A copy with the value at the path; what lies beside the path is shared."""
    head, *rest = path
    return {**config, head: _with(config[head], rest, value) if rest else value}


def _related(key: str, others: Collection[str]) -> bool:
    """Whether a dotted key is one of the others, lies below one, or has one below it."""
    return any(f"{one}.".startswith(f"{key}.") or f"{key}.".startswith(f"{one}.") for one in others)


def _at(config: Mapping[str, Any], key: str) -> Any:
    """The value at a dotted key (or a group's name with slashes), None where there is none."""
    value: Any = config
    for part in key.replace("/", ".").split("."):
        value = value.get(part) if isinstance(value, dict) else None  # plain ones: faster than Mapping
    return value


def compose_grid(loader: ConfigLoader, master: DictConfig, jobs: Sequence[Sequence[str]]) -> Grid:
    """The cells of the jobs, one list of overrides each; `UserError` for a level or value that is not valid."""
    if not jobs:
        raise UserError("the grid has no cells: one of its axes has no levels")
    composer = GridComposer(loader, master)
    texts = [composer.texts(job) for job in jobs]
    swept = _varying(texts)
    cells: list[Cell] = []
    groups = _SharedGroups()
    settings: dict[tuple[str, ...], SweepSettings] = {}  # by their values' texts
    for job, typed in zip(jobs, texts, strict=True):
        config = composer.resolve(job)
        naming = composer.naming(job, typed, config, swept)
        cells.append(cell_from_config(config, naming, job, groups.of(config)))
        asked = tuple([repr(config.get(name)) for name in SETTINGS])
        if asked not in settings:
            settings[asked] = settings_from_config(config)
    if len(set(settings.values())) > 1:
        raise UserError("results_dir, data_dir, device and the like must be the same for all cells of a sweep")
    return Grid(_distinct(cells), next(iter(settings.values())))


class _SharedGroups:
    """One `Groups` for all configurations that hold the very same group values."""

    def __init__(self) -> None:
        self._made: dict[tuple[int, ...], tuple[list[Any], Groups]] = {}

    def of(self, config: Mapping[str, Any]) -> Groups:
        """The groups of a configuration. Values are kept, so that an identity stands for nothing else."""
        values = group_values(config)
        identity = tuple(map(id, values))
        if identity not in self._made:
            self._made[identity] = (values, groups_from_config(config))
        return self._made[identity][1]


def _varying(jobs: Sequence[Mapping[str, str]]) -> frozenset[str]:
    """The keys that do not have one and the same text in all jobs."""
    first, *others = jobs
    keys = {key for job in jobs for key in job}
    return frozenset(key for key in keys if any(job.get(key) != first.get(key) for job in others))


def _distinct(cells: Sequence[Cell]) -> list[Cell]:
    """Drop repeats of one cell (an axis that names a level twice); refuse two cells under one key."""
    found: dict[str, Cell] = {}
    for cell in cells:
        twin = found.setdefault(cell.key, cell)
        if (twin.config_hash, twin.dataset) != (cell.config_hash, cell.dataset):
            raise UserError(f"two cells of the grid would both be called {cell.key}; name their levels apart")
    return list(found.values())
