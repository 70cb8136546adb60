"""Command lines of dreg-sweep: `-m` anywhere, one experiment a command, paths with `~` and unusual characters."""

import shlex
from pathlib import Path

import pytest

from dreg_sweep.arguments import sweep_arguments
from dreg_sweep.errors import UserError
from dreg_sweep.paths import expanded
from tests.commands import run

QUICK = ("dry_run=true", "train_size=64")


@pytest.mark.parametrize(
    ("typed", "taken"),
    [
        (["seed=1"], ["seed=1"]),
        (["-m", "seed=0,1"], ["-m", "seed=0,1"]),
        (["results_dir=x", "-m", "seed=0,1"], ["-m", "results_dir=x", "seed=0,1"]),
        (["seed=0,1", "--multirun"], ["-m", "seed=0,1"]),
        (["experiment=paper", "-m"], ["-m", "experiment=paper"]),
    ],
)
def test_m_stands_anywhere(typed, taken):
    assert sweep_arguments(typed) == taken


@pytest.mark.parametrize("typed", [["experiment=paper,seeds"], ["-m", "+experiment=paper,seeds", "seed=0"]])
def test_several_experiments_are_refused(typed):
    with pytest.raises(UserError, match=r"experiment=paper, then dreg-sweep -m experiment=seeds"):
        sweep_arguments(typed)


def test_a_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    assert expanded("~/runs", "results_dir") == Path("/home/somebody/runs")
    assert expanded("runs/~", "results_dir") == Path("runs/~")
    with pytest.raises(UserError, match="data_dir=~nosuchuser/x: ~nosuchuser "):
        expanded("~nosuchuser/x", "data_dir")


def test_a_grid_with_m_between_the_overrides(tmp_path):
    done = run("dreg-sweep", "results_dir=x", "-m", "seed=0,1", *QUICK, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", ["runs/lr=0.1", "runs/ü", "~/runs"])
def test_a_refused_path_comes_with_the_command_that_works(path, tmp_path):
    refused = run("dreg-sweep", f"results_dir={path}", *QUICK, cwd=tmp_path, HOME=str(tmp_path / "home"))
    assert refused.returncode == 2
    (line,) = refused.stderr.splitlines()
    *_, override = shlex.split(line)
    accepted = run("dreg-sweep", override, *QUICK, cwd=tmp_path, HOME=str(tmp_path / "home"))
    assert accepted.returncode == 0, accepted.stderr
    assert path.replace("~", str(tmp_path / "home")) in accepted.stdout + accepted.stderr
