"""Pairing units, and the signed-rank tests of a treatment against each rival under every one of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any, get_args

from dreg_sweep.analysis.grid import BLOCK, Grid, Pairs, paired_differences
from dreg_sweep.analysis.rows.levels import listed
from dreg_sweep.analysis.rows.spelling import quoted, split_levels
from dreg_sweep.analysis.scores import Metric
from dreg_sweep.analysis.statistics.rank_tests import ALPHA, holm
from dreg_sweep.analysis.statistics.wilcoxon import (
    Alternative,
    Interval,
    SignedRank,
    Zeros,
    pairs_needed,
    signed_rank,
    signed_ranks,
)
from dreg_sweep.errors import UserError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Unit:
    """What one pair of a test is: the mean difference over all blocks that share these factors' levels.

    label, short: as captions and as columns print it. caution: what a reader has to know before believing its p.
    """

    name: str
    factors: tuple[str, ...]
    label: str
    short: str
    caution: str = ""


UNITS = {
    unit.name: unit
    for unit in (
        Unit("dataset", ("dataset",), "dataset means", "datasets"),
        Unit(
            "seed",
            ("seed",),
            "seed means",
            "seeds",
            "speaks about new seeds on these datasets, not about new datasets",
        ),
        Unit(
            "dataset_activation",
            ("dataset", "activation"),
            "dataset × activation means",
            "datasets × activations",
            "pseudo-replicated: pairs of one dataset are not independent",
        ),
        Unit(
            "cell",
            BLOCK,
            "cells",
            "cells",
            "pseudo-replicated: where methods act differently on different datasets, about half of all two-sided "
            "tests without an effect reach 0.05",
        ),
    )
}
# What the tests of a sweep on one dataset are about, and what not.
_ONE_DATASET = (
    "the data have one dataset, {dataset}, whose mean is a single pair: the tests speak about other seeds "
    "(training subsets, initial weights, batch orders) on {dataset}, not about other datasets"
)
SIDES: tuple[Alternative, ...] = ("two-sided", "greater", "less")
ZEROS: tuple[Zeros, ...] = get_args(Zeros)
PRIMARY_SIDE: Alternative = "two-sided"
PRIMARY_ZEROS: Zeros = "wilcox"


def primary_unit(grid: Grid) -> str:
    """The unit whose tests count: `dataset`, or `seed` where the grid has exactly one dataset.

    Paired by dataset, one dataset is one pair, whose p is 1 whatever the data say. The levels decide, also those
    without a result yet, so that the unit does not change while a sweep is under way.
    """
    return "seed" if len(grid.levels["dataset"]) == 1 else "dataset"


def why_primary(grid: Grid) -> str:
    """`dataset means`, or `seed means, since the data have one dataset ...`."""
    unit = UNITS[primary_unit(grid)]
    if unit.name == "dataset":
        return unit.label
    return f"{unit.label}, since {_ONE_DATASET.format(dataset=grid.levels['dataset'][0])}"


@dataclass(frozen=True)
class Family:
    """Which tests share one Holm correction: those against `rivals`, of one metric or of all together."""

    rivals: tuple[Any, ...]
    across_metrics: bool = False

    def size(self, metrics: int) -> int:
        """Tests in the family when none is missing."""
        return len(self.rivals) * (metrics if self.across_metrics else 1)

    @property
    def sentence(self) -> str:
        """`Holm's correction over 3 rivals (a, b, c), each metric by itself`; of many the first are named."""
        names = listed(self.rivals)
        over = "all metrics together" if self.across_metrics else "each metric by itself"
        return f"Holm's correction over {len(self.rivals)} rival{'s' * (len(self.rivals) != 1)} ({names}), {over}"


def choose_family(text: str | None, rivals: Sequence[Any]) -> Family:
    """The family that `--family` declares: rivals (default), all, or a list of rivals.

    Raises UserError for a name that is not among the rivals.
    """
    if text in (None, "rivals", "all"):
        return Family(tuple(rivals), across_metrics=text == "all")
    assert text is not None
    whole = text in [str(rival) for rival in rivals]
    named = list(dict.fromkeys([text] if whole else split_levels(text)))
    unknown = [name for name in named if name not in [str(rival) for rival in rivals]]
    if unknown:
        choices = ", ".join(["rivals", "all", *(quoted(str(rival)) for rival in rivals)])
        raise UserError(f"--family {text}: no rival called {', '.join(unknown)}; choose from: {choices}")
    return Family(tuple(rival for rival in rivals if str(rival) in named))


def pairs(grid: Grid, metric: Metric, treatment: Any, rival: Any, unit: Unit) -> Pairs:
    """The differences treatment − rival of one unit, in display order."""
    return paired_differences(grid, metric, treatment, rival, unit.factors)


def pair_test(paired: Pairs, alternative: Alternative, zeros: Zeros = PRIMARY_ZEROS) -> SignedRank:
    """`signed_rank` of the pairs; estimates come back in the metric's own scale."""
    return _scaled(signed_rank(paired.numerators, alternative, zeros), paired.denominator)


def _scaled(result: SignedRank, denominator: int) -> SignedRank:
    low, high, confidence = result.interval
    return replace(
        result,
        hodges_lehmann=result.hodges_lehmann / denominator,
        interval=Interval(low / denominator, high / denominator, confidence),
    )


COLUMNS = (
    "metric", "treatment", "rival", "unit", "primary", "alternative", "zeros", "ties", "pairs", "n",
    "zero_differences", "balanced", "mean_difference", "hodges_lehmann", "low", "high", "confidence",
    "rank_biserial", "statistic", "p", "p_holm", "family", "floor", "floor_holm", "can_reach", "pairs_needed",
    "method", "caution",
)  # fmt: skip


_WHOLE = ("pairs", "n", "zero_differences", "family", "pairs_needed")
_NUMBERS = (
    "mean_difference", "hodges_lehmann", "low", "high", "confidence", "rank_biserial", "statistic", "p", "p_holm",
    "floor", "floor_holm",
)  # fmt: skip


def comparisons(
    grid: Grid, treatment: Any, family: Family, sides: Sequence[Alternative] = SIDES
) -> "pd.DataFrame":
    """Every test of the treatment against every rival: metric × unit × side × zero rule × rival.

    Columns `COLUMNS`: differences, estimate and interval are gains of the treatment in the metric's printed unit
    (points for accuracies); pairs = the complete pairs, n = those the test uses; floor = the smallest p these
    ranks could give, floor_holm the smallest p_holm, all tests of the family being at their floors; family = how
    many tests were declared to share the correction, 0 for a rival outside, whose p_holm is null and whose
    floor_holm is its floor; can_reach = whether floor_holm ≤ 0.05; pairs_needed = the fewest pairs without ties or
    zeros that could. A rival without a pair has a row with pairs = 0 and nulls.
    """
    import pandas as pd

    first = primary_unit(grid)
    rivals = [level for level in grid.compared if level != treatment]
    rows: list[dict[str, Any]] = []
    cases = [(side, rule) for side in sides for rule in ZEROS]
    for metric, unit, rival in product(grid.metrics, UNITS.values(), rivals):
        paired = pairs(grid, metric, treatment, rival, unit)
        tests = signed_ranks(paired.numerators, cases) if len(paired) else {}
        for side, rule in cases:
            test = tests.get((side, rule))
            rows.append(
                {
                    "metric": metric.name,
                    "treatment": treatment,
                    "rival": rival,
                    "unit": unit.name,
                    "primary": unit.name == first,
                    "alternative": side,
                    "zeros": rule,
                    "ties": "midranks",
                    "pairs": len(paired),
                    "n": 0,
                    "balanced": paired.balanced,
                    "caution": unit.caution,
                    **({} if test is None else _measures(paired, metric, _scaled(test, paired.denominator))),
                }
            )
    frame = corrected(pd.DataFrame(rows, columns=list(COLUMNS)), family, len(grid.metrics))
    return frame.astype(dict.fromkeys(_WHOLE, "Int64") | dict.fromkeys(_NUMBERS, "float64"))


def _measures(paired: Pairs, metric: Metric, test: SignedRank) -> dict[str, Any]:
    scale = metric.scale
    return {
        "n": test.n,
        "zero_differences": int((paired.numerators == 0).sum()),
        "mean_difference": float(paired.mean * scale),
        "hodges_lehmann": test.hodges_lehmann * scale,
        "low": test.interval.low * scale,
        "high": test.interval.high * scale,
        "confidence": test.interval.confidence,
        "rank_biserial": test.rank_biserial,
        "statistic": test.statistic,
        "p": test.p,
        "floor": test.floor,
        "method": test.method,
    }


def corrected(frame: "pd.DataFrame", family: Family, metrics: int) -> "pd.DataFrame":
    """Comparisons with Holm's correction inside each unit, side and zero rule, over the declared family.

    A test that the data do not allow yet counts as p = 1, so that no p gets smaller because another is missing.

    Args:
        frame: rows of `comparisons` or some of them, with or without its columns that a correction makes.
        family: the tests that share a correction.
        metrics: of the grid; they share it, too, where the family is across metrics.
    """
    import numpy as np

    values = {column: frame[column].to_numpy(dtype=float, na_value=np.nan) for column in ("p", "floor")}
    made = {column: np.full(len(frame), np.nan) for column in values}
    tests = np.zeros(len(frame), dtype=np.int64)
    groups = ["unit", "alternative", "zeros", *([] if family.across_metrics else ["metric"])]
    size = family.size(metrics)
    member = np.flatnonzero(frame["rival"].isin(family.rivals).to_numpy() & ~np.isnan(values["p"]))
    for places in frame.iloc[member].groupby(groups, sort=False).indices.values():
        part = member[places]
        absent = [1.0] * (size - len(part))
        for column in values:
            made[column][part] = holm([*values[column][part], *absent])[: len(part)]
        tests[part] = size
    floors = np.where(tests == 0, values["floor"], made["floor"])
    asked = list(zip(frame["alternative"], np.maximum(tests, 1).tolist(), strict=True))
    needed = {key: pairs_needed(ALPHA, *key) for key in set(asked)}
    columns: dict[str, Any] = {
        "p_holm": made["p"],
        "floor_holm": floors,
        "family": tests,
        "can_reach": floors <= ALPHA,
        "pairs_needed": [needed[key] for key in asked],
    }
    return frame.assign(**columns)


def primary(frame: "pd.DataFrame", metric: str, **chosen: Any) -> "pd.DataFrame":
    """The rows of `comparisons` for a metric under the primary unit, side and zero rule, or those chosen."""
    wanted = {"alternative": PRIMARY_SIDE, "zeros": PRIMARY_ZEROS, **chosen}
    rows = frame[(frame["metric"] == metric) & (frame["primary"].astype(bool) | ("unit" in chosen))]
    for name, value in wanted.items():
        rows = rows[rows[name] == value]
    return rows.reset_index(drop=True)
