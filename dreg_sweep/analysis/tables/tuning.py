"""What tuning on validation rows gains on the test set, and which strengths it chooses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dreg_sweep.analysis.grid import Grid, paired_differences
from dreg_sweep.analysis.pairing import UNITS, primary_unit, why_primary
from dreg_sweep.analysis.report.render import NOTHING, Column, Table
from dreg_sweep.analysis.rows.levels import listed
from dreg_sweep.analysis.rows.strengths import Strengths
from dreg_sweep.analysis.scores import Metric
from dreg_sweep.analysis.statistics.bootstrap import clustered_interval
from dreg_sweep.analysis.tables.factors import apart
from dreg_sweep.analysis.tables.wording import about, number, percent, sentences, signed, text
from dreg_sweep.analysis.tuning import RULES, Chosen, choices, picked, tuned

if TYPE_CHECKING:
    import pandas as pd

HOW = (
    "One for all: the strength with the best validation score, mean over datasets, activations and seeds; "
    "by dataset: the best on each dataset's validation rows, mean over its activations and seeds."
)
_TIES = (
    "A strength is chosen by the metric that is reported, among those with a validation result wherever any "
    "strength of the method has one; of equal ones the one nearest to the fixed strength, then the smaller."
)


@dataclass(frozen=True)
class Tuning:
    """The methods that were tuned, and what stands for each.

    grid: test rows of every strength. baseline, treatment: levels of it, the latter by its method's name. chosen:
    metric name → method → rule → dataset → level. untuned: methods without validation results at several
    strengths, or without test results at several.
    """

    grid: Grid
    strengths: Strengths
    baseline: Any
    treatment: Any
    chosen: Mapping[str, Mapping[str, Mapping[str, Chosen]]]
    untuned: tuple[str, ...]

    @property
    def methods(self) -> list[str]:
        """Those that were tuned, in display order."""
        return list(self.chosen[self.grid.metrics[0].name])

    @property
    def rules(self) -> list[str]:
        """Those that every tuned method has: without `fixed` where the fixed strength of one is not known."""
        own = [by_rule for by_method in self.chosen.values() for by_rule in by_method.values()]
        return [rule for rule in RULES if all(rule in by_rule for by_rule in own)]


def tuning(
    grid: Grid, held_out: Grid | None, strengths: Strengths, baseline: Any | None, treatment: Any
) -> Tuning | None:
    """What there is to say about tuning; None without a baseline or without a tuned method.

    grid, held_out: every strength, by test rows and by validation rows.
    """
    if held_out is None or baseline is None or baseline not in grid.compared:
        return None
    levels = tuned(strengths, held_out, grid)
    if not levels:
        return None
    chosen = {
        metric.name: {name: choices(name, own, strengths, grid, held_out, metric) for name, own in levels.items()}
        for metric in grid.metrics
    }
    base = strengths.by_level[treatment].regularizer if treatment in strengths.by_level else treatment
    known = [strengths.by_level[level].regularizer for level in grid.compared if level in strengths.by_level]
    single = [str(level) for level in grid.compared if level not in strengths.by_level and level != baseline]
    untuned = [name for name in dict.fromkeys([*known, *single]) if name not in levels]
    return Tuning(grid, strengths, baseline, base, chosen, tuple(untuned))


def baseline(found: Tuning) -> Chosen:
    """The baseline on every dataset."""
    return dict.fromkeys(found.grid.levels["dataset"], found.baseline)


def gains(found: Tuning) -> "pd.DataFrame":
    """Metric × method: the means and the gains over the baseline under each rule, and what tuning changes.

    Columns metric, regularizer, fixed_strength, one_strength, blocks, baseline_mean; mean and gain (over the
    baseline) of each rule, such as each_gain; change (by dataset − fixed), change_low, change_high (95 % bootstrap
    over the primary unit), pairs (of that unit). All in the metric's printed unit, over the blocks in which the
    baseline and the method under every rule have a result; a rule none of whose choices has one is null.
    """
    import pandas as pd

    unit = UNITS[primary_unit(found.grid)]
    rows: list[dict[str, Any]] = []
    for metric in found.grid.metrics:
        for method, by_rule in found.chosen[metric.name].items():
            grid = picked(found.grid, {"baseline": baseline(found), **by_rule})
            means = grid.means(metric.name, ("regularizer",))
            row: dict[str, Any] = {"metric": metric.name, "regularizer": method}
            row |= {f"{rule}_strength": _one(found, by_rule, rule) for rule in ("fixed", "one")}
            row["blocks"] = int(grid.complete.sum())
            for (rule,), value in means.items():
                row[f"{rule}_mean"] = percent(value, metric)
                if rule != "baseline":
                    row[f"{rule}_gain"] = percent(metric.sign * (value - means["baseline",]), metric)
            if {"fixed", "each"} <= set(grid.levels["regularizer"]):
                row |= _change(grid, metric, unit.factors)
            rows.append(row)
    numbers = ["baseline_mean", *(f"{rule}_{what}" for rule in RULES for what in ("mean", "gain"))]
    numbers += ["change", "change_low", "change_high"]
    names = ["metric", "regularizer", "fixed_strength", "one_strength", "blocks", *numbers, "pairs"]
    return pd.DataFrame(rows, columns=names).astype(dict.fromkeys(numbers, "float64") | {"pairs": "Int64"})


def _change(grid: Grid, metric: Metric, factors: Sequence[str]) -> dict[str, Any]:
    """change, change_low, change_high and pairs: by dataset − fixed."""
    paired = paired_differences(grid, metric, "each", "fixed", factors)
    row: dict[str, Any] = {"pairs": len(paired)}
    if len(paired):
        row["change"] = percent(paired.mean, metric)
    if len(paired) > 1:
        interval = clustered_interval([float(metric.scale * value) for value in paired.values])
        row |= {"change_low": interval.low, "change_high": interval.high}
    return row


def _one(found: Tuning, by_rule: Mapping[str, Chosen], rule: str) -> str | None:
    """The strength that a rule takes on all datasets, as text."""
    level = next(iter(by_rule.get(rule, {}).values()), None)
    return None if level is None else found.strengths.written(level)


def gains_table(found: Tuning) -> Table:
    """`gains`, a block of rows a metric."""
    frame = gains(found)
    metrics = {metric.name: metric for metric in found.grid.metrics}
    first = found.grid.metrics[0]
    unit = UNITS[primary_unit(found.grid)]
    fixed = bool(frame["fixed_strength"].notna().any())

    def under(rule: str) -> Any:
        def show(row: Mapping[str, Any]) -> str:
            metric = metrics[row["metric"]]
            if row[f"{rule}_mean"] != row[f"{rule}_mean"]:
                return NOTHING
            return f"{number(row[f'{rule}_mean'], metric)} ({signed(row[f'{rule}_gain'], metric)})"

        return show

    def change(row: Mapping[str, Any]) -> str:
        metric = metrics[row["metric"]]
        told = signed(row["change"], metric)
        if row["change_low"] != row["change_low"]:
            return told
        return f"{told} [{signed(row['change_low'], metric)}, {signed(row['change_high'], metric)}]"

    shown = [rule for rule in RULES if fixed or rule != "fixed"]
    return Table(
        name="tuning",
        title="Tuned on validation rows: means on the test set",
        caption=sentences(
            f"Means on the test set{f' in {first.unit}' if first.unit else ''}, and in parentheses the gain over "
            f"{found.baseline}; positive is better.",
            "Fixed: the method's default strength, the same everywhere."
            if fixed
            else "No fixed strength is known.",
            f"{HOW} Best on test: the best on each dataset's test rows, an oracle that "
            "bounds what a choice could gain and no result.",
            f"Change: by dataset − fixed, with the 95 % interval of a bootstrap over {unit.short}, too short "
            f"rather than too long with few of them. Primary unit: {why_primary(found.grid)}."
            if fixed
            else "",
            _TIES,
            untuned(found),
            uneven(found, frame["blocks"].tolist()),
            about(found.grid, pairs=True),
        ),
        values=frame,
        columns=(
            text("metric"),
            text("regularizer"),
            *([_strength("fixed_strength", "fixed strength")] if fixed else []),
            _strength("one_strength", "one strength"),
            *(Column(RULES[rule], under(rule), value=f"{rule}_mean") for rule in shown),
            *([Column("change [95 % interval]", change, value="change")] if fixed else []),
        ),
        block="metric",
    )


def _strength(name: str, header: str) -> Column:
    return Column(header, lambda row: NOTHING if row[name] is None or row[name] != row[name] else str(row[name]))


def untuned(found: Tuning) -> str:
    """A sentence on the methods that were not tuned; empty where all were."""
    return (
        f"Not tuned, for want of validation and test rows at several strengths: {listed(found.untuned)}."
        if found.untuned
        else ""
    )


def uneven(found: Tuning, blocks: Sequence[int]) -> str:
    """A sentence on the blocks that means are over; empty where they are over all."""
    every = found.grid.complete.size
    if all(count == every for count in blocks):
        return ""
    return (
        f"Means are over the blocks (dataset, activation, seed) in which all that is compared has a result, "
        f"{min(blocks)} of {every} at the least."
    )


def chosen_strengths(found: Tuning) -> "pd.DataFrame":
    """Metric × method: the strength that each dataset's validation rows choose, beside one for all and the fixed.

    Strengths are texts. Columns metric, regularizer, fixed, all datasets, at_fixed (on how many datasets the
    chosen one is the fixed one; null where that is not known), and one a dataset (null where nothing could be
    chosen). See `factors.apart` for names that clash.
    """
    import pandas as pd

    datasets = found.grid.levels["dataset"]
    keys = apart(_KEYS, [str(name) for name in datasets])
    rows: list[list[Any]] = []
    for metric, by_method in found.chosen.items():
        for method, by_rule in by_method.items():
            each = by_rule["each"]
            fixed = found.strengths.fixed.get(method)
            written = [found.strengths.written(each[name]) if name in each else None for name in datasets]
            at_fixed = None if fixed is None else sum(level == fixed for level in each.values())
            ends = (_one(found, by_rule, "fixed"), _one(found, by_rule, "one"))
            rows.append([metric, method, *ends, at_fixed, *written])
    frame = pd.DataFrame(rows, columns=[*keys, *map(str, datasets)])
    return frame.astype({keys[-1]: "Int64"})


_KEYS = ("metric", "regularizer", "fixed", "all datasets", "at_fixed")


def chosen_table(found: Tuning) -> Table:
    """`chosen_strengths`, a block of rows a metric."""
    frame = chosen_strengths(found)
    metric, regularizer, fixed, every, at_fixed = frame.columns[: len(_KEYS)]
    datasets = frame.columns[len(_KEYS) :].tolist()
    known = bool(frame[fixed].notna().any())

    def counted(row: Mapping[str, Any]) -> str:
        chosen = sum(row[name] is not None and row[name] == row[name] for name in datasets)
        return NOTHING if row[fixed] is None or row[fixed] != row[fixed] else f"{row[at_fixed]} of {chosen}"

    return Table(
        name="chosen_strengths",
        title="Strengths chosen on validation rows",
        caption=sentences(
            "The strength that each dataset's validation rows choose, and the one that all of them together do.",
            "At fixed: on how many datasets that is the method's fixed strength." if known else "",
            _TIES,
            untuned(found),
        ),
        values=frame,
        columns=(
            text(metric),
            text(regularizer),
            *([_strength(fixed, "fixed")] if known else []),
            _strength(every, "all datasets"),
            *(_strength(name, name) for name in datasets),
            *([Column("at fixed", counted, value=at_fixed)] if known else []),
        ),
        block=metric,
    )
