"""Launching without processes: forecasts, patience, packing, and what becomes of stacks that fail."""

import traceback
from collections import deque
from typing import Any

import pytest

from dreg_sweep.config import SweepSettings
from dreg_sweep.launch import dispatch, pilot, report, runner
from dreg_sweep.launch.dispatch import Dispatch
from dreg_sweep.launch.memory import peak_bytes, reset_peak, slots_per_gpu
from dreg_sweep.launch.messages import Broken, Device, Finished, Measure, Piloted
from dreg_sweep.launch.pilot import Forecast, kind_of, pilots_for, run_pilots
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


def test_each_kind_of_cell_has_a_pilot_on_its_largest_group():
    cells = [
        cell(activation, regularizer, dataset, seed, strength)
        for activation in ("relu", "gelu")
        for regularizer, strength in (("none", 0.0), ("dreg", 0.1), ("dreg", 0.2))
        for dataset in ("digits", "mnist")
        for seed in range(3)
    ]
    pilots = pilots_for(cells, _work(cells), None, "cpu")
    assert len(pilots) == 4  # dataset × regularizer
    assert len({family for family, _ in pilots}) == 2  # the datasets
    assert {len(those.cells): those.sizes for those in pilots.values()} == {3: [3, 2], 6: [5, 2]}
    assert all(len({c.stack_key for c in those.cells}) == 1 for those in pilots.values())
    assert all(those.sizes == [7] for those in pilots_for(cells * 3, _work(cells), 7, "cpu").values())
    on_gpu = pilots_for(cells, _work(cells), None, "cuda", {"relu", "gelu"})
    assert {len(those.cells): those.sizes for those in on_gpu.values()} == {6: [6, 1, 5], 12: [12, 1, 5]}


class PilotSlot:
    """A worker that answers at once. `costs`: method (on a dataset) → stack size → seconds a cell; others fail."""

    device, silence = "cpu", 0.0

    def __init__(self, costs):
        self.costs, self.asked = costs, []
        self.answers: deque[Any] = deque()

    def give(self, asked):
        first = asked.cells[0]
        name = first.regularizer.name
        self.asked.append((name, list(asked.sizes), len(asked.cells)))
        costs = self.costs.get(f"{first.dataset.name}/{name}", self.costs.get(name, {}))
        sizes = [size for size in asked.sizes if size in costs]
        self.answers.append(Piloted([Measure(size, size * costs[size], size * GIB) for size in sizes]))


@pytest.fixture
def piloted(settings, monkeypatch):
    """Flies the pilots of cells on one fake slot: the forecast, and what the slot was asked."""
    monkeypatch.setattr(
        pilot, "messages", lambda slots, timeout: [(s, s.answers.popleft()) for s in slots if s.answers]
    )

    def fly(cells, costs):
        slots: list[Any] = [PilotSlot(costs)]
        pilots = pilots_for(cells, _work(cells), settings.stack_size, "cpu")
        return run_pilots(pilots, _work(cells), settings, slots, None, lambda: None), slots[0].asked

    return fly


def test_only_the_costliest_method_tries_all_sizes_and_the_others_follow_it(piloted):
    cells = [cell(regularizer=name, seed=seed) for name in ("none", "igpen", "dreg") for seed in range(5)]
    costs = {"none": {5: 1.0}, "igpen": {5: 4.0, 1: 3.8, 2: 3.0}, "dreg": {5: 2.0}}
    forecast, asked = piloted(cells, costs)
    assert asked == [("none", [5], 5), ("igpen", [5], 5), ("dreg", [5], 5), ("igpen", [5, 2], 5)]
    assert {forecast.size_of(c) for c in cells} == {2}
    measures = {c.regularizer.name: forecast.chosen[kind_of(c)][0] for c in cells}
    # A stack of two igpen cells takes 0.3 of the time of five: so will those of the others.
    assert {name: measure.seconds for name, measure in measures.items()} == {
        "none": 1.5,
        "igpen": 6.0,
        "dreg": 3.0,
    }
    assert {measure.peak_bytes for measure in measures.values()} == {2 * GIB}


@pytest.mark.parametrize(("seeds", "size"), [(4, 2), (5, 5)])
def test_a_lone_cell_that_a_size_would_leave_counts(piloted, seeds, size):
    """Pairs are cheaper a cell, but of five cells the last would be trained beside a copy."""
    cells = [cell(seed=seed) for seed in range(seeds)]
    forecast, _ = piloted(cells, {"none": {seeds: 4.0, 2: 3.6}})
    assert {forecast.size_of(c) for c in cells} == {size}


def test_one_family_tells_what_methods_cost_and_the_costliest_speaks_for_the_others(piloted):
    levels = [("digits", "none"), ("digits", "igpen"), ("digits", "dreg")]
    levels += [("mnist", "none"), ("mnist", "igpen"), ("mnist", "onehot")]
    cells = [cell(dataset=dataset, regularizer=name, seed=seed) for dataset, name in levels for seed in range(5)]
    costs = {
        **{"none": {5: 1.0}, "dreg": {5: 2.0}, "igpen": {5: 4.0, 1: 5.0, 2: 6.0}},
        **{"mnist/igpen": {5: 12.0, 1: 15.0, 2: 9.0}, "mnist/onehot": {5: 3.0}},
    }
    forecast, asked = piloted(cells, costs)
    first, second = asked[:4], asked[4:]
    assert first == [("none", [5], 5), ("igpen", [5], 5), ("dreg", [5], 5), ("onehot", [5], 5)]
    assert second == [("igpen", [5, 2], 5), ("igpen", [5, 2], 5)]
    found = {(c.dataset.name, c.regularizer.name): forecast.chosen[kind_of(c)][0] for c in cells}
    assert {key: measure.size for key, measure in found.items()} == {
        key: 5 if key[0] == "digits" else 2 for key in levels
    }
    # On mnist two igpen cells take 18 s, and none a quarter of igpen as on digits; five onehot cells took 15 s.
    seconds = {key: measure.seconds for key, measure in found.items()}
    assert seconds == pytest.approx(
        {
            **{("digits", "none"): 5.0, ("digits", "igpen"): 20.0, ("digits", "dreg"): 10.0},
            **{("mnist", "none"): 4.5, ("mnist", "igpen"): 18.0, ("mnist", "onehot"): 4.5},
        }
    )


def test_a_network_that_does_not_stack_is_measured_once_a_method(piloted):
    cells = [cell(regularizer=name, seed=seed) for name in ("none", "dreg") for seed in range(5)]

    def lone(self, given):
        self.asked.append(given.cells[0].regularizer.name)
        self.answers.append(Piloted([Measure(1, 3.0, GIB)]))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PilotSlot, "give", lone)
        forecast, asked = piloted(cells, {})
    assert asked == ["none", "dreg"]
    assert {forecast.size_of(c) for c in cells} == {1}


def test_a_pilot_that_fails_leaves_its_kind_unknown_and_the_others_to_choose(piloted):
    cells = [cell(regularizer=name, seed=seed) for name in ("none", "igpen") for seed in range(5)]
    forecast, asked = piloted(cells, {"none": {5: 1.0, 1: 2.0, 2: 2.0}})
    assert asked[-1] == ("none", [5, 2], 5)
    assert [forecast.seconds(cells[start : start + 5]) for start in (0, 5)] == [5.0, None]
    assert forecast.costs([cells[:5], cells[5:]]) == [5.0, 5.0]
    assert piloted(cells, {})[0].chosen == {}


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


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("too long", "ValueError: too long"),
        ("sizes:\n  a 1\n  b 2", "ValueError: sizes:"),
        ("\n   sizes\n   a 1", "ValueError: sizes"),
        ("", "ValueError"),
    ],
)
def test_a_failure_is_told_by_the_first_line_of_its_message(message, said):
    try:
        try:
            raise KeyError("another")
        except KeyError:
            raise ValueError(message)  # noqa: B904
    except ValueError:
        assert report._message(traceback.format_exc()) == said
    assert report._message("worker process ended: exit code 1") == "worker process ended: exit code 1"
