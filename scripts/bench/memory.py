"""Peak memory of a slot: a stack on the whole training set, as large as the kernel says its worker ever was.

The sweep runs as a whole command, one slot and one stack; meanwhile /proc tells the peak resident memory (VmHWM)
of the runner, of the server that it starts, and of the worker forked from that. Needs Linux.
"""

import argparse
import itertools
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench import images
from bench.commands import SWEEP, expect, timed, trained, typed
from bench.machine import environment
from bench.options import chosen, perceptrons, positive
from bench.peaks import need_proc, peaks
from bench.repeats import interleaved
from bench.report import command_lines, environment_lines, keep, paragraph, say, spread, table
from dreg_sweep.config import conf_dir

HELP = "peak memory of a slot on a whole training set"
PACKAGES = ("torch", "numpy")
LEVELS = ("none", "igpen", "dreg")

NOTES = """\
One slot, one stack of {seeds} cells, {rows}, epochs: {epochs}; interleaved repeats: {repeats}. *slot* is the
worker, and *said* its peak as the sweep itself tells it at its end; *server* has imported torch and forks workers,
with which it shares most of what it holds; *runner* is the process that was started. An epoch more adds the order
of its batches."""


@dataclass(frozen=True)
class Peak:
    """The most that each kind of process ever held, in bytes, and what the sweep said of the slot."""

    runner: int
    server: int
    slot: int
    said: str


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those that no other benchmark has."""
    parser.add_argument(
        "--models", type=perceptrons, default="mlp-512-512", metavar="NAME[,NAME]",
        help="named after their widths; by default %(default)s",
    )  # fmt: skip
    parser.add_argument("--regularizers", metavar="LEVEL[,LEVEL]", help=f"by default {','.join(LEVELS)}")
    parser.add_argument(
        "--seeds", type=positive, default=5, metavar="N", help="cells of the stack; by default %(default)s"
    )
    parser.add_argument("--train-size", type=positive, metavar="N", help="by default all rows")
    parser.add_argument("--epochs", type=positive, default=1, metavar="N", help="by default %(default)s")
    images.add_options(parser)


def run(options: argparse.Namespace) -> int:
    """Measure, print the table, and keep the peaks where asked to."""
    need_proc()
    tested = environment(PACKAGES)
    known = sorted(path.stem for path in (conf_dir() / "regularizer").glob("*.yaml"))
    levels = chosen("--regularizers", options.regularizers or ",".join(LEVELS), known)
    shared = [
        f"seed={','.join(map(str, range(options.seeds)))}", *images.images(options).overrides, "device=cpu",
        f"train_size={options.train_size or 'null'}", f"epochs={options.epochs}",
        f"stack_size={options.seeds}", "slots=1", "model=mlp",
    ]  # fmt: skip
    commands = {
        (model, level): [
            *SWEEP, f"regularizer={level}", f"model.widths=[{','.join(map(str, widths))}]", *shared,
        ]
        for model, widths in options.models.items()
        for level in levels
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        numbers = itertools.count()

        def measure(run: tuple[str, str]) -> Peak:
            results = Path(name) / str(next(numbers))
            command = [*commands[run], f"results_dir={results}"]
            highest = [0, 0, 0]

            def look(runner: int) -> None:
                for generation, peak in peaks(runner):
                    highest[generation] = max(peak, highest[generation])

            _, stderr = timed(command, Path(name), look)
            expect(len(trained(results)), options.seeds, command)
            if not highest[2]:
                sys.exit(f"bench: no worker was seen at {typed(command)}")
            runner, server, slot = highest
            return Peak(runner, server, slot, said_by(stderr))

        found = interleaved(
            list(commands), options.repeats, measure,
            lambda run, peak: f"{peak.slot / 2**20:.0f} MiB, {run[0]}, {run[1]}",
        )  # fmt: skip
    rows = "all rows" if options.train_size is None else f"{options.train_size} rows"
    notes = NOTES.format(seeds=options.seeds, rows=rows, epochs=options.epochs, repeats=options.repeats)
    lines = [typed([*command, "results_dir=results"]) for command in commands.values()]
    say(memory_table(found), paragraph(notes), environment_lines(tested), command_lines([options.command, *lines]))
    record = {
        "command": options.command,
        "repeats": options.repeats,
        "environment": tested,
        "peaks": [
            {"model": model, "regularizer": level, "command": line, "repeats": [asdict(peak) for peak in own]}
            for ((model, level), own), line in zip(found.items(), lines, strict=True)
        ],
    }
    keep(options.json, record)
    return 0


def said_by(stderr: str) -> str:
    """The peak of a slot in the last lines of a sweep."""
    found = re.search(r"at most (\S+ \S+) a slot", stderr)
    return found[1] if found else "–"


def memory_table(found: Mapping[tuple[str, str], Sequence[Peak]]) -> list[str]:
    """One line a model and regularizer, in MiB."""
    columns = ["peak, MiB", "slot, median", "minimum", "maximum", "said", "server, median", "runner, median"]
    lines = []
    for (model, level), own in found.items():
        slot, server, runner = (
            spread([peak / 2**20 for peak in peaks], 0)
            for peaks in zip(*((peak.slot, peak.server, peak.runner) for peak in own), strict=True)
        )
        lines.append([f"{model}, {level}", *slot, own[-1].said, server[0], runner[0]])
    return table(columns, lines)
