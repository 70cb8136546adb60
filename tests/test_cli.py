"""The commands as a user types them: whole processes, on embedded and made-up data."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dreg_sweep.states import STATES
from dreg_sweep.store.runners import runners
from dreg_sweep.store.schema import CELLS_SCHEMA
from tests.commands import NO_NETWORK, cells, run, start, wait_until

TINY = ("epochs=2", "model.widths=[16]", "train_size=200")
GRID = ("-m", "activation=relu,gelu", "regularizer=none,dropout,dreg", "seed=0,1,2", *TINY)


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A folder in which GRID has run: (folder, finished process)."""
    folder = tmp_path_factory.mktemp("swept")
    return folder, run("dreg-sweep", *GRID, "results_dir=results", cwd=folder)


def same_rows(a, b):
    """Bit-identical but for the wall time."""
    left, right = (frame.drop(columns="seconds") for frame in (a, b))
    pd.testing.assert_frame_equal(left, right, check_exact=True)


def test_a_grid_trains_and_its_rows_say_what_made_them(swept):
    folder, process = swept
    assert process.returncode == 0, process.stderr
    assert "18 of 18 cells complete" in process.stderr
    rows = cells(folder / "results")
    assert len(rows) == 18
    assert ["cell", *rows.columns] == CELLS_SCHEMA.names
    assert set(rows["status"]) == {"done"}
    assert rows["error"].isna().all()
    row = rows.loc["digits/gelu/dreg/s1/train_size=200"]
    assert (row["dataset"], row["activation"], row["regularizer"], row["seed"]) == ("digits", "gelu", "dreg", 1)
    assert row["strength"] == 10**-2.5
    assert (row["modality"], row["regime"], row["train_size"], row["device"]) == ("vision", "clean", 200, "cpu")
    assert row["clean_accuracy"] == row["clean_correct"] / row["n_test"]
    assert row["noisy_accuracy"] == row["noisy_correct"] / row["n_noisy"]
    assert row["n_noisy"] == 4 * row["n_test"]
    assert row["steps"] == 4  # 2 epochs of 200 rows in batches of 128
    configs = pd.read_parquet(folder / "results" / "configs").set_index("config_hash")["config"]
    assert len(configs) == 18
    assert json.loads(configs[row["config_hash"]])["model"] == {"name": "mlp", "widths": [16]}
    noise = pd.read_parquet(folder / "results" / "noise")
    assert len(noise) == 18 * 4
    assert noise.groupby("cell")["correct"].sum().to_dict() == rows["noisy_correct"].to_dict()
    history = pd.read_parquet(folder / "results" / "history")
    assert history.groupby("cell").size().to_dict() == dict.fromkeys(rows.index, 2)


def test_rerunning_trains_nothing(swept):
    folder, _ = swept
    before = {path: path.stat().st_mtime_ns for path in (folder / "results").rglob("*.parquet")}
    process = run("dreg-sweep", *GRID, "results_dir=results", cwd=folder)
    assert process.returncode == 0
    assert "18 done, 0 to train" in process.stderr
    after = {path: path.stat().st_mtime_ns for path in (folder / "results" / "cells").rglob("*.parquet")}
    assert after == {path: time for path, time in before.items() if path.parent.name == "cells"}


def test_rows_do_not_depend_on_stacks_slots_or_resuming(swept, tmp_path):
    folder, _ = swept
    first = run("dreg-sweep", *GRID, "seed=2,0", "stack_size=1", "slots=1", "results_dir=r", cwd=tmp_path)
    second = run("dreg-sweep", *GRID, "stack_size=2", "slots=2", "results_dir=r", cwd=tmp_path)
    assert (first.returncode, second.returncode) == (0, 0), second.stderr
    assert "12 done, 6 to train" in second.stderr
    same_rows(cells(tmp_path / "r"), cells(folder / "results"))


def test_one_cell_without_a_grid_is_the_same_cell(swept, tmp_path):
    folder, _ = swept
    process = run("dreg-sweep", "regularizer=dreg", "seed=2", "activation=gelu", *TINY, cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    rows = cells(tmp_path / "results" / "adhoc")
    same_rows(rows, cells(folder / "results").loc[rows.index])
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


def test_status_counts_names_and_exits(swept, tmp_path):
    folder, _ = swept
    process = run("dreg-status", "results", cwd=folder)
    assert process.returncode == 0
    assert process.stdout.startswith("results: complete, 18 cells: 18 done")
    run("dreg-sweep", *GRID, "seed=0", "results_dir=r", cwd=tmp_path)
    run("dreg-sweep", *GRID, "seed=1", "slots=1", "results_dir=r", "dry_run=true", cwd=tmp_path)
    assert run("dreg-status", "r", cwd=tmp_path).returncode == 0  # a dry run declares nothing
    path = next((tmp_path / "r" / "cells").glob("*.parquet"))
    rows = pd.read_parquet(path)
    rows.iloc[1:].to_parquet(path)
    process = run("dreg-status", "r", "--json", cwd=tmp_path)
    report = json.loads(process.stdout)
    assert process.returncode == 3
    assert (report["complete"], report["cells"], report["done"], report["missing"]) == (False, 6, 5, 1)
    assert report["keys"]["missing"] == [rows["cell"].iloc[0]]
    assert report["factors"]["activation"][rows["activation"].iloc[0]]["missing"] == 1


def test_analysis_of_a_sweep(swept):
    folder, _ = swept
    process = run("dreg-analyze", "results", cwd=folder)
    assert process.returncode == 0, process.stderr
    rows = cells(folder / "results")
    table = pd.read_csv(folder / "results" / "analysis" / "tables" / "overall.csv").set_index("regularizer")
    expected = rows.groupby("regularizer")["clean_accuracy"].mean() * 100
    column = next(name for name in table.columns if name.startswith("clean") and "mean" in name)
    np.testing.assert_allclose(table[column][expected.index], expected, rtol=1e-12)
    for name in ("heatmap.png", "clean_vs_noisy.png"):
        assert (folder / "results" / "analysis" / "figures" / name).stat().st_size > 10_000


def test_a_dry_run_prints_the_papers_plan_and_touches_nothing(tmp_path):
    process = run("dreg-sweep", "-m", "experiment=paper", "dry_run=true", cwd=tmp_path, **NO_NETWORK)
    assert process.returncode == 0, process.stderr
    assert "960 = 4 × 6 × 8 × 5" in process.stdout
    assert "0 done, 960 pending, 0 failed, 0 stale" in process.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_predicts_time_and_memory(tmp_path):
    process = run("dreg-sweep", *GRID, "dry_run=true", cwd=tmp_path)
    assert "18 = 2 × 3 × 3" in process.stdout
    line = next(line for line in process.stdout.splitlines() if line.startswith("time, memory"))
    assert "GiB a slot" in line


def test_a_changed_configuration_makes_rows_stale_and_says_how(tmp_path):
    command = ("dreg-sweep", "-m", "seed=0,1", "model.widths=[16]", "train_size=200", "results_dir=r")
    run(*command, "epochs=1", cwd=tmp_path)
    kept = run(*command, "epochs=2", cwd=tmp_path)
    assert kept.returncode == 0
    assert "2 stale, for example digits/relu/none/s0/train_size=200: epochs 1 → 2; kept" in kept.stderr
    assert set(cells(tmp_path / "r")["steps"]) == {2}
    assert run("dreg-status", "r", cwd=tmp_path).returncode == 3
    run(*command, "epochs=2", "rerun=stale", cwd=tmp_path)
    assert set(cells(tmp_path / "r")["steps"]) == {4}
    assert run("dreg-status", "r", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize(("number", "after"), [(signal.SIGINT, 1.0), (signal.SIGTERM, 3.0)])
def test_an_interruption_before_training_is_one_line_too(number, after, tmp_path):
    process = start("dreg-sweep", "-m", "experiment=paper_cpu", "seed=0", "dry_run=true", cwd=tmp_path)
    time.sleep(after)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number, errors
    (line,) = errors.strip().splitlines()
    assert line.startswith("dreg-sweep: interrupted; ")


SWALLOWING = """
import os, signal, time
from dreg_sweep.interruption import Interrupted, signals_interrupt
cleaned = False
try:
    with signals_interrupt():
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        except BaseException:  # as some libraries have it
            pass
        try:
            time.sleep(20)
            print("lost")
        finally:
            time.sleep(1.5)  # not interrupted again
            cleaned = True
            raise ImportError("what some libraries make of it")
except Interrupted as interruption:
    print(interruption.number, cleaned)
time.sleep(1)
"""


def test_an_interruption_that_a_library_swallows_comes_again():
    process = subprocess.run(
        [sys.executable, "-c", SWALLOWING], capture_output=True, text=True, timeout=60, check=True
    )
    assert process.stdout == "2 True\n"


SLOW = ("seed=0,1,2,3", "stack_size=1", "slots=2", "epochs=60", "results_dir=r")


def in_training(folder):
    """Whether the sweep of this results folder is training cells."""
    return [runner for runner in runners(folder) if runner.cells]


def test_the_cells_of_a_killed_worker_are_tried_again(tmp_path):
    process = start("dreg-sweep", "-m", *SLOW, cwd=tmp_path)
    wait_until(lambda: in_training(tmp_path / "r"))
    os.kill(grandchildren(process.pid)[0], signal.SIGKILL)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert list(cells(tmp_path / "r")["status"]) == ["done"] * 4


def test_a_worker_that_hangs_is_replaced(tmp_path):
    process = start("dreg-sweep", "-m", *SLOW, "timeout=10", cwd=tmp_path)
    wait_until(lambda: in_training(tmp_path / "r"))
    os.kill(grandchildren(process.pid)[0], signal.SIGSTOP)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert list(cells(tmp_path / "r")["status"]) == ["done"] * 4


def test_status_says_who_trains_what(tmp_path):
    process = start("dreg-sweep", "-m", *SLOW, cwd=tmp_path)
    try:
        wait_until(lambda: in_training(tmp_path / "r"))
        status = run("dreg-status", "r", cwd=tmp_path)
        assert status.returncode == 3
        assert f"at work: pid {process.pid} on " in status.stdout
        assert " running" in status.stdout.splitlines()[0]
        report = json.loads(run("dreg-status", "r", "--json", cwd=tmp_path).stdout)
        assert report["cells"] == sum(report[state] for state in STATES)
        (runner,) = report["runners"]
        assert runner["pid"] == process.pid
        assert runner["seconds_silent"] < 30
        assert report["keys"]["running"]
        second = run("dreg-sweep", "-m", *SLOW, cwd=tmp_path)
        assert second.returncode == 2
        (line,) = second.stderr.strip().splitlines()
        assert f"in use by pid {process.pid} on " in line
    finally:
        process.kill()
        process.communicate()
    report = json.loads(run("dreg-status", "r", "--json", cwd=tmp_path).stdout)
    assert (report["running"], report["runners"]) == (0, [])


def test_a_rerun_of_all_counts_each_cell_once(tmp_path):
    command = ("-m", "seed=0,1", "train_size=50", "epochs=1", "results_dir=r")
    run("dreg-sweep", *command, cwd=tmp_path)
    again = run("dreg-sweep", *command, "rerun=all", cwd=tmp_path)
    assert "2 of 2 cells complete" in again.stderr


def test_status_says_why_rows_are_stale(tmp_path):
    command = ("dreg-sweep", "-m", "seed=0,1", "train_size=50", "epochs=1", "results_dir=r")
    run(*command, cwd=tmp_path)
    (path,) = (tmp_path / "r" / "cells").glob("*.parquet")
    rows = pd.read_parquet(path)
    rows["code_fingerprint"] = [
        rows["code_fingerprint"][0].replace("activation.relu=", "activation.relu=0"),
        "0" * 16,
    ]
    rows.to_parquet(path)
    run(*command, "seed=1", "epochs=2", cwd=tmp_path)
    status = run("dreg-status", "r", cwd=tmp_path)
    assert status.returncode == 3
    assert "stale by activation.relu 01 → 1: 1 cells" in status.stdout
    assert "stale by epochs 1 → 2: 1 cells, for example digits/relu/none/s1" in status.stdout
    again = run(*command, "rerun=stale", cwd=tmp_path)
    assert "1 stale, for example digits/relu/none/s0/train_size=50: activation.relu" in again.stderr
    assert "retrained" in again.stderr
    assert run("dreg-status", "r", cwd=tmp_path).returncode == 0


def test_folders_of_two_machines_are_merged(tmp_path):
    command = ("dreg-sweep", "-m", "train_size=50", "epochs=1")
    for seeds, folder in (("0,1", "a"), ("1,2", "b")):
        assert run(*command, f"seed={seeds}", f"results_dir={folder}", cwd=tmp_path).returncode == 0
    merged = run("dreg-status", "--merge", "a", "b", "--out", "c", cwd=tmp_path)
    assert merged.returncode == 0, merged.stderr
    assert "merged 3 cells of 2 folders, 1 of them in more than one" in merged.stderr
    assert len(cells(tmp_path / "c")) == 3
    again = run(*command, "seed=0,1,2", "results_dir=c", cwd=tmp_path)
    assert "3 done, 0 to train" in again.stderr
    run("dreg-sweep", "-m", "train_size=50", "epochs=2", "seed=2", "results_dir=d", cwd=tmp_path)
    refused = run("dreg-status", "--merge", "a", "b", "d", "--out", "e", cwd=tmp_path)
    assert refused.returncode == 2
    (line,) = refused.stderr.strip().splitlines()
    assert "1 cell conflicts, for example digits/relu/none/s2/train_size=50: epochs 1 in b, 2 in d" in line
    assert not (tmp_path / "e").exists()


@pytest.fixture
def poor_texts(tmp_path):
    """A table of which nearly every training text is the same word: a small subset of it cannot be encoded."""
    texts = ["word"] * 300 + ["many more words", "and other words"] + ["words", "other"]
    frame = pd.DataFrame({"text": texts, "label": [0, 1] * 152, "split": ["train"] * 302 + ["test"] * 2})
    frame.to_csv(tmp_path / "poor.csv", index=False)
    return ("dataset=text_table", "dataset.path=poor.csv", "epochs=1", "results_dir=r", "slots=1")


def test_cells_that_fail_are_stored_with_their_error_after_all_others(tmp_path, poor_texts):
    process = run("dreg-sweep", "-m", *poor_texts, "train_size=null,2", "seed=0,1", cwd=tmp_path)
    assert process.returncode == 1
    assert "failed: 2 cells" in process.stderr
    assert "one of them: dreg-sweep dataset=text_table dataset.path=poor.csv" in process.stderr
    assert "Traceback" not in process.stderr
    rows = cells(tmp_path / "r")
    failed = rows[rows["status"] == "failed"]
    assert list(failed["train_size"]) == [2, 2]
    assert failed["error"].str.contains("fewer than two distinct words").all()
    assert failed[["clean_accuracy", "clean_correct", "steps"]].isna().all(axis=None)
    assert (rows["status"] == "done").sum() == 2
    again = run("dreg-sweep", "-m", *poor_texts, "train_size=null,2", "seed=0,1", cwd=tmp_path)
    assert "2 done, 2 to train (2 failed before)" in again.stderr
    status = run("dreg-status", "r", "--json", cwd=tmp_path)
    assert status.returncode == 3
    assert set(json.loads(status.stdout)["errors"]) == set(failed.index)


def test_a_sweep_whose_first_failures_are_alike_stops_early(tmp_path, poor_texts):
    seeds = "seed=0,1,2,3,4,5,6,7,8,9"
    process = run("dreg-sweep", "-m", *poor_texts, "train_size=2", seeds, "stack_size=1", cwd=tmp_path)
    assert process.returncode == 1
    assert "stopped early" in process.stderr
    assert len(cells(tmp_path / "r")) < 10


def test_a_full_disk_ends_the_sweep_in_one_line_and_loses_nothing(tmp_path):
    command = ("-m", "seed=0,1", "train_size=50", "epochs=1", "slots=1", "results_dir=r")
    assert run("dreg-sweep", *command, cwd=tmp_path).returncode == 0
    before = cells(tmp_path / "r")
    more = ("-m", "seed=0,1,2,3", *command[2:])
    # No file may grow beyond this: what a full disk is to a writer. The declared grid fits, a stack's rows do not.
    size = (tmp_path / "r" / "grid.parquet").stat().st_size + 1000
    process = run("dreg-sweep", *more, cwd=tmp_path, file_size=size)
    assert process.returncode == 1
    lines = [line for line in process.stderr.splitlines() if line.startswith("stopped: ")]
    assert len(lines) == 1, process.stderr
    assert "cannot write" in lines[0]
    assert "to go on: dreg-sweep -m seed=0,1,2,3" in lines[0]
    assert "Traceback" not in process.stderr
    same_rows(cells(tmp_path / "r"), before)
    assert run("dreg-sweep", *more, cwd=tmp_path).returncode == 0
    assert len(cells(tmp_path / "r")) == 4


def test_an_interrupted_sweep_says_how_to_go_on_and_does(tmp_path):
    command = ("-m", "seed=0,1,2,3,4,5", "stack_size=1", "slots=2", "epochs=60", "results_dir=r")
    process = start("dreg-sweep", *command, cwd=tmp_path)
    wait_until(lambda: list((tmp_path / "r" / "cells").glob("*.parquet")))
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGINT
    assert "to go on: dreg-sweep -m seed=0,1,2,3,4,5" in errors
    assert "Traceback" not in errors
    stored = len(cells(tmp_path / "r"))
    assert 1 <= stored < 6
    again = run("dreg-sweep", *command, cwd=tmp_path)
    assert f"{stored} done, {6 - stored} to train" in again.stderr
    assert len(cells(tmp_path / "r")) == 6


def test_own_arrays_and_own_texts(tmp_path):
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    x = (y[:, None] * 3 + rng.normal(size=(60, 5))).astype(np.float32)
    np.savez(tmp_path / "mine.npz", x_train=x[:40], y_train=y[:40], x_test=x[40:], y_test=y[40:])
    words = [["apple", "pear", "plum", "fig"], ["iron", "steel", "tin", "lead"], ["blue", "red", "green", "pink"]]
    split = np.where(np.arange(60) < 40, "train", "test")
    texts = [" ".join(rng.choice(words[label], 6)) for label in y]
    pd.DataFrame({"text": texts, "label": y, "split": split}).to_csv(tmp_path / "mine.csv", index=False)
    for dataset, path in (("arrays", "mine.npz"), ("text_table", "mine.csv")):
        process = run(
            "dreg-sweep", f"dataset={dataset}", f"dataset.path={path}", f"dataset.name=my_{dataset}",
            "epochs=20", "batch_size=16", "results_dir=r", cwd=tmp_path,
        )  # fmt: skip
        assert process.returncode == 0, process.stderr
    rows = cells(tmp_path / "r")
    assert list(rows.index) == ["my_arrays/relu/none/s0", "my_text_table/relu/none/s0"]
    assert (rows["clean_accuracy"] > 0.9).all()
    x[0, 0] += 1
    np.savez(tmp_path / "mine.npz", x_train=x[:40], y_train=y[:40], x_test=x[40:], y_test=y[40:])
    changed = run(
        "dreg-sweep", "dataset=arrays", "dataset.path=mine.npz", "dataset.name=my_arrays",
        "epochs=20", "batch_size=16", "results_dir=r", cwd=tmp_path,
    )  # fmt: skip
    assert "1 stale" in changed.stderr
    assert "data_fingerprint" in changed.stderr


def test_hydras_own_flags_keep_working(tmp_path):
    help_text = run("dreg-sweep", "--help", cwd=tmp_path)
    assert help_text.returncode == 0
    assert "double_backprop, double_backprop+confidence_penalty, dreg" in help_text.stdout
    job = run("dreg-sweep", "--cfg", "job", "regularizer=dreg", cwd=tmp_path)
    assert "form: local" in job.stdout
    info = run("dreg-sweep", "--info", "defaults", cwd=tmp_path)
    assert "regularizer/none" in info.stdout
    assert list(tmp_path.iterdir()) == []


def test_help_does_not_import_torch(tmp_path):
    check = (
        "import sys; from dreg_sweep.cli import sweep\ntry: sweep()\nfinally: assert 'torch' not in sys.modules"
    )
    process = subprocess.run([sys.executable, "-c", check, "--help"], cwd=tmp_path, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr


def test_the_wheel_carries_conf_and_works(tmp_path):
    root = Path(__file__).parent.parent
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=root, check=True, capture_output=True)
    site = tmp_path / "site"
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        wheel.extractall(site)
    assert (site / "dreg_sweep" / "conf" / "experiment" / "paper.yaml").exists()
    check = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); sys.meta_path = [f for f in sys.meta_path"
        " if 'editable' not in type(f).__module__]\n"
        "import dreg_sweep, hydra_plugins.dreg_sweep_launcher\n"
        "assert dreg_sweep.__file__.startswith(sys.path[0])\n"
        "from dreg_sweep.cli import sweep; sweep()"
    )
    command = [sys.executable, "-c", check, str(site), "-m", "seed=0,1", "dry_run=true"]
    process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert process.returncode == 0, process.stderr
    assert "cells        2 = 2" in process.stdout


def grandchildren(pid):
    """The workers under a runner: the children of its fork server, by /proc."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            parents[int(entry.name)] = int(fields[1])
    return sorted(child for child, parent in parents.items() if parents.get(parent) == pid)
