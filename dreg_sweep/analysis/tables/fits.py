"""Fitted functions of a regression: how steep they are at the training points, between them, and on the test grid.

A regularizer that presses on the gradient at the training points might leave the function steep between them; the
ratio of the two shows whether it did.
"""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from dreg_sweep.analysis.grid import BLOCK, Grid
from dreg_sweep.analysis.report.render import NOTHING, Column, Table
from dreg_sweep.analysis.rows.strengths import Strengths
from dreg_sweep.analysis.scores import REGRESSION, Metric
from dreg_sweep.analysis.statistics.bootstrap import clustered_interval
from dreg_sweep.analysis.tables.wording import count, mean_sd, plural, sentences, text

if TYPE_CHECKING:
    import pandas as pd

PLACES = ("train", "between", "test")
_KEYS = ["cell", "config_hash"]
ENOUGH = 6  # seeds: the fewest whose two-sided signed-rank test can reach 0.05


def fitted(grid: Grid, cells: "pd.DataFrame", fits: "pd.DataFrame") -> "pd.DataFrame":
    """The rows of `load_fits` that belong to done cells of the grid, with their levels and the cell's test loss.

    cells: the chosen rows of `load_cells`, whose regularizer may be `name@strength`. Columns: cell, dataset,
    activation, seed, regularizer, test_loss, place and the lists x1, x2, target, prediction, gradient_norm.
    """
    done = cells[(cells["status"] == "done") & cells["regularizer"].isin(grid.compared)]
    for factor in BLOCK:
        done = done[done[factor].isin(grid.levels[factor])]
    own = done[[*_KEYS, "regularizer", *BLOCK, REGRESSION]].drop_duplicates(_KEYS)
    lists = ["place", "x1", "x2", "target", "prediction", "gradient_norm"]
    return own.merge(fits[[*_KEYS, *lists]], on=_KEYS).drop(columns="config_hash")


def slopes(grid: Grid, rows: "pd.DataFrame", strengths: Strengths) -> "pd.DataFrame":
    """Dataset × activation × regularizer: mean gradient norms, the ratio between / train, and the test error.

    rows: of `fitted`. Columns dataset, activation, regularizer, strength (as levels write it, empty for a
    regularizer with one), seeds; train, between, test (mean ‖∂f/∂x‖ over points, then over seeds); ratio
    (geometric mean over the seeds of between / train), ratio_low, ratio_high (95 % bootstrap interval over seeds,
    of the logarithms), ratio_seeds (those where neither norm is 0, of which alone a ratio exists); mse and mse_sd
    (of the test loss over seeds, n − 1).
    """
    import pandas as pd

    own = rows.assign(norm=[_mean(values) for values in rows["gradient_norm"]])
    wide = own.pivot_table(index=["dataset", "activation", "regularizer", "seed"], columns="place", values="norm")
    norms: Any = wide.reindex(columns=list(PLACES))
    losses = own.drop_duplicates("cell").groupby(["dataset", "activation", "regularizer"], observed=True)[
        REGRESSION
    ]
    lines: list[dict[str, Any]] = []
    for dataset in grid.levels["dataset"]:
        for activation in grid.levels["activation"]:
            for level in grid.compared:
                if (dataset, activation, level) not in norms.index:
                    continue
                seeds = norms.loc[(dataset, activation, level)]
                loss = losses.get_group((dataset, activation, level)).to_numpy(dtype=float)
                one = strengths.by_level.get(level)
                line = {"dataset": dataset, "activation": activation}
                line |= {"regularizer": one.regularizer if one else level}
                line |= {"strength": strengths.written(level) if one else "", "seeds": len(seeds)}
                line |= {place: float(seeds[place].mean()) for place in PLACES}
                line |= _ratio(seeds["train"].to_numpy(dtype=float), seeds["between"].to_numpy(dtype=float))
                line |= {"mse": float(loss.mean()), "mse_sd": float(loss.std(ddof=1)) if len(loss) > 1 else None}
                lines.append(line)
    numbers = (*PLACES, "ratio", "ratio_low", "ratio_high", "mse", "mse_sd")
    names = ["dataset", "activation", "regularizer", "strength", "seeds", *numbers, "ratio_seeds"]
    return pd.DataFrame(lines, columns=names).astype(dict.fromkeys(numbers, "float64"))


def _mean(values: Any) -> float:
    numbers = np.asarray(values if np.iterable(values) else [], dtype=float)
    return float(numbers.mean()) if len(numbers) else math.nan


def _ratio(train: np.ndarray, between: np.ndarray) -> dict[str, Any]:
    """The geometric mean of between / train over the seeds where both are above 0, and its interval."""
    there = (train > 0) & (between > 0)
    logs = np.log(between[there] / train[there])
    found: dict[str, Any] = {"ratio_seeds": len(logs)}
    if len(logs) > 1:
        interval = clustered_interval(logs)
        ends = {"ratio": interval.estimate, "ratio_low": interval.low, "ratio_high": interval.high}
        return found | {name: math.exp(value) for name, value in ends.items()}
    return found | ({"ratio": math.exp(logs[0])} if len(logs) else {})


def table(frame: "pd.DataFrame") -> Table:
    """The frame of `slopes` as a table."""
    several = frame["activation"].nunique() > 1
    lost = int((frame["seeds"] - frame["ratio_seeds"]).sum())
    spread = bool(frame["ratio_low"].notna().any())

    def ratio(row: Any) -> str:
        if row["ratio"] != row["ratio"]:
            return NOTHING
        if row["ratio_low"] != row["ratio_low"]:
            return f"{row['ratio']:.3f}"
        return f"{row['ratio']:.3f} [{row['ratio_low']:.3f}, {row['ratio_high']:.3f}]"

    return Table(
        name="fits",
        title="Steepness of the fitted functions at and between the training points",
        caption=sentences(
            "‖∂f/∂x‖ of the fitted function: its mean over the training points, over the points halfway between "
            "neighbouring ones, and over the test grid; then over seeds. Between / train: the geometric mean over "
            "seeds of the ratio of the two means; above 1 the function is steeper between the training points "
            "than at them.",
            "In brackets the 95 % bootstrap interval over seeds, which is too short rather than too long with few "
            "of them."
            if spread
            else "",
            f"{lost} {plural(lost, 'fit')} without a ratio, being constant at one of the places, "
            f"{'is' if lost == 1 else 'are'} left out of it."
            if lost
            else "",
            "Test error: mean squared error on the noise-free test grid, ± standard deviation (n − 1) over seeds.",
        ),
        values=frame,
        columns=(
            text("dataset"),
            *([text("activation")] if several else []),
            text("regularizer"),
            Column("strength", lambda row: row["strength"] or NOTHING),
            count("seeds"),
            *(_norm(place) for place in PLACES),
            Column("between / train", ratio, value="ratio"),
            mean_sd("mse", "mse_sd", Metric(REGRESSION, 1, "", False), "test error"),
        ),
        block="dataset",
    )


def _norm(place: str) -> Column:
    return Column(place, lambda row: NOTHING if row[place] != row[place] else f"{row[place]:#.3g}", value=place)


def finding(frame: "pd.DataFrame") -> str:
    """Whether functions are flat at the training points and steep between them, in two or three sentences.

    How many fits are steeper between the points is told where the seeds suffice for an interval to mean something.
    """
    known = frame[frame["ratio"].notna()]
    if known.empty:
        return ""
    steepest = dict(known.sort_values("ratio", kind="stable").iloc[-1].items())
    strength = f" at {steepest['strength']}" if steepest["strength"] else ""
    most = float(steepest["ratio"])
    said = (
        f"Between neighbouring training points the fits are at most {most:.3g} times as steep as at them "
        f"({steepest['regularizer']}{strength} on {steepest['dataset']}; the median of {len(known)} "
        f"{plural(len(known), 'kind')} of fit is {known['ratio'].median():.3g}); functions flat at the training "
        "points only would have a ratio far above 1."
    )
    told = known[known["ratio_low"].notna() & (known["ratio_seeds"] >= ENOUGH)]
    if told.empty:
        return f"{said} With fewer than {ENOUGH} seeds no signed-rank test could tell one of them from 1."
    above, below = int((told["ratio_low"] > 1).sum()), int((told["ratio_high"] < 1).sum())
    return (
        f"{said} Of {len(told)} {plural(len(told), 'kind')}, {above} are steeper between the points and {below} "
        "less steep (interval over seeds without 1, uncorrected)."
    )
