"""dreg-status: what a results folder holds of its declared grid."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dreg_sweep.arguments import OneLineParser
from dreg_sweep.errors import UserError
from dreg_sweep.store import Store

STATES = ("done", "failed", "diverged", "running", "missing", "stale")
FACTORS = ("activation", "regularizer", "dataset", "seed", "model", "train_size", "strength")
_NAMED_AT_MOST = 10
INCOMPLETE = 3  # exit code


def main(argv: Sequence[str] | None = None) -> int:
    """The command; exit code 0 where every declared cell is done or diverged, 3 where not."""
    parser = OneLineParser(
        prog="dreg-status",
        description="What a results folder holds of its declared grid. Exit code 0: complete; 3: not.",
    )
    parser.add_argument("results_dir", type=Path, help="the folder that holds cells/")
    parser.add_argument("--json", action="store_true", help="everything, for programs")
    arguments = parser.parse_args(argv)
    report = status_report(arguments.results_dir)
    print(json.dumps(report, indent=1) if arguments.json else _text(report))
    return 0 if report["complete"] else INCOMPLETE


def status_report(folder: Path) -> dict[str, Any]:
    """Counts by state, in all and per level of each factor, and the keys of the cells that are not done.

    Errors: `UserError` where the folder is not one that a sweep has written to.
    """
    store = Store(folder)
    declared = store.declared()
    if not declared:
        raise UserError(f"{folder} holds no declared grid (no grid.parquet); give the results_dir of a sweep")
    stored, problems = store.index()
    running = store.running()
    states = {row["cell"]: _state(row, stored, running) for row in declared}
    counts = Counter(states.values())
    factors: dict[str, dict[str, Counter[str]]] = {factor: {} for factor in FACTORS}
    for row in declared:
        for factor in FACTORS:
            level = "all" if row[factor] is None else str(row[factor])
            factors[factor].setdefault(level, Counter())[states[row["cell"]]] += 1
    return {
        "results_dir": str(folder),
        "complete": counts["done"] + counts["diverged"] == len(declared),
        "cells": len(declared),
        **{state: counts[state] for state in STATES},
        "factors": {
            factor: {level: {state: counted[state] for state in STATES} for level, counted in levels.items()}
            for factor, levels in factors.items()
        },
        "keys": {state: [key for key, s in states.items() if s == state] for state in STATES if state != "done"},
        "errors": {key: stored[key].error for key, state in states.items() if state == "failed"},
        "warnings": problems,
    }


def _state(row: Mapping[str, Any], stored: Mapping[str, Any], running: set[str]) -> str:
    if row["cell"] in running:
        return "running"
    found = stored.get(row["cell"])
    if found is None:
        return "missing"
    data = (found.data_fingerprint, row["data_fingerprint"])
    changed = None not in data and data[0] != data[1]
    return "stale" if changed or found.config_hash != row["config_hash"] else str(found.status)


def _text(report: Mapping[str, Any]) -> str:
    counts = ", ".join(f"{report[state]} {state}" for state in STATES if report[state])
    verdict = "complete" if report["complete"] else "not complete"
    lines = [f"{report['results_dir']}: {verdict}, {report['cells']} cells: {counts}"]
    for warning in report["warnings"]:
        lines.append(f"warning: {warning}")
    shown = [state for state in STATES if report[state]]
    width = max(len(f"{factor}={level}") for factor, levels in report["factors"].items() for level in levels)
    lines.append(" " * width + "".join(f"{state:>10}" for state in shown))
    for factor, levels in report["factors"].items():
        if len(levels) > 1:
            for level, counted in levels.items():
                row = "".join(f"{counted[state]:>10}" for state in shown)
                lines.append(f"{factor}={level}".ljust(width) + row)
    for state, keys in report["keys"].items():
        named = ", ".join(keys[:_NAMED_AT_MOST]) + (", …" if len(keys) > _NAMED_AT_MOST else "")
        lines += [f"{state}: {named}"] * bool(keys)
    return "\n".join(lines)
