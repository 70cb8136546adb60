"""From Enter to the first step: what is started when, and which process imports what."""

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from dreg_sweep.launch.slots import ALLOCATION, ARITHMETIC
from tests.commands import cells, run


def python(script, *arguments, cwd, **environment):
    """What a script prints that is run as a command with these arguments."""
    process = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


BEGINNING = """
import os, signal, sys
from multiprocessing import forkserver
import dreg_sweep.cli as cli

def app():
    assert "hydra" not in sys.modules
    assert forkserver._forkserver._forkserver_pid is not None
    return lambda: None

cli._hydra_app = app
cli.sweep()
_, status = os.waitpid(forkserver._forkserver._forkserver_pid, 0)
print(os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL)
"""


def test_workers_begin_to_import_before_hydra_is_imported_and_end_with_the_command(tmp_path):
    assert python(BEGINNING, "-m", "seed=0,1", cwd=tmp_path) == "True\n"


QUESTION = """
from multiprocessing import forkserver
from dreg_sweep.cli import sweep
try:
    sweep()
finally:
    assert forkserver._forkserver._forkserver_pid is None, "a server was started"
"""


@pytest.mark.parametrize(
    "question",
    [
        ["--help"],
        ["-h"],
        ["--hydra-help"],
        ["--cfg", "job"],
        ["-c", "job", "regularizer=dreg"],
        ["--cfg=job"],
        ["--info", "defaults"],
        ["--shell-completion", "install=bash"],
        ["-sc", "uninstall=bash"],
    ],
)
def test_a_question_starts_no_workers(question, tmp_path):
    assert python(QUESTION, *question, cwd=tmp_path)


NESTED = """
import os
import time
from multiprocessing import forkserver
from pathlib import Path
from dreg_sweep.launch.slots import worker_server

def server():
    return forkserver._forkserver._forkserver_pid

if __name__ == "__main__":
    with worker_server():
        first = server()
        while "MKL_CBWR=AUTO,STRICT" not in (text := Path(f"/proc/{first}/environ").read_text()):
            time.sleep(0.01)  # it has not begun yet
        settings = text.split("\\0")
        with worker_server():
            assert server() == first
    _, status = os.waitpid(first, 0)
    assert os.WIFSIGNALED(status)
    print("\\n".join(settings))
"""


def test_the_server_has_the_arithmetic_and_the_allocation_of_a_slot(tmp_path):
    """Also where a block lies in another: there is one server."""
    own = {"MALLOC_TOP_PAD_": "131072", "OMP_NUM_THREADS": "4"}
    settings = dict(line.split("=", 1) for line in python(NESTED, cwd=tmp_path, **own).splitlines() if "=" in line)
    assert settings.items() >= ARITHMETIC.items()  # not the user's to choose
    assert settings.items() >= {**ALLOCATION, "MALLOC_TOP_PAD_": "131072"}.items()


@pytest.fixture
def own_data(tmp_path):
    """Arrays and texts of the user's."""
    y = np.arange(60) % 3
    x = np.eye(3, 5)[y]
    np.savez(tmp_path / "mine.npz", x_train=x[:40], y_train=y[:40], x_test=x[40:], y_test=y[40:])
    texts = [f"{'abc'[label]}{'xyz'[i % 2]} word" for i, label in enumerate(y)]
    split = np.where(np.arange(60) < 40, "train", "test")
    pd.DataFrame({"text": texts, "label": y, "split": split}).to_csv(tmp_path / "mine.csv", index=False)
    return tmp_path


@pytest.mark.parametrize(
    ("dataset", "path", "needed"), [("arrays", "mine.npz", False), ("text_table", "mine.csv", True)]
)
def test_scikit_learn_is_imported_for_texts_only(dataset, path, needed, own_data):
    """By no process of the sweep: each reports its imports."""
    command = (f"dataset={dataset}", f"dataset.path={path}", "epochs=1", "batch_size=16", "results_dir=r")
    process = run("dreg-sweep", *command, cwd=own_data, PYTHONPROFILEIMPORTTIME="1")
    assert process.returncode == 0, process.stderr[-2000:]
    imported = {
        line.split("|")[-1].strip() for line in process.stderr.splitlines() if line.startswith("import time:")
    }
    assert {"torch", "dreg_sweep.train", "hydra"} <= imported
    assert ("sklearn.decomposition" in imported) == needed


def test_the_runner_of_a_sweep_does_without_torch(tmp_path):
    check = (
        "import sys; from dreg_sweep.cli import sweep\ntry: sweep()\nfinally: assert 'torch' not in sys.modules"
    )
    python(check, "-m", "seed=0,1", "epochs=1", "results_dir=r", cwd=tmp_path)


@pytest.mark.parametrize("module", ["torch", "random", "types", "pandas"])
def test_a_users_file_with_a_modules_name_is_not_imported(module, tmp_path):
    (tmp_path / f"{module}.py").write_text("raise SystemExit('the file of the user was imported')\n")
    done = run("dreg-sweep", "results_dir=r", "steps=2", "train_size=64", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert cells(tmp_path / "r")["status"].tolist() == ["done"]
