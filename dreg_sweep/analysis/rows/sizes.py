"""Training sizes: which rows stand at which, and at which size of each dataset tables compare."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dreg_sweep.analysis.rows.levels import ordered
from dreg_sweep.analysis.rows.select import WHOLE, refuse_hidden_factors, size_name
from dreg_sweep.errors import UserError
from dreg_sweep.factors import CROSSED

if TYPE_CHECKING:
    import pandas as pd


def sizes_in(rows: "pd.DataFrame") -> "pd.Series[float]":
    """The training size of each row; a null one is the whole set."""
    return rows["train_size"].astype("float64").fillna(WHOLE)


def has_sizes(rows: "pd.DataFrame", configured: Sequence[str] = ()) -> bool:
    """Whether some dataset was trained at several sizes.

    That is a design where cells (dataset, activation, regularizer, seed) were trained at several sizes, if not
    all of them. Raises UserError, by `refuse_hidden_factors`, for a dataset with several sizes and no such cell.
    """
    columns = [*CROSSED, "train_size"]
    cells = rows[columns[:-1]].assign(train_size=sizes_in(rows)).drop_duplicates()
    sizes = cells.groupby("dataset", observed=True)["train_size"].nunique()
    crossed = set(cells.loc[cells.duplicated(columns[:-1]), "dataset"])
    for dataset in ordered("dataset", sizes.index[sizes > 1]):
        if dataset not in crossed:
            refuse_hidden_factors(rows[rows["dataset"] == dataset], configured)
    return bool(crossed)


def at_largest_size(rows: "pd.DataFrame") -> "pd.DataFrame":
    """The rows of each dataset's largest training size that has a result; a null size is the whole set."""
    sizes = sizes_in(rows)
    done = rows["status"] == "done"
    largest = sizes[done].groupby(rows.loc[done, "dataset"], observed=True).max()
    wanted = rows["dataset"].map(largest).astype("float64")
    everything = sizes.groupby(rows["dataset"], observed=True).transform("max")
    return rows[sizes == wanted.fillna(everything)].reset_index(drop=True)


def refuse_absent(rows: "pd.DataFrame", main: "pd.DataFrame") -> None:
    """Raise UserError for a regularizer that no dataset has at its largest size, where methods are compared."""
    known = set(main["regularizer"])
    absent = [level for level in ordered("regularizer", rows["regularizer"]) if level not in known]
    if absent:
        sizes = sorted(sizes_in(rows[rows["regularizer"].isin(absent)]).unique().tolist())
        raise UserError(
            f"{', '.join(map(str, absent))} has no row at the largest training size of any dataset "
            f"({sizes_of(main)}), only at {', '.join(map(size_name, sizes))}: pick sizes that all have with "
            "--where train_size=..."
        )


def sizes_of(main: "pd.DataFrame") -> str:
    """`1000`, or `1000 for mnist, sst2; all for trec6`."""
    pairs = main[["dataset"]].assign(size=sizes_in(main)).drop_duplicates()
    sizes = sorted(pairs["size"].unique().tolist())
    if len(sizes) == 1:
        return size_name(sizes[0])
    by_size = {size: ordered("dataset", pairs.loc[pairs["size"] == size, "dataset"]) for size in sizes}
    return "; ".join(f"{size_name(size)} for {', '.join(map(str, names))}" for size, names in by_size.items())


def at_sizes_of(main: "pd.DataFrame", rows: "pd.DataFrame") -> "pd.DataFrame":
    """The rows at a training size that their dataset has in `main`."""
    import pandas as pd

    there, wanted = (
        pd.MultiIndex.from_arrays([frame["dataset"].astype(object), sizes_in(frame)]) for frame in (rows, main)
    )
    return rows[there.isin(wanted.unique())].reset_index(drop=True)
