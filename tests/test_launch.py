"""Launching without processes: forecasts, patience, packing, and what becomes of stacks that fail."""

from collections import deque
from typing import Any

import pytest

from dreg_sweep.config import SweepSettings
from dreg_sweep.launch import dispatch, runner
from dreg_sweep.launch.dispatch import Dispatch
from dreg_sweep.launch.memory import peak_bytes, reset_peak, slots_per_gpu
from dreg_sweep.launch.messages import Broken, Device, Finished, Measure
from dreg_sweep.launch.pilot import Forecast, kind_of, pilots_for
from dreg_sweep.launch.progress import SweepProgress
from dreg_sweep.launch.slots import Pauses, Slot
from dreg_sweep.store import StackRows, Store, parquet_files
from dreg_sweep.store.runners import sole_runner
from tests.test_plan import cell

GIB = 2**30


@pytest.fixture
def settings(tmp_path):
    """A sweep into a folder of its own."""
    return SweepSettings(
        results_dir=tmp_path / "r",
        data_dir=tmp_path,
        device="cpu",
        slots=None,
        slots_per_gpu=None,
        stack_size=None,
        rerun="failed",
        dry_run=False,
        timeout=None,
    )


def test_each_kind_of_cell_has_one_pilot_on_its_largest_stack():
    cells = [
        cell(activation, regularizer, dataset, seed, strength)
        for activation in ("relu", "gelu")
        for regularizer, strength in (("none", 0.0), ("dreg", 0.1), ("dreg", 0.2))
        for dataset in ("digits", "mnist")
        for seed in range(3)
    ]
    pilots = pilots_for(cells, dict.fromkeys((c.key for c in cells), 1.0), None, "cpu")
    assert len(pilots) == 4  # dataset × regularizer
    for those, sizes in pilots.values():
        assert len({c.stack_key for c in those}) == 1
        assert max(sizes) == len(those)
        assert sizes in ([2, 3], [2, 5])
    assert all(sizes == [7] for _, sizes in pilots_for(cells * 3, _work(cells), 7, "cpu").values())


def _work(cells, each=1.0):
    return {c.key: each for c in cells}


def test_forecasts_scale_with_work_and_cells():
    piloted = [cell(seed=seed) for seed in range(5)]
    other = [cell(regularizer="dreg", seed=seed) for seed in range(5)]
    work = {**_work(piloted, 3.0), **_work(other, 6.0)}
    forecast = Forecast(4, work, {kind_of(piloted[0]): (Measure(5, 10.0, GIB), 1.5)})
    assert forecast.size_of(piloted[0]) == 5
    assert forecast.size_of(other[0]) == 4
    assert forecast.seconds(piloted) == 20.0  # twice the work of the pilot's cells
    assert forecast.seconds(piloted[:1]) == 8.0  # a lone cell is trained beside a copy
    assert forecast.seconds(other) is None
    assert forecast.costs([piloted, other]) == [20.0, 40.0]
    assert forecast.peak_bytes == GIB
    assert Forecast(4, work).costs([piloted, other]) == [15.0, 30.0]


def test_a_silent_worker_is_given_many_times_its_forecast():
    assert dispatch._patience(None) == 1800.0
    assert dispatch._patience(1.0) == 300.0
    assert dispatch._patience(200.0) == 2000.0


@pytest.mark.parametrize(
    ("memory", "peak", "cores", "gpus", "slots"),
    [
        (80 * GIB, 10 * GIB, 16, 1, 4),  # more do not help
        (24 * GIB, 10 * GIB, 16, 1, 2),
        (24 * GIB, 23 * GIB, 16, 1, 1),  # more than may be planned with: one all the same
        (80 * GIB, 2 * GIB, 4, 2, 2),  # cores to drive them
        (80 * GIB, 2 * GIB, 1, 4, 1),
        (80 * GIB, 0, 16, 1, 1),  # not known
    ],
)
def test_slots_of_a_gpu(memory, peak, cores, gpus, slots):
    assert slots_per_gpu(memory, peak, cores, gpus) == slots


def test_slots_in_all(settings, monkeypatch):
    monkeypatch.setattr(runner, "cpu_cores", lambda: 6)
    gpus = [Device("cuda:0", 40 * GIB), Device("cuda:1", 40 * GIB)]
    assert runner.slot_count(settings, [Device("cpu")], 0) == 6
    assert runner.slot_count(settings, gpus, 10 * GIB) == 6
    own = {**vars(settings), "slots_per_gpu": 2}
    assert runner.slot_count(SweepSettings(**own), gpus, 10 * GIB) == 4
    assert runner.slot_count(SweepSettings(**{**own, "slots": 1}), gpus, 10 * GIB) == 1


def test_cores_are_those_of_the_slurm_task(monkeypatch):
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "3")
    assert runner.cpu_cores() == 3


def test_the_peak_of_memory_begins_anew():
    reset_peak("cpu")
    before = peak_bytes("cpu")
    block = bytearray(200 * 2**20)
    block[::4096] = b"x" * len(block[::4096])
    assert peak_bytes("cpu") > before + 150 * 2**20
    del block
    reset_peak("cpu")
    assert peak_bytes("cpu") < before + 100 * 2**20


class Clock:
    """Seconds as told."""

    now = 0.0

    def __call__(self):
        return self.now


def test_the_remaining_time_begins_with_the_pilots_and_turns_to_what_was_seen():
    clock = Clock()
    progress = SweepProgress(100, 1000.0, 500.0, clock)  # two slots
    assert progress.text() == "0/100 cells, 8:20 left"
    clock.now, progress.finished, progress.finished_cost = 400.0, 40, 400.0  # half as fast as predicted
    left = progress.seconds_left(400.0)
    assert 500.0 < left < 600.0  # 300 by the pilots, 600 by what was seen
    without = SweepProgress(100, 1000.0, clock=clock)
    assert without.seconds_left(5.0) is None
    without.finished_cost = 400.0
    assert without.seconds_left(400.0) == 600.0


class FakeSlot:
    """A worker that answers at once. `trains`: what it says of a stack's cells."""

    device, silence = "cpu", 0.0

    def __init__(self, trains):
        self.trains = trains
        self.answers: deque[Any] = deque()

    def give(self, work):
        self.answers.append(self.trains(work.cells))

    def stop(self):
        pass


@pytest.fixture
def dispatched(settings, monkeypatch):
    """Runs stacks of cells on fake slots: the summary, and the sizes of the stacks that were tried."""
    monkeypatch.setattr(
        dispatch, "messages", lambda slots, timeout: [(s, s.answers.popleft()) for s in slots if s.answers]
    )

    def run(stacks, trains):
        tried = []

        def noted(cells):
            tried.append(len(cells))
            return trains(cells)

        store = Store(settings.results_dir)
        store.create()
        forecast = Forecast(5, {c.key: 1.0 for stack in stacks for c in stack})
        with sole_runner(store.folder) as presence:
            slots = [FakeSlot(noted)]
            summary = Dispatch(stacks, forecast, set(), settings, store, presence, None, slots, "").run()
        return summary, tried, store.index()[0]

    return run


def test_a_stack_too_large_for_the_gpu_is_halved_until_it_fits(dispatched):
    cells = [cell(seed=seed) for seed in range(10)]

    def trains(those):
        return Broken("out of memory", True) if len(those) > 3 else Finished(["done"] * len(those), 7)

    summary, tried, _ = dispatched([cells], trains)
    assert tried == [10, 5, 2, 3, 5, 2, 3]
    assert summary.trained == {"done": 10}
    assert not summary.errors
    assert summary.peak_bytes == 7


def test_the_cells_of_a_failed_stack_are_tried_alone_once(dispatched):
    stacks = [[cell(seed=seed) for seed in range(start, start + 3)] for start in (0, 3)]

    def trains(those):
        bad = any(c.seed == 4 for c in those)
        return Broken("Traceback\nValueError: 4") if bad else Finished(["done"] * len(those), 1)

    summary, tried, stored = dispatched(stacks, trains)
    assert tried == [3, 3, 1, 1, 1]
    assert summary.trained == {"done": 5, "failed": 1}
    assert [c.seed for c in summary.errors["Traceback\nValueError: 4"]] == [4]
    (row,) = stored.values()  # the fake slot stores nothing
    assert (row.status, row.error) == ("failed", "Traceback\nValueError: 4")


def test_one_bad_stack_keeps_nothing_from_being_trained(dispatched):
    stacks = [[cell(seed=seed) for seed in range(start, start + 4)] for start in (0, 4, 8)]

    def trains(those):
        return Broken("too large") if those[0].seed < 4 else Finished(["diverged"] * len(those), 1)

    summary, tried, _ = dispatched(stacks, trains)
    assert tried == [4, 4, 4, 1, 1, 1, 1]
    assert not summary.stopped_early
    assert summary.trained == {"diverged": 8, "failed": 4}


def test_a_pause_of_the_runner_is_no_silence_of_its_workers(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("dreg_sweep.launch.slots.time.monotonic", clock)
    pauses, slot = Pauses(), Slot(None, None)
    clock.now = 1.0
    pauses.forgive([slot])
    assert slot.silence == 1.0
    clock.now = 1000.0  # Ctrl-Z, and fg much later
    pauses.forgive([slot])
    assert slot.silence == 1.0
    clock.now = 1002.0
    pauses.forgive([slot])
    assert slot.silence == 3.0


def test_files_are_joined_while_a_sweep_goes_on(dispatched, settings, monkeypatch):
    """A slow stack with an early number must not be overtaken by the join of later ones."""
    monkeypatch.setattr(dispatch, "_FILES", 3)
    store = Store(settings.results_dir)
    most = 0

    class StoringSlot(FakeSlot):
        def give(self, work):
            nonlocal most
            rows = [{"cell": c.key, "config_hash": c.config_hash, "status": "done"} for c in work.cells]
            store.write_stack(work.sequence, StackRows(rows, [], []))
            most = max(most, len(parquet_files(store.cells)))
            super().give(work)

    monkeypatch.setattr("tests.test_launch.FakeSlot", StoringSlot)
    stacks = [[cell(seed=seed)] for seed in range(20)]
    _, _, stored = dispatched(stacks, lambda those: Finished(["done"], 1))
    assert set(stored) == {stack[0].key for stack in stacks}
    assert most <= 6


def test_failures_all_alike_before_any_success_stop_the_sweep(dispatched):
    stacks = [[cell(seed=seed)] for seed in range(10)]
    summary, tried, stored = dispatched(stacks, lambda those: Broken("the same"))
    assert summary.stopped_early
    assert tried == [1, 1, 1]
    assert {key: row.status for key, row in stored.items()} == {stacks[i][0].key: "failed" for i in range(3)}
    assert summary.trained == {"failed": 3}
    summary, tried, _ = dispatched(stacks, lambda those: Broken(f"of its own: {those[0].seed}"))
    assert not summary.stopped_early
    assert len(tried) == 20
