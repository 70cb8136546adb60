"""The plan: each cell in one state, stale rows told apart in words, stacks in paired order."""

import itertools
from dataclasses import replace

import pytest

from dreg_sweep.cells import Cell, ModelSpec, OptimizerSpec, Recipe, RegularizerSpec, ScheduleSpec
from dreg_sweep.data import DatasetSpec, NoiseLadder
from dreg_sweep.plan import group_into_stacks, make_plan
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


def stored(of, status="done", fingerprint="f"):
    """The row that a cell left."""
    return StoredCell(of.config_hash, status, fingerprint, None, of.config_json)


CELLS = [cell(seed=seed) for seed in range(6)]
STORED = {
    CELLS[0].key: stored(CELLS[0]),
    CELLS[1].key: stored(CELLS[1], "diverged"),
    CELLS[2].key: stored(CELLS[2], "failed"),
    CELLS[3].key: stored(cell(seed=3, epochs=5)),
    CELLS[4].key: stored(CELLS[4], fingerprint="other"),
}
PRINTS = dict.fromkeys((c.key for c in CELLS), "f")


@pytest.mark.parametrize(
    ("rerun", "trained"),
    [("none", [5]), ("failed", [2, 5]), ("stale", [2, 3, 4, 5]), ("all", [0, 1, 2, 3, 4, 5])],
)
def test_what_is_trained(rerun, trained):
    plan = make_plan(CELLS, STORED, PRINTS, rerun)
    assert [c.seed for c in plan.pending] == trained
    states = [plan.done, plan.failed, [entry.cell for entry in plan.stale], plan.missing]
    assert [[c.seed for c in state] for state in states] == [[0, 1], [2], [3, 4], [5]]


def test_stale_cells_say_what_differs():
    plan = make_plan(CELLS, STORED, PRINTS, "failed")
    assert [entry.differs for entry in plan.stale] == ["epochs 5 → None", "data_fingerprint other → f"]
    changed = replace(CELLS[0], config={**CELLS[0].config, "noise": {"sigma": [1, 2]}, "epochs": 7})
    (entry,) = make_plan([changed], STORED, PRINTS, "failed").stale
    assert entry.differs == "epochs None → 7, noise.sigma None → [1, 2]"


def test_unknown_data_do_not_make_a_cell_stale():
    plan = make_plan(CELLS[4:5], STORED, {}, "failed")
    assert plan.done == CELLS[4:5]


def test_stacks_hold_one_graph_and_come_seed_block_by_seed_block():
    grid = [
        cell(activation, regularizer, seed=seed, strength=0.1)
        for activation, regularizer, seed in itertools.product(("relu", "gelu"), ("none", "dreg"), range(5))
    ]
    stacks = group_into_stacks(grid, 3)
    assert sorted(c.key for stack in stacks for c in stack) == sorted(c.key for c in grid)
    assert all(len({c.stack_key for c in stack}) == 1 for stack in stacks)
    assert [tuple(c.seed for c in stack) for stack in stacks] == [(0, 1, 2)] * 4 + [(3, 4)] * 4
    assert [stack[0].activation for stack in stacks[:4]] == ["relu", "relu", "gelu", "gelu"]
