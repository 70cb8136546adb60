"""Mistakes of all kinds, through the command line: one clear line each, exit code 2, nothing lost."""

import numpy as np
import pandas as pd
import pytest

from tests.commands import NO_NETWORK, run

GOOD = {"x_train": np.ones((4, 2)), "y_train": np.arange(4) % 2, "x_test": np.ones((2, 2)), "y_test": np.arange(2)}
BAD_ARRAYS = {
    "missing.npz": {name: GOOD[name] for name in ("x_train", "y_train")},
    "lengths.npz": {**GOOD, "y_train": np.arange(3) % 2},
    "nan.npz": {**GOOD, "x_train": np.full((4, 2), np.nan)},
}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["activation=swish"], ["activation=swish", "cubic, gelu, relu, silu, tanh"]),
        (["regularizer=l2"], ["regularizer=l2", "dreg, dropout, frobreg, igpen, jacreg, none"]),
        (["dataset=imagenet"], ["dataset=imagenet", "cifar10", "toy_text"]),
        (["model=resnet200"], ["model=resnet200", "mlp"]),
        (["-m", "experiment=papre"], ["experiment=papre", "paper_cpu, quickstart"]),
        (["-m", "seed=0,-1"], ["seed=-1"]),
        (["seed=0,1"], ["seed=0,1", "add -m"]),
        (["seed=["], ["seed=[", "cannot be read"]),
        (["seeds=3"], ["seeds is not a key", "train_size"]),
        (["regularizer=null"], ["a group takes a level"]),
        (["regularizer=dreg", "regularizer.form=lokal"], ["regularizer.form=lokal", "local, cumulative"]),
        (["regularizer=dreg", "regularizer.strength=-1"], ["regularizer.strength=-1", "not be negative"]),
        (["-m", "regularizer=dropout", "regularizer.strength=0.1,2,0.5"], ["regularizer.strength=2", "dropout"]),
        (["schedule=piecewise", "schedule.factors=[a,b]"], ["schedule.factors"]),
        (["epochs=0"], ["epochs=0", "at least 1"]),
        (["-m", "epochs=1,0"], ["epochs=0", "at least 1"]),
        (["train_size=100000"], ["train_size=100000", "1438"]),
        (["train_size=9"], ["train_size=9", "10 classes"]),
        (["optimizer.lr=-1"], ["optimizer.lr=-1"]),
        (["model.widths=[0]"], ["model.widths=[0]"]),
        (["dataset=mnist"], ["mnist", "prepared/mnist.npz", "MNIST/raw"]),
        (["dataset=sst2"], ["sst2", "prepared/sst2.parquet"]),
        (["dataset=arrays"], ["dataset.path"]),
        (["dataset=arrays", "dataset.path=nowhere.npz"], ["nowhere.npz", "no such file"]),
        (["dataset=arrays", "dataset.path=missing.npz"], ["missing.npz", "x_test", "y_test"]),
        (["dataset=arrays", "dataset.path=lengths.npz"], ["lengths.npz", "4", "3"]),
        (["dataset=arrays", "dataset.path=nan.npz"], ["nan.npz", "NaN"]),
        (["dataset=arrays", "dataset.path=cut.npz"], ["cut.npz"]),
        (["dataset=text_table", "dataset.path=columns.csv"], ["columns.csv", "split"]),
        (["results_dir=/dev/null/results"], ["results_dir=/dev/null/results", "cannot be written"]),
        (["-m", "seed=range(0,0)"], ["no cells"]),
        (["-m", "seed=0,1", "hydra.sweeper.max_batch_size=1"], ["max_batch_size is not a key", "params, parts"]),
        (["-m", "seed=0,1", "hydra/launcher=basic"], ["hydra/launcher=basic", "local, slurm"]),
        (["results_dir=columns.csv", "dry_run=true"], ["columns.csv", "not a folder"]),
        (["timeout=0"], ["timeout=0", "above 0"]),
        (["slots_per_gpu=many"], ["slots_per_gpu=many", "whole number"]),
        (["rerun=again"], ["rerun=again", "failed, stale, mixed, all, none"]),
        (["device=tpu"], ["device=tpu", "auto, cpu, cuda"]),
        (["hydra/launcher=nowhere"], ["hydra/launcher=nowhere", "local, slurm"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_bad_input_is_one_clear_line_and_exit_code_2(arguments, words, tmp_path):
    for name, arrays in BAD_ARRAYS.items():
        np.savez(tmp_path / name, **arrays)
    (tmp_path / "cut.npz").write_bytes((tmp_path / "nan.npz").read_bytes()[:200])
    (tmp_path / "columns.csv").write_text("text,label\na,0\n")
    process = run("dreg-sweep", *arguments, cwd=tmp_path, **NO_NETWORK)
    assert process.returncode == 2, process.stderr
    (line,) = process.stderr.strip().splitlines()
    assert line.startswith("dreg-sweep: ")
    assert all(word in line for word in words), line
    assert not list(tmp_path.rglob("cells/*.parquet"))


LEVELS = {  # files of a user's own levels
    "copied": "name: dropout\nstrength: 0.2\n",
    "nameless": "strength: 0.2\n",
    "bare": "name: bare\n",
    "broken": "name: broken\nstrength: [0.2\n",
}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["regularizer=copied"], ["conf/regularizer/copied.yaml says name: dropout; it must be copied"]),
        (["regularizer=nameless"], ["conf/regularizer/nameless.yaml lacks name"]),
        (["regularizer=bare"], ["conf/regularizer/bare.yaml lacks strength"]),
        (["regularizer=broken"], ["regularizer/broken.yaml, line 3: "]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_file_of_a_level_that_is_wrong_is_named(arguments, words, tmp_path):
    folder = tmp_path / "conf" / "regularizer"
    folder.mkdir(parents=True)
    for name, text in LEVELS.items():
        (folder / f"{name}.yaml").write_text(text)
    process = run("dreg-sweep", "--config-dir", "conf", *arguments, cwd=tmp_path, **NO_NETWORK)
    assert process.returncode == 2, process.stderr
    (line,) = process.stderr.strip().splitlines()
    assert line.startswith("dreg-sweep: ")
    assert all(word in line for word in words), line
    assert not list(tmp_path.rglob("cells/*.parquet"))


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["dreg-status", "nowhere"], ["nowhere", "no declared grid"]),
        (["dreg-status"], ["results_dir"]),
        (["dreg-status", "--merge", "a", "b"], ["--out"]),
        (["dreg-status", "--merge", "a", "b", "--out", "c"], ["a is no results folder"]),
        (["dreg-analyze", "nowhere"], ["nowhere", "does not exist"]),
        (["dreg-analyze", "minimal.csv", "--treatment", "l2"], ["l2", "none, dreg"]),
    ],
    ids=" ".join,
)
def test_bad_input_to_the_other_commands(command, words, tmp_path):
    table = pd.DataFrame({"regularizer": ["none", "dreg"], "clean_accuracy": [0.5, 0.6]})
    table.assign(activation="relu", dataset="mnist", seed=0).to_csv(tmp_path / "minimal.csv", index=False)
    process = run(*command, cwd=tmp_path)
    assert process.returncode == 2
    (line,) = process.stderr.strip().splitlines()
    assert line.startswith(f"{command[0]}: ")
    assert all(word in line for word in words), line
