r"""Writes made_on.json into a results folder that is to be published: the machine, the libraries and the command.

    python scripts/made_on.py RESULTS_DIR --minutes M [--command "dreg-sweep -m ..."] \
        [--analysis="--metric clean"]

To be run where the sweep ran, under the same installation: rows made with another torch are refused. By this
record scripts/reproduce.sh knows whether a rerun must give the same bits, and how the tables were made. Write
--analysis=... with its =, since options begin with a dash: --analysis=--lower-is-better.
"""

import argparse
import platform
import shlex
import sys
from pathlib import Path

from bench.options import above_0
from reproduction.cells import read_cells
from reproduction.machine import MadeOn, this_machine, write

from dreg_sweep.arguments import OneLineParser
from dreg_sweep.errors import UserError


def parser() -> OneLineParser:
    """The options."""
    options = OneLineParser(
        prog="made_on.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("results", type=Path, metavar="RESULTS_DIR")
    options.add_argument("--minutes", type=above_0, required=True, metavar="M", help="from Enter to the last row")
    options.add_argument("--command", metavar="LINE", help="by default dreg-sweep -m experiment=<folder's name>")
    options.add_argument(
        "--analysis", type=_words, default=[], metavar="OPTIONS", help="that dreg-analyze was given, after a ="
    )
    return options


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text} is no part of a command line ({error})") from None


def main() -> int:
    """The command; 2 with one line on stderr for a mistake of the user."""
    try:
        options = parser().parse_args()
        made_with = set(read_cells(options.results)["torch_version"])
        here = this_machine()
        if made_with != {here.libraries["torch"]}:
            others = ", ".join(sorted(map(str, made_with)))
            raise UserError(
                f"{options.results} has rows made with torch {others}; here it is {here.libraries['torch']}"
            )
        command = options.command or f"dreg-sweep -m experiment={options.results.resolve().name}"
        record = MadeOn(here, platform.python_version(), command, options.minutes, options.analysis)
        print(f"wrote {write(options.results, record)}")
    except UserError as mistake:
        print(f"made_on.py: {mistake}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
