"""Runs a grid: data, plan, slots, store, and what the user reads before and after."""

import contextlib
import math
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.context import ForkServerContext

from dreg_sweep.cells import Cell
from dreg_sweep.config import SweepSettings
from dreg_sweep.data import Prepared, is_at_hand, load_prepared
from dreg_sweep.errors import UserError
from dreg_sweep.interruption import to_go_on
from dreg_sweep.launch.dispatch import Dispatch, Summary
from dreg_sweep.launch.estimate import estimate
from dreg_sweep.launch.messages import Check, Checked
from dreg_sweep.launch.slots import Slot, WorkerLost, start_server
from dreg_sweep.plan import Plan, group_into_stacks, levels_per_factor, make_plan
from dreg_sweep.rows import grid_rows
from dreg_sweep.store import Store, StoreError

# Cells trained together. On one CPU core the gain levels off between 2 and 5: ten MLPs (2,000 MNIST rows, 10
# epochs) took 5.2, 3.5, 2.9, 3.3 s at 64-64 and 11.3, 6.6, 7.0, 7.0 s at 256-256 in stacks of 1, 2, 5, 10
# (means of two runs; a lone cell is trained beside a copy). A GPU wants more work a step; its number is a guess.
_STACK_SIZE = {"cpu": 5, "cuda": 20}


@dataclass(frozen=True)
class _Data:
    """What the runner knows of the data of each cell, by cell key."""

    fingerprints: dict[str, str]
    costs: dict[str, float]


def run_sweep(cells: Sequence[Cell], settings: SweepSettings) -> int:
    """Train what the store lacks of these cells; the exit code: 0, or 1 where cells failed.

    Errors: `UserError` before any training for data, levels or a results folder that cannot be used.
    """
    settings = replace(settings, data_dir=settings.data_dir.resolve(), results_dir=settings.results_dir.resolve())
    context = start_server()
    store = Store(settings.results_dir)
    try:
        if settings.dry_run:
            _dry_run(cells, settings, store, context)
            return 0
        data = _gather(cells, settings)
        store.create()
        with store.lock():
            plan = _plan(cells, settings, data.fingerprints, store)
            summary = _train(plan, data, settings, store, context)
    except (StoreError, WorkerLost) as error:
        print(f"stopped: {error}; what was stored before is kept; {to_go_on()}", file=sys.stderr)
        return 1
    _say_end(summary, plan, settings)
    return 1 if summary.trained["failed"] or summary.stopped_early else 0


def _train(plan: Plan, data: _Data, settings: SweepSettings, store: Store, context: ForkServerContext) -> Summary:
    """Declare the grid and train what is pending; levels that the code does not have are refused before."""
    if len(plan.done) == len(plan.cells) and not plan.pending:
        _say_plan(plan)
        store.declare(grid_rows(plan.cells, data.fingerprints))
        return Summary()
    slot = Slot.start(context)
    try:
        device = _check(plan.cells, settings, slot)
        _say_plan(plan)
        store.declare(grid_rows(plan.cells, data.fingerprints))
        if not plan.pending:
            return Summary()
        stacks = group_into_stacks(plan.pending, settings.stack_size or _STACK_SIZE[device])
        finished = {cell.key for cell in (*plan.done, *(entry.cell for entry in plan.stale))}
        return Dispatch(stacks, data.costs, finished, settings, store, device, context, slot).run()
    finally:
        slot.stop()
        with contextlib.suppress(StoreError):  # many small files serve as well
            store.compact()


def _gather(cells: Sequence[Cell], settings: SweepSettings) -> _Data:
    """What the data are, fetched where they are missing; training sizes are checked."""
    by_dataset: dict[str, list[Cell]] = {}
    for cell in cells:
        by_dataset.setdefault(repr(cell.dataset), []).append(cell)
    data = _Data({}, {})
    for those in by_dataset.values():
        dataset = those[0].dataset
        if not is_at_hand(dataset, settings.data_dir):
            print(f"preparing {dataset.name} in {settings.data_dir} …", flush=True)
        prepared = load_prepared(dataset, settings.data_dir)
        for train_size, evaluate_on in dict.fromkeys((cell.train_size, cell.evaluate_on) for cell in those):
            prepared.check(train_size, evaluate_on)
        for cell in those:
            data.fingerprints[cell.key] = prepared.fingerprint
            data.costs[cell.key] = _relative_cost(cell, prepared)
    return data


def _relative_cost(cell: Cell, prepared: Prepared) -> float:
    """A cell's work in arbitrary units, for the remaining time: rows trained on × numbers a row.

    512 stands for what a row costs beside its first layer.
    """
    n = cell.train_size or prepared.n_train
    recipe = cell.recipe
    rows = recipe.steps * min(recipe.batch_size, n) if recipe.steps else recipe.epochs * n
    return float(rows * (math.prod(prepared.input_shape) + 512))


def _plan(cells: Sequence[Cell], settings: SweepSettings, fingerprints: Mapping[str, str], store: Store) -> Plan:
    stored, problems = store.index(set_aside=not settings.dry_run)
    for problem in problems:
        print(f"warning: {problem}", file=sys.stderr)
    return make_plan(cells, stored, fingerprints, settings.rerun)


def _check(cells: Sequence[Cell], settings: SweepSettings, slot: Slot) -> str:
    """The device to train on; `UserError` for a level or option that the code does not have."""
    distinct = {(cell.stack_key, cell.regularizer.strength): cell for cell in cells}
    answer = slot.ask(Check(list(distinct.values()), settings.device))
    assert isinstance(answer, Checked)
    if answer.mistake is not None:
        raise UserError(answer.mistake)
    return answer.device


def _dry_run(cells: Sequence[Cell], settings: SweepSettings, store: Store, context: ForkServerContext) -> None:
    """Print the plan with its cost. Fetches no data: the cost of a set that is not there stays unknown."""
    missing = {c.dataset.name for c in cells if not is_at_hand(c.dataset, settings.data_dir)}
    there = [cell for cell in cells if cell.dataset.name not in missing]
    plan = _plan(cells, settings, _gather(there, settings).fingerprints, store)
    slot = Slot.start(context)
    device = _check(cells, settings, slot)
    stacks = group_into_stacks(plan.pending, settings.stack_size or _STACK_SIZE[device])
    factors = levels_per_factor(cells)
    counts = " × ".join(str(len(levels)) for levels in factors.values() if len(levels) > 1) or "1"
    print(f"cells        {len(cells)} = {counts}")
    for factor, levels in factors.items():
        print(f"{factor:<12} {len(levels)}: {_shortened(levels)}")
    print(
        f"state        {len(plan.done)} done, {len(plan.pending)} pending, "
        f"{len(plan.failed)} failed, {len(plan.stale)} stale"
    )
    for line in _stale_lines(plan):
        print(f"             {line}")
    print(f"stacks       {len(stacks)} on {device}")
    known = [stack for stack in stacks if stack[0].dataset.name not in missing]
    if known or not stacks:
        print(f"time, memory {estimate(known, settings, device, slot)}")
    if missing:
        print(f"not in {settings.data_dir} yet, time unknown: {', '.join(sorted(missing))}")
    print(f"results      {settings.results_dir}")
    slot.stop()


def _shortened(levels: Sequence[str], most: int = 12) -> str:
    return ", ".join(levels[:most]) + (", …" if len(levels) > most else "")


def _say_plan(plan: Plan) -> None:
    retried = f" ({len(plan.failed)} failed before)" if plan.failed else ""
    print(
        f"{len(plan.cells)} cells: {len(plan.done)} done, {len(plan.pending)} to train{retried}",
        file=sys.stderr,
    )
    if plan.stale:
        for line in _stale_lines(plan):
            print(line, file=sys.stderr)


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


def _say_end(summary: Summary, plan: Plan, settings: SweepSettings) -> None:
    if summary.trained:
        counts = ", ".join(f"{n} {status}" for status, n in sorted(summary.trained.items()))
        print(
            f"trained {sum(summary.trained.values())} cells in {summary.seconds:.1f} s: {counts}",
            file=sys.stderr,
        )
    for error, cells in summary.errors.items():
        alone = shlex.join(["dreg-sweep", *cells[0].overrides])
        print(
            f"failed: {len(cells)} cells: {error.strip().splitlines()[-1]}; one of them: {alone}", file=sys.stderr
        )
    if summary.stopped_early:
        print(
            f"stopped early: the first failures are all alike; mend their cause, then {to_go_on()}",
            file=sys.stderr,
        )
    complete = len(plan.done) + summary.trained["done"] + summary.trained["diverged"]
    print(f"{complete} of {len(plan.cells)} cells complete in {settings.results_dir}", file=sys.stderr)
