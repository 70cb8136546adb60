"""Two results folders cell by cell: equal to the last bit, as near as rounding explains, or neither.

Another kind of processor, or another version of a library, rounds otherwise, and a training amplifies that. What
another seed does bounds how far: rounding changes neither the initial weights nor the rows and their order, a seed
changes all three. So where bits may differ, a value of a cell may differ by 4 standard deviations between the
published seeds of its combination (the cells that differ in nothing but the seed), or by as many of the median
combination of its dataset and training size, or by a point of accuracy (1 % of a loss), whichever is most. The
median keeps the bound of a combination with alike seeds from being 0, and a few combinations that collapse under
some seeds from loosening those of all others. Seen with AVX2 in place of AVX-512 on the 240 cells of quickstart:
223 have the same clean accuracy, 214 the same noisy one; on digits the root mean square of the differences is
0.0011 (between seeds: 0.0037 and 0.0052), the largest 0.0084 (allowed are at least 0.0141 and 0.0208).
"""

import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pyarrow as pa

from dreg_sweep.errors import UserError
from dreg_sweep.store.configs import read_configs
from dreg_sweep.store.folder import latest, read_settled
from dreg_sweep.store.schema import CELLS_SCHEMA

STANDARD_DEVIATIONS = 4.0
LEAST_BOUND = 0.01
_LEAST_LOSS = 2.0**-23  # float32 rounds at this by 1: a loss below it is 0 but for rounding
MEASURES = ("clean_accuracy", "noisy_accuracy", "train_accuracy", "test_loss")
FIXED = ("status", "steps", "n_test", "n_noisy")  # no rounding changes them
_SINCE = {"precision": "float32"}  # keys that configurations did not always have → what cells were before
SAME_QUESTION = ("config_hash", "data_fingerprint")
# By whom, where and how fast. The last ones are said by the configuration, too, and older rows do not have them.
_BOOKKEEPING = (
    "seconds", "device", "code_version", "code_fingerprint", "torch_version", "environment", "error",
    "precision", "strength_is_default", "options", "options_changed",
)  # fmt: skip
_COMPARED = [name for name in CELLS_SCHEMA.names if name not in _BOOKKEEPING and name != "cell"]


@dataclass(frozen=True)
class Difference:
    """One value of one cell that rounding does not explain."""

    cell: str
    column: str
    run: object
    published: object
    allowed: str  # in words, empty where bits are demanded

    def __str__(self) -> str:
        return f"{self.cell}: {self.column} {_shown(self.run)}, published {_shown(self.published)}{self.allowed}"


@dataclass(frozen=True)
class CellReport:
    """shared: cells that both have. missing: published ones that the run lacks; extra: the other way round."""

    shared: int
    identical: int
    within: int
    beyond: int
    differences: list[Difference]
    missing: list[str]
    extra: list[str]
    other_data: dict[str, int]  # datasets whose fingerprints differ, with their cells
    other_configuration: dict[str, int]  # keys that differ, with the cells that they differ in
    largest: dict[str, float] = field(default_factory=dict)  # measure → largest difference, of a loss as a share

    @property
    def whole(self) -> bool:
        """Whether every published cell was compared."""
        return not self.missing


def read_cells(folder: Path) -> pd.DataFrame:
    """The latest row of each cell, indexed by its key, with the columns of the store.

    Errors: `UserError` where there are none or a file cannot be read.
    """
    tables, problems = read_settled(folder / "cells", CELLS_SCHEMA.names)
    for path, reason in problems.items():
        raise UserError(f"{path} cannot be read ({reason})")
    if not tables:
        raise UserError(f"{folder} holds no rows: there is no parquet file in {folder / 'cells'}")
    frame: pd.DataFrame = pa.concat_tables(latest(list(tables.values()), one_row=True)).to_pandas()
    texts: dict[str, str] = read_configs(folder).of(frame["config_hash"].dropna().unique())
    return frame.assign(config=frame["config_hash"].map(texts)).set_index("cell").sort_index()


def compare_cells(run: pd.DataFrame, published: pd.DataFrame, standard_deviations: float | None) -> CellReport:
    """Both as `read_cells` gives them. standard_deviations: that a value may differ by; None demands bits."""
    shared = run.index.intersection(published.index)
    ours, theirs = run.loc[shared], published.loc[shared]
    equal = pd.DataFrame({name: _equal(ours[name], theirs[name]) for name in _COMPARED})
    explained = equal.copy()
    distances = {name: _distance(name, ours[name], theirs[name]) for name in MEASURES}
    bounds = {name: pd.Series(0.0, shared) for name in MEASURES}
    if standard_deviations is not None:
        bounds = {name: standard_deviations * _between_seeds(published, name).loc[shared] for name in MEASURES}
        bounds = {name: bound.fillna(0.0).clip(lower=LEAST_BOUND) for name, bound in bounds.items()}
        for name in MEASURES:
            explained[name] |= distances[name] <= bounds[name]
        explained["config_hash"] = [
            same or not _other_keys(str(now), str(before))
            for same, now, before in zip(equal["config_hash"], ours["config"], theirs["config"], strict=True)
        ]
        # Counts say what the accuracies say; the text of a configuration what its hash says.
        explained = explained[[*SAME_QUESTION, *FIXED, *MEASURES]]
    identical, alike = equal.all(axis=1), explained.all(axis=1)
    differences = [
        difference
        for cell in shared[~alike]
        for difference in _named(str(cell), ours.loc[cell], theirs.loc[cell], explained.loc[cell], bounds)
    ]
    return CellReport(
        shared=len(shared),
        identical=int(identical.sum()),
        within=int((alike & ~identical).sum()),
        beyond=int((~alike).sum()),
        differences=differences,
        missing=list(published.index.difference(run.index)),
        extra=list(run.index.difference(published.index)),
        other_data=Counter(theirs.loc[~equal["data_fingerprint"], "dataset"]),
        other_configuration=Counter(
            _other_keys(str(ours.at[cell, "config"]), str(theirs.at[cell, "config"]))
            for cell in shared[~explained["config_hash"]]
        ),
        largest={name: float(own.max()) for name, own in distances.items() if own.notna().any()},
    )


def _named(
    cell: str, ours: pd.Series, theirs: pd.Series, explained: pd.Series, bounds: dict[str, pd.Series]
) -> list[Difference]:
    """What of a cell is not explained; of one from another configuration or other data, that alone is told."""
    if not explained[list(SAME_QUESTION)].all():
        return []
    return [
        Difference(cell, name, ours[name], theirs[name], _allowed(name, bounds, cell))
        for name in explained.index[~explained]
    ]


def _other_keys(ours: str, theirs: str) -> str:
    """The keys by which two configurations (JSON) differ; one without a later key is what cells were before it."""
    now, before = ({**_SINCE, **json.loads(text)} for text in (ours, theirs))
    return ", ".join(name for name in sorted({*before, *now}) if before.get(name) != now.get(name))


def _equal(ours: pd.Series, theirs: pd.Series) -> pd.Series:
    return (ours == theirs) | (ours.isna() & theirs.isna())


def _scaled(name: str, values: pd.Series) -> pd.Series:
    """A loss by its logarithm, so that differences are shares of it; 0 has none."""
    numbers = values.astype(float)
    if name != "test_loss":
        return numbers
    return numbers.clip(lower=_LEAST_LOSS).map(math.log, na_action="ignore")


def _distance(name: str, ours: pd.Series, theirs: pd.Series) -> pd.Series:
    return (_scaled(name, ours) - _scaled(name, theirs)).abs()


def _between_seeds(published: pd.DataFrame, name: str) -> pd.Series:
    """Standard deviation between seeds of a cell's combination, or, where more, the median of these by dataset
    and training size; by cell, NaN with one seed only.
    """
    combination = [re.sub(r"/s\d+(?=/|$)", "", str(cell)) for cell in published.index]
    own = _scaled(name, published[name]).groupby(combination).transform("std")
    # The training size is null where all rows are trained on.
    usual = own.groupby([published["dataset"], published["train_size"]], dropna=False).transform("median")
    return pd.concat([own, usual], axis=1).max(axis=1)


def _allowed(name: str, bounds: dict[str, pd.Series], cell: str) -> str:
    """Nothing where bits are demanded."""
    if name not in bounds or not bounds[name][cell]:
        return ""
    share = bounds[name][cell]
    return f" (may differ by {100 * share:.0f} %)" if name == "test_loss" else f" (may differ by {share:.4f})"


def _shown(value: object) -> str:
    if value is None or value != value:
        return "null"
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def lines(report: CellReport, most: int) -> Sequence[str]:
    """What to print of a report, at most so many differences one by one."""
    found = [
        f"the data differ: {count} cells of {name} are not of the published rows (data_fingerprint)"
        for name, count in report.other_data.items()
    ]
    found += [
        f"the configuration differs: {keys} in {count} cells" for keys, count in report.other_configuration.items()
    ]
    found += [
        f"cells: {report.shared} compared: {report.identical} identical to the last bit, "
        f"{report.within} within tolerance, {report.beyond} beyond it"
    ]
    if report.identical < report.shared:
        far = ", ".join(f"{name} {value:.4g}" for name, value in report.largest.items())
        found.append(f"largest differences: {far} (of a loss as a share)")
    found += [f"  {difference}" for difference in report.differences[:most]]
    if len(report.differences) > most:
        found.append(f"  and {len(report.differences) - most} more")
    if report.missing:
        found.append(f"not run: {len(report.missing)} published cells, such as {report.missing[0]}")
    if report.extra:
        found.append(f"not published: {len(report.extra)} cells of the run, such as {report.extra[0]}")
    return found
