"""What a grid lacks: every cell that is missing, failed, diverged or duplicated has a name."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dreg_sweep.analysis.grid import AXES, Grid, State
from dreg_sweep.analysis.rows.levels import listed, ordered
from dreg_sweep.analysis.scores import ACCURACIES, EXACT, Metric, choose_metrics, exact_values
from dreg_sweep.errors import UserError
from dreg_sweep.factors import CROSSED

if TYPE_CHECKING:
    import pandas as pd

DECLARED = "missing"  # status of a cell that a sweep asked for and that has no row
CELLS_AT_MOST = 50_000_000  # of a full cross; more means that the rows are no factorial grid
TROUBLE = {
    State.FAILED: "failed",
    State.DIVERGED: "diverged",
    State.MISSING: "missing",
    State.DUPLICATED: "duplicated",
    State.INCOMPLETE: "incomplete",
}
STATUSES = ("done", "failed", "diverged")  # that a row may have, besides `DECLARED`
_NAMED = 4  # cells that a line names; the table names all

Key = tuple[Any, ...]


@dataclass(frozen=True)
class Audit:
    """A grid, and what was noticed while it was made. warnings: one line each."""

    grid: Grid
    warnings: tuple[str, ...]

    def cells(self, state: State) -> list[Key]:
        """The cells (dataset, activation, regularizer, seed) in that state, in display order."""
        grid = self.grid
        order = [AXES.index(factor) for factor in CROSSED]
        places = np.argwhere((grid.state == state).transpose(order))
        return [
            tuple(grid.levels[factor][place] for factor, place in zip(CROSSED, row, strict=True))
            for row in places.tolist()
        ]

    def count(self, state: State) -> int:
        """How many cells are in that state."""
        return int((self.grid.state == state).sum())

    @property
    def expected(self) -> int:
        """Cells that the grid should have."""
        return int((self.grid.state != State.OUTSIDE).sum())

    @property
    def compared(self) -> list[Any]:
        """See `Grid.compared`."""
        return self.grid.compared

    def lines(self) -> list[str]:
        """The audit as text: one line on the whole, one on each kind of trouble, what is left out."""
        grid = self.grid
        sizes = {factor: len(grid.levels[factor]) for factor in CROSSED}
        counts = " × ".join(f"{size} {factor}{'s' * (size != 1)}" for factor, size in sizes.items())
        lines = [f"{self.count(State.DONE)} of {self.expected} cells done ({counts})"]
        for state, name in TROUBLE.items():
            keys = self.cells(state)
            if keys:
                names = ", ".join(cell_name(key) for key in keys[:_NAMED])
                lines.append(f"{name}: {len(keys)} ({names}{', ...' if len(keys) > _NAMED else ''})")
        outside = self.count(State.OUTSIDE)
        if outside:
            lines.append(f"never asked for: {outside} of the full cross of these levels")
        silent = [level for level in grid.levels["regularizer"] if level not in self.compared]
        if silent:
            lines.append(f"no result yet, so compared with nothing: {listed(silent)}")
        if left_out(grid):
            lines.append(left_out(grid))
        return lines


def cell_name(key: Key) -> str:
    """`mnist/relu/dreg/s0`, as everywhere in the project."""
    dataset, activation, regularizer, seed = key
    return f"{dataset}/{activation}/{regularizer}/s{seed}"


def left_out(grid: Grid) -> str:
    """What a caption says about an unbalanced grid; empty when every block is complete."""
    complete = grid.complete
    out, blocks = int((~complete).sum()), complete.size
    if not out:
        return ""
    compared = np.array([level in grid.compared for level in grid.levels["regularizer"]])
    troubled = grid.state[compared][:, ~complete]
    # A block counts once for each kind of trouble in it.
    kinds = Counter({state: int((troubled == state).any(axis=0).sum()) for state in State})
    names = {**TROUBLE, State.OUTSIDE: "never asked for"}
    causes = ", ".join(f"{kinds[state]} with a cell {name}" for state, name in names.items() if kinds[state])
    return (
        f"Unbalanced: {out} of {blocks} blocks (dataset, activation, seed) left out because not every "
        f"regularizer has a result there ({causes}); means are over the other {blocks - out}."
    )


def audit(frame: "pd.DataFrame", metrics: Sequence[Metric] | None = None) -> Audit:
    """Arrange a frame of `load_cells` as a grid over the levels it names.

    Only rows with status done count; a null status (hand-made data) is done. Rows with the status `DECLARED`
    are cells without a result; where there are any, cells without a row were never asked for, otherwise they are
    missing. Rows of one cell that agree in every metric count once; others are duplicated and count nowhere.
    A done row without one of the metrics is incomplete. A failed or diverged row beside a done one of its cell is
    counted in a warning.

    Raises UserError for an unknown status, when no row is done, for a done row without clean accuracy (or without
    the metric asked for) or with an infinite value, and when the levels cross to more than 50 million cells.
    """
    refuse_unknown_status(frame)
    metrics = metrics or choose_metrics(frame, None)
    status = frame["status"]
    levels = {factor: ordered(factor, frame[factor].unique()) for factor in AXES}
    shape = tuple(len(levels[factor]) for factor in AXES)
    if int(np.prod(shape, dtype=object)) > CELLS_AT_MOST:
        counts = ", ".join(f"{size} {factor}s" for factor, size in zip(AXES, shape, strict=True))
        raise UserError(f"{len(frame)} rows have {counts}: too many to be crossed; narrow them with --where")
    flat = np.ravel_multi_index(tuple(_codes(frame[factor], levels[factor]) for factor in AXES), shape)

    state = np.full(int(np.prod(shape)), State.MISSING, dtype=np.uint8)
    if (status == DECLARED).any():
        state[:] = State.OUTSIDE
    for name, value in ((DECLARED, State.MISSING), ("failed", State.FAILED), ("diverged", State.DIVERGED)):
        state[flat[(status == name).to_numpy(dtype=bool)]] = value
    is_done = (status == "done").to_numpy(dtype=bool)
    if not is_done.any():
        counted = Counter(status.astype(str).tolist())
        kinds = ", ".join(f"{count} {name}" for name, count in sorted(counted.items()))
        raise UserError(f"none of the {len(frame)} rows has status done ({kinds}), so there is nothing to compare")
    done = frame[is_done].reset_index(drop=True)
    _refuse_infinite(done, metrics)
    exact = exact_values(done, metrics)
    _refuse_empty(done, metrics, exact.present)

    place = flat[is_done]
    is_void = status.isin(["failed", "diverged"]).to_numpy(dtype=bool)
    superseded = int(np.isin(flat[is_void], place).sum())
    complete = np.logical_and.reduce([exact.present[metric.name] for metric in metrics])
    distinct, repeats = _distinct(place, [exact.numerators[metric.name] for metric in metrics], complete)
    state[place] = State.DONE
    state[place[~complete]] = State.INCOMPLETE
    rows = np.flatnonzero(distinct)
    cells, first, times = np.unique(place[rows], return_index=True, return_counts=True)
    state[cells[times > 1]] = State.DUPLICATED

    numerators, round_off = {}, {}
    for metric in metrics:
        values = exact.numerators[metric.name]
        cube = np.zeros(len(state), dtype=values.dtype)
        cube[cells] = values[rows[first]]
        cube[state != State.DONE] = 0
        numerators[metric.name] = cube.reshape(shape)
        if metric.name in exact.round_off:
            limits = np.full(len(state), EXACT, dtype=np.int32)
            limits[cells] = exact.round_off[metric.name][rows[first]]
            round_off[metric.name] = limits.reshape(shape)
    warnings = list(exact.warnings)
    if repeats:
        warnings.append(f"{repeats} row(s) repeat another row's cell and values; counted once")
    if superseded:
        warnings.append(
            f"{superseded} failed or diverged row(s) stand beside a done row of their cell, which counts"
        )
    grid = Grid(
        levels=levels,
        state=state.reshape(shape),
        numerators=numerators,
        denominator=exact.denominator,
        round_off=round_off,
        metrics=tuple(metrics),
        groups={name: _group(frame, name, warnings) for name in ("modality", "regime")},
    )
    return Audit(grid, tuple(warnings))


def refuse_unknown_status(frame: "pd.DataFrame") -> None:
    """Raise UserError for a row whose status is none of `STATUSES` and `DECLARED`; null is done."""
    status = frame["status"].dropna()
    unknown = status[~status.isin([*STATUSES, DECLARED])].astype(str)
    if len(unknown):
        counted = ", ".join(f"{name!r} in {count} row(s)" for name, count in unknown.value_counts().items())
        raise UserError(
            f"unknown status: {counted}; a row is {', '.join(STATUSES[:-1])} or {STATUSES[-1]}, empty means done, "
            f"and {DECLARED} is a cell that was asked for and has no result"
        )


def _codes(column: "pd.Series[Any]", levels: list[Any]) -> np.ndarray:
    """The position of each row's level."""
    import pandas as pd

    codes, uniques = pd.factorize(column)
    position = {level: place for place, level in enumerate(levels)}
    return np.array([position[level] for level in uniques], dtype=np.int64)[codes]


def _distinct(place: np.ndarray, values: list[np.ndarray], complete: np.ndarray) -> tuple[np.ndarray, int]:
    """Which rows are the first with their cell and values, and how many repeat one."""
    import pandas as pd

    columns = {str(number): column for number, column in enumerate([place, complete, *values])}
    repeated = pd.DataFrame(columns).duplicated().to_numpy()
    return ~repeated, int(repeated.sum())


def _refuse_empty(done: "pd.DataFrame", metrics: Sequence[Metric], present: dict[str, np.ndarray]) -> None:
    for metric in metrics:
        empty = ~present[metric.name]
        name = "clean_accuracy" if metric.name == "clean" else metric.name
        if empty.any() and (metric.name == "clean" or len(metrics) == 1):
            first = cell_name(tuple(done.iloc[int(np.flatnonzero(empty)[0])][list(CROSSED)]))
            raise UserError(
                f"{int(empty.sum())} row(s) count as done but have no {name}, first {first}; "
                "give the value, or set their status to failed"
            )


def _refuse_infinite(done: "pd.DataFrame", metrics: Sequence[Metric]) -> None:
    for metric in metrics:
        if metric.name in ACCURACIES:  # which lie within 0..1, or were refused when they were read
            continue
        values = done[metric.name].to_numpy(dtype=float, na_value=np.nan)
        infinite = np.isinf(values)
        if infinite.any():
            first = int(np.flatnonzero(infinite)[0])
            cell = cell_name(tuple(done.iloc[first][list(CROSSED)]))
            raise UserError(
                f"{metric.name} is infinite in {int(infinite.sum())} row(s) that count as done, first "
                f"{values[first]:g} of {cell}; give a finite value, or set their status to diverged"
            )


def _group(frame: "pd.DataFrame", name: str, warnings: list[str]) -> dict[Any, str]:
    """Dataset → its modality or regime; one that its rows do not agree on is left out with a warning."""
    known = frame.loc[frame[name].notna(), ["dataset", name]].drop_duplicates()
    twice = sorted(set(known.loc[known["dataset"].duplicated(), "dataset"]))
    if twice:
        warnings.append(f"{name} differs between rows of {', '.join(map(str, twice))}; no {name} is used there")
    kept = known[~known["dataset"].isin(twice)]
    return dict(zip(kept["dataset"].tolist(), kept[name].tolist(), strict=True))


def trouble_table(state: Audit) -> "pd.DataFrame":
    """Every cell that is not done: state, dataset, activation, regularizer, seed, cell."""
    import pandas as pd

    rows = [(name, *key, cell_name(key)) for kind, name in TROUBLE.items() for key in state.cells(kind)]
    return pd.DataFrame(rows, columns=["state", *CROSSED, "cell"])


def coverage(grid: Grid) -> "pd.DataFrame":
    """Regularizer × dataset: blocks (activation, seed) with a result."""
    import pandas as pd

    return pd.DataFrame(
        grid.done.sum(axis=(2, 3)), index=grid.levels["regularizer"], columns=grid.levels["dataset"]
    )
