"""On a CUDA device: the same command, near the same numbers; graphs; precisions. Skipped elsewhere."""

import numpy as np
import pandas as pd
import pytest
import torch

from dreg_sweep.activations import ACTIVATIONS
from dreg_sweep.cells import OptimizerSpec
from dreg_sweep.graphs import WARM_UP, CudaGraphs, Steps
from dreg_sweep.models.mlp import MLP
from dreg_sweep.regularizers import REGULARIZERS, get_regularizer
from dreg_sweep.train import Methods, _Training, train_stack
from tests.commands import cells, run
from tests.engine import SGD, cell_plan, small_recipe
from tests.networks import image_cell, train_images
from tests.test_train import STRENGTH

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]
GRID = ("-m", "regularizer=none,dropout,dreg", "seed=0,1,2,3", "epochs=5", "model.widths=[64]")


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """The grid on the GPU in two slots, and on the CPU."""
    folder = tmp_path_factory.mktemp("gpu")
    for device, more in (("cuda", ("slots_per_gpu=2",)), ("cpu", ())):
        process = run("dreg-sweep", *GRID, f"device={device}", *more, f"results_dir={device}", cwd=folder)
        assert process.returncode == 0, process.stderr
    return folder


def test_the_gpu_agrees_with_the_cpu_but_for_rounding(swept):
    gpu, cpu = cells(swept / "cuda"), cells(swept / "cpu")
    assert gpu["device"].str.startswith("cuda (").all()
    plain = gpu["regularizer"] != "dropout"  # whose masks come from the device's own generator
    np.testing.assert_allclose(gpu["clean_accuracy"][plain], cpu["clean_accuracy"][plain], atol=0.01)
    np.testing.assert_allclose(gpu["test_loss"][plain], cpu["test_loss"][plain], rtol=0.02)


CUDA = torch.device("cuda:0")
ADAMW = OptimizerSpec("adamw", 1e-3, {"betas": [0.9, 0.999], "eps": 1e-8})
MLP_64 = MLP(40, (64, 64), 5, ACTIVATIONS["gelu"])


def plan(seed, regularizer):
    return cell_plan(seed, STRENGTH[regularizer], n=400, features=40, n_classes=5)


def method(regularizer):
    return Methods(get_regularizer(regularizer, STRENGTH[regularizer], {}))


def recipe(optimizer=ADAMW, steps=50):
    return small_recipe(optimizer, steps, batch_size=64)


@pytest.mark.parametrize("size", [5, 20])
@pytest.mark.parametrize("regularizer", REGULARIZERS)
def test_fifty_steps_of_a_cell_do_not_depend_on_its_stack(regularizer, size):
    plans = [plan(seed, regularizer) for seed in range(size)]
    together = train_stack(MLP_64, method(regularizer), recipe(), plans, CUDA)
    for number in (0, size - 1):
        (alone,) = train_stack(MLP_64, method(regularizer), recipe(), [plans[number]], CUDA)
        ours = together[number]
        assert (ours.status, alone.status) == ("done", "done")
        assert ours.test_loss == pytest.approx(alone.test_loss, rel=1e-5)
        assert ours.history[-1]["loss"] == pytest.approx(alone.history[-1]["loss"], rel=1e-5)
        assert ours.history[-1].get("penalty") == pytest.approx(alone.history[-1].get("penalty"), rel=1e-5)


@pytest.mark.parametrize("optimizer", [ADAMW, SGD], ids=["adamw", "sgd"])
@pytest.mark.parametrize("regularizer", REGULARIZERS)
def test_replayed_steps_are_the_steps(regularizer, optimizer, capfd):
    plans = [plan(seed, regularizer) for seed in range(5)]
    courses = [
        _Training(MLP_64, method(regularizer), recipe(optimizer), plans, CUDA, cuda_graphs)
        for cuda_graphs in (True, False)
    ]
    for course in courses:
        course.run_until(50)
    replayed, taken = courses
    assert capfd.readouterr().err == ""  # recorded: nothing to tell
    assert replayed.position.item() == taken.position.item() == 50
    for name, value in replayed.stack.parameters.items():
        assert torch.equal(value, taken.stack.parameters[name]), name
    for ours, theirs in zip(replayed.stack.streams, taken.stack.streams, strict=True):
        assert torch.equal(ours.get_state(), theirs.get_state())


def test_a_step_that_waits_goes_on_unrecorded_and_the_next_stack_is_recorded():
    lines: list[str] = []
    stream = torch.Generator(CUDA).manual_seed(1)
    sums = torch.zeros((), device=CUDA)

    def waiting():
        sums.add_(torch.rand((), generator=stream, device=CUDA))
        sums.item()

    steps = Steps(CudaGraphs(CUDA), [stream], lines.append)
    for _ in range(WARM_UP + 5):
        steps.take(waiting)
    (line,) = lines
    assert line.startswith("steps are taken without a CUDA graph: ")
    assert "captur" in line
    again = torch.Generator(CUDA).manual_seed(1)
    drawn = [torch.rand((), generator=again, device=CUDA) for _ in range(WARM_UP + 5)]
    assert sums.item() == pytest.approx(torch.stack(drawn).sum().item(), rel=1e-6)
    torch.cuda.empty_cache()
    train_stack(MLP_64, method("dropout"), recipe(), [plan(seed, "dropout") for seed in range(2)], CUDA)


def test_precisions_differ_and_are_recorded(tmp_path):
    command = ("-m", "precision=float32,tf32,bf16", "regularizer=none,igpen,spectral_norm", "epochs=2")
    process = run("dreg-sweep", *command, "device=cuda", "results_dir=r", cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    assert "GiB a slot" in process.stderr  # the peak of its memory
    rows = cells(tmp_path / "r")
    assert sorted(rows["precision"].unique()) == ["bf16", "float32", "tf32"]
    assert (rows["status"] == "done").all()
    for _, levels in rows.groupby("regularizer"):
        losses = levels.set_index("precision")["test_loss"]
        assert losses.nunique() == 3
        np.testing.assert_allclose(losses, losses["float32"], rtol=0.05)


def test_switched_off_graphs_change_nothing_but_rounding(tmp_path):
    for value in ("true", "false"):
        command = ("-m", "regularizer=none,dropout,spectreg", "epochs=2", f"cuda_graphs={value}")
        process = run("dreg-sweep", *command, "device=cuda", f"results_dir={value}", cwd=tmp_path)
        assert process.returncode == 0, process.stderr
        assert "CUDA graph" not in process.stderr
    on, off = cells(tmp_path / "true"), cells(tmp_path / "false")
    assert (on["config_hash"] == off["config_hash"]).all()
    np.testing.assert_allclose(on["test_loss"], off["test_loss"], rtol=1e-4)


@pytest.mark.parametrize("model", ["lenet", "resnet"])
@pytest.mark.parametrize(
    "regularizer", ["none", "dropout", "spectral_norm", "dreg", "double_backprop", "spectreg"]
)
def test_images_trained_as_one_agree_with_each_trained_alone(model, regularizer):
    strength = {"dropout": 0.3, "spectral_norm": 1.0}.get(regularizer, 0.001)
    plans = [image_cell(seed, strength) for seed in range(3)]
    together = train_images(plans, model, regularizer, device="cuda")
    for plan, ours in zip(plans, together, strict=True):
        (alone,) = train_images([plan], model, regularizer, device="cuda")
        assert ours.status == alone.status == "done"
        assert ours.test_loss == pytest.approx(alone.test_loss, rel=1e-2)
        for name in ("loss", "penalty", "input_gradient_mean", "logit_jacobian_near"):
            assert ours.history[-1][name] == pytest.approx(alone.history[-1][name], rel=2e-2)


@pytest.mark.parametrize("model", ["lenet", "resnet"])
@pytest.mark.parametrize("regularizer", ["none", "dreg", "double_backprop"])  # nothing of the device's generator
def test_images_on_the_gpu_agree_with_the_cpu_but_for_rounding(model, regularizer):
    plans = [image_cell(seed, 0.001) for seed in range(2)]
    outcomes = [train_images(plans, model, regularizer, device=device) for device in ("cuda", "cpu")]
    for gpu, cpu in zip(*outcomes, strict=True):
        assert gpu.test_loss == pytest.approx(cpu.test_loss, rel=1e-2)


def test_a_dry_run_packs_the_gpu(tmp_path):
    process = run("dreg-sweep", *GRID, "device=cuda", "dry_run=true", cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    line = next(line for line in process.stdout.splitlines() if line.startswith("time, memory"))
    assert "GiB a slot" in line


def test_a_hidden_gpu_is_not_used(tmp_path):
    process = run("dreg-sweep", "device=cuda", cwd=tmp_path, CUDA_VISIBLE_DEVICES="")
    assert process.returncode == 2
    assert "torch finds no CUDA device here" in process.stderr
    process = run("dreg-sweep", "epochs=1", "results_dir=r", cwd=tmp_path, CUDA_VISIBLE_DEVICES="")
    assert pd.read_parquet(tmp_path / "r" / "cells")["device"].tolist() == ["cpu"]


def test_a_stack_too_large_for_the_gpu_is_halved(tmp_path):
    free, _ = torch.cuda.mem_get_info()
    width = int((free / 40 / 4 / 4) ** 0.5)  # forty cells of width² weights, their gradients and two moments
    command = (
        "-m",
        "seed=range(60)",
        "steps=1",
        f"model.widths=[{width},{width}]",
        "stack_size=60",
        "timeout=500",
    )
    process = run("dreg-sweep", *command, "device=cuda", "slots=1", "results_dir=r", cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    assert len(cells(tmp_path / "r")) == 60
