"""A slot's process from within: what it keeps, what it forms stacks of, what its rows say."""

from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from dreg_sweep.activations import Sliced
from dreg_sweep.cells import ModelSpec
from dreg_sweep.data import DatasetSpec, NoiseLadder, load_prepared
from dreg_sweep.launch import worker
from dreg_sweep.launch.messages import Check, Device, Pilot, Work
from dreg_sweep.launch.splits import Splits
from dreg_sweep.plan import group_into_stacks
from dreg_sweep.store import Store, parquet_files
from dreg_sweep.versions import code_fingerprint
from tests.engine import ADAMW
from tests.test_plan import cell

OPTIONS = {"dreg": {"form": "local", "reduction": "sum", "positions": "sum", "layers": "hidden"}}
DIGITS = DatasetSpec("digits", "digits", "vision", "clean")


def small(activation="relu", seed=0, train_size: int | None = 60, regularizer="none", strength=0.0):
    """A cell that trains in milliseconds."""
    plain = cell(activation, regularizer, seed=seed, strength=strength, train_size=train_size)
    return replace(
        plain,
        train_size=train_size,
        model=ModelSpec("mlp", {"widths": [5]}),
        recipe=replace(plain.recipe, optimizer=ADAMW),
        regularizer=replace(plain.regularizer, options=OPTIONS.get(regularizer, {})),
        noise=NoiseLadder(pixel_sigma=(0.5,)),
    )


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """Prepared data, and the folder they were asked for in."""
    folder = tmp_path_factory.mktemp("data")
    return load_prepared(DIGITS, folder), folder


def test_stacks_that_differ_in_method_or_activation_share_their_splits(digits):
    splits = Splits()
    first = splits.of([small(seed=seed) for seed in (0, 1)], *digits)
    second = splits.of([small("gelu", seed, regularizer="dreg", strength=0.1) for seed in (1, 0)], *digits)
    assert second[0] is first[1]
    assert second[1] is first[0]
    assert first[0].identity != first[1].identity
    (smaller,) = splits.of([small(train_size=50)], *digits)
    assert len(smaller.y_train) == 50
    (quiet,) = splits.of([replace(small(), noise=NoiseLadder())], *digits)
    assert quiet.severities == ()


def test_cells_that_train_on_every_row_share_one_split(digits):
    one, other = Splits().of([small(seed=seed, train_size=None) for seed in (0, 1)], *digits)
    assert one is other
    assert len(one.y_train) == digits[0].n_train


def test_splits_are_kept_as_far_as_they_fit(digits):
    each = 60 * 64 * 4  # bytes of training rows
    splits = Splits(most=3 * each)
    a, b, c, d = ([small(seed=seed)] for seed in range(4))
    kept = [splits.of(cells, *digits)[0] for cells in (a, b, c)]
    assert splits.of(a, *digits)[0] is kept[0]
    splits.of(d, *digits)  # drops the one that was not asked for longest: b
    assert splits.of(a, *digits)[0] is kept[0]
    assert splits.of(c, *digits)[0] is kept[2]
    assert splits.of(b, *digits)[0] is not kept[1]
    many = [small(seed=seed) for seed in range(10, 15)]  # a stack's own are kept, however large
    assert splits.of(many, *digits) == splits.of(many, *digits)
    assert splits.of(a, *digits)[0] is not kept[0]


class Runner:
    """The other end of a worker's connection; hears nothing."""

    def send(self, message):
        pass


def rows_of(stacks, folder, results):
    """What a worker stores of these stacks, but for the time it took: kind, cell, severity and epoch → row."""
    Store(results).create()
    kept = worker._Datasets(), Splits()
    for number, cells in enumerate(stacks, start=1):
        fingerprints = [code_fingerprint(c) for c in cells]
        work = Work(number, cells, folder, results, "cpu", "version", fingerprints, worker._SOURCE)
        worker.run_stack(work, *kept, Runner())
    rows = {}
    for kind in ("cells", "noise", "history"):
        for path in parquet_files(results / kind):
            for row in pq.read_table(path).to_pylist():
                row.pop("seconds", None)
                rows[kind, row["cell"], row.get("severity"), row.get("epoch")] = row
    return rows


@pytest.mark.parametrize(
    ("regularizer", "strength"), [("none", 0.0), ("dreg", 0.01), ("igpen", 0.5), ("dropout", 0.3)]
)
def test_rows_of_a_stack_of_several_activations_are_those_of_separate_ones(
    regularizer, strength, digits, tmp_path, single_thread
):
    names = ("relu", "gelu", "silu", "tanh")
    cells = [small(name, seed, regularizer=regularizer, strength=strength) for name in names for seed in range(2)]
    (together,) = group_into_stacks(cells, lambda cell: 20, set(names))
    assert isinstance(worker._assemble(together, digits[1], worker._Datasets()).network.activation, Sliced)
    separate = group_into_stacks(cells, lambda cell: 20)
    assert len(separate) == 4
    ours = rows_of([together], digits[1], tmp_path / "together")
    assert len(ours) == len(cells) * 3  # one severity, one epoch
    assert ours == rows_of(separate, digits[1], tmp_path / "separate")
    prints = {row["activation"]: row["code_fingerprint"] for key, row in ours.items() if key[0] == "cells"}
    assert prints == {c.activation: code_fingerprint(c) for c in cells}
    assert len(set(prints.values())) == 4


def test_on_a_gpu_fixed_activations_may_be_sliced(monkeypatch):
    asked = [(small(name), None) for name in ("relu", "cubic", "tanh")]
    on_cpu = worker._check(Check(asked, "cpu"))
    assert (on_cpu.mistake, on_cpu.sliceable) == (None, set())
    monkeypatch.setattr(worker, "find_devices", lambda device: [Device("cuda:0", 2**30)])
    monkeypatch.setattr(worker, "environment", lambda device, precision: f"{device}, {precision}")  # asks the card
    on_gpu = worker._check(Check(asked, "cuda"))
    assert (on_gpu.sliceable, on_gpu.environment) == ({"relu", "tanh"}, "cuda:0")
    assert worker._check(Check(asked, None)).sliceable == set()  # for another machine: its own check will tell


def test_pilots_pass_over_stack_sizes_that_cannot_be_the_fastest(digits):
    _, folder = digits
    cells = [small(seed=seed) for seed in range(5)]
    lenet = {"channels": [2], "widths": [4], "kernel": 3, "padding": 1}
    images = [replace(c, model=ModelSpec("lenet", lenet)) for c in cells]

    def tried(cells, sizes):
        return [
            m.size
            for m in worker._pilot(Pilot(cells, sizes, folder, "cpu"), worker._Datasets(), Splits()).measures
        ]

    assert tried(cells, [2, 1]) == [2, 1]
    assert tried(cells[:1], [1]) == [1]
    assert tried(images, [5]) == [1]  # trained cell by cell
    assert tried([replace(c, activation="none such") for c in cells], [5]) == []


def test_a_pilot_predicts_what_training_takes(digits):
    """Within a factor: the machine may be busy."""
    _, folder = digits
    cells = [small(seed=seed, train_size=None) for seed in range(3)]
    long = [replace(c, recipe=replace(c.recipe, epochs=10)) for c in cells]
    (measure,) = worker._pilot(Pilot(long, [3], folder, "cpu"), worker._Datasets(), Splits()).measures
    stack = worker._assemble(long, folder, worker._Datasets())
    outcomes = worker.train_stack(stack.network, stack.methods, long[0].recipe, stack.plans, torch.device("cpu"))
    taken = sum(outcome.seconds for outcome in outcomes)
    assert np.log(measure.seconds / taken) == pytest.approx(0, abs=np.log(4))
