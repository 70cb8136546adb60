"""What launching a cell costs, beside Hydra's own launchers.

One grid goes through this project's launcher and through Hydra's basic and joblib launchers. All compose the same
configuration with the same overrides. Hydra's launchers run a job that does nothing; this project's trains each
cell for one step, and once more finds every cell trained already.
"""

import argparse
import json
import math
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sized
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import pandas as pd

from bench.machine import environment
from bench.options import positive
from dreg_sweep.config import conf_dir

HELP = "ms a cell of this launcher and of Hydra's own"

FACTORS = {  # both datasets are embedded: nothing is downloaded
    "activation": ("relu", "gelu", "silu", "tanh"),
    "regularizer": ("none", "weight_decay", "dropout", "spectral_norm", "igpen", "dreg"),
    "dataset": ("digits", "toy_text"),
}
CELLS_A_SEED = math.prod(len(levels) for levels in FACTORS.values())
SMALLEST_TRAINING = ["steps=1", "train_size=20", "batch_size=8", "noise=none", "model.widths=[1]"]
FIRST_CELL = [*(f"{factor}={levels[0]}" for factor, levels in FACTORS.items()), "seed=0"]
PACKAGES = ("torch", "hydra-core", "joblib", "hydra-joblib-launcher")
BIN = Path(sys.executable).parent

NO_OP_APPLICATION = """\
import hydra


@hydra.main(config_path={conf!r}, config_name="config", version_base=None)
def nothing(config):
    pass


if __name__ == "__main__":
    nothing()
"""

NOTES = """\
{cells} cells, {repeats} interleaved repeats. *one cell* and *grid* are wall times of whole processes, medians;
*ms a cell* is (grid − one cell) / {others}. The ratio is to the grid of *{reference}*, which trains, evaluates
and stores every cell. Its one cell starts a worker with torch, a no-op does not; the grid is composed while that
worker starts, so that its ms a cell are less than what composing costs: for that see *all done already*. The
datasets were prepared before. Hydra's launchers use this project's configuration, under which they write no
logs and no `.hydra` folders; joblib has its default, all cores.
"""


@dataclass(frozen=True)
class Launcher:
    """One way to run a grid, with the wall times of its runs in seconds, one a repeat."""

    name: str
    command: list[str]
    folder_key: str  # says where a run writes
    found: Callable[[Path], Sized]  # the cells that a run left in its folder
    reruns: bool = False  # always into the folder that was completed before
    one_cell: list[float] = field(default_factory=list)
    grid: list[float] = field(default_factory=list)

    def line(self, overrides: list[str]) -> str:
        """The command as one would type it."""
        return shlex.join([*self.command, *overrides, f"{self.folder_key}=results"]).replace(f"{BIN}/", "")

    def milliseconds(self, cells: int) -> list[float]:
        """What each further cell adds to a run of one cell, one a repeat."""
        return [1000 * (many - one) / (cells - 1) for one, many in zip(self.one_cell, self.grid, strict=True)]


def job_folders(folder: Path) -> list[Path]:
    """Hydra makes one folder a job, named by its number."""
    return [path for path in folder.iterdir() if path.is_dir() and path.name.isdigit()]


def trained(folder: Path) -> pd.Series:
    """The trained cells of a results folder, each with its seconds: another training, another time."""
    rows = pd.read_parquet(folder / "cells")
    return rows[rows["status"] == "done"].set_index("cell")["seconds"].sort_index()


def timed(launcher: Launcher, overrides: list[str], cells: int, folder: Path) -> float:
    """Seconds of the whole process; ends the benchmark where the run was not what it should be."""
    command = [*launcher.command, *overrides, f"{launcher.folder_key}={folder}"]
    start = time.perf_counter()
    process = subprocess.run(command, cwd=folder.parent, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if process.returncode != 0:
        said = (process.stderr or process.stdout)[-2000:]
        sys.exit(f"bench: exit code {process.returncode} of {shlex.join(command)}\n{said}")
    if (found := len(launcher.found(folder))) != cells:
        sys.exit(f"bench: {found} cells instead of {cells} from {shlex.join(command)}")
    print(f"{seconds:7.2f} s  {cells:5} cells  {launcher.name}", file=sys.stderr, flush=True)
    return seconds


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those that no other benchmark has."""
    parser.add_argument("--cells", type=positive, default=240, help=f"in whole seeds of {CELLS_A_SEED} cells")


def run(options: argparse.Namespace) -> int:
    """Measure, print the table, and keep the times where asked to."""
    tested = environment(PACKAGES)
    seeds = math.ceil(options.cells / CELLS_A_SEED)
    cells = seeds * CELLS_A_SEED
    grid = [f"{factor}={','.join(levels)}" for factor, levels in FACTORS.items()]
    grid.append(f"seed={','.join(map(str, range(seeds)))}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "no_op.py").write_text(NO_OP_APPLICATION.format(conf=str(conf_dir())))
        no_op = [str(BIN / "python"), "no_op.py", "-m", "hydra/sweeper=basic"]
        sweep = [str(BIN / "dreg-sweep"), "-m", "data_dir=data"]
        launchers = [
            Launcher("Hydra basic, no-op", [*no_op, "hydra/launcher=basic"], "hydra.sweep.dir", job_folders),
            Launcher("Hydra joblib, no-op", [*no_op, "hydra/launcher=joblib"], "hydra.sweep.dir", job_folders),
            Launcher("dreg-sweep, one step", sweep, "results_dir", trained),
            Launcher("dreg-sweep, all done already", sweep, "results_dir", trained, reruns=True),
        ]
        runs = {1: [*FIRST_CELL, *SMALLEST_TRAINING], cells: [*grid, *SMALLEST_TRAINING]}
        # Trains what is rerun later, and prepares the datasets, which is no launcher's work.
        for count, overrides in runs.items():
            timed(launchers[-1], overrides, count, folder / f"complete_{count}")
        before = trained(folder / f"complete_{cells}")
        for repeat in range(options.repeats):
            for number, launcher in enumerate(launchers):
                results = "complete" if launcher.reruns else f"results_{number}_{repeat}"
                one, many = (timed(launcher, runs[count], count, folder / f"{results}_{count}") for count in runs)
                launcher.one_cell.append(one)
                launcher.grid.append(many)
        if not trained(folder / f"complete_{cells}").equals(before):
            sys.exit("bench: a rerun of a complete grid trained cells again")
    print("\n".join(table(launchers, launchers[2], cells)), end="\n\n")
    print(NOTES.format(cells=cells, repeats=options.repeats, others=cells - 1, reference=launchers[2].name))
    print("\n".join(f"- {what}: {value}" for what, value in tested.items()), end="\n\n")
    print("\n".join(f"    {line}" for line in dict.fromkeys(launcher.line(runs[cells]) for launcher in launchers)))
    if options.json:
        measured = [
            {
                "name": launcher.name,
                "command": launcher.line(runs[cells]),
                "ms_a_cell": launcher.milliseconds(cells),
                "one_cell_seconds": launcher.one_cell,
                "grid_seconds": launcher.grid,
            }
            for launcher in launchers
        ]
        record = {"cells": cells, "repeats": options.repeats, "environment": tested, "launchers": measured}
        options.json.write_text(json.dumps(record, indent=2) + "\n")
    return 0


def table(launchers: list[Launcher], reference: Launcher, cells: int) -> list[str]:
    """One line a launcher, in Markdown."""
    lines = [
        "| launcher | ms a cell, median | minimum | maximum | one cell, s | grid, s | ratio of grids |",
        "| :--- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for launcher in launchers:
        each = launcher.milliseconds(cells)
        lines.append(
            f"| {launcher.name} | {median(each):.1f} | {min(each):.1f} | {max(each):.1f} "
            f"| {median(launcher.one_cell):.2f} | {median(launcher.grid):.2f} "
            f"| {median(launcher.grid) / median(reference.grid):.2f} |"
        )
    return lines
