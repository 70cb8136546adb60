"""scripts/bench.py gpu: its dry run on the CPU, and its arithmetic by hand."""

import importlib
import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from dreg_sweep.errors import UserError

SCRIPTS = Path(__file__).parents[1] / "scripts"


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    return importlib.import_module("bench.gpu")


def entries(line):
    return [entry.strip() for entry in line.strip("|").split("|")]


def test_a_dry_run_on_the_cpu(tmp_path):
    options = ["--device", "cpu", "--models", "mlp", "--cells", "2", "--steps", "3", "--rows", "300"]
    command = [sys.executable, str(SCRIPTS / "bench.py"), "gpu", *options, "--repeats", "1", "--json", "gpu.json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "gpu.json").read_text())
    grid, loop = record["measured"]
    assert [(one["model"], one["way"]) for one in (grid, loop)] == [("mlp", "grid"), ("mlp", "one by one")]
    assert (record["cells"], record["steps"]) == (2, 3)
    heads, _, line = (entries(line) for line in done.stdout.splitlines() if line.startswith("|"))
    shown = dict(zip(heads, line, strict=True))
    assert float(shown["s from Enter to the last row, median"]) == pytest.approx(
        grid["runs"][0]["seconds"], abs=0.1
    )
    assert float(shown["one by one, s"]) == pytest.approx(2 * loop["runs"][0]["a_cell"], abs=0.1)
    assert float(shown["GiB a slot"]) > 0
    # By hand: 2 cells × 3 steps × 2·128 · (3·668,672 - 784·512), and 40 bytes for each of the 668,672 weights.
    assert record["floor"]["flops"] == 6 * 410_779_648
    assert record["floor"]["bytes"] == 6 * 40 * 668_672
    assert record["floor"]["rate"] > 1e9
    assert record["floor"]["bandwidth"] > 1e8
    assert "- trained on: cpu" in done.stdout
    assert f"    {record['command']}" in done.stdout.splitlines()


def test_without_a_gpu_it_says_so(monkeypatch, capsys, tmp_path):
    monkeypatch.syspath_prepend(SCRIPTS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    main = runpy.run_path(str(SCRIPTS / "bench.py"))["main"]
    assert main(["gpu"]) == 2
    assert capsys.readouterr().err == (
        "bench: --device=cuda, but torch finds no CUDA device here; --device cpu tries the benchmark\n"
    )


def test_the_whole_grid_is_the_paper_s(gpu):
    assert [len(levels) for levels in gpu.grid(960).values()] == [6, 4, 5, 8]
    assert [len(levels) for levels in gpu.grid(7).values()] == [6, 2, 1, 1]
    assert [len(levels) for levels in gpu.grid(1).values()] == [1, 1, 1, 1]
    with pytest.raises(UserError, match="--cells=961 must be at most 960, the whole grid"):
        gpu.grid(961)


def test_the_floor_adds_products_and_memory(gpu):
    """960 cells × 4,688 steps at 50 TFLOP/s and 4 TB/s: 37 and 30 seconds."""
    floor = gpu.Floor(flops=1.85e15, bytes=1.2e14, rate=50e12, bandwidth=4e12)
    assert floor.seconds == pytest.approx(67.0)


def test_a_line_of_the_table(gpu):
    """By hand: two repeats of 100 and 140 s; 960 cells of 3.0 and 3.5 s are 2,880 and 3,360 s."""
    found = {
        ("mlp", "grid"): [gpu.Measured(seconds, 0.1, "cuda", peak) for seconds, peak in ((100, 3.0), (140, 4.0))],
        ("mlp", "one by one"): [gpu.Measured(20, seconds, "cuda", None) for seconds in (3.0, 3.5)],
    }
    floor = gpu.Floor(flops=2.4e15, bytes=0.0, rate=40e12, bandwidth=1.0)
    assert gpu.line("mlp", found, 960, floor) == [
        "mlp", "120.0", "100.0", "140.0", "3120.0", "26.4", "24.0", "28.8", "4.0",
        "60.0", "2.00", "20.00", "0.500",
    ]  # fmt: skip
    assert gpu.line("mlp", found, 960, None)[9:] == ["–"] * 4


def test_torch_is_imported_when_it_is_needed():
    code = "import sys, bench.gpu; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=SCRIPTS, timeout=60, check=False).returncode == 0
