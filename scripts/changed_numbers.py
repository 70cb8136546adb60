"""Lists each number of the published tables that this version of the analysis computes otherwise, with its cause.

    python scripts/changed_numbers.py REVISION [NAME ...]

The sweeps in results/ (or those named) are analysed anew from their stored rows. Each CSV file is compared, value
by value, with the one that was committed at REVISION. The first entry of `CAUSES` that fits explains a change.

Exit codes: 0 every change has a cause; 1 some have none; 2 bad input.
"""

import argparse
import fnmatch
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from reproduction import machine, tables

from dreg_sweep.arguments import OneLineParser
from dreg_sweep.errors import UserError

RESULTS = Path(__file__).parent.parent / "results"
MOST = 200  # changes shown one by one for each sweep


@dataclass(frozen=True)
class Cause:
    """Why values differ. Each of file, row, column and sweep is a shell pattern; why: one sentence."""

    why: str
    file: str = "*"
    row: str = "*"
    column: str = "*"
    sweep: str = "*"

    def explains(self, change: tables.Difference, sweep: str) -> bool:
        """Whether the change is of this kind."""
        return all(
            fnmatch.fnmatchcase(text, pattern)
            for text, pattern in (
                (change.file, self.file),
                (change.row, self.row),
                (change.column, self.column),
                (sweep, self.sweep),
            )
        )


_ADDED_CLAIMS = "claims were added: noise robustness by what is kept (B2, B3), and claim E by modality"
_SHAPES = "added: against whom the gains are U-shaped in the training size (curvature, shape of the means)"
CAUSES = (
    *(Cause(_SHAPES, file, "D, *", "observed") for file in ("claims.csv", "tables/claims.csv")),
    Cause(_SHAPES, "tables/scarcity_trend.csv", "", "*"),
    *(
        Cause("verdicts say as values what their sentence says: holds, place, of and exceptions", file, "", column)
        for file in ("claims.csv", "tables/claims.csv")
        for column in ("holds", "place", "of", "exceptions")
    ),
    *(
        Cause(_ADDED_CLAIMS, file, f"*{claim}*", "")
        for file in ("claims.csv", "tables/claims.csv")
        for claim in ("B2", "B3", "E-vision", "E-text")
    ),
    Cause(_ADDED_CLAIMS, "tables/variants_claims.csv"),
    Cause(_ADDED_CLAIMS, "tables/variants.csv", column="agreeing"),
    Cause(_ADDED_CLAIMS, "tables/variants.csv", column="told"),
    Cause("a new table: each claim without each of its rivals in turn", "tables/claims_without_rivals.csv"),
    Cause(
        "losses are exact decimals; before, all were rounded to ten places fewer than the largest of the column has",
        sweep="gradreg_toy",
    ),
)


def published_analysis(name: str, revision: str, into: Path) -> Path:
    """The analysis of a sweep as it was committed.

    Args:
        name: of the sweep, a folder of results/.
        revision: a git revision.
        into: an empty folder, where the files are put.

    Returns:
        The folder with the committed tables.

    Raises:
        UserError: where the revision has no such analysis.
    """
    command = ["git", "-C", str(RESULTS.parent), "archive", revision, f"results/{name}/analysis"]
    archive = subprocess.run(command, capture_output=True, check=False)
    if archive.returncode:
        raise UserError(f"{revision} has no results/{name}/analysis: {archive.stderr.decode().strip()}")
    with tarfile.open(fileobj=BytesIO(archive.stdout)) as files:
        files.extractall(into, filter="data")
    return into / "results" / name / "analysis"


def analysed_anew(name: str, into: Path) -> Path:
    """The analysis of a published sweep by this version, with the options that it was published with.

    Raises:
        UserError: where dreg-analyze fails.
    """
    made_on = machine.read(RESULTS / name)
    options = made_on.analysis if made_on else []
    command = [
        str(Path(sys.executable).parent / "dreg-analyze"),
        str(RESULTS / name),
        "--out",
        str(into),
        *options,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip() or "no message").splitlines()[-1]
        raise UserError(f"dreg-analyze {RESULTS / name} ended with exit code {done.returncode}: {last}")
    return into


def changes(name: str, revision: str) -> list[tuple[tables.Difference, str]]:
    """Each value of a sweep that differs from the committed one, with its cause (empty where none fits)."""
    with tempfile.TemporaryDirectory() as folder:
        before = published_analysis(name, revision, Path(folder) / "before")
        now = analysed_anew(name, Path(folder) / "now")
        report = tables.compare_tables(now, before, exact=True)
    return [
        (change, next((cause.why for cause in CAUSES if cause.explains(change, name)), ""))
        for change in report.differences
    ]


def main() -> int:
    """The command; 2 with one line on stderr for a mistake of the user."""
    parser = OneLineParser(
        prog="changed_numbers.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("revision", metavar="REVISION")
    parser.add_argument("names", metavar="NAME", nargs="*")
    try:
        options = parser.parse_args()
        names = options.names or sorted(path.parent.name for path in RESULTS.glob("*/analysis"))
        unexplained = sum(_report(name, changes(name, options.revision)) for name in names)
    except UserError as mistake:
        print(f"changed_numbers.py: {mistake}", file=sys.stderr)
        return 2
    return 1 if unexplained else 0


def _report(name: str, found: Sequence[tuple[tables.Difference, str]]) -> int:
    """Print the changes of one sweep; the number of those without a cause."""
    unexplained = [change for change, why in found if not why]
    print(f"{name}: {len(found)} changes, {len(unexplained)} without a known cause", flush=True)
    for why, count in Counter(why for _, why in found if why).items():
        print(f"  {count} because: {why}")
        examples = [change for change, cause in found if cause == why]
        for change in examples[:MOST]:
            print(f"    {change}")
    for change in unexplained[:MOST]:
        print(f"  no cause known: {change}")
    return len(unexplained)


if __name__ == "__main__":
    sys.exit(main())
