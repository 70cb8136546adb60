"""A sweep on a Slurm cluster: shares of its stacks as array tasks, followed by looking at the results folder."""

import contextlib
import heapq
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext
from typing import Any

from dreg_sweep.cells import Cell
from dreg_sweep.config import SweepSettings
from dreg_sweep.errors import UserError
from dreg_sweep.interruption import Interrupted, to_go_on
from dreg_sweep.launch.dispatch import Summary
from dreg_sweep.launch.pilot import Forecast
from dreg_sweep.launch.prepare import check_cells, declare, gather, plan_cells
from dreg_sweep.launch.progress import SweepProgress
from dreg_sweep.launch.report import say_end, say_mixed, say_plan
from dreg_sweep.launch.runner import dry_run, exit_code, train_pending, with_absolute_folders
from dreg_sweep.launch.slots import Slot, WorkerLost, worker_server
from dreg_sweep.launch.slurm import Jobs, Unreachable, submit, task_states
from dreg_sweep.plan import Plan, Stale, group_into_stacks
from dreg_sweep.store import Store, StoreError
from dreg_sweep.store.runners import Presence, one_of_many, sole_runner

_GAP = 10.0  # seconds without a task in the queue after which none will come; a requeue takes it away for a moment
_UNANSWERED = 60  # looks at the queue without an answer after which waiting ends


def run_on_cluster(
    cells: Sequence[Cell], settings: SweepSettings, context: ForkServerContext, options: Mapping[str, Any]
) -> int:
    """Submit what the store lacks of these cells and, where told to, wait for it; the exit code.

    `options`: those of conf/hydra/launcher/slurm.yaml. 0: all is stored, or submitted and not waited for; 1: cells
    failed, or tasks ended before theirs were trained.

    Errors: `UserError` before anything is submitted, as for a sweep on this machine; where Slurm refuses the job.
    """
    _check_options(options)
    if settings.rerun == "mixed":
        raise UserError(
            "rerun=mixed: in which environment a task of a cluster trains is not known before it runs; "
            "choose rerun=all, or run it without hydra/launcher=slurm"
        )
    settings = with_absolute_folders(settings)
    store = Store(settings.results_dir)
    try:
        if settings.dry_run:
            dry_run(cells, settings, store, context)
            return 0
        sweep = _submit(cells, settings, store, context, options)
        if sweep is None:
            return 0
        if not options["wait"]:
            print(f"submitted Slurm job {sweep.job}; dreg-status {store.folder} follows it", file=sys.stderr)
            return 0
        print(f"submitted Slurm job {sweep.job}", file=sys.stderr)
        summary = _follow(sweep, store, options["poll"])
    except Unreachable as error:
        print(f"stopped waiting: {error}; dreg-status {store.folder} follows the job", file=sys.stderr)
        return 1
    except Interrupted:
        for job in Jobs(store.folder).names:
            print(f"Slurm job {job} goes on; scancel --name {job} ends it, dreg-status follows", file=sys.stderr)
        raise
    except (StoreError, WorkerLost) as error:
        print(f"stopped: {error}; what was stored before is kept; {to_go_on()}", file=sys.stderr)
        return 1
    say_end(summary, sweep.plan, store.folder)
    missing = len(sweep.plan.pending) - summary.trained.total()
    if missing:
        logs = Jobs(store.folder).folder / sweep.job
        print(f"{missing} cells have no row, their tasks have ended (logs: {logs}); {to_go_on()}", file=sys.stderr)
    return 1 if missing else exit_code(summary)


def _check_options(options: Mapping[str, Any]) -> None:
    for key, least in (("tasks", 1), ("array_parallelism", 1), ("timeout_min", 1), ("cpus_per_task", 1)):
        if not isinstance(options[key], int) or isinstance(options[key], bool) or options[key] < least:
            raise UserError(f"hydra.launcher.{key}={options[key]} must be a whole number of at least {least}")
    if not isinstance(options["wait"], bool):
        raise UserError(f"hydra.launcher.wait={options['wait']} must be true or false")
    if not isinstance(options["poll"], int | float) or not options["poll"] > 0:
        raise UserError(f"hydra.launcher.poll={options['poll']} must be a number of seconds above 0")


@dataclass(frozen=True)
class _Submitted:
    job: str
    plan: Plan
    since: int  # rows with this sequence number or a higher one are of this submission


def _submit(
    cells: Sequence[Cell],
    settings: SweepSettings,
    store: Store,
    context: ForkServerContext,
    options: Mapping[str, Any],
) -> _Submitted | None:
    """Plan as for this machine; None where nothing is pending."""
    known = gather(cells, settings)
    store.create()
    jobs = Jobs(store.folder)
    with sole_runner(store.folder):
        jobs.refuse_if_live()
        store.drop_unfinished()
        plan = plan_cells(cells, settings, known, store)
        slot = Slot.start(context)
        try:
            # Which device a task finds only it can tell, unless it was told.
            check_cells(cells, known, "cpu" if settings.device == "cpu" else None, slot)
        finally:
            slot.stop()
        say_plan(plan)
        say_mixed(plan, None)
        declare(cells, known, store)
        if not plan.pending:
            say_end(Summary(), plan, store.folder)
            return None
        forecast = Forecast.without_pilots("cpu", settings.stack_size, known.work)
        stacks = group_into_stacks(plan.pending, forecast.size_of)
        shares = deal(stacks, forecast.costs(stacks), options["tasks"])
        since = store.next_sequence()
        job = jobs.new()
        submit([ArrayTask(share, settings, since) for share in shares], job, jobs.folder / job, options)
    return _Submitted(job, plan, since)


def deal(stacks: Sequence[Sequence[Cell]], costs: Sequence[float], most: int) -> list[list[Cell]]:
    """At most so many shares of about equal cost; each keeps the order of the stacks, early seeds first."""
    shares: list[list[Cell]] = [[] for _ in range(min(most, len(stacks)))]
    lightest = [(0.0, i) for i in range(len(shares))]
    for stack, cost in zip(stacks, costs, strict=True):
        load, i = heapq.heappop(lightest)
        shares[i].extend(stack)
        heapq.heappush(lightest, (load + cost, i))
    return shares


@dataclass
class ArrayTask:
    """One task: trains its cells on the node it finds itself on. Requeued, it trains what is not stored yet."""

    cells: Sequence[Cell]
    settings: SweepSettings
    since: int

    def __call__(self) -> int:
        """The exit code, as of a sweep."""
        store = Store(self.settings.results_dir)
        with worker_server() as context, one_of_many(store.folder) as presence:
            plan = self._plan(store)
            print(f"{len(plan.cells)} cells, {len(plan.pending)} to train", flush=True)
            summary = self._train(plan, store, presence, context) if plan.pending else Summary()
        # The last one out joins the files; where others are at work the folder is not to be had.
        with contextlib.suppress(UserError, StoreError), sole_runner(store.folder):
            store.drop_unfinished()
            store.compact()
        say_end(summary, plan, store.folder)
        return exit_code(summary)

    def _plan(self, store: Store) -> Plan:
        """What of the cells has no result of this submission yet. Older results are there to be replaced."""
        stored, _ = store.index()
        done: list[Cell] = []
        older: list[Stale] = []
        for cell in self.cells:
            row = stored.get(cell.key)
            if row is not None and row.status != "failed":
                if row.sequence >= self.since:
                    done.append(cell)
                else:
                    older.append(Stale(cell, "to be trained again"))
        new = {cell.key for cell in done}
        return Plan(self.cells, done, [], older, [], [cell for cell in self.cells if cell.key not in new])

    def _train(self, plan: Plan, store: Store, presence: Presence, context: ForkServerContext) -> Summary:
        known = gather(plan.pending, self.settings)
        slots = [Slot.start(context)]
        try:
            checked = check_cells(plan.pending, known, self.settings.device, slots[0])
            return train_pending(plan, known, self.settings, store, presence, checked, slots, context)
        finally:
            for slot in slots:
                slot.stop()

    def checkpoint(self) -> Any:
        """What submitit is to requeue when the task is preempted or runs out of time: the same once more."""
        import submitit

        return submitit.helpers.DelayedSubmission(self)


def _follow(sweep: _Submitted, store: Store, poll: float) -> Summary:
    """Wait until no task is left, by the queue: accounting, which tells what became of them, need not be there."""
    pending = {cell.key: cell for cell in sweep.plan.pending}
    summary = Summary()
    started = time.monotonic()
    unanswered = 0
    seen = started  # when the queue last named a task
    with SweepProgress(len(pending), len(pending)) as progress:
        while True:
            index, _ = store.index()
            rows = {key: row for key in pending if (row := index.get(key)) and row.sequence >= sweep.since}
            summary.trained.clear()
            summary.trained.update(row.status for row in rows.values())
            progress.finished = len(rows)
            progress.finished_cost = float(len(rows))
            progress.failed, progress.diverged = summary.trained["failed"], summary.trained["diverged"]
            progress.show()
            try:
                live = bool(task_states(sweep.job))
                unanswered = 0
            except Unreachable:
                live = True  # for all that is known
                unanswered += 1
                if unanswered >= _UNANSWERED:
                    raise
            if live:
                seen = time.monotonic()
            elif len(rows) == len(pending) or time.monotonic() - seen > _GAP + poll:
                break
            time.sleep(poll)
    for key, row in rows.items():
        if row.status == "failed":
            summary.errors.setdefault(row.error or "", []).append(pending[key])
    summary.seconds = time.monotonic() - started
    return summary
