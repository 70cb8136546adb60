"""The three commands. Each turns a `UserError` into one line and exit code 2."""

import contextlib
import gc
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import cast

from dreg_sweep.arguments import sweep_arguments
from dreg_sweep.errors import UserError
from dreg_sweep.interruption import Interrupted, signals_interrupt, to_go_on

# Hydra's options that ask something and train nothing.
_QUESTIONS = {
    "--help", "-h", "--hydra-help", "--version", "--cfg", "-c", "--info", "-i", "--shell-completion", "-sc",
}  # fmt: skip


def sweep() -> None:
    """dreg-sweep: one cell, or with -m a grid."""
    # Hydra prints errors its own way unless told not to; here every mistake of the user is one line.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    # Composing makes objects and no cycles; to look for some as often as usual takes an eighth of its time.
    gc.set_threshold(50_000)
    try:
        with signals_interrupt(), _mistakes_in_one_line():
            sys.argv[1:] = sweep_arguments(sys.argv[1:])
            with _workers_begun(sys.argv[1:]):
                _hydra_app()()
    except BrokenPipeError:
        _nobody_reads()
    except Interrupted as interruption:
        print(f"dreg-sweep: interrupted; what is finished is stored; {to_go_on()}", file=sys.stderr)
        sys.exit(128 + interruption.number)


@contextlib.contextmanager
def _workers_begun(arguments: Sequence[str]) -> Iterator[None]:
    """Workers import torch while this process imports Hydra and composes, unless arguments only ask something."""
    if any(argument.partition("=")[0] in _QUESTIONS for argument in arguments):
        yield
        return
    from dreg_sweep.launch.slots import worker_server

    with worker_server():
        yield


def _hydra_app() -> Callable[[], None]:
    import hydra
    from omegaconf import DictConfig

    from dreg_sweep.config import conf_dir

    with warnings.catch_warnings():  # Hydra 1.3 warns where version_base is missing, 1.4 where it is given
        warnings.simplefilter("ignore")
        main = hydra.main(config_path=str(conf_dir()), config_name="config", version_base=None)

    @main
    def one_cell(config: DictConfig) -> None:
        from hydra.core.global_hydra import GlobalHydra
        from hydra.core.hydra_config import HydraConfig
        from hydra.types import RunMode

        from dreg_sweep.compose import compose_grid
        from dreg_sweep.launch.runner import run_sweep
        from dreg_sweep.launch.slots import worker_server

        # Mistakes here already: Hydra adds lines of its own to what leaves a job.
        with worker_server() as context, _mistakes_in_one_line():
            launcher = HydraConfig.get().runtime.choices["hydra/launcher"]
            if HydraConfig.get().mode == RunMode.MULTIRUN:  # a launcher of Hydra's own has called this
                raise UserError(f"hydra/launcher={launcher} cannot run a grid; choose one of: local, slurm")
            loader, master = GlobalHydra.instance().config_loader(), cast(DictConfig, HydraConfig.instance().cfg)
            grid = compose_grid(loader, master, [HydraConfig.get().overrides.task])
            sys.exit(run_sweep(grid.cells, grid.settings, context))

    return one_cell


@contextlib.contextmanager
def _mistakes_in_one_line() -> Iterator[None]:
    try:
        yield
    except UserError as mistake:
        _refuse("dreg-sweep", str(mistake))
    except Exception as error:
        from dreg_sweep.mistakes import composition_mistake

        words = composition_mistake(error)
        if words is None:
            raise
        _refuse("dreg-sweep", words)


def status() -> None:
    """dreg-status: what a results folder holds of its declared grid."""
    from dreg_sweep.status import main

    try:
        sys.exit(main())
    except UserError as mistake:
        _refuse("dreg-status", str(mistake))
    except BrokenPipeError:  # `dreg-status … | head` has seen enough
        _nobody_reads()


def analyze() -> None:
    """dreg-analyze: tables and figures from a results folder."""
    from dreg_sweep.analysis.command import main

    sys.exit(main())


def _refuse(program: str, message: str) -> None:
    print(f"{program}: {' '.join(message.splitlines())}", file=sys.stderr)
    sys.exit(2)


def _nobody_reads() -> None:
    """End quietly where the reader of a pipe has gone; what Python still wants to flush goes nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())
    sys.exit(1)
