"""Slurm as seen from the machine that submits: jobs of a results folder, and how to make one."""

import json
import secrets
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dreg_sweep.atomic import whole_file
from dreg_sweep.errors import UserError
from dreg_sweep.store.files import refusals

# Options by submitit's names; those of the second group are Slurm's alone there and take its prefix.
_GENERAL = ("timeout_min", "cpus_per_task", "gpus_per_node", "mem_gb")
_SLURM = (
    "partition", "qos", "account", "constraint", "nodelist", "exclude", "gres", "comment", "setup",
    "array_parallelism", "signal_delay_s", "additional_parameters",
)  # fmt: skip


_GAP = 2.0  # seconds; a task that is being requeued is not in the queue for a moment


class Unreachable(Exception):
    """Slurm's commands are not there or do not answer; the message is one line."""


class Jobs:
    """The jobs that were submitted for a results folder: `slurm/jobs.json` keeps their names.

    A name is a job's own and is written down before Slurm hears of it: a submission that dies half-way leaves no
    job that nobody knows.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "slurm"
        self._path = self.folder / "jobs.json"

    @property
    def names(self) -> list[str]:
        """All that may still be alive."""
        try:
            return [str(name) for name in json.loads(self._path.read_text())]
        except (OSError, ValueError, TypeError):
            return []

    def new(self) -> str:
        """A name for a job that is about to be submitted."""
        name = f"dreg-sweep-{secrets.token_hex(4)}"
        with refusals(self.folder):
            self.folder.mkdir(exist_ok=True)
        self._write([*self.names, name])
        return name

    def states(self) -> dict[str, Counter[str]]:
        """Job name → the states of its tasks that are pending or running, of jobs that have such.

        Errors: `Unreachable` where there are jobs, and Slurm does not say what has become of them.
        """
        states = {name: task_states(name) for name in self.names}
        return {name: counted for name, counted in states.items() if counted}

    def live(self) -> dict[str, Counter[str]]:
        """As `states`, and forget the jobs that have ended: for whoever holds the folder's lock."""
        live = self.states()
        if len(live) < len(self.names):
            time.sleep(_GAP)
            live = self.states()
            self._write(list(live))
        return live

    def refuse_if_live(self) -> None:
        """`UserError` where tasks of an earlier submission are, or may be, still to run."""
        try:
            live = self.live()
        except Unreachable as error:
            raise UserError(
                f"{error}; Slurm job {', '.join(self.names)} may still write to {self.folder.parent}; "
                f"if it has ended, remove {self._path}"
            ) from None
        for name, states in live.items():
            counts = ", ".join(f"{n} {state}" for state, n in states.items())
            raise UserError(
                f"results_dir={self.folder.parent} has tasks of Slurm job {name} ({counts}); "
                f"wait for them, or scancel --name {name}"
            )

    def _write(self, names: Sequence[str]) -> None:
        with refusals(self._path), whole_file(self._path) as file:
            file.write(json.dumps(names).encode())


def task_states(name: str) -> Counter[str]:
    """How many tasks of the job of that name are in which state (pending, running, …); empty where it has ended.

    Errors: `Unreachable`.
    """
    command = ["squeue", "--noheader", "--array", "--name", name, "--format", "%T"]
    try:
        process = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unreachable(f"squeue does not answer: {error}") from None
    if process.returncode:
        last = (process.stderr.strip().splitlines() or [f"exit code {process.returncode}"])[-1]
        raise Unreachable(f"squeue does not answer: {last}")
    return Counter(line.strip().lower() for line in process.stdout.splitlines() if line.strip())


def submit(tasks: Sequence[Callable[[], Any]], name: str, folder: Path, options: Mapping[str, Any]) -> None:
    """Submit the tasks as one array job of that name, whose logs go to `folder`.

    `options`: those of conf/hydra/launcher/slurm.yaml; None leaves a choice to the cluster.
    Errors: `UserError` where there is no Slurm here, or where it refuses the job.
    """
    import submitit

    given = {key: value for key, value in options.items() if value is not None}
    parameters = {key: given[key] for key in _GENERAL if key in given}
    parameters |= {f"slurm_{key}": given[key] for key in _SLURM if key in given}
    try:
        executor = submitit.AutoExecutor(
            folder, cluster="slurm", slurm_max_num_timeout=given.get("max_num_timeout", 100)
        )
        executor.update_parameters(name=name, stderr_to_stdout=True, **parameters)
        with executor.batch():
            for task in tasks:
                executor.submit(task)
    except (submitit.core.utils.FailedJobError, subprocess.CalledProcessError, ValueError, TypeError) as error:
        reason = (str(error).strip().splitlines() or ["without a word"])[0]
        raise UserError(f"Slurm refuses the job: {reason.removeprefix('sbatch: error: ')}") from None
    except (RuntimeError, OSError) as error:
        raise UserError(f"hydra/launcher=slurm needs Slurm's sbatch and srun here: {error}") from None
