"""`dreg-analyze` on made-up rows: the paper's 960 cells, and then a million.

The rows are those of 4 activations × 6 regularizers × 8 datasets with as many seeds as it takes. Each set of them
is analysed twice: as a results folder (all columns with each cell's configuration, 50,000 rows a file) and as one
parquet file with the five columns that suffice.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.commands import BIN, typed
from bench.machine import environment
from bench.options import positive
from bench.peaks import need_proc
from bench.repeats import interleaved
from bench.report import command_lines, environment_lines, keep, paragraph, say
from bench.whole_commands import Run, as_record, measured, run_table
from dreg_sweep.store.configs import configs_file
from dreg_sweep.store.schema import CELLS_SCHEMA, CONFIGS_SCHEMA

HELP = "tables, figures and report of 960 rows and of a million"
PACKAGES = ("numpy", "pandas", "pyarrow", "scipy", "matplotlib")
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

NOTES = """\
Whole processes, imports included; all tables, figures and the report; interleaved repeats: {repeats}. Memory is
the peak of the process. The rows are made up; as a results folder they have all columns, with each cell's
configuration."""


def rows(total: int) -> Iterator[list[dict[str, object]]]:
    """Made-up rows of the store's format, `ROWS_A_FILE` at a time; dreg is better by half a point."""
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
    (path / "cells").mkdir(parents=True)
    configs = configs_file(path)
    configs.parent.mkdir()
    with pq.ParquetWriter(configs, CONFIGS_SCHEMA) as file:
        for place, part in enumerate(rows(total), start=1):
            table = pa.Table.from_pylist(part, schema=CELLS_SCHEMA)
            pq.write_table(table, path / "cells" / f"{place:08d}-joined.parquet")
            file.write_table(pa.Table.from_pylist(part, schema=CONFIGS_SCHEMA))


def minimal(path: Path, total: int) -> None:
    """One parquet file with five columns."""
    names = ("activation", "regularizer", "dataset", "seed", "clean_accuracy")
    schema = pa.schema([CELLS_SCHEMA.field(name) for name in names])
    with pq.ParquetWriter(path, schema) as file:
        for part in rows(total):
            file.write_table(pa.Table.from_pylist(part, schema=schema))


FORMATS: dict[str, tuple[str, Callable[[Path, int], None]]] = {
    "results folder": ("results", store),
    "five columns": ("rows.parquet", minimal),
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """The one that no other benchmark has."""
    parser.add_argument(
        "--rows", type=positive, default=1_000_000, metavar="N",
        help=f"in whole seeds of {len(COMBINATIONS)}; by default %(default)s",
    )  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Measure, print the table, and keep the numbers where asked to."""
    need_proc()
    tested = environment(PACKAGES)
    whole = -(-options.rows // len(COMBINATIONS)) * len(COMBINATIONS)
    commands = {}
    with tempfile.TemporaryDirectory() as name:
        for total, (kind, (file, make)) in product(sorted({PAPER, whole}), FORMATS.items()):
            path = Path(name) / str(total) / file
            path.parent.mkdir(exist_ok=True)
            make(path, total)
            out = path.with_name(f"out_{path.stem}")
            label = f"{total:,} rows, {kind}, {bytes_of(path) / 2**20:.1f} MiB"
            commands[label] = [str(BIN / "dreg-analyze"), str(path), "--out", str(out)]

        def measure(label: str) -> Run:
            return measured(commands[label], Path(name))

        found = interleaved(
            list(commands), options.repeats, measure, lambda label, run: f"{run.seconds:.1f} s, {label}"
        )
    lines = {label: typed(command).replace(f"{name}/", "") for label, command in commands.items()}
    say(
        run_table("rows", found), paragraph(NOTES.format(repeats=options.repeats)), environment_lines(tested),
        command_lines([options.command, *lines.values()]),
    )  # fmt: skip
    record: Mapping[str, object] = {
        "command": options.command,
        "repeats": options.repeats,
        "environment": tested,
        "whole_commands": as_record(found, lines),
    }
    keep(options.json, record)
    return 0


def bytes_of(path: Path) -> int:
    """Of a file or of all files in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
