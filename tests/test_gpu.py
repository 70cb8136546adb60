"""On a CUDA device: the same command, near the same numbers. Deselected where there is none."""

import numpy as np
import pandas as pd
import pytest
import torch

from tests.commands import cells, run

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
