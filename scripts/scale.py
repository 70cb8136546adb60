"""Times the commands on a grid of 100,000 cells, nearly all of which have a row already.

    python scripts/scale.py [--cells 100000] [--missing 24]

The rows are copies of one trained cell's under other names: the commands do not know that, and nothing else is
measured. Prints seconds and peak resident memory (of the largest process) of a dry run on the empty folder, and of
dry run, status, resume and status again on the full one.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from dreg_sweep.store.schema import CELLS_SCHEMA

BIN = Path(sys.executable).parent
FACTORS = [
    "activation=relu,gelu,silu,tanh",
    "regularizer=none,weight_decay,dropout,spectral_norm,igpen,dreg",
    "dataset=digits",
    "steps=1",
    "train_size=20",
    "noise=none",
    "model.widths=[1]",
]
ROWS_A_FILE = 50_000


def run(name: str, command: Sequence[str], codes: Sequence[int], folder: Path) -> None:
    """One line: seconds, memory and the last line the command printed."""
    begun = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begun
    if os.waitstatus_to_exitcode(status) not in codes:
        sys.exit(f"scale: exit code {os.waitstatus_to_exitcode(status)} of {' '.join(command)}\n{printed[-2000:]}")
    last = printed.strip().splitlines()[-1][:60]
    print(f"| {name} | {seconds:.1f} s | {usage.ru_maxrss / 2**10:.0f} MiB | {last} |", flush=True)


def begin(grid: Sequence[str], folder: Path) -> None:
    """Start the sweep and interrupt it when its first stack is stored: the whole grid is declared then."""
    with subprocess.Popen(grid, cwd=folder, stderr=subprocess.DEVNULL) as process:
        while not list((folder / "results" / "cells").glob("*.parquet")):
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)


def fabricate(folder: Path, missing: int) -> int:
    """Rows for all declared cells but the last few; returns how many."""
    declared = pq.read_table(folder / "grid.parquet")
    paths = list((folder / "cells").glob("*.parquet"))
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
        pq.write_table(table.slice(start, ROWS_A_FILE), folder / "cells" / f"{start + 2:08d}-joined.parquet")
    return count


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--missing", type=int, default=24)
    options = parser.parse_args()
    seeds = -(-options.cells // 24)
    sweep = [str(BIN / "dreg-sweep"), "-m", *FACTORS, "results_dir=results"]
    grid = [*sweep, f"seed=range({seeds})"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(f"{24 * seeds} cells\n\n| command | time | peak memory | said |\n| :--- | ---: | ---: | :--- |")
        run("dry run, nothing there", [*grid, "dry_run=true"], [0], folder)
        begin(grid, folder)
        rows = fabricate(folder / "results", options.missing)
        print(f"| ({rows} rows) | | | |")
        run("dry run", [*grid, "dry_run=true"], [0], folder)
        run("status", [str(BIN / "dreg-status"), "results"], [3], folder)
        run("status --json", [str(BIN / "dreg-status"), "results", "--json"], [3], folder)
        run(f"resume, {options.missing} cells to train", grid, [0], folder)
        run("status", [str(BIN / "dreg-status"), "results"], [0], folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
