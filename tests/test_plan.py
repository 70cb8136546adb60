"""The plan: each cell in one state, stale rows told apart in words, stacks in paired order."""

import itertools
from dataclasses import replace

import pytest

from dreg_sweep.cells import Cell, ModelSpec, OptimizerSpec, Recipe, RegularizerSpec, ScheduleSpec
from dreg_sweep.data import DatasetSpec, NoiseLadder
from dreg_sweep.plan import group_into_stacks, make_plan
from dreg_sweep.states import Wanted
from dreg_sweep.store import StoredCell


def cell(activation="relu", regularizer="none", dataset="digits", seed=0, strength=0.0, **config):
    """A cell whose configuration holds its factors and whatever is given."""
    return Cell(
        key=f"{dataset}/{activation}/{regularizer}/s{seed}",
        dataset=DatasetSpec(dataset, dataset, "vision", "clean"),
        activation=activation,
        regularizer=RegularizerSpec(regularizer, strength, {}),
        model=ModelSpec("mlp", {}),
        recipe=Recipe(1, None, 8, OptimizerSpec("adamw", 0.1, {}), ScheduleSpec("constant", {})),
        noise=NoiseLadder(),
        seed=seed,
        train_size=None,
        evaluate_on="test",
        config={
            "activation": activation,
            "regularizer": {"name": regularizer, "strength": strength},
            "dataset": {"name": dataset},
            "seed": seed,
            **config,
        },
    )


def stored(of, status="done", fingerprint="f", code="engine=2 model.mlp=1"):
    """The row that a cell left."""
    return StoredCell(of.config_hash, status, fingerprint, code, None, 1)


CELLS = [cell(seed=seed) for seed in range(7)]
ROWS = {
    CELLS[0].key: stored(CELLS[0]),
    CELLS[1].key: stored(CELLS[1], "diverged"),
    CELLS[2].key: stored(CELLS[2], "failed"),
    CELLS[3].key: stored(cell(seed=3, epochs=5)),
    CELLS[4].key: stored(CELLS[4], fingerprint="other"),
    CELLS[6].key: stored(CELLS[6], code="engine=1 model.mlp=1"),
}
CONFIGS = {of.config_hash: of.config_json for of in (*CELLS[:3], cell(seed=3, epochs=5))}


def plan_of(cells, rerun, data="f", code="engine=2 model.mlp=1"):
    """The plan of these cells against `ROWS`."""
    wanted = {c.key: Wanted(c.config_hash, data, code) for c in cells}
    return make_plan(
        cells, wanted, ROWS, lambda hashes: {one: CONFIGS[one] for one in hashes if one in CONFIGS}, rerun
    )


@pytest.mark.parametrize(
    ("rerun", "trained"),
    [("none", [5]), ("failed", [2, 5]), ("stale", [2, 3, 4, 5, 6]), ("all", [0, 1, 2, 3, 4, 5, 6])],
)
def test_what_is_trained(rerun, trained):
    plan = plan_of(CELLS, rerun)
    assert [c.seed for c in plan.pending] == trained
    states = [plan.done, plan.failed, [entry.cell for entry in plan.stale], plan.missing]
    assert [[c.seed for c in state] for state in states] == [[0, 1], [2], [3, 4, 6], [5]]


def test_stale_cells_say_what_differs():
    assert [entry.differs for entry in plan_of(CELLS, "failed").stale] == [
        "epochs 5 → None",
        "data_fingerprint other → f",
        "engine 1 → 2",
    ]
    changed = replace(CELLS[0], config={**CELLS[0].config, "noise": {"sigma": [1, 2]}, "epochs": 7})
    (entry,) = plan_of([changed], "failed", data="g").stale
    assert entry.differs == "epochs None → 7, noise.sigma None → [1, 2], data_fingerprint f → g"


def test_unknown_fingerprints_do_not_make_a_cell_stale():
    assert plan_of([CELLS[4]], "failed", data=None).done == [CELLS[4]]
    assert plan_of([CELLS[6]], "failed", code=None).done == [CELLS[6]]


def test_stacks_hold_one_graph_and_come_seed_block_by_seed_block():
    grid = [
        cell(activation, regularizer, seed=seed, strength=0.1)
        for regularizer, activation, seed in itertools.product(("none", "dreg"), ("relu", "gelu"), range(5))
    ]
    stacks = group_into_stacks(grid, lambda cell: 3)
    assert sorted(c.key for stack in stacks for c in stack) == sorted(c.key for c in grid)
    assert all(len({c.stack_key for c in stack}) == 1 for stack in stacks)
    assert [tuple(c.seed for c in stack) for stack in stacks] == [(0, 1, 2)] * 4 + [(3, 4)] * 4
    # What is compared comes together although the axis of the methods was given first.
    compared = [(stack[0].activation, stack[0].regularizer.name) for stack in stacks[:4]]
    assert compared == [("relu", "none"), ("relu", "dreg"), ("gelu", "none"), ("gelu", "dreg")]


def test_activations_that_may_be_sliced_share_a_stack_each_in_one_piece():
    grid = [
        cell(activation, regularizer, seed=seed)
        for seed, regularizer, activation in itertools.product(
            range(3), ("none", "dreg"), ("relu", "cubic", "gelu")
        )
    ]
    stacks = group_into_stacks(grid, lambda cell: 4, {"relu", "gelu"})
    assert sorted(c.key for stack in stacks for c in stack) == sorted(c.key for c in grid)
    assert all(len({c.regularizer.name for c in stack}) == 1 for stack in stacks)
    shown = [[(c.activation, c.seed) for c in stack] for stack in stacks if stack[0].regularizer.name == "dreg"]
    assert shown == [
        [("relu", 0), ("relu", 1), ("gelu", 0), ("gelu", 1)],
        [("cubic", 0), ("cubic", 1), ("cubic", 2)],
        [("relu", 2), ("gelu", 2)],
    ]
    assert all(len({c.activation for c in stack}) == 1 for stack in group_into_stacks(grid, lambda cell: 4))


def test_the_size_of_a_stack_may_depend_on_its_kind():
    grid = [cell(regularizer=name, seed=seed) for name in ("none", "dreg") for seed in range(4)]
    stacks = group_into_stacks(grid, lambda cell: 4 if cell.regularizer.name == "none" else 1)
    assert [len(stack) for stack in stacks] == [4, 1, 1, 1, 1]
