"""What the options of the benchmarks and of other scripts may be."""

import argparse
import math
import re
from collections.abc import Iterable
from pathlib import Path

from dreg_sweep.errors import unknown_level


def positive(text: str) -> int:
    """A whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} must be a whole number of at least 1")
    return int(text)


def at_least_two(text: str) -> int:
    """A whole number of at least 2."""
    if (number := positive(text)) < 2:
        raise argparse.ArgumentTypeError(f"{text} must be a whole number of at least 2")
    return number


def above_0(text: str) -> float:
    """A number above 0; neither infinity nor nan."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text} must be a number above 0")
    return number


def counts(text: str) -> list[int]:
    """Different whole numbers of at least 1, ascending."""
    return sorted({positive(number) for number in text.split(",")})


def perceptrons(text: str) -> dict[str, list[int]]:
    """Names such as mlp-512-512, each with its widths."""
    names = list(dict.fromkeys(text.split(",")))
    for name in names:
        if not re.fullmatch(r"mlp(-[1-9]\d*)+", name):
            raise argparse.ArgumentTypeError(f"{name} must be named after its widths, such as mlp-512-512")
    return {name: [int(width) for width in name.split("-")[1:]] for name in names}


def file_to_write(text: str) -> Path:
    """A file in a folder that exists: better told now than after the measurements."""
    path = Path(text)
    if path.is_dir() or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text} must be a file in a folder that exists")
    return path


def chosen(option: str, text: str | None, known: Iterable[str]) -> list[str]:
    """The names of a comma list, each once, or all that are known; `UserError` for one that is not."""
    known = list(known)
    names = known if text is None else list(dict.fromkeys(text.split(",")))
    for name in names:
        if name not in known:
            raise unknown_level(option, name, known)
    return names
