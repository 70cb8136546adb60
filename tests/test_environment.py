"""Rows of several environments in one grid: named before training, by the status and by the report."""

import json

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dreg_sweep.analysis.environments import mixed_environments
from dreg_sweep.analysis.rows.reading import load_cells
from dreg_sweep.environment import alike, counted, environment, tell_apart, told_by
from tests.commands import cells, run

ONE = ("train_size=64", "steps=1", "noise=none", "results_dir=r")


def test_an_environment_names_what_decides_the_last_bits(monkeypatch):
    import torch

    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    found = environment("cpu", "float32")
    assert found.startswith(f"torch {torch.__version__.partition('+')[0]}, cpu, ")
    assert torch.backends.cpu.get_cpu_capability() in found
    assert found.endswith(", MKL_CBWR=COMPATIBLE, float32")
    assert environment("cpu", "bf16") != found
    assert told_by(environment("cpu", "bf16"), None, None) == told_by(found, "9.9", "cuda")


def test_a_row_that_says_less_is_not_known_to_differ():
    full, other = "torch 2.14.1, cpu, A AVX2, MKL_CBWR=x", "torch 2.14.1, cpu, B AVX2, MKL_CBWR=x"
    before = told_by(None, "2.14.1+cu130", "cpu")
    assert before == "torch 2.14.1, cpu"
    assert alike(before, full)
    assert not alike(full, other)
    assert not alike(told_by(None, "2.15.0", "cpu"), full)
    assert counted([full, full, other, before, None]) == {full: 4, other: 1}
    assert counted([None, None]) == {"unknown": 2}


@given(
    st.lists(
        st.one_of(
            st.none(), st.sampled_from(["torch 1, cpu", "torch 1, cpu, A", "torch 1, cpu, B", "torch 2, cpu"])
        )
    )
)
@settings(deadline=None, max_examples=200)
def test_every_row_counts_once(environments):
    assert sum(counted(environments).values()) == len(environments)
    same = tell_apart(environments)
    assert set(same) == set(environments)
    assert all(tell_apart([one])[one] == one for one in same.values() if one != "unknown")


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Seeds 0 and 1 of two activations, then seed 2 with another mode of MKL."""
    folder = tmp_path_factory.mktemp("mixed")
    first = run("dreg-sweep", "-m", "activation=relu,gelu", "seed=0,1", *ONE, cwd=folder)
    assert first.returncode == 0, first.stderr
    assert "mixed: " not in first.stderr
    for path in (folder / "r" / "cells").glob("*.parquet"):
        frame = pd.read_parquet(path)
        frame["environment"] = frame["environment"].where(
            frame["seed"] > 0, "torch 1.0, cpu, Z80, MKL_CBWR=x, float32"
        )
        frame.to_parquet(path)
    return folder


def test_a_mixed_folder_is_named_by_sweep_status_and_report(mixed):
    resumed = run("dreg-sweep", "-m", "activation=relu,gelu", "seed=0,1,2", *ONE, cwd=mixed)
    assert resumed.returncode == 0
    assert "mixed: " in resumed.stderr
    assert "2 of torch 1.0, cpu, Z80" in resumed.stderr
    status = run("dreg-status", "r", cwd=mixed)
    assert status.returncode == 0  # complete all the same
    assert "mixed: 2 rows" in status.stdout
    report = json.loads(run("dreg-status", "r", "--json", cwd=mixed).stdout)
    assert (report["mixed"], report["done"], report["complete"]) == (2, 6, True)
    assert sorted(report["environments"].values()) == [2, 4]
    lines = mixed_environments(load_cells(mixed / "r"))
    assert "2 environments" in lines[0]
    assert "seed 1, 2" in lines[1]
    assert "seed 0" in lines[2]
    assert "Z80" in lines[2]

    again = run("dreg-sweep", "-m", "activation=relu,gelu", "seed=0,1,2", *ONE, "rerun=mixed", cwd=mixed)
    assert again.returncode == 0, again.stderr
    assert "2 to train" in again.stderr
    assert cells(mixed / "r")["environment"].nunique() == 1
    assert json.loads(run("dreg-status", "r", "--json", cwd=mixed).stdout)["mixed"] == 0
    assert mixed_environments(load_cells(mixed / "r")) == []


def test_a_minority_that_was_made_here_is_not_trained_again_elsewhere(tmp_path):
    run("dreg-sweep", "-m", "seed=0,1", *ONE, cwd=tmp_path)
    for path in (tmp_path / "r" / "cells").glob("*.parquet"):
        frame = pd.read_parquet(path)
        frame.assign(environment="torch 1.0, cpu, Z80, MKL_CBWR=x, float32").to_parquet(path)
    run("dreg-sweep", "-m", "seed=0,1,2", *ONE, cwd=tmp_path)
    again = run("dreg-sweep", "-m", "seed=0,1,2", *ONE, "rerun=mixed", cwd=tmp_path)
    assert again.returncode == 0
    assert "0 to train" in again.stderr
    assert "another environment" in again.stderr
