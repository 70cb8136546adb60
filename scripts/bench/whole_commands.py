"""Time and peak memory of whole commands."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.commands import timed
from bench.peaks import peaks
from bench.report import spread, table


@dataclass(frozen=True)
class Run:
    """One run: wall seconds, and the most bytes that one of its processes ever held."""

    seconds: float
    peak: int


def measured(command: Sequence[str], folder: Path, exit_code: int = 0) -> Run:
    """A run of the command in the folder; ends the benchmark where it ends with another exit code."""
    highest = 0

    def look(process: int) -> None:
        nonlocal highest
        highest = max(highest, *(peak for _, peak in peaks(process)))

    seconds, _ = timed(command, folder, look, exit_code)
    return Run(seconds, highest)


def run_table(head: str, found: Mapping[str, Sequence[Run]]) -> list[str]:
    """One line a command, in Markdown."""
    columns = [head, "s, median", "minimum", "maximum", "peak, MiB, median", "minimum", "maximum"]
    return table(
        columns,
        [
            [label, *spread([run.seconds for run in own], 1), *spread([run.peak / 2**20 for run in own], 0)]
            for label, own in found.items()
        ],
    )


def as_record(found: Mapping[str, Sequence[Run]], lines: Mapping[str, str]) -> list[dict[str, object]]:
    """For the JSON file: every run of every command, beside how it is typed."""
    return [
        {"label": label, "command": lines[label], "repeats": [asdict(run) for run in own]}
        for label, own in found.items()
    ]
