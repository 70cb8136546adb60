"""dreg-status: what a results folder holds of its declared grid."""

import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dreg_sweep.arguments import OneLineParser
from dreg_sweep.environment import counted
from dreg_sweep.errors import UserError
from dreg_sweep.factors import FACTORS, Factor
from dreg_sweep.launch.slurm import Jobs, Unreachable
from dreg_sweep.states import STATES, Wanted, differences, state
from dreg_sweep.store import Store, StoredCell
from dreg_sweep.store.runners import runners

_WANTED = ("config_hash", "data_fingerprint", "code_fingerprint")
_NAMED_AT_MOST = 10
_LEVELS_AT_MOST = 20  # of one factor in the table
INCOMPLETE = 3  # exit code


def main(argv: Sequence[str] | None = None) -> int:
    """The command; exit code 0 where every declared cell is done or diverged, 3 where not."""
    parser = OneLineParser(
        prog="dreg-status",
        description="What a results folder, or several merged into one, holds of its declared grid. "
        "Exit code 0: complete; 3: not.",
    )
    parser.add_argument("results_dir", type=Path, nargs="?", help="the folder that holds cells/")
    parser.add_argument("--json", action="store_true", help="everything, for programs")
    parser.add_argument("--merge", type=Path, nargs="+", metavar="DIR", help="results folders of several machines")
    parser.add_argument("--out", type=Path, metavar="DIR", help="the new folder that they are merged into")
    arguments = parser.parse_args(argv)
    if arguments.merge or arguments.out:
        if arguments.results_dir or not (arguments.merge and arguments.out):
            parser.error("--merge takes the folders to merge and --out the new one: --merge A B --out C")
        _merge(arguments.merge, arguments.out)
        arguments.results_dir = arguments.out
    if arguments.results_dir is None:
        parser.error("give the results_dir of a sweep")
    report = status_report(arguments.results_dir)
    print(json.dumps(report, indent=1) if arguments.json else _text(report))
    return 0 if report["complete"] else INCOMPLETE


def _merge(folders: Sequence[Path], out: Path) -> None:
    from dreg_sweep.store.merging import merge

    merged = merge(folders, out)
    for warning in merged.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    twice = f", {merged.twice} of them in more than one" if merged.twice else ""
    print(f"merged {merged.cells} cells of {len(folders)} folders{twice}", file=sys.stderr)


def status_report(folder: Path) -> dict[str, Any]:
    """Counts by state, in all and per level of each factor, and the keys of the cells that are not done.

    Errors: `UserError` where the folder is not one that a sweep has written to.
    """
    store = Store(folder)
    declared = store.declared(("cell", *(factor.name for factor in FACTORS), *_WANTED))
    keys = declared["cell"]
    if not keys:
        raise UserError(f"{folder} holds no declared grid (no grid.parquet); give the results_dir of a sweep")
    stored, problems = store.index()
    at_work = runners(folder)
    running = {key for runner in at_work for key in runner.cells}
    wanted = {key: Wanted(*those) for key, *those in zip(keys, *(declared[name] for name in _WANTED), strict=True)}
    states = {key: "running" if key in running else state(wanted[key], stored.get(key)) for key in keys}
    counts = Counter(states.values())
    made_in = counted([row.environment for key in keys if (row := stored.get(key)) and states[key] == "done"])
    return {
        "results_dir": str(folder),
        "complete": counts["done"] + counts["diverged"] == len(keys),
        "cells": len(keys),
        **{name: counts[name] for name in STATES},
        "mixed": sum([*made_in.values()][1:]),  # rows of another environment than most
        "environments": made_in,
        "factors": {factor.name: _per_level(factor, declared[factor.name], states.values()) for factor in FACTORS},
        "keys": {name: [key for key, s in states.items() if s == name] for name in STATES if name != "done"},
        "stale_because": _stale_because(store, wanted, stored, states),
        "errors": {key: stored[key].error for key, s in states.items() if s == "failed"},
        "runners": [
            {"pid": r.pid, "host": r.host, "job": r.job, "cells": len(r.cells), "seconds_silent": round(r.age, 1)}
            for r in at_work
        ],
        "queue": _queue(folder),
        "warnings": problems,
    }


def _queue(folder: Path) -> dict[str, dict[str, int]]:
    """Slurm job → tasks by state, as far as its queue can be asked from here."""
    try:
        return {name: dict(states) for name, states in Jobs(folder).states().items()}
    except Unreachable:
        return {name: {} for name in Jobs(folder).names}


def _per_level(factor: Factor, levels: Sequence[Any], states: Any) -> dict[str, dict[str, int]]:
    counts = Counter(zip(levels, states, strict=True))
    named = {level: factor.null if level is None else str(level) for level in dict.fromkeys(levels)}
    return {name: {s: counts[(level, s)] for s in STATES} for level, name in named.items()}


def _stale_because(
    store: Store, wanted: Mapping[str, Wanted], stored: Mapping[str, StoredCell], states: Mapping[str, str]
) -> dict[str, str]:
    stale = {key: wanted[key] for key, name in states.items() if name == "stale"}
    return differences(stale, stored, store.configs)


def _text(report: Mapping[str, Any]) -> str:
    counts = ", ".join(f"{report[name]} {name}" for name in STATES if report[name])
    verdict = "complete" if report["complete"] else "not complete"
    lines = [f"{report['results_dir']}: {verdict}, {report['cells']} cells: {counts}"]
    lines += [f"warning: {warning}" for warning in report["warnings"]]
    if report["mixed"]:
        parts = "; ".join(f"{count} of {name}" for name, count in report["environments"].items())
        lines.append(f"mixed: {report['mixed']} rows are of another environment than most: {parts}")
    for runner in report["runners"]:
        job = f" (Slurm job {runner['job']})" if runner["job"] else ""
        lines.append(
            f"at work: pid {runner['pid']} on {runner['host']}{job}, {runner['cells']} cells in training, "
            f"last sign of life {runner['seconds_silent']:.0f} s ago"
        )
    for job, states in report["queue"].items():
        tasks = ", ".join(f"{n} {name}" for name, n in states.items()) or "not to be asked from here"
        lines.append(f"in the queue: Slurm job {job}: tasks {tasks}")
    shown = [name for name in STATES if report[name]]
    width = max(len(f"{factor}={level}") for factor, levels in report["factors"].items() for level in levels)
    lines.append(" " * width + "".join(f"{name:>10}" for name in shown))
    for factor, levels in report["factors"].items():
        if len(levels) > 1:
            lines += _table(factor, levels, shown, width)
    for name, keys in report["keys"].items():
        lines += [f"{name}: {_named(keys)}"] * bool(keys)
    ways: dict[str, list[str]] = {}
    for key, words in report["stale_because"].items():
        ways.setdefault(words, []).append(key)
    lines += [f"stale by {words}: {len(keys)} cells, for example {keys[0]}" for words, keys in ways.items()]
    return "\n".join(lines)


def _table(factor: str, levels: Mapping[str, Mapping[str, int]], shown: Sequence[str], width: int) -> list[str]:
    """One line a level; of a factor with very many, those that are not all done and the first few others."""
    chosen = list(levels)
    if len(levels) > _LEVELS_AT_MOST:
        chosen.sort(key=lambda level: levels[level]["done"] == sum(levels[level].values()))
        chosen = chosen[:_LEVELS_AT_MOST]
    lines = [
        f"{factor}={level}".ljust(width) + "".join(f"{levels[level][name]:>10}" for name in shown)
        for level in chosen
    ]
    rest = len(levels) - len(chosen)
    return lines + [f"{factor}: {rest} more levels, in --json"] * bool(rest)


def _named(keys: Sequence[str]) -> str:
    return ", ".join(keys[:_NAMED_AT_MOST]) + (", …" if len(keys) > _NAMED_AT_MOST else "")
