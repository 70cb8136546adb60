"""Whole commands as a user types them, from Enter to their end."""

import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

BIN = Path(sys.executable).parent
ROOT = Path(__file__).parents[2]
SWEEP = (str(BIN / "dreg-sweep"), "-m")


def timed(
    command: Sequence[str], folder: Path, watch: Callable[[int], None] | None = None, exit_code: int = 0
) -> tuple[float, str]:
    """Wall seconds of the command, run in the folder, and what it said on stderr.

    Ends the benchmark where it ends with another exit code. `watch` is called with the process's number, again and
    again while it runs.
    """
    said = folder / "stderr.txt"
    with open(said, "w") as file:
        started = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=file)
        try:
            if watch is not None:
                while process.poll() is None:
                    watch(process.pid)
                    time.sleep(0.02)
            process.wait()
        finally:
            process.terminate()
            process.wait()
        seconds = time.perf_counter() - started
    if process.returncode != exit_code:
        sys.exit(f"bench: exit code {process.returncode} of {typed(command)}\n{said.read_text()[-2000:]}")
    return seconds, said.read_text()


def typed(command: Sequence[str]) -> str:
    """The command as one would type it at the root of the repository, with the environment active."""
    return shlex.join(command).replace(f"{BIN}/", "").replace(f"{ROOT}/", "")


def expect(rows: int, cells: int, command: Sequence[str]) -> None:
    """Ends the benchmark where a run left another number of cells than it should."""
    if rows != cells:
        sys.exit(f"bench: {rows} cells instead of {cells} from {typed(command)}")


def trained(results: Path) -> pd.DataFrame:
    """The trained cells of a results folder."""
    rows = pd.read_parquet(results / "cells")
    return rows[rows["status"] == "done"].set_index("cell").sort_index()
