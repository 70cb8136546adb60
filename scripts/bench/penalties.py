"""What a training step costs under each regularizer, beside none.

The engine's own steps on one thread, in the environment of a worker: gather the batch, forward pass, penalty,
backward pass, optimizer. Epoch ends (the probe) and evaluation are not among them. Every repeat measures all
regularizers one after the other, each in a training of its own that has taken a few steps before.
"""

import argparse
import json
import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from bench.machine import environment
from bench.options import chosen, positive
from dreg_sweep.config import conf_dir
from dreg_sweep.launch.slots import ARITHMETIC

HELP = "cost of a training step by regularizer"
PACKAGES = ("torch", "numpy")
BASELINE = "none"
WARM_UP = 5  # steps that do not count; the first one of a process imports torch's compiler


@dataclass(frozen=True)
class Setting:
    """A network with its recipe, as overrides of conf/, and the seeds trained together."""

    overrides: tuple[str, ...]
    seeds: int


SETTINGS = {
    "mlp-512-512": Setting(("model=mlp", "model.widths=[512,512]", "activation=gelu", "batch_size=128"), 5),
    "mlp-64-64": Setting(("model=mlp", "model.widths=[64,64]", "activation=gelu", "batch_size=128"), 5),
    # As the study of gradient regularization has it; convolutions are not stacked on a CPU.
    "lenet": Setting(("model=lenet", "activation=relu", "batch_size=50"), 1),
}

NOTES = """\
One thread, 2,000 random images of 28 × 28 with random labels. Interleaved repeats: {repeats}, each of {steps}
timed steps after {warm_up} that do not count. *ms a step* is the whole stack's; a ratio is to *none* in the same
repeat.
"""

Times = Mapping[str, Sequence[float]]  # level → milliseconds a step, one a repeat


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those that no other benchmark has."""
    parser.add_argument("--model", metavar="NAME[,NAME]", help=f"of {', '.join(SETTINGS)}; by default all")
    parser.add_argument(
        "--regularizers", metavar="LEVEL[,LEVEL]", help=f"by default all of conf/; {BASELINE} is always measured"
    )
    parser.add_argument("--steps", type=positive, default=50, help="that are timed; by default %(default)s")


def levels() -> list[str]:
    """The regularizer levels of conf/, the baseline first."""
    names = sorted(path.stem for path in (conf_dir() / "regularizer").glob("*.yaml"))
    return [BASELINE, *(name for name in names if name != BASELINE)]


def run(options: argparse.Namespace) -> int:
    """Measure, print a table a model, and keep the times where asked to."""
    models = chosen("--model", options.model, SETTINGS)
    regularizers = list(dict.fromkeys([BASELINE, *chosen("--regularizers", options.regularizers, levels())]))
    tested = environment(PACKAGES) | ARITHMETIC
    os.environ.update(ARITHMETIC)  # before torch is imported
    measured = {model: measure(model, regularizers, options.steps, options.repeats) for model in models}
    for model, times in measured.items():
        setting = SETTINGS[model]
        print(f"{model}: {' '.join(setting.overrides)}, stack of {setting.seeds}\n")
        print("\n".join(table(times)), end="\n\n")
    print(NOTES.format(steps=options.steps, warm_up=WARM_UP, repeats=options.repeats))
    print("\n".join(f"- {what}: {value}" for what, value in tested.items()), end="\n\n")
    command = ["python", "scripts/bench.py", "penalties", "--model", ",".join(models)]
    if options.regularizers is not None:
        command += ["--regularizers", ",".join(regularizers)]
    command += ["--steps", str(options.steps), "--repeats", str(options.repeats)]
    print(f"    {shlex.join(command)}")
    if options.json:
        record = {
            "command": shlex.join(command),
            "steps": options.steps,
            "repeats": options.repeats,
            "environment": tested,
            "models": [
                {
                    "name": model,
                    "overrides": SETTINGS[model].overrides,
                    "stack": SETTINGS[model].seeds,
                    "ms_a_step": times,
                }
                for model, times in measured.items()
            ],
        }
        options.json.write_text(json.dumps(record, indent=2) + "\n")
    return 0


def measure(model: str, regularizers: Sequence[str], steps: int, repeats: int) -> Times:
    """Steps of one model under each regularizer; progress on stderr."""
    from bench.steps import milliseconds_a_step, seeds_of

    setting = SETTINGS[model]
    cells = {
        level: seeds_of([*setting.overrides, f"regularizer={level}"], setting.seeds) for level in regularizers
    }

    def timed(level: str) -> float:
        milliseconds = milliseconds_a_step(cells[level], WARM_UP, steps)
        print(f"{milliseconds:9.3f} ms a step  {model}  {level}", file=sys.stderr, flush=True)
        return milliseconds

    return interleaved(regularizers, repeats, timed)


def interleaved(names: Sequence[str], repeats: int, measure: Callable[[str], float]) -> Times:
    """One measurement a name and repeat, all names before the next repeat."""
    times: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(repeats):
        for name in names:
            times[name].append(measure(name))
    return times


def table(times: Times) -> list[str]:
    """One line a regularizer, in Markdown."""
    lines = [
        "| regularizer | ms a step, median | minimum | maximum | ratio, median | minimum | maximum |",
        "| :--- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for level, own in times.items():
        ratios = [ms / base for ms, base in zip(own, times[BASELINE], strict=True)]
        spread = [
            f"{value:.2f}" for values in (own, ratios) for value in (median(values), min(values), max(values))
        ]
        lines.append(f"| {level} | {' | '.join(spread)} |")
    return lines
