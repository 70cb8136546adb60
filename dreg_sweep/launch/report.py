"""What the user reads before and after a sweep."""

import itertools
import re
import shlex
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from dreg_sweep.cells import Cell
from dreg_sweep.environment import counted
from dreg_sweep.interruption import to_go_on
from dreg_sweep.launch.dispatch import Summary
from dreg_sweep.launch.pilot import Forecast
from dreg_sweep.plan import Plan, levels_per_factor
from dreg_sweep.versions import why_unknown

_TRACEBACK = "Traceback (most recent call last):"


def say_plan(plan: Plan) -> None:
    """What will be trained and why, on standard error."""
    retried = f" ({len(plan.failed)} failed before)" if plan.failed else ""
    print(
        f"{_cells(len(plan.cells))}: {len(plan.done)} done, {len(plan.pending)} to train{retried}",
        file=sys.stderr,
    )
    for line in _stale_lines(plan):
        print(line, file=sys.stderr)
    if plan.pending and (reason := why_unknown()):
        print(f"warning: {reason}", file=sys.stderr)


def say_mixed(plan: Plan, present: str | None, refusal: str = "") -> None:
    """Which environments the rows will be of after this run, where they are several; on standard error.

    present: the environment of this run. refusal: why the minority is not trained again, where that was asked for.
    """
    kept = [plan.environments.get(cell.key) for cell in plan.done]
    counts = counted([*kept, *[present] * len(plan.pending)])
    if len(counts) > 1:
        parts = "; ".join(f"{count} of {environment}" for environment, count in counts.items())
        print(f"mixed: with this run the rows are {parts}; rerun=mixed trains the minority again", file=sys.stderr)
    if refusal:
        print(refusal, file=sys.stderr)


def say_forecast(stacks: Sequence[Sequence[Cell]], forecast: Forecast, slots: int) -> None:
    """What the pilots predict, on standard error."""
    print(_price(stacks, forecast, slots), file=sys.stderr)


def say_dry_run(
    plan: Plan,
    stacks: Sequence[Sequence[Cell]],
    forecast: Forecast,
    slots: int,
    device: str,
    absent: Collection[str],
    data_dir: Path,
    results_dir: Path,
) -> None:
    """The plan and its price, on standard output. `absent`: datasets that are not in `data_dir` yet."""
    factors = levels_per_factor(plan.cells)
    counts = " × ".join(str(len(levels)) for levels in factors.values() if len(levels) > 1) or "1"
    print(f"cells        {len(plan.cells)} = {counts}")
    for factor, levels in factors.items():
        print(f"{factor:<12} {len(levels)}: {_shortened(levels)}")
    print(
        f"state        {len(plan.done)} done, {len(plan.pending)} pending, "
        f"{len(plan.failed)} failed, {len(plan.stale)} stale"
    )
    for line in _stale_lines(plan):
        print(f"             {line}")
    sizes = sorted({len(stack) for stack in stacks})
    of = f" of {sizes[0]} to {_cells(sizes[-1])}" if len(sizes) > 1 else f" of {_cells(sizes[0])}" if sizes else ""
    print(f"stacks       {len(stacks)}{of} on {device}")
    known = [stack for stack in stacks if stack[0].dataset.name not in absent]
    if known or not stacks:
        print(f"time, memory {_price(known, forecast, slots)}")
    if absent:
        print(f"not in {data_dir} yet, time unknown: {', '.join(sorted(absent))}")
    print(f"results      {results_dir}")


def _price(stacks: Sequence[Sequence[Cell]], forecast: Forecast, slots: int) -> str:
    if not stacks:
        return "nothing to train"
    if not forecast.chosen:
        return "unknown: no pilot came to its end"
    slots = min(slots, len(stacks))
    duration = _duration(sum(forecast.costs(stacks)) / slots)
    return f"about {duration} on {slots} slots, up to {forecast.peak_bytes / 2**30:.1f} GiB a slot"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _shortened(levels: Sequence[str], most: int = 12) -> str:
    return ", ".join(levels[:most]) + (", …" if len(levels) > most else "")


def _stale_lines(plan: Plan) -> list[str]:
    """One line for each way in which stored rows differ from what is asked for now."""
    ways: dict[str, list[str]] = {}
    for entry in plan.stale:
        ways.setdefault(entry.differs, []).append(entry.cell.key)
    retrained = {cell.key for cell in plan.pending}
    return [
        f"{len(keys)} stale, for example {keys[0]}: {differs}"
        + ("; retrained" if keys[0] in retrained else "; kept, add rerun=stale to train them again")
        for differs, keys in ways.items()
    ]


def say_end(summary: Summary, plan: Plan, results_dir: Path) -> None:
    """What was trained, what failed and how to reproduce it, on standard error."""
    if summary.trained:
        counts = ", ".join(f"{n} {status}" for status, n in sorted(summary.trained.items()))
        memory = f"; at most {summary.peak_bytes / 2**30:.1f} GiB a slot" if summary.peak_bytes else ""
        print(
            f"trained {_cells(sum(summary.trained.values()))} in {summary.seconds:.1f} s: {counts}{memory}",
            file=sys.stderr,
        )
    for error, cells in summary.errors.items():
        # Into a folder of its own: alone, a cell of a grid may have another key.
        alone = shlex.join(["dreg-sweep", *cells[0].overrides, "results_dir=results/alone"])
        print(f"failed: {_cells(len(cells))}: {_message(error)}; one of them: {alone}", file=sys.stderr)
    if summary.stopped_early:
        print(
            f"stopped early: the first failures are all alike; mend their cause, then {to_go_on()}",
            file=sys.stderr,
        )
    kept = {cell.key for cell in plan.done} - {cell.key for cell in plan.pending}
    complete = len(kept) + summary.trained["done"] + summary.trained["diverged"]
    print(f"{complete} of {len(plan.cells)} cells complete in {results_dir}", file=sys.stderr)


def _cells(number: int) -> str:
    return f"{number} cell" if number == 1 else f"{number} cells"


def _message(error: str) -> str:
    """Of a traceback the exception and the first line of its message; a line that is none as it is."""
    lines = error.strip().splitlines()
    start = max((i for i, line in enumerate(lines) if line == _TRACEBACK), default=-1) + 1
    # Frames and their code are indented; the exception is not, though lines of its message may be.
    told = [
        line.strip() for line in itertools.dropwhile(lambda line: line[:1] == " ", lines[start:]) if line.strip()
    ]
    if not told:
        return lines[-1].strip() if lines else "no message"
    kind = re.fullmatch(r"[\w.]+:", told[0])  # a message that begins with an empty line
    return " ".join(told[:2]) if kind else told[0]
