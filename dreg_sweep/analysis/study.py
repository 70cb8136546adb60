"""What one analysis is about: the rows of a results folder that were asked for, arranged as grids."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dreg_sweep.analysis.audit import DECLARED, TROUBLE, Audit, audit, refuse_unknown_status
from dreg_sweep.analysis.claims.reading import BUILT_IN
from dreg_sweep.analysis.grid import AXES, Grid, State
from dreg_sweep.analysis.rows import strengths
from dreg_sweep.analysis.rows.levels import ordered, split
from dreg_sweep.analysis.rows.reading import load_cells, load_declared, load_fits, load_history, load_noise
from dreg_sweep.analysis.rows.select import (
    WHOLE,
    refuse_hidden_factors,
    refuse_told_apart,
    size_name,
    where,
    with_configured_factors,
)
from dreg_sweep.analysis.scores import Metric, choose_metrics
from dreg_sweep.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

BASELINE = strengths.BASELINE


@dataclass(frozen=True)
class SweepAudit(Audit):
    """The audit of the largest training sizes, whose lines are about the cells of all sizes.

    by_size: the audit of each training size, ascending, `WHOLE` for the whole set, sizes without any result
    included; empty where no dataset has several.
    """

    by_size: dict[float, Audit]

    @property
    def parts(self) -> dict[float, Audit]:
        """One audit a size, or the only one, under the key NaN: every cell stands in one of them."""
        return self.by_size or {float("nan"): self}

    def total(self, state: State) -> int:
        """How many cells of all sizes are in that state."""
        return sum(part.count(state) for part in self.parts.values())

    @property
    def total_expected(self) -> int:
        """Cells of all sizes that the sweep should have."""
        return sum(part.expected for part in self.parts.values())

    def lines(self) -> list[str]:
        """The audit as text; with several sizes the first line adds them up, the others name their size."""
        if not self.by_size:
            return super().lines()
        sizes = ", ".join(map(size_name, self.by_size))
        lines = [
            f"{self.total(State.DONE)} of {self.total_expected} cells done at {len(self.by_size)} training sizes "
            f"({sizes})"
        ]
        for size, part in self.by_size.items():
            said = part.lines() if part.compared else [_without_result(part)]
            lines += [f"train_size={size_name(size)}: {line}" for line in said]
        return lines


def _without_result(part: Audit) -> str:
    counted = ((part.count(state), name) for state, name in TROUBLE.items())
    kinds = ", ".join(f"{count} {name}" for count, name in counted if count)
    return f"0 of {part.expected} cells done ({kinds}); no table is about this size"


@dataclass(frozen=True)
class Data:
    """Rows that were read and chosen.

    name: what the user called them. cells: all chosen rows, cells without a result included (status missing).
    main: those of each dataset's largest training size. audit: of `main`, and of every size. sizes: by training
    size, ascending, `WHOLE` for the whole set, a grid of all cells of that size; without sizes that have no
    result, and empty where no dataset has several. noise, history, fits: rows of those cells, if any. strengths:
    the regularizers of all these that are `name@strength`. warnings: one line each.
    """

    name: str
    cells: "pd.DataFrame"
    main: "pd.DataFrame"
    audit: SweepAudit
    sizes: dict[float, Grid]
    noise: "pd.DataFrame | None"
    history: "pd.DataFrame | None"
    fits: "pd.DataFrame | None"
    strengths: strengths.Strengths
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

    columns: our column → the file's. Of a regularizer with several strengths each becomes a level of its own,
    after the conditions were applied. Raises UserError for whatever cannot be read, is not in the data, or would
    have to be averaged over silently.
    """
    rows = load_cells(path, columns, measure=metric, brief=True)
    warnings = list(rows.attrs.get("warnings", ()))
    rows, configured = with_configured_factors(with_declared(rows, load_declared(path, brief=True)))
    rows = where(rows, conditions)
    metrics = choose_metrics(rows, metric, lower_is_better)
    levels = strengths.find(rows)
    rows = levels.applied(rows)
    warnings += filter(None, [levels.line(rows)])
    scarce = has_sizes(rows, configured)
    main = at_largest_size(rows) if scarce else rows
    refuse_hidden_factors(main, configured)
    by_size = _by_size(rows, metrics, configured) if scarce else {}
    if scarce:
        _refuse_absent(rows, main)
        warnings.append(
            f"several training sizes: tables are about the largest of each dataset ({_sizes_of(main)}) "
            "unless they say otherwise; choose another with --where train_size=..."
        )
    state = _audited(main, metrics)
    noise, history, fits = load_noise(path), load_history(path), load_fits(path)
    noticed = [f"train_size={size_name(size)}: {line}" for size, part in by_size.items() for line in part.warnings]
    return Data(
        name=str(path),
        cells=rows,
        main=main,
        audit=SweepAudit(state.grid, state.warnings, by_size),
        sizes={size: part.grid for size, part in by_size.items() if part.compared},
        noise=None if noise is None else levels.applied(noise),
        history=None if history is None else levels.applied(history),
        fits=None if fits is None else levels.applied(fits),
        strengths=levels,
        warnings=(*warnings, *(noticed if scarce else state.warnings)),
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
    if isinstance(rows["config"].dtype, pd.CategoricalDtype):
        # A dtype that knows the texts of both: a cast to one that lacks a text would make it null.
        parts = [frame["config"].astype("category").cat.categories for frame in (rows, waiting)]
        texts = parts[0].append(parts[1][~parts[1].isin(parts[0])].astype(parts[0].dtype))
        rows = rows.assign(config=rows["config"].cat.set_categories(texts))
    waiting = waiting.astype({name: rows[name].dtype for name in rows.columns})
    return pd.concat([rows, waiting], ignore_index=True)


def _sizes(rows: "pd.DataFrame") -> "pd.Series[float]":
    """The training size of each row; a null one is the whole set."""
    return rows["train_size"].astype("float64").fillna(WHOLE)


def has_sizes(rows: "pd.DataFrame", configured: Sequence[str] = ()) -> bool:
    """Whether some dataset was trained at several sizes.

    That is a design where cells (dataset, activation, regularizer, seed) were trained at several sizes, if not
    all of them. Raises UserError, by `refuse_hidden_factors`, for a dataset with several sizes and no such cell.
    """
    columns = ["dataset", "activation", "regularizer", "seed", "train_size"]
    cells = rows[columns[:-1]].assign(train_size=_sizes(rows)).drop_duplicates()
    sizes = cells.groupby("dataset", observed=True)["train_size"].nunique()
    crossed = set(cells.loc[cells.duplicated(columns[:-1]), "dataset"])
    for dataset in ordered("dataset", sizes.index[sizes > 1]):
        if dataset not in crossed:
            refuse_hidden_factors(rows[rows["dataset"] == dataset], configured)
    return bool(crossed)


def at_largest_size(rows: "pd.DataFrame") -> "pd.DataFrame":
    """The rows of each dataset's largest training size that has a result; a null size is the whole set."""
    sizes = _sizes(rows)
    done = rows["status"].fillna("done") == "done"
    largest = sizes[done].groupby(rows.loc[done, "dataset"], observed=True).max()
    wanted = rows["dataset"].map(largest).astype("float64")
    everything = sizes.groupby(rows["dataset"], observed=True).transform("max")
    return rows[sizes == wanted.fillna(everything)].reset_index(drop=True)


def _refuse_absent(rows: "pd.DataFrame", main: "pd.DataFrame") -> None:
    """Raise UserError for a regularizer that no dataset has at its largest size, where methods are compared."""
    known = set(main["regularizer"])
    absent = [level for level in ordered("regularizer", rows["regularizer"]) if level not in known]
    if absent:
        sizes = sorted(_sizes(rows[rows["regularizer"].isin(absent)]).unique().tolist())
        raise UserError(
            f"{', '.join(map(str, absent))} has no row at the largest training size of any dataset "
            f"({_sizes_of(main)}), only at {', '.join(map(size_name, sizes))}: pick sizes that all have with "
            "--where train_size=..."
        )


def _sizes_of(main: "pd.DataFrame") -> str:
    """`1000`, or `1000 for mnist, sst2; all for trec6`."""
    pairs = main[["dataset"]].assign(size=_sizes(main)).drop_duplicates()
    sizes = sorted(pairs["size"].unique().tolist())
    if len(sizes) == 1:
        return size_name(sizes[0])
    by_size = {size: ordered("dataset", pairs.loc[pairs["size"] == size, "dataset"]) for size in sizes}
    return "; ".join(f"{size_name(size)} for {', '.join(map(str, names))}" for size, names in by_size.items())


def _by_size(rows: "pd.DataFrame", metrics: Sequence[Metric], configured: Sequence[str]) -> dict[float, Audit]:
    """The audit of every training size."""
    sizes = _sizes(rows)
    audits: dict[float, Audit] = {}
    for size in sorted(sizes.unique().tolist()):
        part = rows[sizes == size].reset_index(drop=True)
        refuse_hidden_factors(part, configured)
        key = size if size == WHOLE else int(size)
        audits[key] = _audited(part, metrics) if (part["status"].fillna("done") == "done").any() else _idle(part)
    return audits


def _audited(rows: "pd.DataFrame", metrics: Sequence[Metric]) -> Audit:
    """The audit of rows with a result. Raises UserError where rows repeat cells because of a hidden factor."""
    state = audit(rows, metrics)
    if state.count(State.DUPLICATED):
        refuse_told_apart(rows, state.cells(State.DUPLICATED))
        if not state.compared:
            raise UserError(
                f"{state.count(State.DUPLICATED)} cells have several rows that disagree, no column tells these "
                "apart, and no other cell has a result, so there is nothing to compare"
            )
    return state


def _idle(rows: "pd.DataFrame") -> Audit:
    """The audit of rows none of which has a result. Raises UserError for an unknown status."""
    refuse_unknown_status(rows)
    levels = {factor: ordered(factor, rows[factor]) for factor in AXES}
    state = np.full(tuple(len(levels[factor]) for factor in AXES), State.OUTSIDE, dtype=np.uint8)
    place = {factor: {level: number for number, level in enumerate(levels[factor])} for factor in AXES}
    states = {"failed": State.FAILED, "diverged": State.DIVERGED}
    for status, *key in rows[["status", *AXES]].itertuples(index=False, name=None):
        cell = tuple(place[factor][level] for factor, level in zip(AXES, key, strict=True))
        state[cell] = states.get(status, State.MISSING)
    return Audit(Grid(levels, state, {}, 1, None, (), {}), ())


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

    Defaults: `default_treatment` and none; without a `none` in the data the baseline is None. Raises UserError,
    listing the regularizers, for one that is not in the data, and when both are the same.
    """
    known = {str(level): level for level in ordered("regularizer", levels)}
    for role, name in (("treatment", treatment), ("baseline", baseline)):
        if name is not None and name not in known:
            raise _unknown(role, name, list(known))
    chosen = known[treatment] if treatment is not None else default_treatment(levels)[0]
    against = known[baseline] if baseline is not None else known.get(BASELINE)
    if baseline is not None and against == chosen:
        raise UserError(f"treatment and baseline are both {chosen}; choose two of: {', '.join(known)}")
    return chosen, None if against == chosen else against


def default_treatment(levels: Sequence[Any]) -> tuple[Any, str]:
    """The first method that a built-in study is about and the data have, and a line on the choice if any.

    Of a method at several strengths it is the one in the middle of its grid: the best would be chosen on the test
    data. Raises UserError, listing the regularizers, where the data have no such method.
    """
    known = {str(level): level for level in ordered("regularizer", levels)}
    asked = next(iter(BUILT_IN))
    for method in BUILT_IN:
        at = [name for name in known if split(name)[0] == method and name != method]
        if method in known:
            line = "" if method == asked else f"{asked} is not in the data: the treatment is {method}"
            return known[method], line and f"{line}; choose another with --treatment"
        if at:
            level = strengths.middle(at)
            return known[level], (
                f"the treatment is {level}, in the middle of the {len(at)} strengths of {method} (the best would "
                "be chosen on the test data); choose another with --treatment"
            )
    raise _unknown("treatment", asked, list(known))


def _unknown(role: str, name: str, known: list[str]) -> UserError:
    at = [level for level in known if split(level)[0] == name]
    if at:
        return UserError(f"{role} {name} has several strengths; choose one with --{role}: {', '.join(at)}")
    return UserError(f"{role} {name} is not in the data; choose one with --{role}: {', '.join(known)}")
