"""The plan: which cells of a grid still have to train, and their stacks in order."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dreg_sweep.cells import Cell
from dreg_sweep.store import StoredCell


@dataclass(frozen=True)
class Stale:
    """A cell whose stored row was made under another configuration or other data."""

    cell: Cell
    differs: str  # for example "epochs 10 → 20"


@dataclass(frozen=True)
class Plan:
    """A grid against its store. Every cell is in exactly one of done, failed, stale and missing."""

    cells: Sequence[Cell]
    done: Sequence[Cell]  # done or diverged, under the configuration and data asked for
    failed: Sequence[Cell]
    stale: Sequence[Stale]
    missing: Sequence[Cell]
    pending: Sequence[Cell]  # what this run trains


def make_plan(
    cells: Sequence[Cell],
    stored: Mapping[str, StoredCell],
    fingerprints: Mapping[str, str],
    rerun: str,
) -> Plan:
    """Compare the grid with the store. `fingerprints`: cell key → its data now, absent where not known yet.

    `rerun`: what is trained beside the missing cells: failed ones, stale ones too, all, or none.
    """
    done, failed, stale, missing = [], [], [], []
    for cell in cells:
        row = stored.get(cell.key)
        if row is None:
            missing.append(cell)
        elif differs := _difference(cell, row, fingerprints.get(cell.key)):
            stale.append(Stale(cell, differs))
        elif row.status == "failed":
            failed.append(cell)
        else:
            done.append(cell)
    chosen = {
        "none": missing,
        "failed": [*missing, *failed],
        "stale": [*missing, *failed, *(entry.cell for entry in stale)],
        "all": cells,
    }[rerun]
    keys = {cell.key for cell in chosen}
    return Plan(cells, done, failed, stale, missing, [cell for cell in cells if cell.key in keys])


def _difference(cell: Cell, row: StoredCell, fingerprint: str | None) -> str:
    """What separates a stored row from the cell, in words; empty where nothing does."""
    if row.config_hash != cell.config_hash:
        before, now = _flat(json.loads(row.config)), _flat(cell.config)
        changed = [key for key in sorted({*before, *now}) if before.get(key) != now.get(key)]
        return ", ".join(f"{key} {before.get(key)} → {now.get(key)}" for key in changed)
    if fingerprint is not None and row.data_fingerprint not in (None, fingerprint):
        return f"data_fingerprint {row.data_fingerprint} → {fingerprint}"
    return ""


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def group_into_stacks(cells: Sequence[Cell], stack_size: int) -> list[list[Cell]]:
    """Cells with one computation graph together, at most `stack_size` at a time.

    Ordered by the seeds a stack begins with, then as in the grid, so that complete paired blocks arrive first.
    """
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(cell.stack_key, []).append(cell)
    stacks = [
        group[start : start + stack_size]
        for group in groups.values()
        for start in range(0, len(group), stack_size)
    ]
    position = {cell.key: i for i, cell in enumerate(cells)}
    return sorted(stacks, key=lambda stack: (stack[0].seed, position[stack[0].key]))


def levels_per_factor(cells: Sequence[Cell]) -> dict[str, list[str]]:
    """The levels that occur, in order of appearance, for each factor with the four named ones first."""
    columns = {
        "activation": [cell.activation for cell in cells],
        "regularizer": [cell.regularizer.name for cell in cells],
        "dataset": [cell.dataset.name for cell in cells],
        "seed": [str(cell.seed) for cell in cells],
        "model": [cell.model.name for cell in cells],
        "train_size": ["all" if cell.train_size is None else str(cell.train_size) for cell in cells],
    }
    return {factor: list(dict.fromkeys(levels)) for factor, levels in columns.items()}
