"""Runs a grid: data, plan, slots, store."""

import contextlib
import importlib
import os
import stat
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from multiprocessing.context import ForkServerContext
from pathlib import Path

from dreg_sweep.cells import Cell
from dreg_sweep.config import SweepSettings
from dreg_sweep.errors import UserError
from dreg_sweep.interruption import to_go_on
from dreg_sweep.launch.dispatch import Dispatch, Summary
from dreg_sweep.launch.memory import slots_per_gpu
from dreg_sweep.launch.messages import Checked, Device
from dreg_sweep.launch.pilot import Forecast, pilots_for, run_pilots
from dreg_sweep.launch.prepare import Known, check_cells, declare, gather, plan_cells
from dreg_sweep.launch.report import say_dry_run, say_end, say_forecast, say_mixed, say_plan
from dreg_sweep.launch.slots import Slot, WorkerLost
from dreg_sweep.launch.slurm import Jobs
from dreg_sweep.plan import Plan, group_into_stacks, with_minority
from dreg_sweep.store import Store, StoreError
from dreg_sweep.store.runners import Presence, sole_runner


def run_sweep(cells: Sequence[Cell], settings: SweepSettings, context: ForkServerContext) -> int:
    """Train what the store lacks of these cells; the exit code: 0, or 1 where cells failed.

    Errors: `UserError` before any training for data, levels or a results folder that cannot be used.
    """
    settings = with_absolute_folders(settings)
    store = Store(settings.results_dir)
    try:
        if settings.dry_run:
            dry_run(cells, settings, store, context)
            return 0
        known = gather(cells, settings)
        store.create()
        with sole_runner(store.folder) as presence:
            Jobs(store.folder).refuse_if_live()
            store.drop_unfinished()
            plan = plan_cells(cells, settings, known, store)
            summary = _train(plan, known, settings, store, presence, context)
    except (StoreError, WorkerLost) as error:
        print(f"stopped: {error}; what was stored before is kept; {to_go_on()}", file=sys.stderr)
        return 1
    say_end(summary, plan, settings.results_dir)
    return exit_code(summary)


def exit_code(summary: Summary) -> int:
    """1 where cells failed."""
    return 1 if summary.trained["failed"] or summary.stopped_early else 0


def with_absolute_folders(settings: SweepSettings) -> SweepSettings:
    """Workers need not stand where the command was given."""
    return replace(settings, data_dir=settings.data_dir.absolute(), results_dir=settings.results_dir.absolute())


def _train(
    plan: Plan,
    known: Known,
    settings: SweepSettings,
    store: Store,
    presence: Presence,
    context: ForkServerContext,
) -> Summary:
    """Declare the grid and train what is pending; levels that the code does not have are refused before."""
    if len(plan.done) == len(plan.cells) and not plan.pending and settings.rerun != "mixed":
        say_plan(plan)
        say_mixed(plan, None)
        declare(plan.cells, known, store)
        return Summary()
    # pyarrow would import it at its first conversion: better now, while the server of the workers is importing.
    importlib.import_module("pandas")
    slots = [Slot.start(context)]
    try:
        checked = check_cells(plan.cells, known, settings.device, slots[0])
        refusal = ""
        if settings.rerun == "mixed":
            plan, refusal = with_minority(plan, checked.environment)
        say_plan(plan)
        say_mixed(plan, checked.environment, refusal)
        declare(plan.cells, known, store)
        if not plan.pending:
            return Summary()
        return train_pending(plan, known, settings, store, presence, checked, slots, context)
    finally:
        for slot in slots:
            slot.stop()
        with contextlib.suppress(StoreError):  # many small files serve as well
            store.compact()


def train_pending(
    plan: Plan,
    known: Known,
    settings: SweepSettings,
    store: Store,
    presence: Presence,
    checked: Checked,
    slots: list[Slot],
    context: ForkServerContext,
) -> Summary:
    """Pilots, then stacks, on the devices found. `slots` holds one worker; those that start are added to it."""
    devices = checked.devices
    forecast = Forecast.without_pilots(devices[0].kind, settings.stack_size, known.work)
    stacks = group_into_stacks(plan.pending, forecast.size_of, checked.sliceable)
    few = len(stacks) <= slot_count(settings, devices, 0)
    if not few:  # where a slot has but one stack to train there is nothing to choose
        print("pilots: a few steps of each kind of cell …", file=sys.stderr)
        forecast = _pilots(plan, known, settings, checked, slots, context, lambda: presence.trains([]))
        stacks = group_into_stacks(plan.pending, forecast.size_of, checked.sliceable)
    wanted = min(slot_count(settings, devices, forecast.peak_bytes), len(stacks))
    _start_slots(slots, wanted, devices, context)
    if not few:
        say_forecast(stacks, forecast, wanted)
    finished = {cell.key for cell in (*plan.done, *(entry.cell for entry in plan.stale))}
    return Dispatch(stacks, forecast, finished, settings, store, presence, context, slots, known.source).run()


def _pilots(
    plan: Plan,
    known: Known,
    settings: SweepSettings,
    checked: Checked,
    slots: list[Slot],
    context: ForkServerContext,
    beat: Callable[[], None],
) -> Forecast:
    """On a GPU by one slot alone, whose memory is what is to be known; on a CPU by all."""
    devices = checked.devices
    pilots = pilots_for(plan.pending, known.work, settings.stack_size, devices[0].kind, checked.sliceable)
    if devices[0].kind == "cpu":
        _start_slots(slots, min(slot_count(settings, devices, 0), len(pilots)), devices, context)
    slots[0].device = devices[0].name
    return run_pilots(pilots, known.work, settings, slots, context, beat)


def _start_slots(slots: list[Slot], count: int, devices: Sequence[Device], context: ForkServerContext) -> None:
    """Slots up to this number, the devices in turn."""
    slots[0].device = devices[0].name
    for i in range(len(slots), count):
        slots.append(Slot.start(context, devices[i % len(devices)].name))


def slot_count(settings: SweepSettings, devices: Sequence[Device], peak_bytes: int) -> int:
    """Worker processes in all. `peak_bytes`: what a slot will need of its GPU, 0 where that is not known."""
    if settings.slots:
        return settings.slots
    if devices[0].kind == "cpu":
        return cpu_cores()
    fit = slots_per_gpu(devices[0].memory, peak_bytes, cpu_cores(), len(devices))
    return (settings.slots_per_gpu or fit) * len(devices)


def cpu_cores() -> int:
    """The CPU cores that this process may use."""
    if "SLURM_CPUS_PER_TASK" in os.environ:  # Slurm need not bind its tasks to the cores it gave them
        return int(os.environ["SLURM_CPUS_PER_TASK"])
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _refuse_unreadable(folder: Path) -> None:
    try:
        if stat.S_ISDIR(folder.stat().st_mode):
            return
        reason = "not a folder"
    except FileNotFoundError:
        return
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
    raise UserError(f"results_dir={folder} cannot be used: {reason}; choose another")


def dry_run(cells: Sequence[Cell], settings: SweepSettings, store: Store, context: ForkServerContext) -> None:
    """Print the plan with its price. Fetches no data: what a set that is not there will cost stays unknown."""
    _refuse_unreadable(settings.results_dir)
    known = gather(cells, settings, fetch=False)
    absent = {cell.dataset.name for cell in cells if cell.key not in known.work}
    plan = plan_cells(cells, settings, known, store)
    slots = [Slot.start(context)]
    try:
        checked = check_cells(cells, known, settings.device, slots[0])
        devices = checked.devices
        plan, refusal = with_minority(plan, checked.environment) if settings.rerun == "mixed" else (plan, "")
        there = replace(plan, pending=[cell for cell in plan.pending if cell.key in known.work])
        forecast = _pilots(there, known, settings, checked, slots, context, lambda: None)
        stacks = group_into_stacks(plan.pending, forecast.size_of, checked.sliceable)
        say_dry_run(
            plan,
            stacks,
            forecast,
            slot_count(settings, devices, forecast.peak_bytes),
            devices[0].kind,
            absent,
            settings.data_dir,
            settings.results_dir,
        )
        say_mixed(plan, checked.environment, refusal)
    finally:
        for slot in slots:
            slot.stop()
