"""What one analysis is about: the rows of a results folder that were asked for, arranged as grids."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dreg_sweep.analysis.audit import DECLARED, Audit, audit
from dreg_sweep.analysis.grid import Grid
from dreg_sweep.analysis.rows.levels import ordered
from dreg_sweep.analysis.rows.reading import load_cells, load_declared, load_history, load_noise
from dreg_sweep.analysis.rows.select import refuse_hidden_factors, where, with_configured_factors
from dreg_sweep.analysis.scores import Metric, choose_metrics
from dreg_sweep.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

TREATMENT = "dreg"
BASELINE = "none"


@dataclass(frozen=True)
class Data:
    """Rows that were read and chosen.

    name: what the user called them. cells: all chosen rows, cells without a result included (status missing).
    main: those of each dataset's largest training size. audit: of `main`. sizes: by training size, a grid of all
    cells of that size; empty where no dataset has several. noise, history: rows of those cells, if any.
    warnings: one line each.
    """

    name: str
    cells: "pd.DataFrame"
    main: "pd.DataFrame"
    audit: Audit
    sizes: dict[int, Grid]
    noise: "pd.DataFrame | None"
    history: "pd.DataFrame | None"
    warnings: tuple[str, ...]

    @property
    def grid(self) -> Grid:
        """The grid of the main rows."""
        return self.audit.grid


def read(
    path: Path,
    *,
    conditions: Sequence[str] = (),
    columns: Mapping[str, str] | None = None,
    metric: str | None = None,
    lower_is_better: bool = False,
) -> Data:
    """Read a results folder or file and arrange what `conditions` keep of it.

    columns: our column → the file's. Raises UserError for whatever cannot be read, is not in the data, or would
    have to be averaged over silently.
    """
    rows = load_cells(path, columns, measure=metric, brief=True)
    warnings = list(rows.attrs.get("warnings", ()))
    rows, configured = with_configured_factors(with_declared(rows, load_declared(path, brief=True)))
    rows = where(rows, conditions)
    metrics = choose_metrics(rows, metric, lower_is_better)
    scarce = has_sizes(rows)
    main = at_largest_size(rows) if scarce else rows
    refuse_hidden_factors(main, configured)
    sizes = _by_size(rows, metrics, configured) if scarce else {}
    if scarce:
        chosen = main["train_size"].fillna(0).max()
        warnings.append(
            f"several training sizes: tables are about the largest of each dataset (up to {int(chosen) or 'all'}) "
            "unless they say otherwise; choose another with --where train_size=..."
        )
    state = audit(main, metrics)
    return Data(
        name=str(path),
        cells=rows,
        main=main,
        audit=state,
        sizes=sizes,
        noise=load_noise(path),
        history=load_history(path),
        warnings=(*warnings, *state.warnings),
    )


def with_declared(rows: "pd.DataFrame", declared: "pd.DataFrame | None") -> "pd.DataFrame":
    """The rows, and one with status `DECLARED` for each cell that a sweep asked for and that has none."""
    import pandas as pd

    if declared is None:
        return rows
    waiting = declared[~declared["cell"].isin(rows["cell"])]
    if waiting.empty:
        return rows
    groups = rows[["dataset", "modality", "regime"]].dropna().drop_duplicates("dataset").set_index("dataset")
    waiting = waiting.assign(status=DECLARED)
    for name in ("modality", "regime"):
        waiting[name] = waiting["dataset"].map(groups[name])
    waiting = waiting.reindex(columns=rows.columns)
    waiting = waiting.astype({name: rows[name].dtype for name in rows.columns})
    return pd.concat([rows, waiting], ignore_index=True)


def has_sizes(rows: "pd.DataFrame") -> bool:
    """Whether some dataset was trained at several sizes, every regularizer at the same ones.

    Sizes that no cell (dataset, activation, regularizer, seed) shares are no such design.
    """
    columns = ["dataset", "activation", "regularizer", "seed", "train_size"]
    cells = rows[columns].fillna({"train_size": 0}).drop_duplicates()  # 0 stands for the whole set
    if not cells.duplicated(columns[:-1]).any():
        return False
    found = cells[["dataset", "regularizer", "train_size"]].drop_duplicates()
    sizes: dict[tuple[Any, Any], set[int]] = {}
    for dataset, regularizer, size in found.itertuples(index=False, name=None):
        sizes.setdefault((dataset, regularizer), set()).add(size)
    by_dataset: dict[Any, list[set[int]]] = {}
    for (dataset, _), own in sizes.items():
        by_dataset.setdefault(dataset, []).append(own)
    return all(own == every[0] for every in by_dataset.values() for own in every)


def at_largest_size(rows: "pd.DataFrame") -> "pd.DataFrame":
    """The rows of each dataset's largest training size that has a result; a null size is the whole set."""
    sizes = rows["train_size"].astype("float64").fillna(float("inf"))
    done = rows["status"].fillna("done") == "done"
    largest = sizes[done].groupby(rows.loc[done, "dataset"], observed=True).max()
    wanted = rows["dataset"].map(largest).astype("float64")
    everything = sizes.groupby(rows["dataset"], observed=True).transform("max")
    return rows[sizes == wanted.fillna(everything)].reset_index(drop=True)


def _by_size(rows: "pd.DataFrame", metrics: Sequence[Metric], configured: Sequence[str]) -> dict[int, Grid]:
    """A grid for every training size that is a number and has a result."""
    grids: dict[int, Grid] = {}
    for size in sorted(rows["train_size"].dropna().unique().tolist()):
        part = rows[rows["train_size"] == size].reset_index(drop=True)
        if (part["status"].fillna("done") == "done").any():
            refuse_hidden_factors(part, configured)
            grids[int(size)] = audit(part, metrics).grid
    return grids


def refuse_unpaired(grid: Grid, treatment: Any) -> None:
    """Raise UserError where nothing can be compared: no complete block, and no block that the treatment shares."""
    rivals = [level for level in grid.compared if level != treatment]
    if not rivals or grid.complete.any() or treatment not in grid.compared:
        return
    own = grid.done[grid.place("regularizer", treatment)]
    if not any((own & grid.done[grid.place("regularizer", rival)]).any() for rival in rivals):
        raise UserError(
            f"{treatment} shares no block (dataset, activation, seed) with {', '.join(map(str, rivals))}, so "
            "nothing can be paired: do they differ in their seeds?"
        )


def roles(levels: Sequence[Any], treatment: str | None, baseline: str | None) -> tuple[Any, Any | None]:
    """The treatment and the baseline among the regularizers with a result.

    Defaults: dreg and none; without a `none` in the data the baseline is None. Raises UserError, listing the
    regularizers, for one that is not in the data, and when both are the same.
    """
    known = {str(level): level for level in ordered("regularizer", levels)}
    names = ", ".join(known)
    if (treatment or TREATMENT) not in known:
        raise UserError(
            f"treatment {treatment or TREATMENT} is not in the data; choose one with --treatment: {names}"
        )
    if baseline is not None and baseline not in known:
        raise UserError(f"baseline {baseline} is not in the data; choose one with --baseline: {names}")
    chosen = known[treatment or TREATMENT]
    against = known[baseline] if baseline is not None else known.get(BASELINE)
    if baseline is not None and against == chosen:
        raise UserError(f"treatment and baseline are both {chosen}; choose two of: {names}")
    return chosen, None if against == chosen else against
