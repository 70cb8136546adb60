"""The order of the methods, and the treatment's tests, at the fixed strengths and at those that tuning chooses."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dreg_sweep.analysis.grid import Grid
from dreg_sweep.analysis.pairing import UNITS, Family, comparisons, primary, primary_unit
from dreg_sweep.analysis.report.render import NOTHING, Column, Table
from dreg_sweep.analysis.rows.levels import ordered
from dreg_sweep.analysis.scores import Metric
from dreg_sweep.analysis.tables.tuning import HOW, Tuning, baseline, uneven, untuned
from dreg_sweep.analysis.tables.wording import about, number, p_text, percent, sentences, text
from dreg_sweep.analysis.tuning import CHOICES, RULES, picked

if TYPE_CHECKING:
    import pandas as pd


def ranks(found: Tuning) -> "pd.DataFrame":
    """Metric × method, and the baseline: place, mean and the treatment's test under each rule but the oracle.

    Columns metric, regularizer, blocks; for each rule its rank (1 is the best mean; equal means share the better
    place), mean, difference (the treatment's gain over this one), p and p_holm (`comparisons`, one-sided: the
    treatment is better; primary unit), floor, floor_holm and pairs, such as each_p_holm. Over the blocks in which
    all of them have a result under every rule; a method none of whose choices has one is left out of that rule.
    """
    import pandas as pd

    names = ordered("regularizer", [found.baseline, *found.methods])
    rules = [rule for rule in CHOICES if rule in found.rules]
    rows: list[dict[str, Any]] = []
    for metric in found.grid.metrics:
        lines: dict[Any, dict[str, Any]] = {name: {"metric": metric.name, "regularizer": name} for name in names}
        by_method = found.chosen[metric.name]
        grid = picked(
            found.grid,
            {
                (rule, name): by_method[name][rule] if name in by_method else baseline(found)
                for rule in rules
                for name in names
            },
        )
        for rule in rules:
            for name, told in _standing(_under(grid, rule), metric, found.treatment).items():
                lines[name] |= {f"{rule}_{key}": value for key, value in told.items()}
        rows += [{**line, "blocks": int(grid.complete.sum())} for line in lines.values()]
    kinds = {"rank": "Int64", "pairs": "Int64"}
    keys = ("rank", "mean", "difference", "p", "p_holm", "floor", "floor_holm", "pairs")
    columns = {f"{rule}_{key}": kinds.get(key, "float64") for rule in rules for key in keys}
    return pd.DataFrame(rows, columns=["metric", "regularizer", "blocks", *columns]).astype(columns)


def _under(grid: Grid, rule: str) -> Grid:
    """The part of a grid of (rule, method) that is about one rule, its regularizers called by their methods."""
    own = [level for level in grid.levels["regularizer"] if level[0] == rule]
    part = grid.restricted({"regularizer": own})
    return replace(part, levels={**part.levels, "regularizer": [method for _, method in own]})


def _standing(grid: Grid, metric: Metric, treatment: Any) -> dict[Any, dict[str, Any]]:
    """Of each regularizer of a grid of choices: rank, mean, and the treatment's test against it."""
    means = {name: value for (name,), value in grid.means(metric.name, ("regularizer",)).items()}
    settled = grid.means(metric.name, ("regularizer",), settled=True)
    scores = {name: metric.sign * value for (name,), value in settled.items()}
    told: dict[Any, dict[str, Any]] = {
        name: {
            "rank": 1 + sum(other > scores[name] for other in scores.values()),
            "mean": percent(value, metric),
        }
        for name, value in means.items()
    }
    if treatment not in means:
        return told
    rivals = tuple(name for name in means if name != treatment)
    tests = comparisons(replace(grid, metrics=(metric,)), treatment, Family(rivals), sides=("greater",))
    for row in primary(tests, metric.name, alternative="greater").to_dict("records"):
        kept = ("p", "p_holm", "floor", "floor_holm", "pairs")
        told[row["rival"]] |= {"difference": row["mean_difference"], **{key: row[key] for key in kept}}
    return told


def ranks_table(found: Tuning) -> Table:
    """`ranks`, a block of rows a metric."""
    frame = ranks(found)
    metrics = {metric.name: metric for metric in found.grid.metrics}
    rules = [rule for rule in CHOICES if rule in found.rules]

    def p(rule: str) -> Any:
        def show(row: Mapping[str, Any]) -> str:
            plain = p_text(row[f"{rule}_p"])
            return plain if plain == NOTHING else f"{plain} ({p_text(row[f'{rule}_p_holm'])})"

        return show

    columns: list[Column] = [text("metric"), text("regularizer")]
    for rule in rules:
        columns.append(place(rule, lambda row: metrics[row["metric"]]))
    if found.treatment in found.methods:
        columns += [Column(f"p, {RULES[rule]} (Holm)", p(rule), value=f"{rule}_p") for rule in rules]
    return Table(
        name="tuning_ranks",
        title="Tuned on validation rows: the order of the methods",
        caption=sentences(
            "Place by the mean on the test set (in parentheses), 1 is the best; equal means share a place.",
            HOW,
            _tests(found, frame, rules),
            untuned(found),
            _left_out(frame, rules),
            uneven(found, frame["blocks"].tolist()),
            about(found.grid, pairs=True),
        ),
        values=frame,
        columns=tuple(columns),
        block="metric",
    )


def place(rule: str, metric_of: Callable[[Mapping[str, Any]], Metric]) -> Column:
    """The column of places under a rule, with the means in parentheses."""

    def show(row: Mapping[str, Any]) -> str:
        if row[f"{rule}_mean"] != row[f"{rule}_mean"]:
            return NOTHING
        return f"{row[f'{rule}_rank']} ({number(row[f'{rule}_mean'], metric_of(row))})"

    return Column(f"rank, {RULES[rule]} (mean)", show, value=f"{rule}_rank")


def _left_out(frame: "pd.DataFrame", rules: Sequence[str]) -> str:
    """A sentence on the methods without a result at what a rule chooses; empty where all have one."""
    lost = [
        f"{row['regularizer']} ({row['metric']}, {RULES[rule]})"
        for rule in rules
        for row in frame[frame[f"{rule}_mean"].isna()].to_dict("records")
    ]
    return f"Without a test result at what is chosen, and so left out: {', '.join(lost)}." if lost else ""


def _tests(found: Tuning, frame: "pd.DataFrame", rules: Sequence[str]) -> str:
    """What the p of the ranks are, and the least they could be."""
    if found.treatment not in found.methods:
        return f"{found.treatment} is not tuned, so nothing is tested."
    floors = []
    for column in ("floor", "floor_holm"):
        values = [value for rule in rules for value in frame[f"{rule}_{column}"].dropna().tolist()]
        low, high = min(values, default=1.0), max(values, default=1.0)
        floors.append(f"{low:.2g}" if low == high else f"{low:.2g} to {high:.2g}")
    family = Family(tuple(name for name in dict.fromkeys(frame["regularizer"]) if name != found.treatment))
    return (
        f"p: exact signed-rank test that {found.treatment} is better than the method of the row, one-sided, both "
        f"at their strengths under that rule, paired by {UNITS[primary_unit(found.grid)].label}; in parentheses "
        f"after {family.sentence}. The least p that these ranks could give: {floors[0]} ({floors[1]} after Holm)."
    )


def finding(found: Tuning) -> str:
    """The order of the methods under each rule, by the first metric, in one sentence."""
    frame = ranks(found)
    metric = found.grid.metrics[0]
    here = frame[frame["metric"] == metric.name]
    said = []
    for rule in (rule for rule in CHOICES if rule in found.rules):
        order = here.dropna(subset=[f"{rule}_rank"]).sort_values(f"{rule}_rank", kind="stable")
        if len(order):
            said.append(f"{_ORDERS[rule]}: {', '.join(map(str, order['regularizer']))}")
    return f"The order by {metric.label} on the test set, {'; '.join(said)}." if said else ""


_ORDERS = {
    "fixed": "at the fixed strengths",
    "one": "at one strength for all datasets that validation rows choose",
    "each": "at the strength that each dataset's validation rows choose",
}
