"""Benchmarks of the sweep runner, one subcommand each.

    python scripts/bench.py overhead [--cells 240] [--repeats 3] [--json FILE]
    python scripts/bench.py penalties [--model NAME[,NAME]] [--regularizers LEVEL[,LEVEL]] [--steps 50]
        [--repeats 5] [--json FILE]

`overhead`: what launching a cell costs, beside Hydra's basic and joblib launchers. `penalties`: what a training
step costs under each regularizer, beside none. Tables are Markdown; the JSON file has the times of each repeat.

Exit codes: 0; 1 where a run failed or is not what it should be; 2 for bad input or a package that is missing.
"""

import argparse
import sys

from bench import overhead, penalties
from bench.options import file_to_write, positive

from dreg_sweep.arguments import OneLineParser
from dreg_sweep.errors import UserError

BENCHMARKS = {"overhead": (overhead, 3), "penalties": (penalties, 5)}  # with their usual repeats


def parser() -> OneLineParser:
    """One subcommand a benchmark."""
    whole = OneLineParser(
        prog="bench.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = whole.add_subparsers(required=True, metavar="benchmark")
    for name, (benchmark, repeats) in BENCHMARKS.items():
        command = commands.add_parser(name, help=benchmark.HELP, description=benchmark.__doc__)
        benchmark.add_options(command)
        command.add_argument(
            "--repeats", type=positive, default=repeats, help="interleaved; by default %(default)s"
        )
        command.add_argument("--json", type=file_to_write, metavar="FILE", help="for every measured time")
        command.set_defaults(run=benchmark.run)
    return whole


def main(argv: list[str] | None = None) -> int:
    """The command; 2 with one line on stderr for a mistake of the user."""
    try:
        options = parser().parse_args(argv)
        return int(options.run(options))
    except UserError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
