"""What launching a cell costs, beside Hydra's own launchers, and how it grows with the grid.

One grid goes through this project's launcher and through Hydra's basic and joblib launchers. All compose the same
configuration with the same overrides. Hydra's launchers run a job that does nothing; this project's trains each
cell for one step, and once more finds every cell trained already. Further grids, where --cells names several, go
through this project's launcher alone.
"""

import argparse
import itertools
import math
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.commands import BIN, SWEEP, expect, timed, trained, typed
from bench.growth import Line, growth_table
from bench.machine import environment
from bench.options import counts
from bench.repeats import interleaved
from bench.report import command_lines, environment_lines, keep, paragraph, say, spread, table
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

NO_OP_APPLICATION = """\
import hydra


@hydra.main(config_path={conf!r}, config_name="config", version_base=None)
def nothing(config):
    pass


if __name__ == "__main__":
    nothing()
"""

NOTES = """\
{cells} cells, interleaved repeats: {repeats}. *one cell* and *grid* are wall times of whole processes, medians;
*ms a cell* is (grid − one cell) / {others}. The ratio is to the grid of *{reference}*, which trains, evaluates
and stores every cell. Its one cell starts a worker with torch, a no-op does not; the grid is composed while that
worker starts, so that its ms a cell are less than what composing costs: for that see *all done already*. The
datasets were prepared before. Hydra's launchers use this project's configuration, under which they write no
logs and no `.hydra` folders; joblib has its default, all cores."""


@dataclass(frozen=True)
class Launcher:
    """One way to run a grid."""

    name: str
    command: tuple[str, ...]
    folder_key: str  # says where a run writes
    found: Callable[[Path], Sized]  # the cells that a run left in its folder
    reruns: bool = False  # always into the folder that was completed before

    def line(self, overrides: Sequence[str]) -> str:
        """The command as one would type it."""
        return typed([*self.command, *overrides, f"{self.folder_key}=results"])

    def time(self, overrides: Sequence[str], cells: int, results: Path) -> float:
        """Seconds of the whole process; ends the benchmark where the run was not what it should be."""
        command = [*self.command, *overrides, f"{self.folder_key}={results}"]
        seconds, _ = timed(command, results.parent)
        expect(len(self.found(results)), cells, command)
        return seconds


@dataclass(frozen=True)
class Times:
    """Wall times of a launcher's runs in seconds, one a repeat."""

    one_cell: Sequence[float]
    grid: Sequence[float]

    def milliseconds(self, cells: int) -> list[float]:
        """What each further cell adds to a run of one cell, one a repeat."""
        return [1000 * (many - one) / (cells - 1) for one, many in zip(self.one_cell, self.grid, strict=True)]


def job_folders(folder: Path) -> list[Path]:
    """Hydra makes one folder a job, named by its number."""
    return [path for path in folder.iterdir() if path.is_dir() and path.name.isdigit()]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those that no other benchmark has."""
    parser.add_argument(
        "--cells", type=counts, default="240", metavar="N[,N]",
        help=f"in whole seeds of {CELLS_A_SEED} cells; Hydra's launchers get the smallest; by default %(default)s",
    )  # fmt: skip


def grid_of(cells: int) -> list[str]:
    """The overrides of a grid of so many cells."""
    levels = [f"{factor}={','.join(levels)}" for factor, levels in FACTORS.items()]
    return [*levels, f"seed={','.join(map(str, range(cells // CELLS_A_SEED)))}", *SMALLEST_TRAINING]


def run(options: argparse.Namespace) -> int:
    """Measure, print the tables, and keep the times where asked to."""
    tested = environment(PACKAGES)
    sizes = sorted({math.ceil(cells / CELLS_A_SEED) * CELLS_A_SEED for cells in options.cells})
    cells = sizes[0]
    no_op = (str(BIN / "python"), "no_op.py", "-m", "hydra/sweeper=basic")
    sweep = (*SWEEP, "data_dir=data")
    launchers = [
        Launcher("Hydra basic, no-op", (*no_op, "hydra/launcher=basic"), "hydra.sweep.dir", job_folders),
        Launcher("Hydra joblib, no-op", (*no_op, "hydra/launcher=joblib"), "hydra.sweep.dir", job_folders),
        Launcher("dreg-sweep, one step", sweep, "results_dir", trained),
        Launcher("dreg-sweep, all done already", sweep, "results_dir", trained, reruns=True),
    ]
    by_name = {launcher.name: launcher for launcher in launchers}
    _, _, reference, complete = launchers
    overrides = {1: [*FIRST_CELL, *SMALLEST_TRAINING], **{size: grid_of(size) for size in sizes}}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "no_op.py").write_text(NO_OP_APPLICATION.format(conf=str(conf_dir())))
        # Trains what is rerun later, and prepares the datasets, which is no launcher's work.
        for count in (1, cells):
            complete.time(overrides[count], count, folder / f"complete_{count}")
        before = trained(folder / f"complete_{cells}")
        numbers = itertools.count()

        def measure(run: tuple[str, int]) -> float:
            launcher, count = by_name[run[0]], run[1]
            results = f"complete_{count}" if launcher.reruns else f"results_{next(numbers)}"
            return launcher.time(overrides[count], count, folder / results)

        runs = [(launcher, count) for launcher in by_name for count in (1, cells)]
        runs += [(reference.name, size) for size in sizes[1:]]
        seconds = interleaved(
            runs, options.repeats, measure, lambda run, s: f"{s:.2f} s, {run[1]} cells, {run[0]}"
        )
        # Each cell with its seconds: another training, another time.
        if not trained(folder / f"complete_{cells}")["seconds"].equals(before["seconds"]):
            sys.exit("bench: a rerun of a complete grid trained cells again")
    times = {name: Times(seconds[name, 1], seconds[name, cells]) for name in by_name}
    growth = {size: seconds[reference.name, size] for size in sizes}
    say(overhead_table(times, reference.name, cells))
    if len(growth) > 1:
        line = Line.through(growth)
        say(growth_table(growth, line), paragraph(f"*{reference.name}*. {line}"))
    notes = NOTES.format(cells=cells, repeats=options.repeats, others=cells - 1, reference=reference.name)
    lines = [launcher.line(overrides[cells]) for launcher in launchers]
    say(paragraph(notes), environment_lines(tested), command_lines([options.command, *lines]))
    measured = [
        {
            "name": name,
            "command": line,
            "ms_a_cell": times[name].milliseconds(cells),
            "one_cell_seconds": times[name].one_cell,
            "grid_seconds": times[name].grid,
        }
        for name, line in zip(by_name, lines, strict=True)
    ]
    record = {
        "command": options.command,
        "cells": cells,
        "repeats": options.repeats,
        "environment": tested,
        "launchers": measured,
        "growth": [{"cells": size, "seconds": own} for size, own in growth.items()],
    }
    keep(options.json, record)
    return 0


def overhead_table(times: Mapping[str, Times], reference: str, cells: int) -> list[str]:
    """One line a launcher, in Markdown."""
    columns = ["launcher", "ms a cell, median", "minimum", "maximum", "one cell, s", "grid, s", "ratio of grids"]
    return table(
        columns,
        [
            [
                name,
                *spread(own.milliseconds(cells), 1),
                f"{median(own.one_cell):.2f}",
                f"{median(own.grid):.2f}",
                f"{median(own.grid) / median(times[reference].grid):.2f}",
            ]
            for name, own in times.items()
        ],
    )
