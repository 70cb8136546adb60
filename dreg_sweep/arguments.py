"""The argument parser of the commands that are not Hydra's."""

import argparse
from typing import NoReturn

from dreg_sweep.errors import UserError


class OneLineParser(argparse.ArgumentParser):
    """Complains in one line, like every other complaint of the commands."""

    def error(self, message: str) -> NoReturn:
        """`UserError` instead of usage text and an exit."""
        raise UserError(f"{message}; see {self.prog} --help")
