"""The command `dreg-analyze`: result rows in, tables and figures out.

Only the argument parser is imported at the top: `--help` and a mistyped option need no pandas.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dreg_sweep.arguments import OneLineParser
from dreg_sweep.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

PROGRAM = "dreg-analyze"
TREATMENT = "dreg"
BASELINE = "none"


def parser() -> argparse.ArgumentParser:
    """The options of `dreg-analyze`."""
    options = OneLineParser(
        prog=PROGRAM,
        description="Compare the regularizers of a sweep: writes tables/*.{csv,md,tex} and figures/*.png.",
    )
    options.add_argument("results", type=Path, metavar="RESULTS_DIR", help="results folder, parquet file or CSV")
    options.add_argument("--out", type=Path, metavar="DIR", help="default: RESULTS_DIR/analysis")
    options.add_argument("--treatment", metavar="NAME", help=f"regularizer to test (default {TREATMENT})")
    options.add_argument("--baseline", metavar="NAME", help=f"regularizer to compare with (default {BASELINE})")
    options.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="FACTOR=LEVEL[,LEVEL]",
        help="analyse only these rows, such as train_size=2000; repeatable",
    )
    return options


def main(argv: list[str] | None = None) -> int:
    """Run the command; 0 on success, 2 with one line on stderr for a mistake of the user."""
    try:
        options = parser().parse_args(argv)
        _run(options)
    except UserError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 2
    return 0


def _run(options: argparse.Namespace) -> None:
    from dreg_sweep.analysis.audit import audit
    from dreg_sweep.analysis.reading import load_cells
    from dreg_sweep.analysis.render import plain, write
    from dreg_sweep.analysis.select import refuse_hidden_factors, where, with_configured_factors
    from dreg_sweep.analysis.tables import by_factor, overall

    frame, configured = with_configured_factors(load_cells(options.results))
    frame = where(frame, options.where)
    treatment, baseline = _roles(frame, options.treatment, options.baseline)
    refuse_hidden_factors(frame, configured)
    state = audit(frame)
    tables = [overall(state, treatment), by_factor(state, "activation"), by_factor(state, "dataset")]

    out = options.out or _default_out(options.results)
    try:
        written = [path for table in tables for path in write(table, out / "tables")]
        written += _draw(state, baseline, out / "figures")
    except OSError as error:
        cause = error.strerror or error
        raise UserError(f"cannot write to {out}: {cause}; choose another folder with --out") from error

    for line in state.warnings:
        print(f"{PROGRAM}: warning: {line}", file=sys.stderr)
    for line in state.lines():
        print(line)
    print(f"\n{plain(tables[0])}\n")
    for path in written:
        print(f"wrote {path}")


def _draw(state: Any, baseline: str | None, folder: Path) -> list[Path]:
    """Draw the figures the data allow; one that an earlier run left and these data do not allow goes."""
    from dreg_sweep.analysis.figures import clean_vs_noisy, heatmap

    folder.mkdir(parents=True, exist_ok=True)
    paths = [heatmap(state, baseline, folder / "heatmap.png")]
    scatter = folder / "clean_vs_noisy.png"
    if "noisy" in state.metrics:
        paths.append(clean_vs_noisy(state, scatter))
    else:
        scatter.unlink(missing_ok=True)
        print("no noisy accuracy in the data, so no clean_vs_noisy figure")
    return paths


def _roles(frame: "pd.DataFrame", treatment: str | None, baseline: str | None) -> tuple[str, str | None]:
    """The treatment and the baseline; without a `none` in the data and no --baseline the latter is None."""
    from dreg_sweep.analysis.levels import ordered

    levels = ordered("regularizer", frame["regularizer"])
    names = ", ".join(levels)
    if (treatment or TREATMENT) not in levels:
        raise UserError(
            f"treatment {treatment or TREATMENT} is not in the data; choose one with --treatment: {names}"
        )
    if baseline is not None and baseline not in levels:
        raise UserError(f"baseline {baseline} is not in the data; choose one with --baseline: {names}")
    return treatment or TREATMENT, baseline or (BASELINE if BASELINE in levels else None)


def _default_out(results: Path) -> Path:
    """`analysis` beside the results: in the folder, beside its `cells/`, or beside the file."""
    if not results.is_dir():
        return results.parent / "analysis"
    if results.resolve().name == "cells" and not (results / "cells").is_dir():
        return results.resolve().parent / "analysis"  # the store's folder holds nothing but its own files
    return results / "analysis"
