"""Times `dreg-analyze` on made-up rows: the paper's 960 cells, and then a million.

    python scripts/scale_analysis.py [--rows 1000000]

The rows are those of 4 activations × 6 regularizers × 8 datasets with as many seeds as it takes. Each set of them
is analysed twice: as a results folder (all columns with each cell's configuration, 50,000 rows a file) and as one
parquet file with the five columns that suffice. Every run is a fresh process. Prints its wall time and its peak
resident memory (ru_maxrss) as a Markdown table, with the machine and the versions.
"""

import argparse
import json
import multiprocessing
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from itertools import product
from pathlib import Path

from dreg_sweep.arguments import OneLineParser
from dreg_sweep.errors import UserError

PROGRAM = "scale_analysis"
BIN = Path(sys.executable).parent
PACKAGES = ("dreg-sweep", "numpy", "pandas", "pyarrow", "scipy", "matplotlib")
ACTIVATIONS = ("relu", "gelu", "silu", "tanh")
REGULARIZERS = ("none", "weight_decay", "dropout", "spectral_norm", "igpen", "dreg")
DATASETS = {
    "mnist": ("vision", "clean"),
    "fashion_mnist": ("vision", "clean"),
    "cifar10": ("vision", "messy"),
    "gtsrb": ("vision", "messy"),
    "sst2": ("text", "clean"),
    "trec6": ("text", "clean"),
    "tweet_emotion": ("text", "messy"),
    "tweet_offensive": ("text", "messy"),
}
COMBINATIONS = list(product(DATASETS, ACTIVATIONS, REGULARIZERS))
PAPER = 960
ROWS_A_FILE = 50_000
TEST_SIZE = 10_000


def rows(total: int) -> Iterator[list[dict[str, object]]]:
    """Made-up rows of the store's format, `ROWS_A_FILE` at a time; dreg is better by half a point."""
    import numpy as np

    rng = np.random.default_rng(0)
    for start in range(0, total, ROWS_A_FILE):
        numbers = range(start, min(total, start + ROWS_A_FILE))
        wobble = rng.integers(-200, 201, (len(numbers), 2)).tolist()
        yield [_row(number, clean, noisy) for number, (clean, noisy) in zip(numbers, wobble, strict=True)]


def _row(number: int, clean: int, noisy: int) -> dict[str, object]:
    seed, place = divmod(number, len(COMBINATIONS))
    dataset, activation, regularizer = COMBINATIONS[place]
    modality, regime = DATASETS[dataset]
    level = 7_000 + 200 * list(DATASETS).index(dataset) + 50 * (regularizer == "dreg")
    config = {
        "activation": activation,
        "batch_size": 128,
        "dataset": {"modality": modality, "name": dataset, "options": {}, "regime": regime, "source": dataset},
        "epochs": 10,
        "evaluate_on": "test",
        "model": {"name": "mlp", "widths": [512, 512]},
        "noise": {"pixel_sigma": [0.25, 0.5, 1.0, 2.0], "text_rate": [0.05, 0.1, 0.2, 0.4]},
        "optimizer": {"betas": [0.9, 0.999], "eps": 1e-08, "lr": 0.001, "name": "adamw"},
        "regularizer": {"name": regularizer, "strength": 0.01},
        "schedule": {"name": "cosine"},
        "seed": seed,
        "steps": None,
        "train_size": None,
    }
    return {
        "cell": f"{dataset}/{activation}/{regularizer}/s{seed}",
        "config_hash": f"{number:016x}",
        "activation": activation,
        "regularizer": regularizer,
        "strength": 0.01,
        "dataset": dataset,
        "modality": modality,
        "regime": regime,
        "seed": seed,
        "model": "mlp",
        "status": "done",
        "n_test": TEST_SIZE,
        "clean_correct": level + clean,
        "clean_accuracy": (level + clean) / TEST_SIZE,
        "n_noisy": 4 * TEST_SIZE,
        "noisy_correct": 3 * level + noisy,
        "noisy_accuracy": (3 * level + noisy) / (4 * TEST_SIZE),
        "train_accuracy": 0.99,
        "test_loss": 0.5,
        "steps": 4_690,
        "seconds": 60.0,
        "device": "cpu",
        "evaluated_on": "test",
        "data_fingerprint": "0" * 16,
        "code_version": "0",
        "code_fingerprint": "0" * 16,
        "torch_version": "0",
        "config": json.dumps(config, separators=(",", ":")),
    }


def store(path: Path, total: int) -> None:
    """A results folder."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from dreg_sweep.store.schema import CELLS_SCHEMA

    (path / "cells").mkdir(parents=True)
    for place, part in enumerate(rows(total), start=1):
        table = pa.Table.from_pylist(part, schema=CELLS_SCHEMA)
        pq.write_table(table, path / "cells" / f"{place:08d}-joined.parquet")


def minimal(path: Path, total: int) -> None:
    """One parquet file with five columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from dreg_sweep.store.schema import CELLS_SCHEMA

    names = ("activation", "regularizer", "dataset", "seed", "clean_accuracy")
    schema = pa.schema([CELLS_SCHEMA.field(name) for name in names])
    with pq.ParquetWriter(path, schema) as file:
        for part in rows(total):
            file.write_table(pa.Table.from_pylist(part, schema=schema))


FORMATS: dict[str, tuple[str, Callable[[Path, int], None]]] = {
    "results folder": ("results", store),
    "five columns": ("rows.parquet", minimal),
}


def measured(path: Path, out: Path, total: int) -> tuple[float, float]:
    """Seconds and MiB of one analysis; ends the command where it was not what it should be."""
    command = [str(BIN / "dreg-analyze"), str(path), "--out", str(out)]
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0 or f"{total} of {total} cells done" not in printed:
        sys.exit(f"{PROGRAM}: exit code {process.returncode} of {' '.join(command)}\n{printed[-2000:]}")
    return seconds, usage.ru_maxrss / 2**10


def bytes_of(path: Path) -> int:
    """Of a file or of all files in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def cpu_model() -> str:
    """The processor's name as the system gives it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = OneLineParser(
        prog=PROGRAM, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--rows", type=int, default=1_000_000, help=f"in whole seeds of {len(COMBINATIONS)}")
    return options


def main() -> int:
    """The command."""
    try:
        options = parser().parse_args()
        if options.rows < 1:
            raise UserError(f"--rows {options.rows}: at least 1")
    except UserError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 2
    whole = -(-options.rows // len(COMBINATIONS)) * len(COMBINATIONS)
    print("| rows | given as | on disk | time | peak memory |\n| ---: | :--- | ---: | ---: | ---: |", flush=True)
    # A child's ru_maxrss includes what its parent held when it was started: rows are made elsewhere.
    with tempfile.TemporaryDirectory() as name, multiprocessing.get_context("spawn").Pool(1) as elsewhere:
        for total, (kind, (file, make)) in product(dict.fromkeys([PAPER, whole]), FORMATS.items()):
            path = Path(name) / str(total) / file
            path.parent.mkdir(exist_ok=True)
            elsewhere.apply(make, (path, total))
            seconds, memory = measured(path, path.parent / f"out_{path.stem}", total)
            size = f"{bytes_of(path) / 2**20:.1f} MiB"
            print(f"| {total:,} | {kind} | {size} | {seconds:.1f} s | {memory:.0f} MiB |", flush=True)
    print(f"\n- CPU: {cpu_model()}, {os.cpu_count()} cores\n- Python: {platform.python_version()}")
    print("\n".join(f"- {package}: {version(package)}" for package in PACKAGES))
    return 0


if __name__ == "__main__":
    sys.exit(main())
