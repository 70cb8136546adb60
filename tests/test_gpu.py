"""On a CUDA device: the same command, near the same numbers. Deselected where there is none."""

import numpy as np
import pandas as pd
import pytest
import torch

from tests.commands import cells, run
from tests.networks import image_cell, train_images

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


@pytest.fixture
def float32_convolutions():
    """As a worker has them."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


@pytest.mark.parametrize("model", ["lenet", "resnet"])
@pytest.mark.parametrize(
    "regularizer", ["none", "dropout", "spectral_norm", "dreg", "double_backprop", "spectreg"]
)
def test_images_trained_as_one_agree_with_each_trained_alone(model, regularizer, float32_convolutions):
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
def test_images_on_the_gpu_agree_with_the_cpu_but_for_rounding(model, regularizer, float32_convolutions):
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
