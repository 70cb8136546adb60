"""Benchmarks of the sweep runner, one subcommand each.

    python scripts/bench.py BENCHMARK [--repeats N] [--json FILE]

`throughput`: cells a minute, beside a plain script under Hydra's basic and joblib launchers. `penalties`: what a
training step costs under each regularizer, beside none, and with --parts where a whole cell's time goes.
`overhead`: what launching a cell costs, beside Hydra's launchers, and how that grows. `memory`: what a slot holds
at most. `scale`: planning, resuming and looking at a grid of 100,000 cells. `analysis`: dreg-analyze on a million
rows. `gpu`: the paper's grid on a GPU. Each takes --help. Repeats are interleaved, progress is on stderr, tables
are Markdown on stdout; the JSON file has every measured number.

Exit codes: 0; 1 where a run failed or is not what it should be; 2 for bad input or a package that is missing.
"""

import argparse
import shlex
import sys

from bench import analysis, gpu, memory, overhead, penalties, scale, throughput
from bench.machine import begin_as_worker
from bench.options import file_to_write, positive

from dreg_sweep.arguments import OneLineParser
from dreg_sweep.errors import UserError

BENCHMARKS = {  # with their usual repeats
    "throughput": (throughput, 3),
    "penalties": (penalties, 5),
    "overhead": (overhead, 3),
    "memory": (memory, 3),
    "scale": (scale, 3),
    "analysis": (analysis, 3),
    "gpu": (gpu, 3),
}


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
            "--repeats", type=positive, default=repeats, metavar="N", help="interleaved; by default %(default)s"
        )
        command.add_argument("--json", type=file_to_write, metavar="FILE", help="for every measured number")
        command.set_defaults(run=benchmark.run, as_worker=benchmark is penalties)
    return whole


def main(argv: list[str] | None = None) -> int:
    """The command; 2 with one line on stderr for a mistake of the user."""
    as_script = argv is None
    argv = sys.argv[1:] if argv is None else argv
    try:
        options = parser().parse_args(argv)
        if options.as_worker and as_script:
            begin_as_worker()
        options.command = shlex.join(["python", "scripts/bench.py", *argv])  # told beside what it measured
        return int(options.run(options))
    except UserError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
