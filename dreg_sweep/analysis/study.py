"""What one analysis is about: the rows of a results folder that were asked for, arranged as grids."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dreg_sweep.analysis.audit import DECLARED, Audit, audit, refuse_unknown_status
from dreg_sweep.analysis.claims.reading import BUILT_IN
from dreg_sweep.analysis.grid import AXES, Grid, State
from dreg_sweep.analysis.rows import strengths, validation, variants
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
from dreg_sweep.analysis.rows.sizes import (
    at_largest_size,
    at_sizes_of,
    has_sizes,
    refuse_absent,
    sizes_in,
    sizes_of,
)
from dreg_sweep.analysis.rows.variants import Variants
from dreg_sweep.analysis.scores import Metric, choose_metrics
from dreg_sweep.analysis.sweep_audit import SweepAudit
from dreg_sweep.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

BASELINE = strengths.BASELINE


@dataclass(frozen=True)
class Tried:
    """Every strength, those that stand beside the fixed ones included, at each dataset's size in the main rows.

    strengths: all levels `name@strength`, and those that bear the name of their regularizer. grid: of these and of
    the regularizers without such levels. held_out: the same by validation rows, None where there are none.
    """

    strengths: strengths.Strengths
    grid: Grid
    held_out: Grid | None


@dataclass(frozen=True)
class Data:
    """Rows that were read and chosen.

    name: what the user called them. cells: all chosen rows, cells without a result included (status missing),
    without those that `tried` has beside them. main: those of each dataset's largest training size. audit: of
    `main`, of every size, and of what stands beside them. sizes: by training size, ascending, `WHOLE` for the
    whole set, a grid of all cells of that size; without sizes that have no result, and empty where no dataset has
    several. noise, history, fits: rows of those cells, if any. strengths: the regularizers of all these that are
    `name@strength`. tried: every strength. variants: the regularizers with several settings of their options, of
    which all of this has the main one. instead: each other variant → the same with that in its place; without
    those that could not be arranged so. warnings: one line each.
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
    tried: Tried
    warnings: tuple[str, ...]
    variants: Variants = field(default_factory=Variants)
    instead: "Mapping[str, Data]" = field(default_factory=dict)

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
    after the conditions were applied; where one of them is known to be the fixed one, the others stand beside it,
    and so do validation rows beside those evaluated on test data, and the other variants of a regularizer beside
    the main one. Raises UserError for whatever cannot be read, is
    not in the data, or would have to be averaged over silently.
    """
    rows = load_cells(path, columns, measure=metric, brief=True)
    warnings = list(rows.attrs.get("warnings", ()))
    rows, configured = with_configured_factors(with_declared(rows, load_declared(path, brief=True)))
    rows, held_out = validation.set_aside(where(rows, conditions))
    metrics = choose_metrics(rows, metric, lower_is_better)
    found = variants.find(rows, configured)
    stored = load_noise(path), load_history(path), load_fits(path)

    def arranged(variant: str | None = None) -> Data:
        held = None if held_out is None else found.kept(held_out, variant)
        held = None if held is None or held.empty else held
        return _arranged(str(path), found.kept(rows, variant), held, metrics, configured, stored)

    data = arranged()
    instead, said = found.instead(arranged)
    for level, one in instead.items():
        said += [f"{level}: {line}" for line in one.warnings if line not in data.warnings]
    return replace(
        data,
        audit=replace(data.audit, beside={**data.audit.beside, **_apart(found, instead)}),
        variants=found,
        instead=instead,
        warnings=(*warnings, *found.lines(), *data.warnings, *said),
    )


def _apart(found: Variants, instead: "Mapping[str, Data]") -> dict[str, Audit]:
    """The audit of each variant's own cells, of each size by itself."""
    apart: dict[str, Audit] = {}
    for level, data in instead.items():
        for size, part in data.audit.parts.items():
            levels = part.grid.levels["regularizer"]
            own = [other for other in levels if split(other)[0] == found.by_level[level].regularizer]
            name = f"{level}, train_size={size_name(size)}" if data.audit.by_size else level
            apart[name] = Audit(part.grid.restricted({"regularizer": own}), ())
    return apart


def _arranged(
    name: str,
    rows: "pd.DataFrame",
    held_out: "pd.DataFrame | None",
    metrics: Sequence[Metric],
    configured: Sequence[str],
    stored: "tuple[pd.DataFrame | None, pd.DataFrame | None, pd.DataFrame | None]",
) -> Data:
    """The rows, one variant of each regularizer, as what an analysis is about.

    held_out: validation rows. stored: rows of noise, history and fits, of these cells and others.
    """
    warnings: list[str] = []
    levels = strengths.find(rows)
    every = levels.applied(rows)
    warnings += levels.lines(every)
    rows = every[~every["regularizer"].isin(levels.beside)].reset_index(drop=True) if levels.beside else every
    scarce = has_sizes(rows, configured)
    main = at_largest_size(rows) if scarce else rows
    refuse_hidden_factors(main, configured)
    by_size = _by_size(rows, metrics, configured) if scarce else {}
    if scarce:
        refuse_absent(rows, main)
        warnings.append(
            f"several training sizes: tables are about the largest of each dataset ({sizes_of(main)}) "
            "unless they say otherwise; choose another with --where train_size=..."
        )
    state = _audited(main, metrics)
    tried, beside, said = _tried(levels, state, main, every, held_out, metrics, configured)
    warnings += said
    noise, history, fits = (None if frame is None else levels.applied(frame) for frame in stored)
    noticed = [f"train_size={size_name(size)}: {line}" for size, part in by_size.items() for line in part.warnings]
    return Data(
        name=name,
        cells=rows,
        main=main,
        audit=SweepAudit(state.grid, state.warnings, by_size, beside),
        sizes={size: part.grid for size, part in by_size.items() if part.compared},
        noise=noise,
        history=history,
        fits=fits,
        strengths=levels.compared,
        tried=tried,
        warnings=(*warnings, *(noticed if scarce else state.warnings)),
    )


def _tried(
    levels: strengths.Strengths,
    state: Audit,
    main: "pd.DataFrame",
    every: "pd.DataFrame",
    held_out: "pd.DataFrame | None",
    metrics: Sequence[Metric],
    configured: Sequence[str],
) -> tuple[Tried, dict[str, Audit], list[str]]:
    """All strengths, the audits of the cells that are not in `main`, and a line on each warning about them.

    state: the audit of `main`. every: the rows at all strengths. held_out: validation rows, without levels.
    """
    beside: dict[str, Audit] = {}
    said: list[str] = []

    def audited(name: str, rows: "pd.DataFrame") -> Audit:
        refuse_hidden_factors(rows, configured)
        beside[name] = _audited(rows, metrics) if _any_done(rows) else _idle(rows)
        said.extend(f"{name}: {line}" for line in beside[name].warnings)
        return beside[name]

    grid, chosen = state.grid, None
    if levels.beside:
        every = at_sizes_of(main, every)
        audited("other strengths", every[every["regularizer"].isin(levels.beside)].reset_index(drop=True))
        grid = _audited(every, metrics).grid
    if held_out is not None:
        found = at_sizes_of(main, held_out)
        found = levels.applied(found[levels.has(found)].reset_index(drop=True))
        lost = len(held_out) - len(found)
        unlike = f"; {lost} of them are at strengths or training sizes without test rows" if lost else ""
        said.append(f"{len(held_out)} validation rows are set aside: they choose strengths, nothing else{unlike}")
        if len(found) and audited("validation rows", found).compared:
            chosen = beside["validation rows"].grid
    return Tried(levels, grid, chosen), beside, said


def _any_done(rows: "pd.DataFrame") -> bool:
    return bool((rows["status"] == "done").any())


def with_declared(rows: "pd.DataFrame", declared: "pd.DataFrame | None") -> "pd.DataFrame":
    """The rows, and one with status `DECLARED` for each cell that a sweep asked for and that has none."""
    import pandas as pd

    if declared is None:
        return rows
    waiting = declared[~declared["cell"].isin(rows["cell"])]
    if waiting.empty:
        return rows
    groups = rows[["dataset", "modality", "regime"]].dropna().drop_duplicates("dataset").set_index("dataset")
    waiting = validation.told(waiting.assign(status=DECLARED))
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


def _by_size(rows: "pd.DataFrame", metrics: Sequence[Metric], configured: Sequence[str]) -> dict[float, Audit]:
    """The audit of every training size."""
    sizes = sizes_in(rows)
    audits: dict[float, Audit] = {}
    for size in sorted(sizes.unique().tolist()):
        part = rows[sizes == size].reset_index(drop=True)
        refuse_hidden_factors(part, configured)
        key = size if size == WHOLE else int(size)
        audits[key] = _audited(part, metrics) if _any_done(part) else _idle(part)
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
    return Audit(Grid(levels, state, {}, 1, {}, (), {}), ())


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
