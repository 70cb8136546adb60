"""Puts other trainings of some datasets in the place of a sweep's own, to see what changes.

    dreg-sweep -m experiment=paper_cpu dataset=gtsrb epochs=60 results_dir=runs/gtsrb_60
    python scripts/replace_dataset.py results/paper_cpu runs/gtsrb_60 runs/replaced.parquet
    dreg-analyze runs/replaced.parquet --out runs/replaced

Writes one parquet file with the columns that dreg-analyze takes from anywhere; what the configurations differ in,
such as the length of training, is not among them. The other trainings must be the same combinations of activation,
regularizer and seed on each of their datasets.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from dreg_sweep.analysis import load_cells
from dreg_sweep.arguments import OneLineParser
from dreg_sweep.errors import UserError

PROGRAM = "replace_dataset.py"
COMBINATION = ["dataset", "activation", "regularizer", "seed"]
COLUMNS = [*COMBINATION, "modality", "regime", "status", "clean_accuracy", "noisy_accuracy"]


def replaced(sweep: pd.DataFrame, others: pd.DataFrame) -> pd.DataFrame:
    """The rows of `sweep`, those of the datasets in `others` taken from there.

    Errors: `UserError` where the combinations are not the same, and for a combination that is there twice.
    """
    here = sweep["dataset"].isin(others["dataset"].unique())
    for rows in (sweep, others):
        twice = rows[rows.duplicated(COMBINATION)]
        if len(twice):
            raise UserError(f"{_called(twice)} is there more than once")
    own, other = (set(rows[COMBINATION].itertuples(index=False, name=None)) for rows in (sweep[here], others))
    if own != other:
        place, lacks = ("the sweep", other - own) if other - own else ("the other trainings", own - other)
        raise UserError(f"{'/'.join(map(str, sorted(lacks)[0]))} is not in {place}")
    return pd.concat([sweep[~here], others], ignore_index=True)[COLUMNS]


def _called(rows: pd.DataFrame) -> str:
    return "/".join(str(rows[name].iloc[0]) for name in COMBINATION)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; 2 with one line on stderr for a mistake of the user."""
    options = OneLineParser(
        prog=PROGRAM, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("sweep", type=Path, metavar="SWEEP", help="a results folder")
    options.add_argument("others", type=Path, metavar="OTHERS", help="a results folder of some of its datasets")
    options.add_argument("out", type=Path, metavar="OUT.parquet")
    try:
        asked = options.parse_args(argv)
        rows = replaced(load_cells(asked.sweep), load_cells(asked.others))
        try:
            rows.to_parquet(asked.out, index=False)
        except OSError as error:
            raise UserError(f"{asked.out} cannot be written: {error.strerror}") from error
    except UserError as mistake:
        print(f"{PROGRAM}: {mistake}", file=sys.stderr)
        return 2
    print(f"wrote {len(rows)} rows to {asked.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
