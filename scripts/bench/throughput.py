"""Cells a minute of this runner, beside a plain script under Hydra's own launchers.

The same cells four ways, each a whole command from Enter to the last result: bench/plain/train.py, a script as one
writes it (nn.Module, DataLoader, torch.optim), one training after the other in one process (Hydra's basic
launcher) and on all cores (its joblib launcher); this runner; and this runner with stack_size=1. The accuracies of
script and runner must agree within the noise of seeds, and the runner's rows with and without stacks to the last
bit: otherwise the exit code is 1.
"""

import argparse
import itertools
import json
import math
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import pandas as pd

from bench import images
from bench.agreement import STANDARD_ERRORS, agreement_table, agreements
from bench.commands import BIN, SWEEP, expect, timed, trained, typed
from bench.machine import environment
from bench.options import at_least_two, chosen, perceptrons, positive
from bench.repeats import interleaved
from bench.report import command_lines, environment_lines, keep, paragraph, say, spread, table

HELP = "cells a minute, beside a plain script under Hydra's launchers"
PACKAGES = ("torch", "hydra-core", "joblib", "hydra-joblib-launcher")
SCRIPT = Path(__file__).parent / "plain" / "train.py"
ACTIVATIONS = ("relu", "gelu")  # that the script has
REGULARIZERS = ("none", "weight_decay", "igpen", "dreg")  # likewise
Run = tuple[str, str]  # model, way

NOTES = """\
{cells} cells a model, interleaved repeats: {repeats}. Wall times of whole commands, torch's import and Hydra's
start included; ratios of cells a minute are to *{script}* and to *{alone}* in the same repeat. Threads of a
training of the script: {threads}. A lone cell is trained beside a copy on a CPU, so that *{alone}* does each
product twice. Accuracy agrees where the difference of two means over {seeds} seeds is at most {errors} standard
errors of such a difference, by the variance between seeds pooled over the rows of the table, or one point. The
runner's rows with and without stacks must be the same to the last bit."""


@dataclass(frozen=True)
class Way:
    """One way to train a grid: the command before its overrides, and the rows of the folder it wrote to."""

    name: str
    command: tuple[str, ...]
    overrides: Callable[[Sequence[int]], list[str]]  # of a network of these widths
    folder_key: str
    rows: Callable[[Path], pd.DataFrame]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those that no other benchmark has."""
    parser.add_argument(
        "--models", type=perceptrons, default="mlp-64-64,mlp-512-512", metavar="NAME[,NAME]",
        help="named after their widths; by default %(default)s",
    )  # fmt: skip
    parser.add_argument("--activations", metavar="LEVEL[,LEVEL]", help=f"of {', '.join(ACTIVATIONS)}; default all")
    parser.add_argument(
        "--regularizers", metavar="LEVEL[,LEVEL]", help=f"of {', '.join(REGULARIZERS)}; default all"
    )
    parser.add_argument(
        "--seeds", type=at_least_two, default=5, metavar="N", help="cells a combination; by default %(default)s"
    )
    parser.add_argument("--train-size", type=positive, default=5000, metavar="N", help="by default %(default)s")
    parser.add_argument("--epochs", type=positive, default=10, metavar="N", help="by default %(default)s")
    parser.add_argument("--no-noise", action="store_true", help="leave the noise ladder out, on both sides")
    images.add_options(parser)


def run(options: argparse.Namespace) -> int:
    """Measure, print the tables, and keep the times where asked to; 1 where results do not agree."""
    tested = environment(PACKAGES)
    axes = {
        "activation": chosen("--activations", options.activations, ACTIVATIONS),
        "regularizer": chosen("--regularizers", options.regularizers, REGULARIZERS),
        "seed": [str(seed) for seed in range(options.seeds)],
    }
    cells = math.prod(len(levels) for levels in axes.values())
    ways = all_ways(options, [f"{factor}={','.join(levels)}" for factor, levels in axes.items()])
    seconds, rows = train(ways, options.models, cells, options.repeats)
    _, script, runner, alone = (way.name for way in ways)
    faults, records = [], []
    for model in options.models:
        found = agreements(rows[model, script], rows[model, runner])
        faults += [f"{model}: {pair}" for pair in found if not pair.holds]
        if not same_bits(rows[model, runner], rows[model, alone]):
            faults.append(f"{model}: rows of {runner} and {alone} differ")
        times = {way.name: seconds[model, way.name] for way in ways}
        records.append({"name": model, "seconds": times, "accuracies": [asdict(pair) for pair in found]})
        heading = f"{model}, train_size={options.train_size}, epochs={options.epochs}"
        say([heading], speed_table(times, cells, (script, alone)), agreement_table(found))
    threads = {way.name: rows[next(iter(options.models)), way.name]["threads"].max() for way in ways[:2]}
    notes = NOTES.format(
        cells=cells, repeats=options.repeats, script=script, seeds=options.seeds, errors=STANDARD_ERRORS,
        threads=" and ".join(f"{count} under *{way}*" for way, count in threads.items()), alone=alone,
    )  # fmt: skip
    commands = [
        typed([*way.command, *way.overrides(widths), f"{way.folder_key}=results"])
        for widths in options.models.values()
        for way in ways
    ]
    say(paragraph(notes), environment_lines(tested), command_lines([options.command, *commands]))
    record = {
        "command": options.command,
        "cells": cells,
        "repeats": options.repeats,
        "environment": tested,
        "commands_timed": commands,
        "models": records,
    }
    keep(options.json, record)
    for fault in faults:
        print(f"bench: {fault}", file=sys.stderr)
    return 1 if faults else 0


def train(
    ways: Sequence[Way], models: Mapping[str, Sequence[int]], cells: int, repeats: int
) -> tuple[dict[Run, list[float]], dict[Run, pd.DataFrame]]:
    """Seconds of each way on each model (name → widths), one a repeat, and the rows of its last repeat."""
    by_name = {way.name: way for way in ways}
    rows: dict[Run, pd.DataFrame] = {}
    with tempfile.TemporaryDirectory() as name:
        numbers = itertools.count()

        def measure(run: Run) -> float:
            model, way = run[0], by_name[run[1]]
            results = Path(name) / str(next(numbers))
            command = [*way.command, *way.overrides(models[model]), f"{way.folder_key}={results}"]
            seconds, _ = timed(command, Path(name))
            rows[run] = way.rows(results)
            expect(len(rows[run]), cells, command)
            return seconds

        runs = list(itertools.product(models, by_name))
        seconds = interleaved(runs, repeats, measure, lambda run, s: f"{s:.1f} s, {run[0]}, {run[1]}")
    return seconds, rows


def all_ways(options: argparse.Namespace, axes: Sequence[str]) -> list[Way]:
    """The four ways: script one by one, script on all cores, this runner, this runner without stacks."""
    at_hand = images.images(options)
    shared = [*axes, f"train_size={options.train_size}", f"epochs={options.epochs}"]
    plain = [*shared, f"data={at_hand.file}", *["noise=[]"] * options.no_noise]
    ours = [*shared, *at_hand.overrides, "device=cpu", *["noise=none"] * options.no_noise]

    def of_script(widths: Sequence[int]) -> list[str]:
        return [*plain, f"widths=[{','.join(map(str, widths))}]"]

    def of_runner(widths: Sequence[int]) -> list[str]:
        return [*ours, "model=mlp", f"model.widths=[{','.join(map(str, widths))}]"]

    script = (str(BIN / "python"), str(SCRIPT), "-m", "hydra/sweeper=basic")
    return [
        Way("script, Hydra basic", (*script, "hydra/launcher=basic"), of_script, "hydra.sweep.dir", script_rows),
        Way("script, Hydra joblib", (*script, "hydra/launcher=joblib"), of_script, "hydra.sweep.dir", script_rows),
        Way("dreg-sweep", SWEEP, of_runner, "results_dir", trained),
        Way("dreg-sweep, stack_size=1", (*SWEEP, "stack_size=1"), of_runner, "results_dir", trained),
    ]


def script_rows(folder: Path) -> pd.DataFrame:
    """What the jobs of the script wrote, one row a job, in their order."""
    paths = sorted(folder.glob("*/result.json"), key=lambda path: int(path.parent.name))
    return pd.DataFrame([json.loads(path.read_text()) for path in paths])


def same_bits(stacked: pd.DataFrame, alone: pd.DataFrame) -> bool:
    """Whether two runs of the same cells counted the same and had the same loss."""
    columns = ["clean_correct", "noisy_correct", "test_loss"]
    return stacked[columns].equals(alone[columns])


def speed_table(seconds: Mapping[str, Sequence[float]], cells: int, references: Sequence[str]) -> list[str]:
    """One line a way, in Markdown, with its ratios to the references."""
    columns = ["way", "cells a minute, median", "minimum", "maximum", "s, median"]
    for reference in references:
        columns += [f"to {reference}, median", "minimum", "maximum"]
    lines = []
    for way, own in seconds.items():
        lines.append([way, *spread([60 * cells / taken for taken in own], 1), f"{median(own):.1f}"])
        for reference in references:
            lines[-1] += spread([base / taken for taken, base in zip(own, seconds[reference], strict=True)])
    return table(columns, lines)
