"""The headline table: every regularizer's accuracies with ranks, and the treatment's test against each rival."""

from fractions import Fraction
from typing import TYPE_CHECKING, Any

from dreg_sweep.analysis.grid import Grid
from dreg_sweep.analysis.pairing import PRIMARY_SIDE, UNITS, Family, primary
from dreg_sweep.analysis.report.render import Column, Mark, Table
from dreg_sweep.analysis.scores import Metric
from dreg_sweep.analysis.statistics.exact import doubled_midranks
from dreg_sweep.analysis.tables.wording import (
    MARKS,
    about,
    best_in,
    count,
    mean,
    mean_sd,
    p_values,
    percent,
    plural,
    sd,
    sentences,
    text,
)

if TYPE_CHECKING:
    import pandas as pd


def ranks(values: list[Fraction], metric: Metric) -> list[float]:
    """Rank 1 = best, ties share the midrank."""
    return [rank / 2 for rank in doubled_midranks([-metric.sign * value for value in values])]


def mean_ranks(grid: Grid, metric: Metric, factors: tuple[str, ...]) -> tuple[dict[Any, float], int]:
    """Mean over the combinations of `factors` of each regularizer's rank there, and how many there are."""
    methods = grid.compared
    means = grid.means(metric.name, ("regularizer", *factors))
    blocks = list(dict.fromkeys(key[1:] for key in means))
    rows = [ranks([grid.settle(means[method, *block]) for method in methods], metric) for block in blocks]
    if not rows:
        return {}, 0
    return {method: sum(row[i] for row in rows) / len(rows) for i, method in enumerate(methods)}, len(rows)


def overall(grid: Grid, treatment: Any, tests: "pd.DataFrame", family: Family) -> Table:
    """Regularizer × metrics over the complete blocks.

    Columns of the values, for each metric m: m_mean and m_sd (over seeds, n − 1; null for one seed), m_rank (of
    the mean, 1 = best, midranks), m_mean_rank (over datasets), m_difference (mean gain of the treatment over
    this one), m_p, m_p_holm, m_n, m_floor (primary unit, two-sided), m_p_seed, m_p_seed_holm (one-sided, paired
    by seed: the likely reading of the paper).
    """
    import pandas as pd

    methods = grid.compared
    values: dict[str, list[Any]] = {"regularizer": methods}
    datasets = 0
    for metric in grid.metrics:
        name = metric.name
        by_seed = grid.means(name, ("regularizer", "seed"))
        runs = {level: [value for key, value in by_seed.items() if key[0] == level] for level in methods}
        means = [mean(runs[level]) for level in methods]
        by_dataset, datasets = mean_ranks(grid, metric, ("dataset",))
        values[f"{name}_mean"] = [percent(value, metric) for value in means]
        values[f"{name}_sd"] = [sd(runs[level], metric) for level in methods]
        values[f"{name}_rank"] = ranks([grid.settle(value) for value in means], metric)
        values[f"{name}_mean_rank"] = [by_dataset[level] for level in methods]
        here = primary(tests, name).set_index("rival")
        for column, source in (
            ("difference", "mean_difference"), ("p", "p"), ("p_holm", "p_holm"), ("n", "n"), ("floor", "floor"),
        ):  # fmt: skip
            values[f"{name}_{column}"] = _of(here, source, methods)
        seeds = primary(tests, name, unit="seed", alternative="greater").set_index("rival")
        values[f"{name}_p_seed"] = _of(seeds, "p", methods)
        values[f"{name}_p_seed_holm"] = _of(seeds, "p_holm", methods)
    frame = pd.DataFrame(values)
    whole = [name for name in frame.columns[1:] if name.endswith("_n")]
    frame = frame.astype({name: "Int64" if name in whole else "float64" for name in frame.columns[1:]})

    columns: list[Column] = [text("regularizer")]
    marks: dict[tuple[int, str], Mark] = {}
    for metric in grid.metrics:
        name = metric.name
        columns += [
            mean_sd(f"{name}_mean", f"{name}_sd", metric, name),
            count(f"{name}_rank", "rank"),
            Column(
                "mean rank",
                lambda row, name=name: f"{row[f'{name}_mean_rank']:.2f}",  # type: ignore[misc]
                value=f"{name}_mean_rank",
            ),
        ]
        printed = best_in(frame[f"{name}_mean"].tolist(), metric)
        marks |= {(row, name): mark for row, mark in enumerate(printed) if mark}
    first = grid.metrics[0].name
    if len(methods) > 1 and treatment in methods:
        columns += [
            p_values(f"{first}_p", "p datasets (Holm)", f"{first}_p_holm"),
            p_values(f"{first}_p_seed", "p seeds, one-sided (Holm)", f"{first}_p_seed_holm"),
        ]
    seeds_n = len({key[1] for key in grid.means(first, ("regularizer", "seed"))})
    return Table(
        name="overall",
        title="Regularizers: accuracy in %" if grid.metrics[0].unit else f"Regularizers: {first}",
        caption=sentences(
            f"Mean ± standard deviation over {seeds_n} {plural(seeds_n, 'seed')}; within a seed, values are "
            "averaged over activations and datasets first.",
            f"Rank: of the means in the column before it, 1 = best. Mean rank: the average over {datasets} "
            f"{plural(datasets, 'dataset')} of the rank there.",
            MARKS,
            about(grid),
            _test_sentence(tests, treatment, first, family),
        ),
        values=frame,
        columns=tuple(columns),
        marks=marks,
    )


def _of(frame: "pd.DataFrame", column: str, methods: list[Any]) -> list[Any]:
    found = frame[column].to_dict()
    return [found.get(method) for method in methods]


def _test_sentence(tests: "pd.DataFrame", treatment: Any, metric: str, family: Family) -> str:
    here = primary(tests, metric)
    if here.empty:
        return "No other regularizer to test against."
    parts = [
        f"p: exact Wilcoxon signed-rank test of {treatment} against each rival in {metric}, zero differences "
        f"dropped, midranks for ties; in parentheses after {family.sentence}."
    ]
    for unit, side in (("dataset", PRIMARY_SIDE), ("seed", "greater")):
        rows = primary(tests, metric, unit=unit, alternative=side)
        rows = rows[rows["pairs"] > 0]
        if rows.empty:
            continue
        low, high = int(rows["pairs"].min()), int(rows["pairs"].max())
        amount = f"{low} pairs" if low == high else f"{low} to {high} pairs"
        parts.append(f"Paired by {UNITS[unit].label} ({amount}, {side}) {reach(rows)}.")
    return sentences(*parts)


def reach(rows: "pd.DataFrame") -> str:
    """`no p can be below 0.0078, and none below 0.039 after Holm`, and what 0.05 would need."""
    floor, adjusted = float(rows["floor"].min()), float(rows["floor_holm"].min())
    said = f"no p can be below {floor:.3g}"
    if adjusted != floor:
        said += f", and none below {adjusted:.3g} after Holm"
    if not rows["can_reach"].any():
        said += f": 0.05 cannot be reached and would need {int(rows['pairs_needed'].max())} pairs"
    return said
