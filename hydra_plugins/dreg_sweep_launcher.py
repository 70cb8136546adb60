"""Hydra's door to the runner: the sweeper that expands a grid and the launcher that runs it.

Hydra finds plugins in this namespace package only, and imports this file in every Hydra application of the
environment: what is heavy is imported when it is used.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class GridSweeper(BasicSweeper):
    """The full cross of all axes, or a union of such crosses, handed to the launcher as one batch.

    Hydra's basic sweeper beside two of its habits: it composes every job for a trial, which the launcher does
    anyway before any training, and it writes multirun.yaml, where here each row carries its configuration.
    """

    def __init__(
        self,
        params: Mapping[str, Any] | None = None,
        parts: Sequence[Mapping[str, Any]] | None = None,
        exclude: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        super().__init__(None, dict(params or {}))
        self._parts, self._exclude = parts, exclude

    def sweep(self, arguments: list[str]) -> list[Sequence[JobReturn]]:
        """Expand the axes of the experiment and of the command line, and launch."""
        from dreg_sweep.axes import jobs

        assert self.launcher is not None
        assert self.hydra_context is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        made = jobs(parser, self.params, self._parts, self._exclude, arguments)
        return [self.launcher.launch(made, initial_job_idx=0)]


class LocalLauncher(Launcher):
    """Runs the whole grid in worker processes on this machine."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self._context, self._config = hydra_context, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Compose the jobs' cells and train what the store lacks; `SystemExit` where that does not end well."""
        from dreg_sweep.compose import compose_grid
        from dreg_sweep.launch.runner import run_sweep
        from dreg_sweep.launch.slots import worker_server

        with worker_server() as context:
            grid = compose_grid(self._context.config_loader, self._config, job_overrides)
            if code := run_sweep(grid.cells, grid.settings, context):
                raise SystemExit(code)
        return []


class SlurmLauncher(Launcher):
    """Runs the whole grid as array tasks of one Slurm job; the options are those of its file in conf/."""

    def __init__(self, **options: Any) -> None:
        self._options = options

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self._context, self._config = hydra_context, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Compose the jobs' cells and submit what the store lacks; `SystemExit` where that does not end well."""
        from omegaconf import OmegaConf

        from dreg_sweep.compose import compose_grid
        from dreg_sweep.launch.cluster import run_on_cluster
        from dreg_sweep.launch.slots import worker_server

        plain = {
            key: OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
            for key, value in self._options.items()
        }
        with worker_server() as context:
            grid = compose_grid(self._context.config_loader, self._config, job_overrides)
            if code := run_on_cluster(grid.cells, grid.settings, context, plain):
                raise SystemExit(code)
        return []
