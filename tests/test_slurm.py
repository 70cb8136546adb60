"""The Slurm launcher on a real Slurm, where one can be started; what does not need one, everywhere."""

import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from dreg_sweep.errors import UserError
from dreg_sweep.launch.cluster import deal
from dreg_sweep.launch.slurm import Jobs, Unreachable, task_states
from dreg_sweep.store.runners import runners
from tests.commands import cells, run, start, wait_until

TESTBED = Path(__file__).parent.parent / "scripts" / "slurm_testbed.sh"
SLURM = ("hydra/launcher=slurm", "hydra.launcher.poll=0.5")
GRID = ("-m", "regularizer=none,dreg", "seed=0,1,2,3", "results_dir=r")
SLOW = (*GRID, "stack_size=1", "epochs=60", "train_size=500", "noise=none")  # cells that take seconds


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """A controller and a node of this test's own; skips, saying why, where they cannot be started."""
    if os.geteuid() != 0 or shutil.which("slurmctld", path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None:
        pytest.skip("no Slurm here: it takes root, and what `scripts/slurm_testbed.sh install` installs")
    folder = tmp_path_factory.mktemp("slurm")
    started = subprocess.run([TESTBED, "start", folder], capture_output=True, text=True, check=False)
    try:
        assert started.returncode == 0, started.stderr
        yield {"SLURM_CONF": started.stdout.strip().partition("=")[2]}
    finally:
        subprocess.run([TESTBED, "stop", folder], check=True)


@pytest.fixture
def sweep(slurm, tmp_path, monkeypatch):
    """Commands in a folder of their own, on that Slurm."""
    for key, value in slurm.items():
        monkeypatch.setenv(key, value)
    yield lambda *arguments: run("dreg-sweep", *arguments, cwd=tmp_path)
    subprocess.run(["scancel", "--user", "root"], check=False)
    wait_until(lambda: not queue())


def queue():
    """The states of all tasks in the queue."""
    command = ["squeue", "--noheader", "--array", "--format", "%T"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def number_of(name):
    """The number of the job of that name."""
    command = ["squeue", "--noheader", "--name", name, "--format", "%A"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0]


def scontrol(*arguments):
    """Tell the controller."""
    subprocess.run(["scontrol", *arguments], check=True)


def at_work(folder):
    """The runners that have cells in training."""
    return [runner for runner in runners(folder) if runner.cells]


def same_as_here(folder, command):
    """Whether the rows of r/ are, bit by bit, those that the local launcher stores."""
    process = run("dreg-sweep", *command, "results_dir=here", cwd=folder)
    assert process.returncode == 0, process.stderr
    pd.testing.assert_frame_equal(
        cells(folder / "r").drop(columns="seconds"), cells(folder / "here").drop(columns="seconds")
    )


def test_a_killed_task_costs_its_cells_until_the_next_run(sweep, tmp_path):
    process = start("dreg-sweep", *SLOW, *SLURM, "hydra.launcher.tasks=2", cwd=tmp_path)
    wait_until(lambda: len(at_work(tmp_path / "r")) == 2)
    killed = at_work(tmp_path / "r")[0]
    os.kill(killed.pid, signal.SIGKILL)
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 1, errors
    assert "cells have no row, their tasks have ended" in errors
    assert "Traceback" not in errors
    stored = len(cells(tmp_path / "r"))
    assert 4 <= stored < 8
    again = sweep(*SLOW, *SLURM, "hydra.launcher.tasks=2")
    assert again.returncode == 0, again.stderr
    assert f"{stored} done, {8 - stored} to train" in again.stderr
    assert run("dreg-status", "r", cwd=tmp_path).returncode == 0
    rows = pd.read_parquet(tmp_path / "r" / "cells")
    assert len(rows) == rows["cell"].nunique() == 8
    same_as_here(tmp_path, SLOW)


def test_submitted_work_is_followed_and_kept_from_other_runners(sweep, tmp_path):
    later = ("hydra.launcher.wait=false", "hydra.launcher.additional_parameters={begin:now+600}")
    submitted = sweep(*SLOW, *SLURM, *later, "hydra.launcher.tasks=2")
    assert submitted.returncode == 0, submitted.stderr
    assert "dreg-status" in submitted.stderr
    for launcher in (SLURM, ()):
        second = sweep(*SLOW, *launcher)
        assert second.returncode == 2
        (line,) = second.stderr.strip().splitlines()
        assert "has tasks of Slurm job" in line
        assert "2 pending" in line
    (name,) = Jobs(tmp_path / "r").names
    scontrol("update", f"jobid={number_of(name)}", "starttime=now")
    wait_until(lambda: at_work(tmp_path / "r"))
    status = run("dreg-status", "r", cwd=tmp_path)
    assert status.returncode == 3
    assert " running" in status.stdout
    assert "Slurm job" in status.stdout
    assert "in the queue" in status.stdout
    wait_until(lambda: list((tmp_path / "r" / "cells").glob("*.parquet")))
    subprocess.run(["scancel", "--name", name], check=True)
    wait_until(lambda: not queue())
    stored = len(cells(tmp_path / "r"))
    here = sweep(*SLOW)  # the local launcher takes over
    assert here.returncode == 0, here.stderr
    assert f"{stored} done, {8 - stored} to train" in here.stderr
    assert len(pd.read_parquet(tmp_path / "r" / "cells")) == 8


@pytest.mark.parametrize("reason", ["requeued", "preempted"])
def test_a_task_that_is_put_back_goes_on_where_it_was(reason, sweep, tmp_path):
    process = start("dreg-sweep", *SLOW, *SLURM, "hydra.launcher.tasks=1", cwd=tmp_path)
    wait_until(lambda: list((tmp_path / "r" / "cells").glob("*.parquet")))
    (name,) = Jobs(tmp_path / "r").names
    if reason == "requeued":
        scontrol("requeue", number_of(name))
        wait_until(lambda: queue() == ["PENDING"])
        scontrol("update", f"jobid={number_of(name)}", "starttime=now")
    else:
        filler = ["sbatch", "--partition=urgent", "--exclusive", "--output=/dev/null", "--wrap=sleep 5"]
        subprocess.run(filler, check=True, capture_output=True, cwd=tmp_path)
    _, errors = process.communicate(timeout=280)
    assert process.returncode == 0, errors
    log = "".join(path.read_text() for path in (tmp_path / "r" / "slurm").glob("*/*_log.out"))
    assert "8 cells, 8 to train" in log
    assert any(f"8 cells, {left} to train" in log for left in range(8))
    rows = pd.read_parquet(tmp_path / "r" / "cells")
    assert len(rows) == rows["cell"].nunique() == 8


def test_what_slurm_or_the_options_do_not_allow_is_one_line(sweep, tmp_path):
    for option, word in (("partition=nowhere", "partition"), ("tasks=0", "tasks=0"), ("wait=later", "wait=later")):
        process = sweep(*GRID, *SLURM, f"hydra.launcher.{option}")
        assert process.returncode == 2, process.stderr
        line = process.stderr.strip().splitlines()[-1]
        assert line.startswith("dreg-sweep: ")
        assert word in line
        assert "Traceback" not in process.stderr


def test_without_slurm_the_launcher_says_so(tmp_path):
    process = run("dreg-sweep", *GRID, *SLURM, cwd=tmp_path, PATH=str(tmp_path))
    assert process.returncode == 2
    line = process.stderr.strip().splitlines()[-1]
    assert line.startswith("dreg-sweep: hydra/launcher=slurm needs Slurm's sbatch and srun")


@pytest.fixture
def squeue(tmp_path, monkeypatch):
    """A squeue that answers as told."""

    def answers(text, code=0):
        command = tmp_path / "bin" / "squeue"
        command.parent.mkdir(exist_ok=True)
        command.write_text(f"#!/bin/sh\necho '{text}' >&{2 if code else 1}\nexit {code}\n")
        command.chmod(0o755)
        monkeypatch.setenv("PATH", str(command.parent), prepend=os.pathsep)

    return answers


def test_the_queue_is_asked_in_words_that_tell_an_ended_job_from_no_answer(squeue, tmp_path):
    squeue("PENDING\nRUNNING\nPENDING")
    assert task_states("7") == {"pending": 2, "running": 1}
    squeue("")
    assert not task_states("7")
    squeue("slurm_load_jobs error: Unable to contact slurm controller (connect failure)", 1)
    with pytest.raises(Unreachable, match="Unable to contact"):
        task_states("7")


def test_ended_jobs_are_forgotten(squeue, tmp_path):
    jobs = Jobs(tmp_path / "r")
    (tmp_path / "r").mkdir()
    assert jobs.live() == {}
    first, second = jobs.new(), jobs.new()
    assert first != second
    squeue("RUNNING")
    assert jobs.live() == {first: {"running": 1}, second: {"running": 1}}
    with pytest.raises(UserError, match=f"has tasks of Slurm job {first} .1 running.; wait"):
        jobs.refuse_if_live()
    squeue("slurm_load_jobs error: Unable to contact slurm controller (connect failure)", 1)
    with pytest.raises(UserError, match=r"Unable to contact .* may still write to .*; if it has ended, remove"):
        jobs.refuse_if_live()
    squeue("")
    assert jobs.live() == {}
    assert jobs.names == []


def test_shares_are_even_and_keep_the_order():
    names: list[Any] = [f"{seed}{name}" for seed in range(4) for name in "abc"]
    costs = {name: 2.0 if name.endswith("b") else 1.0 for name in names}
    shares: list[list[Any]] = deal([[name] for name in names], list(costs.values()), 3)
    assert sorted(name for share in shares for name in share) == names
    assert all(share == sorted(share) for share in shares)
    loads = [sum(costs[name] for name in share) for share in shares]
    assert max(loads) - min(loads) <= 1.0
    few: list[Any] = [["0a"], ["0b"]]
    assert deal(few, [1.0, 1.0], 5) == few
