"""The tests in full: treatment against each rival under every pairing unit."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dreg_sweep.analysis.grid import Grid
from dreg_sweep.analysis.pairing import PRIMARY_SIDE, PRIMARY_ZEROS, UNITS, Family, why_primary
from dreg_sweep.analysis.report.render import NOTHING, Column, Table
from dreg_sweep.analysis.rows.levels import listed
from dreg_sweep.analysis.scores import Metric
from dreg_sweep.analysis.tables.overall import how
from dreg_sweep.analysis.tables.wording import about, count, p_values, sentences, signed, text

if TYPE_CHECKING:
    import pandas as pd

DAGGER = "†"


def pairwise(grid: Grid, tests: "pd.DataFrame", metric: Metric, treatment: Any, family: Family) -> Table:
    """Rival × unit for one metric: the effect with its interval, and p for both questions.

    Values: the two-sided rows of `comparisons` under the primary zero rule, with p_greater and p_greater_holm
    (the treatment is better) and p_pratt (two-sided, Pratt's zeros) beside them.
    """
    here = tests[(tests["metric"] == metric.name) & (tests["zeros"] == PRIMARY_ZEROS)]
    frame = here[here["alternative"] == PRIMARY_SIDE].reset_index(drop=True)
    one_sided = here[here["alternative"] == "greater"].reset_index(drop=True)
    pratt = tests[
        (tests["metric"] == metric.name) & (tests["zeros"] == "pratt") & (tests["alternative"] == PRIMARY_SIDE)
    ].reset_index(drop=True)
    frame["p_greater"], frame["p_greater_holm"] = one_sided["p"], one_sided["p_holm"]
    frame["floor_greater_holm"], frame["can_reach_greater"] = one_sided["floor_holm"], one_sided["can_reach"]
    frame["p_pratt"] = pratt["p"]
    rivals = list(dict.fromkeys(frame["rival"]))
    frame = frame.sort_values("rival", key=lambda column: column.map(rivals.index), kind="stable")
    frame = frame.reset_index(drop=True)
    unit = metric.difference_unit
    columns = (
        text("rival"),
        Column("paired by", _unit, numeric=False),
        count("pairs", "pairs"),
        Column("mean difference", lambda row: signed(row["mean_difference"], metric), value="mean_difference"),
        Column("estimate [interval]", _estimate(metric), value="hodges_lehmann"),
        Column("r", lambda row: _plain(row["rank_biserial"]), value="rank_biserial"),
        p_values("p", "p (Holm)", "p_holm"),
        p_values("p_greater", "one-sided p (Holm)", "p_greater_holm"),
        Column("least p (Holm)", _floor, value="floor"),
        Column("0.05 in reach", _reach, numeric=False),
    )
    confidence = frame.loc[frame["pairs"] > 0, "confidence"].astype(float)
    achieved = (
        f"{100 * confidence.min():.2f} to {100 * confidence.max():.2f} %"
        if len(confidence) and confidence.min() != confidence.max()
        else f"{100 * confidence.min():.2f} %" if len(confidence) else "no level"
    )  # fmt: skip
    cautions = [f"{UNITS[name].label}: {UNITS[name].caution}" for name in UNITS if UNITS[name].caution]
    return Table(
        name=f"pairwise_{metric.slug}",
        title=f"{treatment} against each rival: {metric.label}",
        caption=sentences(
            f"Differences are gains of {treatment}{f' in {unit}' if unit else ''}. Estimate: Hodges-Lehmann with "
            f"an interval of the confidence really achieved ({achieved}; aimed at 95 %). r: matched-pairs "
            f"rank-biserial correlation. p: Wilcoxon signed-rank test ({how(frame)}; zero differences dropped, "
            f"midranks for ties), two-sided and for {treatment} being better; {family.sentence}. Least p: the "
            "smallest that these ranks could give. 0.05 in reach: whether that is at most 0.05 after Holm, "
            "two-sided / one-sided, and else the pairs it would need.",
            f"Primary unit: {why_primary(grid)}.",
            f"{DAGGER} {'; '.join(cautions)}.",
            _unbalanced(frame),
            about(grid, pairs=True),
        ),
        values=frame,
        columns=columns,
        block="rival",
    )


def _unit(row: Mapping[str, Any]) -> str:
    unit = UNITS[row["unit"]]
    return f"{unit.short}{' (primary)' if row['primary'] else ''}{DAGGER if unit.caution else ''}"


def _plain(value: Any) -> str:
    return NOTHING if value != value else f"{value:.2f}".replace("-", "−")


def _estimate(metric: Metric) -> Any:
    def show(row: Mapping[str, Any]) -> str:
        if row["hodges_lehmann"] != row["hodges_lehmann"]:
            return NOTHING
        if not row["confidence"]:  # a single pair
            return signed(row["hodges_lehmann"], metric)
        low, high = signed(row["low"], metric), signed(row["high"], metric)
        return f"{signed(row['hodges_lehmann'], metric)} [{low}, {high}]"

    return show


def _floor(row: Mapping[str, Any]) -> str:
    if row["floor"] != row["floor"]:
        return NOTHING
    return f"{_small(row['floor'])} ({_small(row['floor_holm'])})"


def _small(p: float) -> str:
    return f"{p:.2g}" if p >= 0.0005 else "<0.001"


def _reach(row: Mapping[str, Any]) -> str:
    if not row["pairs"]:
        return "no pair yet"
    two = "yes" if row["can_reach"] else f"no, needs {row['pairs_needed']}"
    return f"{two} / {'yes' if row['can_reach_greater'] else 'no'}"


def _unbalanced(frame: "pd.DataFrame") -> str:
    uneven = frame[~frame["balanced"].astype(bool)]
    if uneven.empty:
        return ""
    rivals = listed(list(dict.fromkeys(uneven["rival"])))
    return f"Pairs against {rivals} are means over unequal numbers of blocks, because cells are missing."
