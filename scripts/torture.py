"""Kills a sweep again and again, resumes it, and compares its rows with those of an undisturbed run.

    python scripts/torture.py [--kills 30] [--folder DIR]

Each round starts the same 60-cell sweep on one results folder and, at random moments, sends SIGKILL to the
runner, to one worker, or to all processes of the sweep. After the last round the sweep runs to its end. Exit
code 0 where all 60 cells are there once and bit-identical to the undisturbed run but for their wall time, and so
are the rows that belong to them in noise/ and history/.
"""

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pandas as pd

COMMAND = [
    str(Path(sys.executable).parent / "dreg-sweep"), "-m", "activation=relu,gelu", "regularizer=none,dropout,dreg",
    "seed=0,1,2,3,4,5,6,7,8,9", "stack_size=2", "epochs=20", "model.widths=[32]",
]  # fmt: skip


def processes_below(pid: int) -> list[int]:
    """All descendants of a process, by /proc."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
    found = [pid]
    for ancestor in found:
        found.extend(child for child, parent in parents.items() if parent == ancestor)
    return found[1:]


def strike(runner: int, chance: random.Random) -> str:
    """Kill something of a running sweep; what it was."""
    target = chance.choice(["runner", "worker", "all"])
    below = processes_below(runner)
    victims = {"runner": [runner], "worker": below[-1:], "all": [runner, *below]}[target]
    for pid in victims:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return target


def sweep(folder: Path) -> "subprocess.Popen[bytes]":
    """The sweep, started."""
    return subprocess.Popen([*COMMAND, f"results_dir={folder}"], cwd=folder.parent, stderr=subprocess.DEVNULL)


def rows(folder: Path, kind: str) -> pd.DataFrame:
    """What cells/, noise/ or history/ holds, every row of every file, without the wall time."""
    order = {"cells": ["cell"], "noise": ["cell", "severity"], "history": ["cell", "epoch"]}[kind]
    found = pd.read_parquet(folder / kind).drop(columns="seconds", errors="ignore")
    if "slope_sq" in found:
        found["slope_sq"] = found["slope_sq"].map(str)  # arrays do not compare
    return found.sort_values(order, ignore_index=True)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=None)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    folder = options.folder or Path(tempfile.mkdtemp())
    undisturbed = sweep(folder / "undisturbed")
    undisturbed.communicate()
    struck: Counter[str] = Counter()
    while struck.total() < options.kills:
        process = sweep(folder / "tortured")
        # A worker's death does not end the sweep: strike until one of the other two does, or the grid is done.
        while process.poll() is None and struck.total() < options.kills:
            time.sleep(chance.uniform(0.3, 20.0))  # from before the first worker is there to the last stack
            if process.poll() is None:
                struck[strike(process.pid, chance)] += 1
        process.communicate()
        stored = len(list((folder / "tortured" / "cells").glob("*.parquet")))
        print(f"{struck.total()} kills ({dict(struck)}), {stored} files in cells/", flush=True)
        if process.returncode == 0:  # complete: begin again, the kills go on
            for path in (folder / "tortured" / "cells").glob("*.parquet"):
                path.unlink()
    final = sweep(folder / "tortured")
    final.communicate()
    kinds = ("cells", "noise", "history")
    same = {k: rows(folder / "tortured", k).equals(rows(folder / "undisturbed", k)) for k in kinds}
    count = len(rows(folder / "tortured", "cells"))
    print(f"after {struck.total()} kills: exit code {final.returncode}, {count} rows, identical: {same}")
    return 0 if final.returncode == 0 and count == 60 and all(same.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
