"""Runs a grid: data, plan, slots, store, and what the user reads before and after."""

import contextlib
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from multiprocessing.context import ForkServerContext

from dreg_sweep.cells import Cell
from dreg_sweep.config import SweepSettings
from dreg_sweep.data import is_at_hand, load_prepared
from dreg_sweep.errors import UserError
from dreg_sweep.launch.dispatch import Dispatch, Interrupted, Summary
from dreg_sweep.launch.estimate import estimate
from dreg_sweep.launch.messages import Check, Checked
from dreg_sweep.launch.slots import Slot, start_server
from dreg_sweep.plan import Plan, group_into_stacks, levels_per_factor, make_plan
from dreg_sweep.rows import grid_rows
from dreg_sweep.store import Store, StoreError

# Cells trained together. On a CPU the gain levels off at about 5, where a stack of 256-unit layers still lies
# in cache; a GPU wants more work a step.
_STACK_SIZE = {"cpu": 5, "cuda": 20}


def run_sweep(cells: Sequence[Cell], settings: SweepSettings) -> int:
    """Train what the store lacks of these cells; the exit code: 0, or 1 where cells failed.

    Errors: `UserError` before any training for data, levels or a results folder that cannot be used.
    """
    settings = replace(settings, data_dir=settings.data_dir.resolve(), results_dir=settings.results_dir.resolve())
    context = start_server()
    store = Store(settings.results_dir)
    if settings.dry_run:
        _dry_run(cells, settings, store, context)
        return 0
    fingerprints = _fingerprints(cells, settings)
    store.create()
    try:
        with store.lock():
            plan = _plan(cells, settings, fingerprints, store)
            summary = _train(plan, settings, store, context)
    except Interrupted as interruption:
        print(f"interrupted with {interruption.finished} cells stored; {_resume()}", file=sys.stderr)
        return 128 + interruption.signal
    except StoreError as error:
        print(f"stopped: {error}; what was stored before is kept; {_resume()}", file=sys.stderr)
        return 1
    _say_end(summary, plan, settings)
    return 1 if summary.trained["failed"] or summary.stopped_early else 0


def _train(plan: Plan, settings: SweepSettings, store: Store, context: ForkServerContext) -> Summary:
    """Declare the grid and train what is pending; levels that the code does not have are refused before."""
    if len(plan.done) == len(plan.cells) and not plan.pending:
        _say_plan(plan)
        store.declare(grid_rows(plan.cells))
        return Summary()
    slot = Slot.start(context)
    try:
        device = _check(plan.cells, settings, slot)
        _say_plan(plan)
        store.declare(grid_rows(plan.cells))
        if not plan.pending:
            return Summary()
        stacks = group_into_stacks(plan.pending, settings.stack_size or _STACK_SIZE[device])
        return Dispatch(stacks, settings, store, device, context, slot).run()
    finally:
        slot.stop()
        with contextlib.suppress(StoreError):  # many small files serve as well
            store.compact()


def _fingerprints(cells: Sequence[Cell], settings: SweepSettings) -> dict[str, str]:
    """Cell key → content hash of its data, fetched where they are missing; training sizes are checked."""
    by_dataset: dict[str, list[Cell]] = {}
    for cell in cells:
        by_dataset.setdefault(repr(cell.dataset), []).append(cell)
    fingerprints: dict[str, str] = {}
    for those in by_dataset.values():
        dataset = those[0].dataset
        if not is_at_hand(dataset, settings.data_dir):
            print(f"preparing {dataset.name} in {settings.data_dir} …", flush=True)
        prepared = load_prepared(dataset, settings.data_dir)
        for train_size, evaluate_on in dict.fromkeys((cell.train_size, cell.evaluate_on) for cell in those):
            prepared.check(train_size, evaluate_on)
        fingerprints |= dict.fromkeys((cell.key for cell in those), prepared.fingerprint)
    return fingerprints


def _plan(cells: Sequence[Cell], settings: SweepSettings, fingerprints: Mapping[str, str], store: Store) -> Plan:
    stored, problems = store.index(set_aside=not settings.dry_run)
    for problem in problems:
        print(f"warning: {problem}", file=sys.stderr)
    return make_plan(cells, stored, fingerprints, settings.rerun)


def _check(cells: Sequence[Cell], settings: SweepSettings, slot: Slot) -> str:
    """The device to train on; `UserError` for a level or option that the code does not have."""
    distinct = {cell.stack_key: cell for cell in cells}
    answer = slot.ask(Check(list(distinct.values()), settings.device))
    assert isinstance(answer, Checked)
    if answer.mistake is not None:
        raise UserError(answer.mistake)
    return answer.device


def _dry_run(cells: Sequence[Cell], settings: SweepSettings, store: Store, context: ForkServerContext) -> None:
    """Print the plan with its cost. Fetches no data: the cost of a set that is not there stays unknown."""
    missing = {c.dataset.name for c in cells if not is_at_hand(c.dataset, settings.data_dir)}
    there = [cell for cell in cells if cell.dataset.name not in missing]
    plan = _plan(cells, settings, _fingerprints(there, settings), store)
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


def _resume() -> str:
    return f"to go on: {shlex.join(['dreg-sweep', *sys.argv[1:]])}"


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
            f"stopped early: the first failures are all alike; mend their cause, then {_resume()}", file=sys.stderr
        )
    complete = len(plan.done) + summary.trained["done"] + summary.trained["diverged"]
    print(f"{complete} of {len(plan.cells)} cells complete in {settings.results_dir}", file=sys.stderr)
