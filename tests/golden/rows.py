"""The numbers of the golden cells: computed, stored one file an environment, and compared."""

import json
import math
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dreg_sweep.cells import Cell
from dreg_sweep.environment import environment
from dreg_sweep.versions import code_fingerprint

FOLDER = Path(__file__).parent
# Between environments. Seen with torch 2.14 on an Intel processor, between AVX-512, AVX2 and no vector unit
# (ATEN_CPU_CAPABILITY, MKL_CBWR=COMPATIBLE): 6e-7 relative, and no count. Other processors and torches may do more.
RELATIVE, ROWS = 1e-5, 1

Number = int | float | None
Numbers = Mapping[str, Number | Sequence[Number]]


@dataclass(frozen=True)
class Golden:
    """What is stored of one cell. code: the versions under which it was."""

    code: str
    numbers: Numbers


def compute(cells: Mapping[str, Cell], data_dir: Path) -> dict[str, Golden]:
    """Train each cell on this machine's CPU."""
    import torch

    from dreg_sweep.launch import worker
    from dreg_sweep.rows import trained_rows
    from dreg_sweep.train import train_stack

    datasets, found = worker._Datasets(), {}
    for name, cell in cells.items():
        stack = worker._assemble([cell], data_dir, datasets)
        outcomes = train_stack(stack.network, stack.methods, cell.recipe, stack.plans, torch.device("cpu"))
        rows = trained_rows([cell], outcomes, [plan.split for plan in stack.plans], {})
        numbers = {
            **_numbers(rows.cells[0], ("clean_correct", "noisy_correct", "train_accuracy", "test_loss")),
            **_numbers(rows.history[-1], [key for key in rows.history[-1] if key not in ("cell", "config_hash")]),
            **{
                f"{fit['place']} {key}": sum(fit[key])
                for fit in rows.fits
                for key in ("prediction", "gradient_norm")
            },
        }
        found[name] = Golden(code_fingerprint(cell), numbers)
    return found


def _numbers(row: Mapping[str, object], names: Collection[str]) -> dict[str, Number | Sequence[Number]]:
    return {name: row[name] for name in names if row.get(name) is not None}  # type: ignore[misc]


def this_environment() -> str:
    """What decides the last bits here: the environment that rows name, and the model of the processor."""
    named = environment("cpu", "float32").rpartition(", ")[0]
    model: dict[str, str] = {}
    if os.path.exists("/proc/cpuinfo"):
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            key, _, value = line.partition(":")
            model.setdefault(key.strip(), value.strip())
    return f"{named}, family {model.get('cpu family', '?')} model {model.get('model', '?')}"


def stored() -> dict[str, dict[str, Golden]]:
    """Environment → name → what is stored."""
    found = {}
    for path in sorted(FOLDER.glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        found[content["environment"]] = {
            name: Golden(entry["code"], {key: _read(value) for key, value in entry["numbers"].items()})
            for name, entry in content["cells"].items()
        }
    return found


def write(environment: str, cells: Mapping[str, Golden]) -> Path:
    """Store what was computed in an environment; one line a cell, floats in hexadecimal."""
    lines = [
        f"  {json.dumps(name)}: "
        + json.dumps({"code": one.code, "numbers": {key: _written(value) for key, value in one.numbers.items()}})
        for name, one in cells.items()
    ]
    short = "".join(c if c.isalnum() or c == "." else "-" for c in environment.replace(", ", "-"))
    path = FOLDER / f"{short.lower()}.json"
    head = f'{{"environment": {json.dumps(environment)}, "cells": {{\n'
    path.write_text(head + ",\n".join(lines) + "\n}}\n", encoding="utf-8")
    return path


def _written(value: Any) -> Any:
    if isinstance(value, list):
        return [_written(one) for one in value]
    return value.hex() if isinstance(value, float) else value


def _read(value: Any) -> Any:
    if isinstance(value, list):
        return [_read(one) for one in value]
    return float.fromhex(value) if isinstance(value, str) else value


def moved(before: Numbers, now: Numbers, exactly: bool) -> list[str]:
    """The names of the numbers that differ; exactly: to the last bit, otherwise beyond what environments do."""
    return [key for key in {**before, **now} if not _alike(before.get(key), now.get(key), exactly)]


def _alike(one: object, other: object, exactly: bool) -> bool:
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(_alike(a, b, exactly) for a, b in zip(one, other, strict=True))
    if not isinstance(one, int | float) or not isinstance(other, int | float):
        return one == other
    if exactly or math.isnan(one) or math.isnan(other):
        return repr(one) == repr(other)
    if isinstance(one, int) and isinstance(other, int):
        return abs(one - other) <= ROWS
    return math.isclose(one, other, rel_tol=RELATIVE, abs_tol=RELATIVE * 1e-3)


def suspects(changed: Mapping[str, str], unchanged: Mapping[str, str]) -> dict[str, list[str]]:
    """The fewest parts of the code whose versions are to be raised → the cells that tell.

    A part that some unchanged cell runs through is cleared. Of those left, the one that most changed cells run
    through is taken first, then the one that most of the others do, and so on. A changed cell whose parts are all
    cleared speaks of the engine, and so does a change of every cell.

    Args:
        changed: name → versions of the parts, of the cells whose numbers have moved.
        unchanged: likewise, of those whose numbers have not.

    Returns:
        For example `{"activation.gelu": ["gelu", "gelu dreg"]}`.
    """
    if not unchanged:
        return {"engine": list(changed)} if changed else {}
    cleared = {part for code in unchanged.values() for part in _parts(code)}
    cells: dict[str, list[str]] = {}
    for name, code in changed.items():
        for part in [part for part in _parts(code) if part not in cleared] or ["engine"]:
            cells.setdefault(part, []).append(name)
    found: dict[str, list[str]] = {}
    left = set(changed)
    while left:
        part = max(cells, key=lambda part: len(left.intersection(cells[part])))
        found[part] = cells[part]
        left.difference_update(cells[part])
    return found


def _parts(code: str) -> list[str]:
    return [part.partition("=")[0] for part in code.split()]


def unannounced(now: Mapping[str, Golden], here: str, kept: Mapping[str, Mapping[str, Golden]]) -> list[str]:
    """A line on each part of the code whose numbers have changed under one and the same version.

    Args:
        now: name → what was computed.
        here: the environment where it was.
        kept: what is stored, see `stored`. Without rows of this environment, those of any other are bounds.
    """
    changed: dict[str, str] = {}
    unchanged: dict[str, str] = {}
    for name, one in now.items():
        same = _of_same_versions(name, one, kept)
        if not same:
            continue
        other = here if here in same else next(iter(same))
        differ = moved(same[other].numbers, one.numbers, exactly=other == here)
        (changed if differ else unchanged)[name] = one.code
    return [
        f"the numbers of {part} have changed ({_few(cells)}): undo it, or raise its version in dreg_sweep/versions.py "
        "and run python -m tests.golden --write"
        for part, cells in suspects(changed, unchanged).items()
    ]


def without_numbers(now: Mapping[str, Golden], kept: Mapping[str, Mapping[str, Golden]]) -> list[str]:
    """A line on the cells of which nothing is stored under their present versions."""
    lacking = [name for name, one in now.items() if not _of_same_versions(name, one, kept)]
    return [f"no numbers are stored of {_few(lacking)}: run python -m tests.golden --write"] if lacking else []


def _of_same_versions(name: str, one: Golden, kept: Mapping[str, Mapping[str, Golden]]) -> dict[str, Golden]:
    """Environment → what is stored there of this cell under the same versions."""
    return {env: rows[name] for env, rows in kept.items() if name in rows and rows[name].code == one.code}


def _few(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:4])) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
