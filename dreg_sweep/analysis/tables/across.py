"""All regularizers at once: rank tests, analysis of variance, and which would rank first."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dreg_sweep.analysis.grid import Grid
from dreg_sweep.analysis.pairing import UNITS, Unit, primary_unit, why_primary
from dreg_sweep.analysis.report.render import NOTHING, Column, Table
from dreg_sweep.analysis.scores import Metric
from dreg_sweep.analysis.statistics.anova import repeated_measures, two_way
from dreg_sweep.analysis.statistics.bootstrap import chance_of_first
from dreg_sweep.analysis.statistics.rank_tests import Friedman, friedman
from dreg_sweep.analysis.tables.wording import about, count, p_values, sentences, text

if TYPE_CHECKING:
    import pandas as pd


def blocks_by_method(grid: Grid, metric: Metric, unit: Unit) -> "pd.DataFrame":
    """Complete blocks of a unit × regularizer: gains as integers over one denominator (higher is better)."""
    import pandas as pd

    labels, values, _ = grid.block_table(metric, unit.factors)
    index = pd.MultiIndex.from_tuples(labels, names=list(unit.factors)) if labels else None
    return pd.DataFrame(values, index=index, columns=grid.compared)


def by_unit(grid: Grid) -> dict[tuple[str, str], Friedman]:
    """Friedman's test for each (metric, unit) that has at least two complete blocks."""
    tests = {}
    for metric in grid.metrics:
        for unit in UNITS.values():
            table = blocks_by_method(grid, metric, unit)
            if len(table) > 1 and len(grid.compared) > 1:
                tests[metric.name, unit.name] = friedman(table)
    return tests


def rank_tests(grid: Grid, tests: Mapping[tuple[str, str], Friedman]) -> Table | None:
    """Friedman's test under each unit, Iman-Davenport, Kendall's W, Nemenyi's critical difference.

    tests: of `by_unit`. None with fewer than two regularizers. A unit with fewer than two complete blocks has a
    row of nulls.
    """
    import pandas as pd

    if len(grid.compared) < 2:
        return None
    first = primary_unit(grid)
    rows = []
    for metric in grid.metrics:
        for unit in UNITS.values():
            blocks = len(grid.block_table(metric, unit.factors)[0])
            row: dict[str, Any] = {"metric": metric.name, "unit": unit.name, "blocks": blocks}
            row |= {"methods": len(grid.compared), "caution": unit.caution}
            test = tests.get((metric.name, unit.name))
            if test is not None:
                row |= {
                    "chi2": test.chi2,
                    "p": test.p,
                    "iman_davenport": test.iman_davenport,
                    "p_iman_davenport": test.p_iman_davenport,
                    "kendall_w": test.kendall_w,
                    "critical_difference": test.critical_difference,
                    "floor": math.factorial(len(grid.compared)) ** (1.0 - blocks),
                }
            rows.append(row)
    names = ("chi2", "p", "iman_davenport", "p_iman_davenport", "floor", "kendall_w", "critical_difference")
    frame = pd.DataFrame(rows, columns=["metric", "unit", "blocks", "methods", *names, "caution"])
    frame = frame.astype(dict.fromkeys(names, "float64"))
    return Table(
        name="rank_tests",
        title="All regularizers at once: rank tests",
        caption=sentences(
            "Friedman's χ² with tie correction and its p, Iman and Davenport's F and its p, Kendall's W, and "
            "Nemenyi's critical difference of mean ranks at 0.05 (nothing for fewer than two blocks). Both p are "
            "approximations; least p is the exact chance that all blocks have the same order, below which no p of "
            "theirs means anything. Units marked † are pseudo-replicated or speak about new seeds only.",
            _why(grid),
            about(grid),
        ),
        values=frame,
        columns=(
            text("metric"),
            Column("blocks are", lambda row: unit_text(row["unit"], first), numeric=False),
            count("blocks"),
            _number("chi2", "χ²"),
            p_values("p", "p"),
            _number("iman_davenport", "F"),
            p_values("p_iman_davenport", "p (F)"),
            p_values("floor", "least p"),
            _number("kendall_w", "W"),
            _number("critical_difference", "CD"),
        ),
        block="metric",
    )


def _why(grid: Grid) -> str:
    """The primary unit, where it is not the usual one."""
    return f"Primary: {why_primary(grid)}." if primary_unit(grid) != "dataset" else ""


def unit_text(name: str, primary: str) -> str:
    """`datasets (primary)`, with a dagger where the unit has a caution."""
    unit = UNITS[name]
    return f"{unit.short}{' (primary)' if name == primary else ''}{'†' if unit.caution else ''}"


def _number(name: str, header: str) -> Column:
    def show(row: Any) -> str:
        value = row[name]
        return NOTHING if value is None or value != value else ("∞" if np.isinf(value) else f"{value:.2f}")

    return Column(header, show, value=name)


def variance(grid: Grid) -> Table | None:
    """Repeated-measures analysis of variance on dataset means, and the interaction activation × regularizer.

    Effects: regularizer (datasets × regularizers, means over activations and seeds), and, with more than one
    activation, regularizer, activation and their interaction (datasets × activations × regularizers, means over
    seeds). Only datasets with every such mean take part; None with fewer than two of them. Of a sweep on one
    dataset the seeds are the subjects instead.
    """
    import pandas as pd

    if len(grid.compared) < 2:
        return None
    subject = UNITS[primary_unit(grid)]
    rows: list[dict[str, Any]] = []
    for metric in grid.metrics:
        labels, values, denominator = grid.block_table(metric, subject.factors)
        if len(labels) < 2:
            return None
        means = values.astype(float) * (metric.scale / denominator)
        rows.append(_effect(metric, "regularizer", subject, len(labels), repeated_measures(means)))
        cube, subjects = _cube(grid, metric, subject.name)
        if subjects > 1 and cube.shape[1] > 1:
            effects = two_way(cube * metric.scale)
            for name, effect in (
                ("activation", effects.a),
                ("activation × regularizer", effects.interaction),
            ):
                rows.append(_effect(metric, name, subject, subjects, effect))
    frame = pd.DataFrame(rows)
    return Table(
        name="variance",
        title="Repeated-measures analysis of variance",
        caption=sentences(
            f"{subject.short.capitalize()} are the subjects; their means are the scores. ε: Greenhouse and "
            "Geisser's estimate, by which both degrees of freedom are multiplied in p (GG). η²: partial. The "
            "interaction asks whether the differences between regularizers depend on the activation.",
            _why(grid),
            about(grid),
        ),
        values=frame,
        columns=(
            text("metric"),
            text("effect"),
            count(subject.short),
            _number("f", "F"),
            Column("df", lambda row: f"{row['df']:g}, {row['df_error']:g}"),
            p_values("p", "p"),
            _number("epsilon", "ε"),
            p_values("p_greenhouse_geisser", "p (GG)"),
            _number("partial_eta_squared", "η²"),
        ),
        block="metric",
    )


def _cube(grid: Grid, metric: Metric, subject: str) -> tuple[np.ndarray, int]:
    """(datasets, activations, regularizers) of means over seeds, of the datasets that have all of them.

    Or seeds and means over datasets, where `seed` is the subject.
    """
    means = grid.means(metric.name, (subject, "activation", "regularizer"))
    activations, methods = grid.levels["activation"], grid.compared
    full = [
        level
        for level in grid.levels[subject]
        if all((level, activation, methods[0]) in means for activation in activations)
    ]
    scores = [[[float(means[level, a, m]) for m in methods] for a in activations] for level in full]
    return np.array(scores).reshape(len(full), len(activations), len(methods)), len(full)


def _effect(metric: Metric, name: str, subject: Unit, subjects: int, effect: Any) -> dict[str, Any]:
    return {
        "metric": metric.name,
        "effect": name,
        subject.short: subjects,
        "f": effect.f,
        "df": effect.df,
        "df_error": effect.df_error,
        "p": effect.p,
        "epsilon": effect.greenhouse_geisser,
        "p_greenhouse_geisser": effect.p_greenhouse_geisser,
        "partial_eta_squared": effect.partial_eta_squared,
    }


def standing(grid: Grid, tests: Mapping[tuple[str, str], Friedman]) -> Table | None:
    """Mean rank of each regularizer under each unit (tests: of `by_unit`), and the probability that it is first.

    p_first: the share of bootstrap resamples of the datasets (of a sweep on one dataset: the seeds) in which its
    mean is the best.
    """
    import pandas as pd

    if len(grid.compared) < 2:
        return None
    unit = UNITS[primary_unit(grid)]
    rows = []
    for metric in grid.metrics:
        ranks_by = {name: tests[metric.name, name].mean_ranks for name in UNITS if (metric.name, name) in tests}
        table = blocks_by_method(grid, metric, unit)
        first: Sequence[float] = chance_of_first(table) if len(table) > 1 else [float("nan")] * len(grid.compared)
        for place, method in enumerate(grid.compared):
            ranks = {f"rank_{name}": ranks_by[name].iloc[place] if name in ranks_by else None for name in UNITS}
            rows.append({"metric": metric.name, "regularizer": method, **ranks, "p_first": list(first)[place]})
    frame = pd.DataFrame(rows)
    frame = frame.astype(dict.fromkeys(frame.columns[2:], "float64"))
    best = "highest" if grid.metrics[0].higher_is_better else "lowest"
    return Table(
        name="standing",
        title="Mean ranks, and the chance of ranking first",
        caption=sentences(
            "Rank 1 is best; ties share the midrank. Chance of first: the share of bootstrap resamples of the "
            f"{unit.short} (drawn with replacement) in which the regularizer's mean is the {best}; ties share.",
            about(grid),
        ),
        values=frame,
        columns=(
            text("metric"),
            text("regularizer"),
            *(_number(f"rank_{name}", UNITS[name].short) for name in UNITS),
            _number("p_first", "chance of first"),
        ),
        block="metric",
    )
