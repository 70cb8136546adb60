"""Composes the cells of a grid with Hydra's own machinery, once a combination of group levels.

Hydra composes a job by merging YAML files (slow: all groups, Hydra's own included) and then setting the value
overrides (fast). The jobs of a grid share few combinations of files, so each combination is merged once, and
every job starts from a copy of it. The result equals Hydra's job by job.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from dreg_sweep.cells import Cell
from dreg_sweep.config import SweepSettings, cell_from_config, names_a_level, settings_from_config
from dreg_sweep.errors import UserError


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
        self._parsed: dict[str, Override] = {}
        self._references: dict[tuple[str, ...], dict[str, Any]] = {}
        self._merged: dict[tuple[str, ...], tuple[DictConfig, DictConfig]] = {}

    def parse(self, text: str) -> Override:
        """One override, parsed once however many jobs have it."""
        if text not in self._parsed:
            (self._parsed[text],) = self._parser.parse_overrides([text])
        return self._parsed[text]

    def resolve(self, overrides: Sequence[str]) -> dict[str, Any]:
        """The configuration of the job with these overrides, as plain values without the hydra node."""
        parsed = [self.parse(text) for text in overrides]
        groups = [o for o in parsed if self._loader.repository.group_exists(o.key_or_group)]
        values = [o for o in parsed if o not in groups]
        merged, hydra_config = self._merge(tuple(str(o.input_line) for o in groups))
        HydraConfig.instance().set_config(hydra_config)  # what ${hydra:…} reads
        config = copy.deepcopy(merged)
        ConfigLoaderImpl._apply_overrides_to_config(values, config)
        resolved = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
        assert isinstance(resolved, dict)
        return {str(key): value for key, value in resolved.items()}

    def texts(self, overrides: Sequence[str]) -> dict[str, str]:
        """Key → value of the overrides, as typed."""
        parsed = (self.parse(text) for text in overrides)
        return {o.key_or_group: str(o.get_value_element_as_str()) for o in parsed if not o.is_delete()}

    def extra_levels(
        self, overrides: Sequence[str], config: Mapping[str, Any], swept: frozenset[str]
    ) -> dict[str, str]:
        """The overrides that belong in the cell's key beside its four factors: key → value as typed.

        Those of a grid's axes and of a factor, where they make a difference to what the cell would be without
        them: one run has one key, however it was asked for.
        """
        texts = {key: text for key, text in self.texts(overrides).items() if names_a_level(key, swept)}
        kept = [o for o in overrides if self.parse(o).key_or_group not in texts]
        without = self._resolved(tuple(kept)) if texts else {}
        return {key: text for key, text in texts.items() if _at(config, key) != _at(without, key)}

    def _resolved(self, overrides: tuple[str, ...]) -> dict[str, Any]:
        if overrides not in self._references:
            self._references[overrides] = self.resolve(overrides)
        return self._references[overrides]

    def _merge(self, groups: tuple[str, ...]) -> tuple[DictConfig, DictConfig]:
        if groups not in self._merged:
            hydra_config = self._loader.load_configuration(
                self._config_name, [*self._hydra_overrides, *groups], RunMode.RUN
            )
            config = copy.deepcopy(hydra_config)
            with open_dict(config):
                del config["hydra"]
            self._merged[groups] = (config, hydra_config)
        return self._merged[groups]


def _at(config: Mapping[str, Any], key: str) -> Any:
    """The value at a dotted key (or a group's name with slashes), None where there is none."""
    value: Any = config
    for part in key.replace("/", ".").split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def compose_grid(loader: ConfigLoader, master: DictConfig, jobs: Sequence[Sequence[str]]) -> Grid:
    """The cells of the jobs, one list of overrides each; `UserError` for a level or value that is not valid."""
    composer = GridComposer(loader, master)
    swept = _varying([composer.texts(job) for job in jobs])
    cells: list[Cell] = []
    settings: SweepSettings | None = None
    for job in jobs:
        config = composer.resolve(job)
        cells.append(cell_from_config(config, composer.extra_levels(job, config, swept), job))
        own = settings_from_config(config)
        if settings is not None and own != settings:
            raise UserError("results_dir, data_dir, device and the like must be the same for all cells of a sweep")
        settings = own
    assert settings is not None
    return Grid(_distinct(cells), settings)


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
