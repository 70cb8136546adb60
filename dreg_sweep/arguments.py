"""What the commands do with their arguments before, or instead of, Hydra."""

import argparse
import re
from collections.abc import Sequence
from typing import NoReturn

from dreg_sweep.errors import UserError


class OneLineParser(argparse.ArgumentParser):
    """Complains in one line, like every other complaint of the commands."""

    def error(self, message: str) -> NoReturn:
        """`UserError` instead of usage text and an exit."""
        raise UserError(f"{message}; see {self.prog} --help")


_MULTIRUN = ("-m", "--multirun")
_EXPERIMENTS = re.compile(r"\+{0,2}experiment=([\w.-]+(?:,[\w.-]+)+)")


def sweep_arguments(arguments: Sequence[str]) -> list[str]:
    """The arguments of dreg-sweep as Hydra takes them.

    Args:
        arguments: as typed, `-m` anywhere among the overrides.

    Returns:
        The same with `-m` first: argparse takes no overrides on both sides of an option.

    Raises:
        UserError: several experiments are asked for.
    """
    for argument in arguments:
        if names := _EXPERIMENTS.fullmatch(argument):
            first, second, *_ = names[1].split(",")
            raise UserError(
                f"experiment={names[1]} names several experiments, and a command runs one; give a command to each: "
                f"dreg-sweep -m experiment={first}, then dreg-sweep -m experiment={second}"
            )
    overrides = [argument for argument in arguments if argument not in _MULTIRUN]
    return overrides if len(overrides) == len(arguments) else ["-m", *overrides]
