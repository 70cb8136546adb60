"""What the paper's grid takes on a GPU, from Enter to the last row, beside its cells trained one by one.

960 cells of the paper's size: 4 activations × 6 regularizers × 8 sets × 5 seeds, ten epochs of 60,000 images of
28 × 28, noise ladder and history included. The images are random; what they show does not change what they cost.
The loop beside it trains one cell after the other, kernel by kernel, on the same device; it is sampled by one cell
a regularizer. `--device cpu` with few cells and steps is for trying the benchmark, not the device.
"""

import argparse
import itertools
import math
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from bench.commands import SWEEP, expect, timed, trained, typed
from bench.machine import environment
from bench.options import chosen, positive
from bench.repeats import interleaved
from bench.report import command_lines, environment_lines, keep, paragraph, say, spread, table
from dreg_sweep.config import PRECISIONS
from dreg_sweep.errors import UserError

HELP = "the paper's grid on a GPU, and its distance to what the device can do"
PACKAGES = ("torch", "numpy")
SETS, SEEDS = 8, 5
ACTIVATIONS = ("relu", "gelu", "silu", "tanh")
REGULARIZERS = ("none", "weight_decay", "dropout", "spectral_norm", "igpen", "dreg")
PIXELS, CLASSES, BATCH, EPOCHS = 28 * 28, 10, 128, 10
WIDTHS = (512, 512)
MODELS = {"mlp": ("model=mlp", f"model.widths=[{','.join(map(str, WIDTHS))}]"), "lenet": ("model=lenet",)}
LOOP = ("stack_size=1", "slots=1", "cuda_graphs=false")

NOTES = """\
{cells} cells a model of {steps} steps each, interleaved repeats: {repeats}. Wall times of whole commands. *One by
one* is the mean time of {sampled} sampled cells, without the start of their process, times the cells; the ratio is
within a repeat. The floor of the multilayer perceptron is that of its forward and backward products and of its
weights: {flops:.3g} FLOP at the {rate:.3g} FLOP/s that one large product reaches here in {precision}, and
{bytes:.3g} bytes (weights read twice and gradients written in the two passes; the optimizer reads four numbers a
weight and writes three) at the {bandwidth:.3g} bytes a second of a copy. Penalties, evaluation and history are
above it. Achieved FLOP/s count these products alone, over the whole command."""

Run = tuple[str, str]  # model, way


@dataclass(frozen=True)
class Floor:
    """The least that the MLP's grid can take: seconds of products, and of the weights' ways to memory and back."""

    flops: float
    bytes: float
    rate: float
    bandwidth: float

    @property
    def seconds(self) -> float:
        """Of both, one after the other."""
        return self.flops / self.rate + self.bytes / self.bandwidth


@dataclass(frozen=True)
class Measured:
    """One command: its wall seconds, the mean of its cells' own, the peak of a slot in GiB where it was told."""

    seconds: float
    a_cell: float
    device: str
    peak: float | None


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those that no other benchmark has."""
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="by default %(default)s")
    parser.add_argument("--models", metavar="NAME[,NAME]", help=f"of {', '.join(MODELS)}; by default all")
    most = SETS * SEEDS * len(ACTIVATIONS) * len(REGULARIZERS)
    parser.add_argument("--cells", type=positive, default=most, help="or a few more; by default %(default)s")
    parser.add_argument("--steps", type=positive, help=f"of a cell; by default {EPOCHS} epochs")
    parser.add_argument("--rows", type=positive, default=60_000, help="training images; by default %(default)s")
    parser.add_argument("--precision", choices=PRECISIONS, default="float32", help="by default %(default)s")


def run(options: argparse.Namespace) -> int:
    """Measure, print the table, and keep the numbers where asked to."""
    from bench.products import flops_a_step
    from bench.rates import rates

    models = chosen("--models", options.models, MODELS)
    tested = environment(PACKAGES) | {"device": named(options.device)}
    axes = grid(options.cells)
    cells = math.prod(len(levels) for levels in axes.values())
    batch = min(BATCH, options.rows)
    steps = options.steps or math.ceil(EPOCHS * options.rows / batch)
    sizes = (PIXELS, *WIDTHS, CLASSES)
    rate, bandwidth = rates(options.device, options.precision)
    floor = Floor(
        flops=float(cells * steps * flops_a_step(sizes, batch)),
        bytes=float(cells * steps * 10 * 4 * sum(a * b for a, b in itertools.pairwise(sizes))),
        rate=rate,
        bandwidth=bandwidth,
    )
    sample = {factor: levels if factor == "regularizer" else levels[:1] for factor, levels in axes.items()}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_sets(folder, options.rows, len(axes["dataset.path"]))
        commands = {
            (model, way): command_of(options, model, levels, more)
            for model in models
            for way, levels, more in (("grid", axes, ()), ("one by one", sample, LOOP))
        }
        numbers = itertools.count()

        def measure(run: Run) -> Measured:
            wanted = cells if run[1] == "grid" else len(sample["regularizer"])
            return measured(commands[run], folder, folder / f"results{next(numbers)}", wanted)

        found = interleaved(
            list(commands), options.repeats, measure, lambda run, m: f"{m.seconds:.1f} s, {run[0]}, {run[1]}"
        )
    rows = [line(model, found, cells, floor if model == "mlp" else None) for model in models]
    columns = [
        "model", "s from Enter to the last row, median", "minimum", "maximum", "one by one, s", "ratio, median",
        "minimum", "maximum", "GiB a slot", "floor, s", "times the floor", "TFLOP/s", "share of the product rate",
    ]  # fmt: skip
    notes = NOTES.format(
        cells=cells, steps=steps, repeats=options.repeats, sampled=len(sample["regularizer"]), flops=floor.flops,
        rate=floor.rate, precision=options.precision, bytes=floor.bytes, bandwidth=floor.bandwidth,
    )  # fmt: skip
    trained_on = f"- trained on: {next(iter(found.values()))[0].device}"
    lines = [typed([*command, "results_dir=results"]) for command in commands.values()]
    say(
        table(columns, rows),
        paragraph(notes),
        [*environment_lines(tested), trained_on],
        command_lines([options.command, *lines]),
    )
    record = {
        "command": options.command,
        "cells": cells,
        "steps": steps,
        "environment": tested,
        "floor": {**asdict(floor), "seconds": floor.seconds},
        "measured": [
            {"model": model, "way": way, "runs": [asdict(one) for one in runs]}
            for (model, way), runs in found.items()
        ],
    }
    keep(options.json, record)
    return 0


def named(device: str) -> str:
    """The device's own name; `UserError` where there is none of that kind."""
    import torch

    if device == "cpu":
        return "cpu, a dry run"
    if not torch.cuda.is_available():
        raise UserError("--device=cuda, but torch finds no CUDA device here; --device cpu tries the benchmark")
    properties = torch.cuda.get_device_properties(0)
    return f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}"


def grid(cells: int) -> dict[str, Sequence[str]]:
    """The smallest part of the paper's grid with as many cells, in whole levels: regularizers first, sets last."""
    axes: dict[str, Sequence[str]] = {
        "regularizer": REGULARIZERS,
        "activation": ACTIVATIONS,
        "seed": [str(seed) for seed in range(SEEDS)],
        "dataset.path": [f"set{number}.npz" for number in range(SETS)],
    }
    reached = 1
    for factor, levels in axes.items():
        axes[factor] = levels[: math.ceil(cells / reached)]
        reached *= len(axes[factor])
    if reached < cells:
        raise UserError(f"--cells={cells} must be at most {reached}, the whole grid")
    return axes


def write_sets(folder: Path, rows: int, count: int) -> None:
    """One file of random images under several names, in the shape of MNIST; a sixth as many to test on."""
    rng = np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    for part, n in (("train", rows), ("test", max(rows // 6, CLASSES))):
        arrays[f"x_{part}"] = rng.integers(256, size=(n, 28, 28), dtype=np.uint8)
        arrays[f"y_{part}"] = rng.permutation(np.arange(n) % CLASSES)
    np.savez(folder / "set0.npz", **arrays)
    for number in range(1, count):
        (folder / f"set{number}.npz").symlink_to("set0.npz")


def command_of(
    options: argparse.Namespace, model: str, axes: Mapping[str, Sequence[str]], more: Sequence[str]
) -> list[str]:
    """The sweep of one model; its sets lie where it is run."""
    length = f"steps={options.steps}" if options.steps else f"epochs={EPOCHS}"
    levels = [f"{factor}={','.join(levels)}" for factor, levels in axes.items()]
    recipe = [length, f"batch_size={BATCH}", f"precision={options.precision}", f"device={options.device}"]
    return [*SWEEP, "dataset=arrays", *levels, *MODELS[model], *recipe, *more]


def measured(command: Sequence[str], folder: Path, results: Path, cells: int) -> Measured:
    """One run of the command; ends the benchmark where it leaves another number of trained cells."""
    seconds, said = timed([*command, f"results_dir={results}"], folder)
    rows = trained(results)
    expect(len(rows), cells, command)
    peak = re.search(r"at most ([\d.]+) GiB a slot", said)
    return Measured(
        seconds, float(rows["seconds"].mean()), str(rows["device"].iloc[0]), float(peak[1]) if peak else None
    )


def line(model: str, found: Mapping[Run, Sequence[Measured]], cells: int, floor: Floor | None) -> list[str]:
    """One line of the table; without a floor the numbers that speak of it are left out."""
    own = [one.seconds for one in found[model, "grid"]]
    loops = [cells * one.a_cell for one in found[model, "one by one"]]
    peaks = [one.peak for one in found[model, "grid"] if one.peak is not None]
    entries = [model, *spread(own, 1), f"{median(loops):.1f}"]
    entries += spread([loop / grid for loop, grid in zip(loops, own, strict=True)], 1)
    entries.append(f"{max(peaks):.1f}" if peaks else "–")
    if floor is None:
        return [*entries, *["–"] * 4]
    achieved = floor.flops / median(own)
    return [
        *entries,
        f"{floor.seconds:.1f}",
        f"{median(own) / floor.seconds:.2f}",
        f"{achieved / 1e12:.2f}",
        f"{achieved / floor.rate:.3f}",
    ]
