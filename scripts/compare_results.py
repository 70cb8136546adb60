"""Compares a sweep that was run again with the published one: its cells row by row, then its tables and verdicts.

    python scripts/compare_results.py RUN PUBLISHED [--tolerance SDS]

PUBLISHED is a results folder with its analysis/. RUN is one made on this machine; where it has the published cells
and no others, dreg-analyze writes RUN/analysis anew, as the published one was written, and the tables are compared
as well.

Rows must be identical to the last bit where processor and libraries are those in PUBLISHED/made_on.json and the
cells were trained on a CPU by the same code. Else, or under --tolerance, a cell may differ by SDS (4 by default)
standard deviations between seeds, a mean in a table by one; what that means and why is told at the top of
scripts/reproduction/cells.py and tables.py.

Exit codes: 0 no difference beyond tolerance; 1 differences; 2 bad input.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from bench.options import above_0
from reproduction import cells, machine, tables

from dreg_sweep.arguments import OneLineParser
from dreg_sweep.errors import UserError
from dreg_sweep.versions import changes

MOST = 20  # differences told one by one
_MADE_BY = ("device", "torch_version", "code_fingerprint")


def parser() -> OneLineParser:
    """The options."""
    options = OneLineParser(
        prog="compare_results.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("run", type=Path, metavar="RUN")
    options.add_argument("published", type=Path, metavar="PUBLISHED")
    options.add_argument("--tolerance", type=above_0, metavar="SDS", help="instead of demanding equal bits")
    return options


def reasons_for_other_bits(
    run: pd.DataFrame, published: pd.DataFrame, made_on: machine.MadeOn | None
) -> list[str]:
    """Why rows of this machine may differ from the published ones in their last bits; none where they may not."""
    if made_on is None:
        return [f"the published folder has no {machine.FILE}, so its processor is not known"]
    found = machine.this_machine().differences(made_on.machine)
    # A cell that failed may name none of these; it differs by itself and speaks for no other cell.
    shared = run.index.intersection(published.index)
    ours, theirs = ({name: frame.loc[shared, name].dropna() for name in _MADE_BY} for frame in (run, published))
    others = {*ours["device"], *theirs["device"]} - {"cpu"}
    if others:
        found.append(f"trained on {', '.join(sorted(others))}")
    versions = set(ours["torch_version"])
    if versions - {made_on.machine.libraries["torch"]}:
        found.append(f"rows of the run were made with torch {', '.join(sorted(versions))}")
    both = ours["code_fingerprint"].index.intersection(theirs["code_fingerprint"].index)
    code = [changes(theirs["code_fingerprint"][cell], ours["code_fingerprint"][cell]) for cell in both]
    if changed := sum(map(bool, code)):
        parts = ", ".join(dict.fromkeys(part for cell in code for part in cell))
        found.append(f"{changed} cells were trained by other code ({parts})")
    if made_on.older_engine:
        found.append("an older engine made the published rows")
    return found


def analyse(run: Path, made_on: machine.MadeOn | None) -> Path:
    """Write RUN/analysis as the published one was written; the folder. Errors: `UserError` where that fails."""
    command = [str(Path(sys.executable).parent / "dreg-analyze"), str(run), *(made_on.analysis if made_on else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip() or "nothing").splitlines()[-1]
        raise UserError(f"dreg-analyze {run} ended with exit code {done.returncode}: {said}")
    return run / "analysis"


def compare(run: Path, published: Path, tolerance: float | None) -> bool:
    """Print what differs; whether anything does beyond tolerance."""
    ours, theirs = cells.read_cells(run), cells.read_cells(published)
    made_on = machine.read(published)
    if not len(ours.index.intersection(theirs.index)):
        raise UserError(
            f"{run} and {published} have no cell in common, such as {ours.index[0]}, {theirs.index[0]}"
        )
    reasons = [] if tolerance else reasons_for_other_bits(ours, theirs, made_on)
    exact = not reasons and tolerance is None
    if exact:
        print("the same processor, libraries and code as published: rows must be identical to the last bit")
    else:
        tolerance = tolerance or cells.STANDARD_DEVIATIONS
        print(f"bits may differ: {'; '.join(reasons) or 'a tolerance was given'}")
        print(
            f"tolerance: {tolerance:g} standard deviations between seeds a cell (or {cells.LEAST_BOUND:g}), "
            f"one a mean in a table (or {100 * tables.LEAST_SHARE:g} %), the same primary verdicts"
        )
    report = cells.compare_cells(ours, theirs, None if exact else tolerance)
    _say(cells.lines(report, MOST))
    differs = report.beyond > 0
    if not report.whole:
        print("tables: not compared, they are of all published cells")
    elif report.extra:
        print("tables: not compared, the run has cells that were not published")
    else:
        found = tables.compare_tables(analyse(run, made_on), published / "analysis", exact)
        _say(tables.lines(found, MOST))
        differs |= bool(found.differences)
    print("DIFFERENT from what was published" if differs else _agreement(report))
    return differs


def _agreement(report: cells.CellReport) -> str:
    return "bit-identical" if report.identical == report.shared else "no difference beyond tolerance"


def _say(found: Sequence[str]) -> None:
    for line in found:
        print(line)


def main() -> int:
    """The command; 2 with one line on stderr for a mistake of the user."""
    try:
        options = parser().parse_args()
        return int(compare(options.run, options.published, options.tolerance))
    except UserError as mistake:
        print(f"compare_results.py: {mistake}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
