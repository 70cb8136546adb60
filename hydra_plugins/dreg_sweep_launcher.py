"""Hydra's door to the runner: the sweeper that expands a grid and the launcher that runs it.

Hydra finds plugins in this namespace package only, and imports this file in every Hydra application of the
environment: what is heavy is imported when it is used.
"""

from collections.abc import Sequence

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class GridSweeper(BasicSweeper):
    """Hydra's basic sweeper without its trial composition of every job: the launcher composes each anyway."""

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Nothing: a job that does not compose is refused by the launcher before any training."""


class LocalLauncher(Launcher):
    """Runs the whole grid in worker processes on this machine."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self._context, self._config = hydra_context, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Compose the jobs' cells and train what the store lacks; `SystemExit` where that does not end well."""
        from dreg_sweep.compose import compose_grid
        from dreg_sweep.launch.runner import run_sweep

        grid = compose_grid(self._context.config_loader, self._config, job_overrides)
        if code := run_sweep(grid.cells, grid.settings):
            raise SystemExit(code)
        return []
