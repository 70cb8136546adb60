"""The metric by training size: every regularizer's mean, and the paired tests at each size."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dreg_sweep.analysis.grid import BLOCK, State
from dreg_sweep.analysis.pairing import PRIMARY_SIDE, PRIMARY_ZEROS, primary_unit, why_primary
from dreg_sweep.analysis.report.render import NOTHING, Column, Table
from dreg_sweep.analysis.rows.select import ALL, WHOLE
from dreg_sweep.analysis.scores import Metric
from dreg_sweep.analysis.statistics.bootstrap import clustered_interval
from dreg_sweep.analysis.statistics.rank_tests import holm
from dreg_sweep.analysis.statistics.wilcoxon import signed_rank
from dreg_sweep.analysis.tables.scarcity import (
    Grids,
    as_number,
    blocks_of,
    by_size,
    crossed,
    places_of,
    unit_of,
)
from dreg_sweep.analysis.tables.wording import (
    about,
    count,
    p_text,
    p_values,
    percent,
    plural,
    sentences,
    signed,
    text,
)

if TYPE_CHECKING:
    import pandas as pd


def by_training_size(grids: Grids, metric: Metric) -> "pd.DataFrame":
    """Regularizer × training size: mean in the printed unit with its 95 % bootstrap interval.

    Columns method, train_size (`all` for the whole set), mean, low, high (over the primary unit; NaN for one of
    it), units (how many of it), blocks. Only regularizers with a result at every size, and only blocks that all of
    these have at every size, so that neither sizes nor regularizers are compared over different data; without such
    a block there are no rows.
    """
    import pandas as pd

    grids, _ = crossed(grids)
    unit = unit_of(grids)
    levels, methods = blocks_of(grids), _everywhere(grids)
    shared = np.ones(tuple(len(levels[name]) for name in BLOCK), dtype=bool)
    for grid in grids.values():
        here = np.zeros(shared.shape, dtype=bool)
        chosen = [grid.place("regularizer", method) for method in methods]
        here[places_of(levels, grid)] = grid.done[chosen].all(axis=0)
        shared &= here
    rows: list[dict[str, Any]] = []
    for size, grid in grids.items() if methods and shared.any() else ():
        state = np.where(shared[places_of(levels, grid)], grid.state, State.MISSING)
        part = replace(grid, state=state).restricted({"regularizer": methods})
        means = part.means(metric.name, ("regularizer", *unit.factors))
        whole = part.means(metric.name, ("regularizer",))
        for method in methods:
            values = [percent(value, metric) for (own, *_), value in means.items() if own == method]
            row = {
                "method": method,
                "train_size": ALL if size == WHOLE else size,
                "mean": percent(whole[method,], metric),
            }
            if len(values) > 1:
                found = clustered_interval(values)
                row |= {"low": found.low, "high": found.high}
            rows.append({**row, "units": len(values), "blocks": int(shared.sum())})
    frame = pd.DataFrame(rows, columns=["method", "train_size", "mean", "low", "high", "units", "blocks"])
    return frame.astype(dict.fromkeys(("mean", "low", "high"), "float64"))


def _everywhere(grids: Grids) -> list[Any]:
    """The regularizers with a result at every size."""
    first = next(iter(grids.values()))
    return [level for level in first.compared if all(level in grid.compared for grid in grids.values())]


def size_tests(grids: Grids, metric: Metric, treatment: Any, baseline: Any | None) -> "pd.DataFrame":
    """Size × comparison: the treatment against each rival, and every other regularizer against the baseline.

    Columns train_size, method, rival, pairs (of the primary unit), mean_difference, hodges_lehmann, low, high,
    confidence (gains of the method, in the printed unit), p (two-sided exact signed-rank test), p_holm (over all
    comparisons of the size), floor, floor_holm. At every size over the blocks that both have at all sizes; a
    comparison without one has pairs = 0 and counts in Holm's correction as p = 1.
    """
    import pandas as pd

    grids, _ = crossed(grids)
    unit, methods = unit_of(grids), _everywhere(grids)
    compared = [(treatment, rival) for rival in methods if rival != treatment and treatment in methods]
    if baseline in methods:
        compared += [(method, baseline) for method in methods if method not in (treatment, baseline)]
    differences = {pair: by_size(grids, metric, *pair, unit) for pair in compared}
    rows: list[dict[str, Any]] = []
    for place, size in enumerate(grids):
        found = [_test([line[place] for line in differences[pair].values()], metric) for pair in compared]
        for name in ("p", "floor"):
            adjusted = holm([one.get(name, 1.0) for one in found]) if found else []
            for one, value in zip(found, adjusted, strict=True):
                one[f"{name}_holm"] = value if name in one else None
        for (method, rival), one in zip(compared, found, strict=True):
            rows.append({"train_size": ALL if size == WHOLE else size, "method": method, "rival": rival, **one})
    names = (
        "mean_difference",
        "hodges_lehmann",
        "low",
        "high",
        "confidence",
        "p",
        "p_holm",
        "floor",
        "floor_holm",
    )
    frame = pd.DataFrame(rows, columns=["train_size", "method", "rival", "pairs", *names])
    return frame.astype(dict.fromkeys(names, "float64"))


def _test(differences: list[Any], metric: Metric) -> dict[str, Any]:
    if not differences:
        return {"pairs": 0}
    test = signed_rank(differences, PRIMARY_SIDE, PRIMARY_ZEROS)
    low, high, confidence = test.interval
    return {
        "pairs": len(differences),
        "mean_difference": percent(sum(differences) / len(differences), metric),
        "hodges_lehmann": metric.scale * test.hodges_lehmann,
        "low": metric.scale * low,
        "high": metric.scale * high,
        "confidence": confidence,
        "p": test.p,
        "floor": test.floor,
    }


def table(grids: Grids, metric: Metric, treatment: Any, baseline: Any | None) -> Table | None:
    """`size_tests` as a table; None where nothing is paired."""
    frame = size_tests(grids, metric, treatment, baseline)
    if frame.empty or not (frame["pairs"] > 0).any():
        return None
    kept, without_whole = crossed(grids)
    unit, family = unit_of(kept), len(frame) // len(kept)
    last = next(reversed(kept.values()))
    confidence = sorted({f"{100 * value:.4g}" for value in frame["confidence"].dropna()})
    why = why_primary(last) if unit.name == primary_unit(last) else unit.label

    def estimate(row: Any) -> str:
        if row["hodges_lehmann"] != row["hodges_lehmann"]:
            return NOTHING
        low, high = signed(row["low"], metric), signed(row["high"], metric)
        return f"{signed(row['hodges_lehmann'], metric)} [{low}, {high}]"

    in_units = f" in {metric.difference_unit}" if metric.difference_unit else ""
    return Table(
        name="size_tests",
        title=f"Tests at every training size: {metric.label}",
        caption=sentences(
            f"Gains{in_units} of the first over the second, positive is better, paired by {why}. At every size "
            "over the blocks that both have at all sizes. Estimate: Hodges-Lehmann with an interval of the "
            f"confidence really achieved ({' or '.join(confidence)} %; aimed at 95 %). p: exact Wilcoxon "
            f"signed-rank test, two-sided; in parentheses after Holm over the {family} "
            f"{plural(family, 'comparison')} of a size, not over the sizes. Least p: the smallest that these "
            "ranks could give.",
            without_whole,
            about(replace(last, state=np.full_like(last.state, State.DONE))),
        ),
        values=frame,
        columns=(
            Column("training size", lambda row: str(row["train_size"]), value=as_number),
            text("method"),
            text("rival", "against"),
            count("pairs"),
            Column("mean difference", lambda row: signed(row["mean_difference"], metric), value="mean_difference"),
            Column("estimate [interval]", estimate, value="hodges_lehmann"),
            p_values("p", "p (Holm)", "p_holm"),
            Column(
                "least p (Holm)",
                lambda row: f"{p_text(row['floor'])} ({p_text(row['floor_holm'])})",
                value="floor",
            ),
        ),
        block="train_size",
    )
