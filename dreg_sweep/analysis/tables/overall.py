"""The headline table: every regularizer's accuracies with ranks, and the treatment's test against each rival."""

from fractions import Fraction
from typing import TYPE_CHECKING, Any

from dreg_sweep.analysis.grid import Grid
from dreg_sweep.analysis.pairing import PRIMARY_SIDE, UNITS, Family, primary, primary_unit, why_primary
from dreg_sweep.analysis.report.render import Column, Mark, Table
from dreg_sweep.analysis.scores import Metric
from dreg_sweep.analysis.statistics.exact import doubled_midranks
from dreg_sweep.analysis.tables.wording import (
    MARKS,
    about,
    best_in,
    count,
    mean_sd,
    p_values,
    percent,
    plural,
    sd,
    sentences,
    text,
    unlike_seeds,
)

if TYPE_CHECKING:
    import pandas as pd


def ranks(values: list[Fraction], metric: Metric) -> list[float]:
    """Rank 1 = best, ties share the midrank."""
    return [rank / 2 for rank in doubled_midranks([-metric.sign * value for value in values])]


def mean_ranks(grid: Grid, metric: Metric, factors: tuple[str, ...]) -> tuple[dict[Any, float], int]:
    """Mean over the combinations of `factors` of each regularizer's rank there, and how many there are."""
    methods = grid.compared
    means = grid.means(metric.name, ("regularizer", *factors), settled=True)
    blocks = list(dict.fromkeys(key[1:] for key in means))
    rows = [ranks([means[method, *block] for method in methods], metric) for block in blocks]
    if not rows:
        return {}, 0
    return {method: sum(row[i] for row in rows) / len(rows) for i, method in enumerate(methods)}, len(rows)


_NUMERIC = (
    "mean", "sd", "rank", "mean_rank", "difference", "p", "p_holm", "pairs", "floor", "p_seed", "p_seed_holm",
)  # fmt: skip


def by_metric(grid: Grid, tests: "pd.DataFrame") -> "pd.DataFrame":
    """Metric × regularizer over the complete blocks: mean, ranks, and the treatment's test against each rival.

    Columns metric, regularizer; mean and sd (over seeds, n − 1; null for one seed); rank (of the mean, 1 = best,
    midranks) and mean_rank (over datasets); difference (mean gain of the treatment over this one), p, p_holm,
    pairs, floor (primary unit, two-sided); p_seed, p_seed_holm (one-sided, paired by seed: the likely reading of
    the paper). Means are over complete blocks, differences and p over the pairs there are.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    methods = grid.compared
    for metric in grid.metrics:
        by_seed = grid.means(metric.name, ("regularizer", "seed"))
        runs = {level: [value for key, value in by_seed.items() if key[0] == level] for level in methods}
        means = grid.means(metric.name, ("regularizer",))
        settled = grid.means(metric.name, ("regularizer",), settled=True)
        by_mean = ranks([settled[level,] for level in methods], metric)
        by_dataset, _ = mean_ranks(grid, metric, ("dataset",))
        tested = primary(tests, metric.name).set_index("rival")
        paper = primary(tests, metric.name, unit="seed", alternative="greater").set_index("rival")
        for place, level in enumerate(methods):
            row = {
                "metric": metric.name,
                "regularizer": level,
                "mean": percent(means[level,], metric),
                "sd": sd(runs[level], metric) if grid.seeds_alike else None,
                "rank": by_mean[place],
                "mean_rank": by_dataset[level],
            }
            if level in tested.index:
                row["difference"] = tested.at[level, "mean_difference"]
                row |= {name: tested.at[level, name] for name in ("p", "p_holm", "pairs", "floor")}
                row |= {"p_seed": paper.at[level, "p"], "p_seed_holm": paper.at[level, "p_holm"]}
            rows.append(row)
    frame = pd.DataFrame(rows, columns=["metric", "regularizer", *_NUMERIC])
    return frame.astype({name: "Int64" if name == "pairs" else "float64" for name in _NUMERIC})


def overall(grid: Grid, treatment: Any, tests: "pd.DataFrame", family: Family) -> Table:
    """The headline: one row a regularizer, its mean ± sd in every metric; ranks and tests of the primary one.

    Values: the columns of `by_metric` for every metric m, called m_mean, m_sd, m_rank and so on.
    """
    import pandas as pd

    long = by_metric(grid, tests)
    parts = {name: part.set_index("regularizer").drop(columns="metric") for name, part in long.groupby("metric")}
    wide = pd.concat(
        [parts[metric.name].add_prefix(f"{metric.name}_").reindex(grid.compared) for metric in grid.metrics],
        axis=1,
    )
    frame = wide.rename_axis("regularizer").reset_index()
    first = grid.metrics[0].name
    columns = [text("regularizer")]
    columns += [
        mean_sd(f"{metric.name}_mean", f"{metric.name}_sd", metric, metric.name) for metric in grid.metrics
    ]
    columns += _ranks_and_tests(grid, f"{first}_", tested=bool(frame[f"{first}_p"].notna().any()))
    marks: dict[tuple[int, str], Mark] = {}
    for metric in grid.metrics:
        found = best_in(frame[f"{metric.name}_mean"].tolist(), metric)
        marks |= {(row, metric.name): mark for row, mark in enumerate(found) if mark}
    return Table(
        name="overall",
        title="Regularizers: accuracy in %" if grid.metrics[0].unit else f"Regularizers: {grid.metrics[0].label}",
        caption=sentences(
            _spread_sentence(grid),
            f"Ranks and p are about {first}; the table ranks has all." if len(grid.metrics) > 1 else "",
            _ranks_sentence(grid),
            MARKS,
            about(grid),
            _test_sentence(grid, tests, treatment, family),
        ),
        values=frame,
        columns=tuple(columns),
        marks=marks,
    )


def ranks_table(grid: Grid, treatment: Any, tests: "pd.DataFrame", family: Family) -> Table:
    """`by_metric` as a table: the ranks and tests of every metric."""
    frame = by_metric(grid, tests)
    metrics = {metric.name: metric for metric in grid.metrics}
    marks: dict[tuple[int, str], Mark] = {}
    for name, metric in metrics.items():
        rows = frame.index[frame["metric"] == name].tolist()
        found = best_in(frame.loc[rows, "mean"].tolist(), metric)
        marks |= {(row, "mean"): mark for row, mark in zip(rows, found, strict=True) if mark}
    return Table(
        name="ranks",
        title="Regularizers by metric: means, ranks and tests",
        caption=sentences(
            _spread_sentence(grid),
            _ranks_sentence(grid),
            MARKS,
            about(grid),
            _test_sentence(grid, tests, treatment, family),
        ),
        values=frame,
        columns=(
            text("metric"),
            text("regularizer"),
            mean_sd("mean", "sd", grid.metrics[0], "mean"),
            *_ranks_and_tests(grid, "", tested=bool(frame["p"].notna().any())),
        ),
        marks=marks,
        block="metric",
    )


def _ranks_and_tests(grid: Grid, prefix: str, tested: bool) -> list[Column]:
    columns = [
        count(f"{prefix}rank", "rank"),
        Column("mean rank", lambda row: f"{row[f'{prefix}mean_rank']:.2f}", value=f"{prefix}mean_rank"),
    ]
    if tested:
        columns += [
            p_values(f"{prefix}p", f"p {UNITS[primary_unit(grid)].short} (Holm)", f"{prefix}p_holm"),
            p_values(f"{prefix}p_seed", "p seeds, one-sided (Holm)", f"{prefix}p_seed_holm"),
        ]
    return columns


def _spread_sentence(grid: Grid) -> str:
    seeds = len({key[1] for key in grid.means(grid.metrics[0].name, ("regularizer", "seed"))})
    return (
        f"Marginal mean (seeds within activation within dataset, each dataset counting once) ± standard deviation "
        f"over {seeds} {plural(seeds, 'seed')} of each seed's mean.{unlike_seeds(grid)}"
    )


def _ranks_sentence(grid: Grid) -> str:
    datasets = len({key[0] for key in grid.means(grid.metrics[0].name, ("dataset", "regularizer"))})
    return (
        f"Rank: of the means, 1 = best. Mean rank: the average over {datasets} {plural(datasets, 'dataset')} of "
        "the rank there."
    )


def _test_sentence(grid: Grid, tests: "pd.DataFrame", treatment: Any, family: Family) -> str:
    metric, first = grid.metrics[0].name, primary_unit(grid)
    here = primary(tests, metric)
    if here.empty:
        return "No other regularizer to test against."
    parts = [
        f"p: Wilcoxon signed-rank test of {treatment} against each rival ({how(here)}; zero differences dropped, "
        f"midranks for ties); in parentheses after {family.sentence}."
    ]
    for unit, side in ((first, PRIMARY_SIDE), ("seed", "greater")):
        rows = primary(tests, metric, unit=unit, alternative=side)
        rows = rows[rows["pairs"] > 0]
        if rows.empty:
            continue
        low, high = int(rows["pairs"].min()), int(rows["pairs"].max())
        amount = f"{low} {plural(low, 'pair')}" if low == high else f"{low} to {high} pairs"
        parts.append(f"Paired by {UNITS[unit].label} ({amount}, {side}) {reach(rows)}.")
    if first != "dataset":
        parts.append(f"Primary: {why_primary(grid)}.")
    return sentences(*parts)


def how(tests: "pd.DataFrame") -> str:
    """`exact`, unless some of these tests have more pairs than an exact p is computed for."""
    return "exact" if set(tests["method"].dropna()) <= {"exact"} else "exact up to 1000 pairs, else normal"


def reach(rows: "pd.DataFrame") -> str:
    """`no p can be below 0.0078, and none below 0.039 after Holm`, and what 0.05 would need."""
    floor, adjusted = float(rows["floor"].min()), float(rows["floor_holm"].min())
    said = f"no p can be below {floor:.3g}"
    if adjusted != floor:
        said += f", and none below {adjusted:.3g} after Holm"
    if not rows["can_reach"].any():
        said += f": 0.05 cannot be reached and would need {int(rows['pairs_needed'].max())} pairs"
    return said
