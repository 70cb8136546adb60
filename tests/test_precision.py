"""precision=…: what is refused and where, what a row says, and that the arithmetic is put back."""

import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

from dreg_sweep import config, precision
from dreg_sweep.errors import UserError
from dreg_sweep.precision import get_arithmetic, refuse_unfit_precision, tensor_float
from dreg_sweep.store.files import read_rows
from dreg_sweep.store.schema import CELLS_SCHEMA
from tests.commands import run

SMALL = ("steps=2", "train_size=40", "noise=none", "model.widths=[4]")


def allowed():
    return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32


def test_the_configuration_offers_what_the_engine_has():
    assert tuple(precision.PRECISIONS) == config.PRECISIONS


@pytest.mark.parametrize("level", ["tf32", "bf16"])
@pytest.mark.parametrize("device", ["cpu", "auto"])
def test_the_cpu_trains_in_float32_alone(tmp_path, level, device):
    process = run(
        "dreg-sweep", *SMALL, f"precision={level}", f"device={device}", cwd=tmp_path, CUDA_VISIBLE_DEVICES=""
    )
    assert process.returncode == 2
    assert process.stderr == (
        f"dreg-sweep: precision={level} needs a CUDA device, and this trains on the CPU; "
        "choose precision=float32 or device=cuda\n"
    )
    assert not list(tmp_path.glob("results/*/cells/*.parquet"))


def test_an_unknown_precision_lists_the_choices(tmp_path):
    process = run("dreg-sweep", "precision=fp16", cwd=tmp_path)
    assert process.returncode == 2
    assert process.stderr == "dreg-sweep: precision=fp16 is unknown; choose one of: float32, tf32, bf16\n"
    with pytest.raises(UserError, match="choose one of: bf16, float32, tf32"):
        get_arithmetic("fp16", "cuda")


def test_a_gpu_is_refused_nothing():
    for level in precision.PRECISIONS:
        refuse_unfit_precision(level, "cuda")


def test_rows_say_their_precision_and_older_files_have_none(tmp_path):
    process = run("dreg-sweep", *SMALL, "device=cpu", "results_dir=r", cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    (file,) = (tmp_path / "r" / "cells").glob("*.parquet")
    table = pq.read_table(file)
    assert table["precision"].to_pylist() == ["float32"]
    pq.write_table(table.drop_columns(["precision"]).replace_schema_metadata(), file)
    assert read_rows(file, CELLS_SCHEMA, ["precision"])["precision"].to_pylist() == [None]
    assert run("dreg-status", "r", cwd=tmp_path).returncode == 0
    assert run("dreg-sweep", *SMALL, "device=cpu", "results_dir=r", cwd=tmp_path).returncode == 0
    assert "precision" not in pd.read_parquet(file)  # nothing was trained anew


def test_tensor_float_is_put_back_after_an_error():
    @tensor_float(True)
    def failing():
        assert allowed() == (True, True)
        raise ZeroDivisionError

    before = allowed()
    with pytest.raises(ZeroDivisionError):
        failing()
    assert allowed() == before


def test_tf32_is_for_the_steps_alone():
    with tensor_float(False):
        with get_arithmetic("tf32", "cuda")():
            assert allowed() == (True, True)
        assert allowed() == (False, False)


def test_bf16_is_for_products_alone():
    a = torch.ones(2, 3, 3)
    with get_arithmetic("bf16", "cpu")():
        assert torch.bmm(a, a).dtype == torch.bfloat16
        assert torch.nn.functional.cross_entropy(torch.bmm(a, a)[0], torch.zeros(3, dtype=torch.int64)).dtype == (
            torch.float32
        )
    assert torch.bmm(a, a).dtype == torch.float32
