"""The commands on a grid of 100,000 cells, nearly all of which have a row already.

The rows are copies of one trained cell's under other names: the commands do not know that, and nothing else is
measured. A dry run on the empty folder; then dry run, status, resume and status again on the full one.
"""

import argparse
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bench.commands import BIN, SWEEP, typed
from bench.machine import environment
from bench.options import positive
from bench.peaks import need_proc
from bench.repeats import interleaved
from bench.report import command_lines, environment_lines, keep, paragraph, say
from bench.whole_commands import Run, as_record, measured, run_table
from dreg_sweep.store.schema import CELLS_SCHEMA

HELP = "planning, resuming and looking at a grid of 100,000 cells"
PACKAGES = ("hydra-core", "pandas", "pyarrow")
FACTORS = (
    "activation=relu,gelu,silu,tanh",
    "regularizer=none,weight_decay,dropout,spectral_norm,igpen,dreg",
    "dataset=digits",
    "steps=1",
    "train_size=20",
    "noise=none",
    "model.widths=[1]",
    "results_dir=results",
)
CELLS_A_SEED = 24
ROWS_A_FILE = 50_000

NOTES = """\
{cells:,} cells, {rows:,} of which have a row, a copy of one trained cell's under another name; repeats: {repeats},
each in a new folder. Whole processes; memory is the peak of the largest one."""


@dataclass(frozen=True)
class Step:
    """One command of the sequence. exit_code: what it must end with."""

    label: str
    command: Sequence[str]
    exit_code: int = 0


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those that no other benchmark has."""
    parser.add_argument(
        "--cells", type=positive, default=100_000, metavar="N",
        help=f"in whole seeds of {CELLS_A_SEED}; by default %(default)s",
    )  # fmt: skip
    parser.add_argument(
        "--missing", type=positive, default=24, metavar="N", help="cells without a row; by default %(default)s"
    )


def run(options: argparse.Namespace) -> int:
    """Measure, print the table, and keep the numbers where asked to."""
    need_proc()
    tested = environment(PACKAGES)
    seeds = -(-options.cells // CELLS_A_SEED)
    grid = [*SWEEP, *FACTORS, f"seed=range({seeds})"]
    status = [str(BIN / "dreg-status"), "results"]
    steps = [
        Step("dry run, empty folder", [*grid, "dry_run=true"]),
        Step("dry run", [*grid, "dry_run=true"]),
        Step("dreg-status", status, 3),
        Step("dreg-status --json", [*status, "--json"], 3),
        Step(f"resume, {options.missing} cells to train", grid),
        Step("dreg-status, complete", status),
    ]
    with tempfile.TemporaryDirectory() as name:
        folders: list[Path] = []

        def measure(step: Step) -> Run:
            if step is steps[0]:
                folders.append(Path(name) / str(len(folders)))
                folders[-1].mkdir()
            if step is steps[1]:
                begin(grid, folders[-1])
                fabricate(folders[-1] / "results", options.missing)
            return measured(step.command, folders[-1], step.exit_code)

        by_label = {step.label: step for step in steps}
        found = interleaved(
            list(by_label), options.repeats, lambda label: measure(by_label[label]),
            lambda label, run: f"{run.seconds:.1f} s, {label}",
        )  # fmt: skip
    cells = CELLS_A_SEED * seeds
    notes = NOTES.format(cells=cells, rows=cells - options.missing, repeats=options.repeats)
    lines = {step.label: typed(step.command) for step in steps}
    say(
        run_table("command", found), paragraph(notes), environment_lines(tested),
        command_lines([options.command, *lines.values()]),
    )  # fmt: skip
    record: Mapping[str, object] = {
        "command": options.command,
        "cells": cells,
        "repeats": options.repeats,
        "environment": tested,
        "whole_commands": as_record(found, lines),
    }
    keep(options.json, record)
    return 0


def begin(grid: Sequence[str], folder: Path) -> None:
    """Start the sweep and interrupt it when its first stack is stored: the whole grid is declared then."""
    with subprocess.Popen(grid, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not list((folder / "results" / "cells").glob("*.parquet")):
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)


def fabricate(results: Path, missing: int) -> None:
    """Rows for all declared cells but the last few."""
    declared = pq.read_table(results / "grid.parquet")
    paths = list((results / "cells").glob("*.parquet"))
    one = pq.read_table(paths[0]).to_pylist()[0]
    for path in paths:
        path.unlink()
    count = len(declared) - missing
    columns = {}
    for field in CELLS_SCHEMA:
        if field.name in declared.schema.names:
            columns[field.name] = declared[field.name].slice(0, count).combine_chunks()
        else:
            columns[field.name] = pa.array([one[field.name]] * count, field.type)
    table = pa.table(columns, schema=CELLS_SCHEMA)
    for start in range(0, count, ROWS_A_FILE):
        pq.write_table(table.slice(start, ROWS_A_FILE), results / "cells" / f"{start + 2:08d}-joined.parquet")
