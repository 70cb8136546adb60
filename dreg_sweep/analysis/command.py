"""The command `dreg-analyze`: result rows in; tables, figures, claims and a report out.

Only the argument parser is imported at the top: `--help` and a mistyped option need no pandas.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dreg_sweep.arguments import OneLineParser
from dreg_sweep.errors import UserError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from dreg_sweep.analysis.claims.reading import Study
    from dreg_sweep.analysis.results import Results
    from dreg_sweep.analysis.study import Data

PROGRAM = "dreg-analyze"


def parser() -> argparse.ArgumentParser:
    """The options of `dreg-analyze`."""
    options = OneLineParser(
        prog=PROGRAM,
        description="Compare the regularizers of a sweep, or two sweeps: writes tables/*.{csv,md,tex}, "
        "figures/*.{png,pdf}, claims.csv and report.html.",
    )
    add = options.add_argument
    add(
        "results",
        type=Path,
        nargs="+",
        metavar="RESULTS_DIR",
        help="results folder, parquet or CSV; several: compare",
    )
    add(
        "--out",
        type=Path,
        metavar="DIR",
        help="default: RESULTS_DIR/analysis (RESULTS_DIR/comparison for several)",
    )
    add(
        "--treatment",
        metavar="NAME",
        help="regularizer to test (default dreg, else the first of another built-in study)",
    )
    add("--baseline", metavar="NAME", help="regularizer without treatment, for differences (default none)")
    add("--metric", metavar="NAME", help="what comes first: overall, clean, noisy, or any column with numbers")
    add("--lower-is-better", action="store_true", help="of that column (known of test_loss, seconds and steps)")
    add(
        "--family",
        metavar="TESTS",
        help="tests that share Holm's correction: rivals (default: all rivals, each metric by itself), all (all "
        "metrics together), or the rivals a,b,c",
    )
    add(
        "--claims",
        type=Path,
        metavar="FILE",
        help="YAML with the claims to judge (default: the study's of the treatment)",
    )
    add(
        "--where",
        action="append",
        default=[],
        metavar="FACTOR=LEVEL[,LEVEL]",
        help="analyse only these rows, such as train_size=2000; repeatable",
    )
    add(
        "--column",
        action="append",
        default=[],
        metavar="OURS=YOURS",
        help="read your column under our name, such as regularizer=method; repeatable",
    )
    return options


class _Collected(logging.Handler):
    """Keeps what the rooms log, to be printed among the other warnings, once each."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one line."""
        self.lines.append(record.getMessage())


_LOGGED = _Collected()


def main(argv: list[str] | None = None) -> int:
    """Run the command; 0 on success, 2 with one line on stderr for a mistake of the user."""
    _LOGGED.lines.clear()
    logging.getLogger("dreg_sweep").addHandler(_LOGGED)
    try:
        options = parser().parse_args(argv)
        _run(options)
    except UserError as error:
        from dreg_sweep.analysis.rows.spelling import visible

        print(f"{PROGRAM}: {visible(str(error))}", file=sys.stderr)
        return 2
    finally:
        logging.getLogger("dreg_sweep").removeHandler(_LOGGED)
    return 0


def _run(options: argparse.Namespace) -> None:
    from dreg_sweep.analysis.claims.reading import read_study
    from dreg_sweep.analysis.study import read

    study = read_study(options.claims) if options.claims else None
    columns = _columns(options.column)
    with _telling("reading results"):
        data = [
            read(
                path,
                conditions=options.where,
                columns=columns,
                metric=options.metric,
                lower_is_better=options.lower_is_better,
            )
            for path in options.results
        ]
    out = options.out or _default_out(options.results)
    with _telling("testing"):
        if len(data) > 1:
            study = study or _shared_study(data, options)
        results = [_compute(one, options, study) for one in data]
    try:
        _write_one(results[0], out) if len(results) == 1 else _write_comparison(results, out)
    except OSError as error:
        cause = error.strerror or error
        raise UserError(f"cannot write to {out}: {cause}; choose another folder with --out") from error


def _telling(what: str) -> "AbstractContextManager[Any]":
    """A spinner with what is being done, where someone watches: a million rows take seconds."""
    from rich.console import Console

    return Console(stderr=True).status(f"{what} …")


def _compute(data: "Data", options: argparse.Namespace, study: "Study | None") -> "Results":
    from dreg_sweep.analysis.pairing import choose_family
    from dreg_sweep.analysis.results import compute
    from dreg_sweep.analysis.study import default_treatment, refuse_unpaired, roles

    levels = data.grid.levels["regularizer"]
    treatment, baseline = roles(levels, options.treatment, options.baseline)
    refuse_unpaired(data.grid, treatment)
    rivals = [level for level in levels if level != treatment]
    results = compute(data, treatment, baseline, choose_family(options.family, rivals), study)
    chosen = default_treatment(levels)[1] if options.treatment is None else ""
    return replace(results, remarks=(chosen, *results.remarks)) if chosen else results


def _shared_study(data: "list[Data]", options: argparse.Namespace) -> "Study":
    """The claims to compare sweeps by: about the metrics that all of them have."""
    from dreg_sweep.analysis.claims.reading import built_in
    from dreg_sweep.analysis.scores import called
    from dreg_sweep.analysis.study import roles

    first, *others = [[metric.name for metric in one.grid.metrics] for one in data]
    common = [name for name in first if all(name in names for names in others)]
    asked = roles(data[0].grid.levels["regularizer"], options.treatment, options.baseline)
    return built_in(*asked, common, called(data[0].grid.metrics))


def _columns(pairs: Sequence[str]) -> dict[str, str]:
    columns: dict[str, str] = {}
    for pair in pairs:
        ours, equals, theirs = (part.strip() for part in pair.partition("="))
        if not equals or not ours or not theirs:
            raise UserError(f"--column {pair} is not of the form ours=yours, such as regularizer=method")
        if ours in columns:
            raise UserError(f"--column {ours} is given twice")
        columns[ours] = (
            theirs[1:-1] if len(theirs) > 2 and theirs[0] == theirs[-1] and theirs[0] in "\"'" else theirs
        )
    return columns


def _write_one(results: "Results", out: Path) -> None:
    from dreg_sweep.analysis.output import write_analysis
    from dreg_sweep.analysis.report.render import plain
    from dreg_sweep.analysis.report.summary import claim_table
    from dreg_sweep.analysis.tables.variants import tallies

    with _telling("writing tables and figures"):
        written = write_analysis(results, out)
    _warn([*results.data.warnings, *results.remarks])
    for line in results.data.audit.lines():
        _print(line)
    for table in results.tables[:1]:
        _print(f"\n{plain(table)}")
    _print(f"\n{_verdicts(claim_table(results).values)}\n")
    for line in tallies(results.variants):
        _print(line)
    _say(written, out)


def _write_comparison(results: "list[Results]", out: Path) -> None:
    from dreg_sweep.analysis.output import short_names, write_comparison
    from dreg_sweep.analysis.report.render import plain

    names = short_names([one.data.name for one in results])
    with _telling("writing tables and figures"):
        tables, written = write_comparison(results, names, out)
    _warn([f"{name}: {line}" for one, name in zip(results, names, strict=True) for line in one.data.warnings])
    for one, name in zip(results, names, strict=True):
        _print(f"{name}: {one.data.audit.lines()[0]}")
    for table in tables:
        _print(f"\n{table.title}\n{plain(table)}")
    print()
    _say(written, out)


def _verdicts(rows: Any) -> str:
    """One line a claim for the terminal."""
    return "\n".join(
        f"{row.verdict:<12} {row.claim}: {row.sentence} [{row.observed}]" for row in rows.itertuples()
    )


def _print(text: str) -> None:
    """The text on the terminal, with nothing in it that a terminal would obey."""
    from dreg_sweep.analysis.rows.spelling import visible_lines

    print(visible_lines(text))


def _warn(lines: Sequence[str]) -> None:
    from dreg_sweep.analysis.rows.spelling import visible

    for line in dict.fromkeys([*_LOGGED.lines, *lines]):
        print(f"{PROGRAM}: warning: {visible(line)}", file=sys.stderr)


def _say(paths: Sequence[Path], out: Path) -> None:
    """What was written, counted: the names are in the report."""
    tables = len({path.stem for path in paths if path.parent.name == "tables"})
    figures = len({path.stem for path in paths if path.parent.name == "figures"})
    _print(f"wrote {tables} tables, {figures} figures and claims.csv to {out}")
    _print(f"open {out / 'report.html'}")


def _default_out(results: Sequence[Path]) -> Path:
    """In the folder, beside its `cells/`, or beside the file."""
    name = "analysis" if len(results) == 1 else "comparison"
    first = results[0]
    if not first.is_dir():
        return first.parent / name
    if first.resolve().name == "cells" and not (first / "cells").is_dir():
        return first.resolve().parent / name  # the store's folder holds nothing but its own files
    return first / name
