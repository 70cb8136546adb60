"""From cells to a plan: the data they need, what the store has of them, and whether the code can train them."""

import contextlib
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from dreg_sweep.cells import Cell
from dreg_sweep.config import SweepSettings
from dreg_sweep.data import Prepared, is_at_hand, load_prepared
from dreg_sweep.errors import UserError
from dreg_sweep.launch.messages import Check, Checked, Inputs
from dreg_sweep.launch.slots import Slot
from dreg_sweep.plan import Plan, make_plan
from dreg_sweep.rows import grid_columns
from dreg_sweep.states import Wanted
from dreg_sweep.store import Store
from dreg_sweep.versions import code_fingerprint, source_digest


@dataclass(frozen=True)
class Known:
    """What is known of cells before any training, by cell key."""

    wanted: dict[str, Wanted]
    inputs: dict[str, Inputs]  # nothing for cells whose data are not there
    work: dict[str, float]  # in arbitrary units; nothing for cells whose data are not there
    source: str  # digest of the code, which must not change while the sweep runs


def gather(cells: Sequence[Cell], settings: SweepSettings, fetch: bool = True) -> Known:
    """What the data and the code are, data fetched where they are missing (if so told).

    Errors: `UserError` for data that cannot be had or used, and for training sizes they do not allow.
    """
    by_dataset: dict[str, list[Cell]] = {}
    for cell in cells:
        by_dataset.setdefault(repr(cell.dataset), []).append(cell)
    known = Known({}, {}, {}, source_digest())
    for those in by_dataset.values():
        dataset = those[0].dataset
        there = is_at_hand(dataset, settings.data_dir)
        if not there and fetch:
            print(f"preparing {dataset.name} in {settings.data_dir} …", flush=True)
        prepared = load_prepared(dataset, settings.data_dir) if there or fetch else None
        if prepared is not None:
            for train_size, evaluate_on in dict.fromkeys((cell.train_size, cell.evaluate_on) for cell in those):
                prepared.check(train_size, evaluate_on)
        for cell in those:
            data = None if prepared is None else prepared.fingerprint
            known.wanted[cell.key] = Wanted(cell.config_hash, data, code_fingerprint(cell))
            if prepared is not None:
                known.inputs[cell.key] = Inputs(prepared.input_shape, prepared.n_outputs, prepared.task)
                known.work[cell.key] = _work(cell, prepared)
    return known


def _work(cell: Cell, prepared: Prepared) -> float:
    """Rows trained on × numbers a row. 512 stands for what a row costs beside its first layer."""
    n = cell.train_size or prepared.n_train
    recipe = cell.recipe
    rows = recipe.steps * min(recipe.batch_size, n) if recipe.steps else recipe.epochs * n
    return float(rows * (math.prod(prepared.input_shape) + 512))


def plan_cells(cells: Sequence[Cell], settings: SweepSettings, known: Known, store: Store) -> Plan:
    """The grid against the store, whose unreadable files are set aside unless this is a dry run."""
    stored, problems = store.index(set_aside=not settings.dry_run)
    for problem in problems:
        print(f"warning: {problem}", file=sys.stderr)
    return make_plan(cells, known.wanted, stored, store.configs, settings.rerun)


def declare(cells: Sequence[Cell], known: Known, store: Store) -> None:
    """Make the cells and their configurations part of the store; writes nothing where they are that already."""
    columns = ("cell", "config_hash", "data_fingerprint", "code_fingerprint")
    declared: dict[str, Wanted] = {}
    with contextlib.suppress(UserError):  # an unreadable declaration is made anew
        declared = {key: Wanted(*rest) for key, *rest in zip(*store.declared(columns).values(), strict=True)}
    by_hash = {cell.config_hash: cell for cell in cells}
    warnings = store.keep_configs(by_hash, lambda one: by_hash[one].config_json)
    if any(declared.get(cell.key) != known.wanted[cell.key] for cell in cells):
        warnings += store.declare(grid_columns(cells, known.wanted))
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)


def check_cells(cells: Sequence[Cell], known: Known, device: str | None, slot: Slot) -> Checked:
    """What to train on, and what may share a stack there.

    Errors: `UserError` for levels and options that are not there or do not fit.

    device: None where the cells will be trained on another machine; then no devices are named.
    """
    distinct = {(cell.stack_key, cell.regularizer.strength): cell for cell in cells}
    asked = [(cell, known.inputs.get(cell.key)) for cell in distinct.values()]
    answer = slot.ask(Check(asked, device))
    assert isinstance(answer, Checked)
    if answer.mistake is not None:
        raise UserError(answer.mistake)
    return answer
