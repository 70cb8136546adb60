"""Slurm as seen from the machine that submits: jobs of a results folder, and how to make one."""

import json
import subprocess
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dreg_sweep.errors import UserError
from dreg_sweep.store.files import refusals

# Options by submitit's names; those of the second group are Slurm's alone there and take its prefix.
_GENERAL = ("timeout_min", "cpus_per_task", "gpus_per_node", "mem_gb")
_SLURM = (
    "partition", "qos", "account", "constraint", "nodelist", "exclude", "gres", "comment", "setup",
    "array_parallelism", "signal_delay_s", "additional_parameters",
)  # fmt: skip


class Unreachable(Exception):
    """Slurm's commands are not there or do not answer; the message is one line."""


class Jobs:
    """The jobs that were submitted for a results folder: `slurm/jobs.json` keeps their numbers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "slurm"
        self._path = self.folder / "jobs.json"

    @property
    def numbers(self) -> list[str]:
        """All that may still be alive."""
        try:
            return [str(number) for number in json.loads(self._path.read_text())]
        except (OSError, ValueError, TypeError):
            return []

    def add(self, number: str) -> None:
        """Remember a job."""
        self._write([*self.numbers, number])

    def states(self) -> dict[str, Counter[str]]:
        """Job number → the states of its tasks that are pending or running, of jobs that have such.

        Errors: `Unreachable` where there are jobs, and Slurm does not say what has become of them.
        """
        states = {number: task_states(number) for number in self.numbers}
        return {number: counted for number, counted in states.items() if counted}

    def live(self) -> dict[str, Counter[str]]:
        """As `states`, and forget the jobs that have ended: for whoever holds the folder's lock."""
        live = self.states()
        if len(live) < len(self.numbers):
            self._write(list(live))
        return live

    def refuse_if_live(self) -> None:
        """`UserError` where tasks of an earlier submission are, or may be, still to run."""
        try:
            live = self.live()
        except Unreachable as error:
            raise UserError(
                f"{error}; Slurm job {', '.join(self.numbers)} may still write to {self.folder.parent}; "
                f"if it has ended, remove {self._path}"
            ) from None
        for number, states in live.items():
            counts = ", ".join(f"{n} {state}" for state, n in states.items())
            raise UserError(
                f"results_dir={self.folder.parent} has tasks of Slurm job {number} ({counts}); "
                f"wait for them, or scancel {number}"
            )

    def _write(self, numbers: Sequence[str]) -> None:
        temporary = self._path.with_suffix(".new")
        with refusals(self._path):
            temporary.write_text(json.dumps(numbers))
            temporary.replace(self._path)


def task_states(number: str) -> Counter[str]:
    """How many tasks of a job are in which state (pending, running, …); empty where it has ended.

    Errors: `Unreachable`.
    """
    command = ["squeue", "--noheader", "--array", "--jobs", number, "--format", "%T"]
    try:
        process = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unreachable(f"squeue does not answer: {error}") from None
    if process.returncode and "Invalid job id" not in process.stderr:  # a job that is long gone
        raise Unreachable(f"squeue: {process.stderr.strip().splitlines()[-1:] or process.returncode}")
    return Counter(line.strip().lower() for line in process.stdout.splitlines() if line.strip())


def submit(tasks: Sequence[Callable[[], Any]], folder: Path, options: Mapping[str, Any]) -> str:
    """Submit the tasks as one array job whose logs go to `folder`; its number.

    `options`: those of conf/hydra/launcher/slurm.yaml; None leaves a choice to the cluster.
    Errors: `UserError` where there is no Slurm here, or where it refuses the job.
    """
    import submitit

    given = {key: value for key, value in options.items() if value is not None}
    parameters = {key: given[key] for key in _GENERAL if key in given}
    parameters |= {f"slurm_{key}": given[key] for key in _SLURM if key in given}
    try:
        executor = submitit.AutoExecutor(
            folder / "%A", cluster="slurm", slurm_max_num_timeout=given.get("max_num_timeout", 100)
        )
        executor.update_parameters(name="dreg-sweep", stderr_to_stdout=True, **parameters)
        with executor.batch():
            jobs = [executor.submit(task) for task in tasks]
    except (submitit.core.utils.FailedJobError, subprocess.CalledProcessError, ValueError, TypeError) as error:
        reason = (str(error).strip().splitlines() or ["without a word"])[0]
        raise UserError(f"Slurm refuses the job: {reason.removeprefix('sbatch: error: ')}") from None
    except (RuntimeError, OSError) as error:
        raise UserError(f"hydra/launcher=slurm needs Slurm's sbatch and srun here: {error}") from None
    return str(jobs[0].job_id).partition("_")[0]
