"""Are gradients small off the training points as well, or has training found functions that are flat only there?

The history has, at a few epochs and always at the last, the mean norm of the logits' Jacobian ‖∂logits/∂x‖_F and
of the loss's input gradient ‖∂loss/∂x‖ at three places: the probe's training rows, those rows + N(0, 0.2²), and
rows of the evaluation set. The question is that of Varga, Csiszárik & Zombori 2017 (arXiv 1712.09936). Norms are
compared by their logarithms within blocks: how far a method is below the baseline is log(baseline / method). A
gradient of exactly 0 has no logarithm: cells with one, whose function is constant, are counted and left out.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dreg_sweep.analysis.grid import BLOCK, Grid
from dreg_sweep.analysis.marginal import marginal_column
from dreg_sweep.analysis.pairing import PRIMARY_SIDE, UNITS, primary_unit, why_primary
from dreg_sweep.analysis.report.render import NOTHING, Column, Table
from dreg_sweep.analysis.statistics.bootstrap import clustered_interval
from dreg_sweep.analysis.statistics.rank_tests import ALPHA, holm
from dreg_sweep.analysis.statistics.wilcoxon import signed_rank
from dreg_sweep.analysis.tables.joined import KEYS, done_cells, in_complete_blocks
from dreg_sweep.analysis.tables.wording import about, count, p_values, plural, sentences, text

if TYPE_CHECKING:
    import pandas as pd

PLACES = ("train", "near", "test")
OFF = ("near", "test")
MEASURES = {
    "logit_jacobian": ("logit_jacobian_train", "logit_jacobian_near", "logit_jacobian_test"),
    "input_gradient": ("input_gradient_mean", "input_gradient_near", "input_gradient_test"),
}


@dataclass(frozen=True)
class Words:
    """What the measures are called: in classification the logits' gradients, in regression the prediction's.

    symbols: as axes print them. caption: what is measured where.
    """

    names: Mapping[str, str]
    symbols: Mapping[str, str]
    caption: str


_PLACES = (
    "Norms at the last measured epoch: training rows of the probe, near them (the same rows + N(0, 0.2²) in each "
    "number of the input), and evaluation rows; mean over at most 256 rows of ‖∂loss/∂x‖ (input_gradient) and "
    "over the first 32 of them of "
)
CLASSES = Words(
    {"logit_jacobian": "logit Jacobian", "input_gradient": "input gradient"},
    {"logit_jacobian": "‖∂logits/∂x‖", "input_gradient": "‖∂loss/∂x‖"},
    f"{_PLACES}‖∂logits/∂x‖_F (logit_jacobian).",
)
PREDICTION = Words(
    {"logit_jacobian": "slope of the prediction", "input_gradient": "input gradient"},
    {"logit_jacobian": "‖∂f/∂x‖", "input_gradient": "‖∂loss/∂x‖"},
    f"{_PLACES}‖∂f/∂x‖, f the prediction (logit_jacobian). The loss near a training row is taken against "
    "that row's own target, so a function that follows the data has a large input gradient there.",
)
HEADS = {"train": "training rows", "near": "near them", "test": "evaluation rows"}
_AVERAGED = (*PLACES, *(f"{place}_ratio" for place in OFF))
_CELL = ["regularizer", *BLOCK]


def words(cells: "pd.DataFrame") -> Words:
    """Those of a regression where no cell has an accuracy."""
    return CLASSES if cells["clean_accuracy"].notna().any() else PREDICTION


def measured(grid: Grid, cells: "pd.DataFrame", history: "pd.DataFrame", measure: str) -> "pd.DataFrame | None":
    """Every measurement of the done cells: regularizer, dataset, activation, seed, epoch, step, train, near, test.

    measure: out of `MEASURES`. Only epochs with a number, which may be 0, at all three places; None without any.
    """
    columns = MEASURES[measure]
    if any(name not in history.columns for name in (*columns, *KEYS, "epoch", "step")):
        return None
    rows = history[[*KEYS, "epoch", "step", *columns]].dropna()
    rows = rows.rename(columns=dict(zip(columns, PLACES, strict=True)))
    rows = rows.merge(done_cells(grid, cells), on=list(KEYS))
    rows = rows.drop(columns=list(KEYS)).drop_duplicates([*_CELL, "epoch"]).reset_index(drop=True)
    return None if rows.empty else rows


def last_measured(
    grid: Grid, cells: "pd.DataFrame", history: "pd.DataFrame", measure: str
) -> "pd.DataFrame | None":
    """The rows of `measured` at the last epoch of each cell that has one."""
    rows = measured(grid, cells, history, measure)
    if rows is None:
        return None
    return rows.loc[rows.groupby(_CELL, observed=True)["epoch"].idxmax()].reset_index(drop=True)


def sloped(rows: "pd.DataFrame") -> "pd.DataFrame":
    """The rows whose gradient is above 0 at all three places: those that have logarithms."""
    return rows[(rows[list(PLACES)] > 0).all(axis=1)]


def log_reductions(rows: "pd.DataFrame", method: Any, baseline: Any) -> "pd.DataFrame | None":
    """One row a block where both are `sloped`: log(baseline / method) at each place; None without a block."""
    rows = sloped(rows)
    one, other = (rows[rows["regularizer"] == name].set_index(list(BLOCK)) for name in (method, baseline))
    both = one.index.intersection(other.index)
    if both.empty:
        return None
    places = list(PLACES)
    reductions = np.log(other.loc[both, places].astype(float)) - np.log(one.loc[both, places].astype(float))
    return reductions.sort_index().reset_index()


def unit_means(rows: "pd.DataFrame", value: str, unit: str) -> np.ndarray:
    """The marginal mean of a column in each pair of a unit."""
    return marginal_column(rows, value, UNITS[unit].factors).to_numpy(dtype=float)


def overall_mean(rows: "pd.DataFrame", value: str) -> float:
    """The marginal mean of a column over all rows, the same for every unit."""
    return float(marginal_column(rows, value).iloc[0])


def places(grid: Grid, last: dict[str, "pd.DataFrame"]) -> "pd.DataFrame":
    """Measure × regularizer: geometric mean at each place, and the ratios off / on the training points.

    last: measure → rows of `last_measured`. Columns measure, regularizer, cells, constant (those of them whose
    gradient is 0 at a place); train, near, test, and near_ratio and test_ratio (to train), all geometric means
    over the primary unit, each with _low and _high, its 95 % bootstrap interval over that unit. Over the blocks in
    which every regularizer is measured, without the constant cells; a regularizer without any other has zeros.
    """
    import pandas as pd

    unit = primary_unit(grid)
    found: list[dict[str, Any]] = []
    for measure, rows in last.items():
        here = in_complete_blocks(rows, len(grid.compared))
        known = sloped(here)
        logs = known.assign(**{place: np.log(known[place].astype(float)) for place in PLACES})
        logs = logs.assign(**{f"{place}_ratio": logs[place] - logs["train"] for place in OFF})
        for method in grid.compared:
            cells = int((here["regularizer"] == method).sum())
            if not cells:
                continue
            own = logs[logs["regularizer"] == method]
            row: dict[str, Any] = {"measure": measure, "regularizer": method, "cells": cells}
            row["constant"] = cells - len(own)
            if own.empty:
                row |= dict.fromkeys(PLACES, 0.0)
            for name in _AVERAGED if len(own) else ():
                row |= _geometric(name, overall_mean(own, name), unit_means(own, name, unit))
            found.append(row)
    columns = [f"{name}{end}" for name in _AVERAGED for end in ("", "_low", "_high")]
    frame = pd.DataFrame(found, columns=["measure", "regularizer", "cells", "constant", *columns])
    return frame.astype(dict.fromkeys(columns, "float64"))


def _geometric(name: str, mean: float, logs: np.ndarray) -> dict[str, float]:
    """exp of a mean of logarithms, and its bootstrap interval over clusters where there are several."""
    found = {name: math.exp(mean)}
    if len(logs) > 1:
        interval = clustered_interval(logs)
        found |= {f"{name}_low": math.exp(interval.low), f"{name}_high": math.exp(interval.high)}
    return found


def reductions(grid: Grid, last: dict[str, "pd.DataFrame"], baseline: Any) -> "pd.DataFrame":
    """Measure × regularizer against the baseline: how many times lower at each place, and what share carries over.

    Columns measure, regularizer, pairs; train, near, test: geometric mean of baseline / method; p_<place>:
    two-sided signed-rank test of the log ratios by the primary unit, p_<place>_holm after Holm's correction over
    the regularizers at that place, of which one without a pair counts as p = 1; floor, floor_holm: the smallest
    that these can be; share_near, share_test: mean log reduction there
    over the one at the training points, where that is significantly positive; p_share_<place>: two-sided
    signed-rank test that the two log reductions differ; ranks_<place>: rank-biserial correlations.
    """
    import pandas as pd

    unit = primary_unit(grid)
    rivals = [level for level in grid.levels["regularizer"] if level != baseline]
    found: list[dict[str, Any]] = []
    for measure, rows in last.items():
        here: list[dict[str, Any]] = []
        for method in rivals:
            logs = log_reductions(rows, method, baseline)
            if logs is None:
                continue
            means = {place: unit_means(logs, place, unit) for place in PLACES}
            row: dict[str, Any] = {"measure": measure, "regularizer": method, "pairs": len(means["train"])}
            for place in PLACES:
                test = signed_rank(means[place], PRIMARY_SIDE)
                row |= {place: math.exp(overall_mean(logs, place)), f"p_{place}": test.p, "floor": test.floor}
                row["floor_holm"] = min(1.0, len(rivals) * test.floor)
                row[f"ranks_{place}"] = test.rank_biserial
            for place in OFF:
                row[f"p_share_{place}"] = signed_rank(means[place] - means["train"], PRIMARY_SIDE).p
            here.append(row)
        for place in PLACES:
            absent = [1.0] * (len(rivals) - len(here))
            adjusted = holm([*(row[f"p_{place}"] for row in here), *absent])
            for row, p in zip(here, adjusted[: len(here)], strict=True):
                row[f"p_{place}_holm"] = float(p)
        for row in here:
            for place in OFF:
                lowered = direction(row, "train") > 0
                row[f"share_{place}"] = math.log(row[place]) / math.log(row["train"]) if lowered else math.nan
                row[f"p_share_{place}"] = row[f"p_share_{place}"] if lowered else math.nan
        found += here
    tests = [f"p_{place}{end}" for place in PLACES for end in ("", "_holm")]
    shares = [f"{kind}_{place}" for place in OFF for kind in ("share", "p_share")]
    ranks = [f"ranks_{place}" for place in PLACES]
    columns = ["measure", "regularizer", "pairs", *PLACES, *tests, *shares, "floor", "floor_holm", *ranks]
    return pd.DataFrame(found, columns=columns).astype(dict.fromkeys(columns[3:], "float64"))


def direction(row: Any, place: str) -> int:
    """1 where the gradient is significantly below the baseline's there (after Holm), −1 above, 0 neither."""
    log, ranks = math.log(row[place]), float(row[f"ranks_{place}"])
    if row[f"p_{place}_holm"] > ALPHA or log * ranks <= 0:
        return 0
    return 1 if log > 0 else -1


def answer(frame: "pd.DataFrame", baseline: Any, measure: str, said_of: Words = CLASSES) -> str:
    """The study's question, answered for one measure from the frame of `reductions`, in a sentence."""
    rows = [dict(row) for row in frame[frame["measure"] == measure].to_dict("records")]
    lowered = [row for row in rows if direction(row, "train") > 0]
    name = said_of.names[measure]
    if not lowered:
        least = min(float(row["floor_holm"]) for row in rows)
        return sentences(
            f"No regularizer lowers the {name} at the training points significantly against `{baseline}` (0.05 "
            "after Holm), so whether one does so only there cannot be asked of these data.",
            f"With so few pairs it could not have been: no p after Holm is below {least:.3g}."
            if least > ALPHA
            else "",
        )
    kinds: dict[str, list[str]] = {"as well": [], "open": [], "higher": []}
    for row in lowered:
        off = [direction(row, place) for place in OFF]
        kinds["as well" if min(off) > 0 else "higher" if min(off) < 0 else "open"].append(str(row["regularizer"]))
    said = [
        f"{_named(names, len(lowered))} {_DOES[kind][len(names) > 1]}" for kind, names in kinds.items() if names
    ]
    verdict = (
        "flat at the training points only is what training finds for some"
        if kinds["higher"]
        else "training does not find functions that are flat at the training points only"
        if not kinds["open"]
        else "whether all are flat at more than the training points is not settled"
    )
    shares = [row[f"share_{place}"] for row in lowered for place in OFF]
    return (
        f"By the {name}, {verdict}. Of {len(lowered)} {plural(len(lowered), 'regularizer')} with a significantly "
        f"lower one than `{baseline}` at the training points (0.05 after Holm), {'; '.join(said)}. Off the "
        f"training points {_range(shares)} of the log reduction remains."
    )


_DOES = {
    "as well": (
        "has a lower one near them and at evaluation rows as well",
        "have a lower one near them and at evaluation rows as well",
    ),
    "open": ("is not shown to at both", "are not shown to at both"),
    "higher": ("has a higher one off them", "have a higher one off them"),
}


def _named(names: list[str], of: int) -> str:
    return f"all {of}" if len(names) == of > 1 else f"{len(names)} ({', '.join(names)})"


def _range(shares: list[float]) -> str:
    low, high = (f"{100 * share:.0f}".replace("-", "−") for share in (min(shares), max(shares)))
    return f"{low} %" if low == high else f"{low} to {high} %"


def places_table(
    grid: Grid, frame: "pd.DataFrame", last: dict[str, "pd.DataFrame"], said_of: Words = CLASSES
) -> Table:
    """The frame of `places` as a table."""
    unit = UNITS[primary_unit(grid)]
    constant = bool((frame["constant"] > 0).any())
    return Table(
        name="off_training",
        title="Gradients at, near and off the training points",
        caption=sentences(
            said_of.caption,
            f"Geometric means over the blocks in which every regularizer is measured. Ratios to the training rows "
            f"with the 95 % interval of a bootstrap over {unit.short}, which is too short rather than too long "
            f"with few {unit.short}; 1 means as large off as on the training points.",
            "Constant: cells whose gradient is exactly 0 at one of the places. They have no logarithm and are "
            "left out of their regularizer's means, which are 0 where no other cell is left."
            if constant
            else "",
            _left_out(grid, last),
            about(grid, pairs=True, metrics=False),
        ),
        values=frame,
        columns=(
            text("measure"),
            text("regularizer"),
            count("cells"),
            *([count("constant")] if constant else []),
            *(_plain(place, HEADS[place]) for place in PLACES),
            *(_ratio(place) for place in OFF),
        ),
        block="measure",
    )


def _left_out(grid: Grid, last: dict[str, "pd.DataFrame"]) -> str:
    """How many cells stand outside the complete blocks or have no measurement."""
    short = {
        name: int(grid.done.sum()) - len(in_complete_blocks(rows, len(grid.compared)))
        for name, rows in last.items()
    }
    found = ", ".join(f"{name} {cells}" for name, cells in short.items() if cells)
    return (
        f"Done cells left out, since not every regularizer of their block has a measurement: {found}."
        if found
        else ""
    )


def reductions_table(grid: Grid, frame: "pd.DataFrame", baseline: Any, said_of: Words = CLASSES) -> Table:
    """The frame of `reductions` as a table."""
    floor, adjusted = float(frame["floor"].min()), float(frame["floor_holm"].min())
    return Table(
        name="off_training_reduction",
        title=f"How many times lower than {baseline}, at, near and off the training points",
        caption=sentences(
            said_of.caption,
            f"Reduction: geometric mean of {baseline} / regularizer in the same block; above 1 is lower than "
            f"{baseline}. p: two-sided signed-rank test of the log reduction, paired by {why_primary(grid)}; in "
            "parentheses after Holm's correction over the regularizers at that place. Share: of the log reduction "
            "at the training rows, how much remains off them, where that reduction is significant (0.05 after "
            "Holm); 100 % means that all of it carries over. Its p: two-sided signed-rank test that the two log "
            "reductions differ, uncorrected.",
            f"No p can be below {floor:.3g}, and none below {adjusted:.3g} after Holm.",
            "Cells whose gradient is exactly 0 at one of the places have no logarithm and no pair.",
            about(grid, pairs=True, metrics=False),
        ),
        values=frame.drop(columns=[f"ranks_{place}" for place in PLACES]),
        columns=(
            text("measure"),
            text("regularizer"),
            count("pairs"),
            *(
                column
                for place in PLACES
                for column in (
                    _plain(place, HEADS[place]),
                    p_values(f"p_{place}", f"p {place} (Holm)", f"p_{place}_holm"),
                )
            ),
            *(
                column
                for place in OFF
                for column in (_share(place), p_values(f"p_share_{place}", f"p share {place}"))
            ),
        ),
        block="measure",
    )


def _plain(name: str, header: str) -> Column:
    return Column(header, lambda row: NOTHING if row[name] != row[name] else f"{row[name]:.3g}", value=name)


def _ratio(place: str) -> Column:
    def show(row: Any) -> str:
        if row[f"{place}_ratio"] != row[f"{place}_ratio"]:
            return NOTHING
        low, high = row[f"{place}_ratio_low"], row[f"{place}_ratio_high"]
        interval = "" if low != low else f" [{_factor(low)}, {_factor(high)}]"
        return f"{_factor(row[f'{place}_ratio'])}{interval}"

    return Column(f"{place} / train", show, value=f"{place}_ratio")


def _factor(value: float) -> str:
    return f"{value:.2f}" if value < 100 else f"{value:.3g}"


def _share(place: str) -> Column:
    def show(row: Any) -> str:
        share = row[f"share_{place}"]
        return NOTHING if share != share else f"{100 * share:.0f} %".replace("-", "−")

    return Column(f"share {place}", show, value=f"share_{place}")
