"""How the benchmarks say what they measured: Markdown on stdout, every number in a JSON file."""

import json
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

WIDTH = 115


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Markdown, a line a row; the first column holds words, all others numbers."""
    heads = [columns, [":---", *["---:"] * (len(columns) - 1)]]
    return [f"| {' | '.join(row)} |" for row in [*heads, *rows]]


def spread(values: Sequence[float], digits: int = 2) -> list[str]:
    """Median, minimum and maximum."""
    return [f"{value:.{digits}f}" for value in (median(values), min(values), max(values))]


def say(*paragraphs: Iterable[str]) -> None:
    """Print them, an empty line behind each."""
    for lines in paragraphs:
        print("\n".join(lines), end="\n\n")


def paragraph(text: str) -> list[str]:
    """Running text in lines of the width that this project's pages have."""
    return textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def environment_lines(environment: Mapping[str, str]) -> list[str]:
    """What was measured on, as a list."""
    return [f"- {what}: {value}" for what, value in environment.items()]


def command_lines(commands: Iterable[str]) -> list[str]:
    """Each command once, set as code."""
    return [f"    {command}" for command in dict.fromkeys(commands)]


def keep(path: Path | None, record: Mapping[str, Any]) -> None:
    """Write the record where a file was asked for."""
    if path is not None:
        path.write_text(json.dumps(record, indent=2) + "\n")
