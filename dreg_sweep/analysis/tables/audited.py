"""What the audit counted, as tables: results by regularizer and dataset, and every cell without one."""

from typing import Any

from dreg_sweep.analysis.audit import coverage, trouble_table
from dreg_sweep.analysis.report.render import NOTHING, Column, Table
from dreg_sweep.analysis.rows.levels import ordered
from dreg_sweep.analysis.rows.select import size_name
from dreg_sweep.analysis.sweep_audit import SweepAudit
from dreg_sweep.analysis.tables.factors import apart
from dreg_sweep.analysis.tables.wording import text


def covered(state: SweepAudit) -> Table:
    """Regularizer × dataset: blocks (activation, seed) with a result.

    Values: train_size where there are several, regularizer, and one column a dataset; null where a dataset has no
    cell of that size.
    """
    import pandas as pd

    counted = {size: coverage(part.grid) for size, part in state.parts.items()}
    datasets = ordered("dataset", [name for frame in counted.values() for name in frame.columns])
    wanted = ("train_size", "regularizer") if state.by_size else ("regularizer",)
    keys = apart(wanted, [str(name) for name in datasets])
    rows: list[list[Any]] = []
    for size, frame in counted.items():
        for level, row in frame.reindex(columns=datasets).astype("Int64").iterrows():
            rows.append([*([size_name(size)] if state.by_size else []), level, *row.tolist()])
    values = pd.DataFrame(rows, columns=[*keys, *datasets]).astype(dict.fromkeys(datasets, "Int64"))
    return Table(
        name="coverage",
        title="Results by regularizer and dataset",
        caption=f"Blocks (activation, seed) with a result, out of {_blocks(state)}.",
        values=values,
        columns=(*(text(name) for name in keys), *(_blocks_of(str(name)) for name in datasets)),
        block=keys[0] if state.by_size else None,
    )


def _blocks_of(dataset: str) -> Column:
    import pandas as pd

    return Column(dataset, lambda row: NOTHING if pd.isna(row[dataset]) else str(row[dataset]), value=dataset)


def _blocks(state: SweepAudit) -> str:
    """`20`, or `20 at train_size=125, 10 at train_size=250`."""
    numbers = {}
    for size, part in state.parts.items():
        numbers[size] = len(part.grid.levels["activation"]) * len(part.grid.levels["seed"])
    if len(set(numbers.values())) == 1:
        return str(next(iter(numbers.values())))
    return ", ".join(f"{number} at train_size={size_name(size)}" for size, number in numbers.items())


def not_done(state: SweepAudit) -> Table | None:
    """Every cell that is not done, with its training size where there are several; None where all are.

    A column `beside` says of cells that stand apart from the grid what they are, where there are such.
    """
    import pandas as pd

    parts = []
    for size, part in state.parts.items():
        trouble = trouble_table(part)
        if state.by_size:
            trouble.insert(0, "train_size", size_name(size))
        if len(trouble):
            parts.append(trouble)
    for name, part in state.beside.items():
        trouble = trouble_table(part)
        if len(trouble):
            parts.append(trouble.assign(beside=name))
    if not parts:
        return None
    values = pd.concat(parts, ignore_index=True)
    return Table(
        name="not_done",
        title="Cells without a usable result",
        caption="missing: asked for, or needed for a full cross, and never run. duplicated: rows of one cell that "
        "disagree. incomplete: done, without one of the measures.",
        values=values,
        columns=tuple(_given(str(name)) for name in values.columns),
        block="train_size" if state.by_size else "state",
    )


def _given(name: str) -> Column:
    """A column of texts, some of which are not there."""
    return Column(name, lambda row: NOTHING if row[name] != row[name] else str(row[name]), numeric=False)
