"""What a training step costs under each regularizer, beside none; with --parts, where a whole cell's time goes.

The engine's own steps on one thread, in the environment of a worker: gather the batch, forward pass, penalty,
backward pass, optimizer. Epoch ends (the probe) and evaluation are not among them: they are what --parts is for.
Every repeat measures all regularizers one after the other, each in a training of its own that has taken a few
steps before, and between them the rate of matrix products, which a step without a penalty is compared with.
"""

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.machine import environment
from bench.options import chosen, positive
from bench.repeats import interleaved
from bench.report import command_lines, environment_lines, keep, paragraph, say, spread, table
from dreg_sweep.config import conf_dir
from dreg_sweep.launch.slots import ARITHMETIC

HELP = "cost of a training step by regularizer; the parts of a whole cell"
PACKAGES = ("torch", "numpy")
BASELINE = "none"
WARM_UP = 5  # steps that do not count: they choose kernels and fill caches
PRODUCT_SECONDS = 0.3  # that a rate is taken over


@dataclass(frozen=True)
class Setting:
    """A network with its recipe, as overrides of conf/, and the seeds trained together.

    sizes: inputs, widths and classes of a fully connected network; empty for others, whose arithmetic is not
    counted.
    """

    overrides: tuple[str, ...]
    batch: int
    seeds: int
    sizes: tuple[int, ...] = ()

    @property
    def all_overrides(self) -> list[str]:
        """With the batch size."""
        return [*self.overrides, f"batch_size={self.batch}"]


def perceptron(*widths: int) -> Setting:
    """An MLP on images of 28 × 28 of ten classes, five seeds a stack."""
    overrides = ("model=mlp", f"model.widths=[{','.join(map(str, widths))}]", "activation=gelu")
    return Setting(overrides, 128, 5, (784, *widths, 10))


SETTINGS = {
    "mlp-512-512": perceptron(512, 512),
    "mlp-64-64": perceptron(64, 64),
    # As the study of gradient regularization has it; convolutions are not stacked on a CPU.
    "lenet": Setting(("model=lenet", "activation=relu"), 50, 1),
}

NOTES = """\
One thread, 2,000 random images of 28 × 28 with random labels. Interleaved repeats: {repeats}, each of {steps}
timed steps after {warm_up} that do not count. *ms a step* is the whole stack's; a ratio is to *none* in the same
repeat. Products are float32 on the same thread, measured between the steps; the share is what a step of *none*
reaches of their rate in the same repeat, counting its products alone: 2·B·(3·Σ in·out − in·out of the first layer)
operations a cell, B the batch."""

PARTS_NOTES = """\
One thread, stacks as above the tables, interleaved repeats: {repeats}; 60,000 random training and 10,000 test
images of 28 × 28. Seconds of one cell: its stack's over its cells, in the repeat whose whole is the median.
*history*: the probe and its looks at epoch ends; *noise ladder*: the corrupted test rows; *splitting*: choosing
and standardizing rows; *other*: initial weights, batch orders, training accuracy. What history and ladder add is a
share of the cell without them. 60,000 rows × 10 epochs: one epoch is trained, its steps and looks are taken times
ten. The first repeat draws the noise of the test rows, which a worker keeps."""

Times = Mapping[str, Sequence[float]]  # level → milliseconds a step, one a repeat
Rates = Mapping[str, Sequence[float]]  # product → GFLOP/s, one a repeat


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those that no other benchmark has."""
    parser.add_argument("--models", metavar="NAME[,NAME]", help=f"of {', '.join(SETTINGS)}; by default all")
    parser.add_argument(
        "--regularizers", metavar="LEVEL[,LEVEL]",
        help=f"by default all of conf/, and with --parts {BASELINE}; {BASELINE} is always measured",
    )  # fmt: skip
    parser.add_argument(
        "--steps", type=positive, default=50, metavar="N", help="that are timed; by default %(default)s"
    )
    parser.add_argument("--parts", action="store_true", help="whole cells in place of steps")


def levels() -> list[str]:
    """The regularizer levels of conf/, the baseline first."""
    names = sorted(path.stem for path in (conf_dir() / "regularizer").glob("*.yaml"))
    return [BASELINE, *(name for name in names if name != BASELINE)]


def run(options: argparse.Namespace) -> int:
    """Measure, print a table a model, and keep the times where asked to."""
    models = chosen("--models", options.models, SETTINGS)
    asked = BASELINE if options.parts and options.regularizers is None else options.regularizers
    regularizers = list(dict.fromkeys([BASELINE, *chosen("--regularizers", asked, levels())]))
    tested = environment(PACKAGES) | ARITHMETIC
    os.environ.update(ARITHMETIC)  # before torch is imported
    show = show_parts if options.parts else show_steps
    records = [
        {"name": model, "overrides": SETTINGS[model].all_overrides, "stack": SETTINGS[model].seeds}
        | show(model, SETTINGS[model], regularizers, options)
        for model in models
    ]
    notes = PARTS_NOTES if options.parts else NOTES
    say(
        paragraph(notes.format(steps=options.steps, warm_up=WARM_UP, repeats=options.repeats)),
        environment_lines(tested),
        command_lines([options.command]),
    )
    record = {
        "command": options.command,
        **({} if options.parts else {"steps": options.steps}),
        "repeats": options.repeats,
        "environment": tested,
        "models": records,
    }
    keep(options.json, record)
    return 0


def heading(model: str, setting: Setting) -> list[str]:
    """What a table is of."""
    return [f"{model}: {' '.join(setting.all_overrides)}, stack of {setting.seeds}"]


def show_steps(
    model: str, setting: Setting, regularizers: Sequence[str], options: argparse.Namespace
) -> dict[str, Any]:
    """Measure steps and products of one model, print both tables; the record of it."""
    from bench.products import flops_a_step

    times, rates = measure(model, setting, regularizers, options.steps, options.repeats)
    say(heading(model, setting), penalty_table(times))
    if rates:
        operations = setting.seeds * flops_a_step(setting.sizes, setting.batch)
        say(product_table(rates, times[BASELINE], operations))
    return {"ms_a_step": times, "gflops_of_products": rates}


def show_parts(
    model: str, setting: Setting, regularizers: Sequence[str], options: argparse.Namespace
) -> dict[str, Any]:
    """Measure whole cells of one model by part, print the table; the record of it."""
    from bench import parts

    courses = {course.name: course for course in parts.COURSES}
    found = interleaved(
        [(level, name) for level in regularizers for name in courses],
        options.repeats,
        lambda run: parts.measure(
            [*setting.all_overrides, f"regularizer={run[0]}"], setting.seeds, courses[run[1]]
        ),
        lambda run, own: f"{own.total:.3f} s a cell, {model}, {run[0]}, {run[1]}",
    )
    named = {f"{level}, {name}": own for (level, name), own in found.items()}
    say(heading(model, setting), parts.parts_table(named))
    return {"seconds_a_cell": {name: [asdict(repeat) for repeat in own] for name, own in named.items()}}


def measure(
    model: str, setting: Setting, regularizers: Sequence[str], steps: int, repeats: int
) -> tuple[Times, Rates]:
    """Steps of one model under each regularizer, and between them products of matrices."""
    from bench.products import LARGE, Product
    from bench.steps import milliseconds_a_step, seeds_of

    cells = {
        level: seeds_of([*setting.all_overrides, f"regularizer={level}"], setting.seeds) for level in regularizers
    }
    products: dict[str, Product] = {}
    if setting.sizes:
        first = Product(setting.seeds, setting.batch, *setting.sizes[:2])
        products = {product.name: product for product in (LARGE, first)}

    def measured(name: str) -> float:
        if name in products:
            return products[name].rate(PRODUCT_SECONDS)
        return milliseconds_a_step(cells[name], WARM_UP, steps)

    def said(name: str, value: float) -> str:
        return f"{value:.3f} {'GFLOP/s' if name in products else 'ms a step'}, {model}, {name}"

    # The products beside the baseline, whose share of their rate is told.
    found = interleaved([BASELINE, *products, *regularizers[1:]], repeats, measured, said)
    return {name: found[name] for name in regularizers}, {name: found[name] for name in products}


def penalty_table(times: Times) -> list[str]:
    """One line a regularizer, in Markdown."""
    columns = ["regularizer", "ms a step, median", "minimum", "maximum", "ratio, median", "minimum", "maximum"]
    lines = []
    for level, own in times.items():
        ratios = [ms / base for ms, base in zip(own, times[BASELINE], strict=True)]
        lines.append([level, *spread(own), *spread(ratios)])
    return table(columns, lines)


def product_table(rates: Rates, baseline: Sequence[float], operations: int) -> list[str]:
    """One line a product: its rate, and the share that the baseline's steps of so many operations reach."""
    columns = ["product", "GFLOP/s, median", "minimum", "maximum", "share a step reaches, %, median", "min", "max"]
    lines = []
    for name, own in rates.items():
        reached = [operations / ms / 1e6 for ms in baseline]  # GFLOP/s
        shares = [100 * step / rate for step, rate in zip(reached, own, strict=True)]
        lines.append([name, *spread(own, 1), *spread(shares, 1)])
    return table(columns, lines)
