"""Several sweeps side by side: which cells changed, and which conclusions flipped."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dreg_sweep.analysis.grid import AXES, Grid
from dreg_sweep.analysis.pairing import UNITS, primary
from dreg_sweep.analysis.report.render import NOTHING, Column, Table
from dreg_sweep.analysis.results import Results
from dreg_sweep.analysis.scores import Metric
from dreg_sweep.analysis.statistics.rank_tests import ALPHA
from dreg_sweep.analysis.tables.wording import count, numbers, p_text, sentences, signed, text

if TYPE_CHECKING:
    import pandas as pd


def tables(results: Sequence[Results], names: Sequence[str]) -> list[Table]:
    """The tables `changes`, `conclusions` and `claims_compared` of the first sweep against each other one."""
    return [changes(results, names), conclusions(results, names), claims_compared(results, names)]


def by_cell(grid: Grid, metric: str) -> "pd.Series[Any]":
    """Value of every done cell as a fraction, indexed by regularizer, dataset, activation, seed."""
    import numpy as np
    import pandas as pd

    places = np.argwhere(grid.done)
    values = grid.numerators[metric][grid.done].astype(object)
    levels = [np.array(grid.levels[name], dtype=object)[places[:, axis]] for axis, name in enumerate(AXES)]
    index = pd.MultiIndex.from_arrays(levels, names=list(AXES))
    return pd.Series(values.astype(float) / grid.denominator, index=index)


def changes(results: Sequence[Results], names: Sequence[str]) -> Table:
    """Sweep × metric × regularizer over the cells that both sweeps have: how many differ, and both means."""
    import pandas as pd

    first = results[0]
    rows: list[dict[str, Any]] = []
    metrics = {metric.name: metric for metric in first.data.grid.metrics}
    for other, name in zip(results[1:], names[1:], strict=True):
        for metric in metrics.values():
            if metric.name not in other.data.grid.numerators:
                continue
            one, two = by_cell(first.data.grid, metric.name), by_cell(other.data.grid, metric.name)
            methods = dict.fromkeys([*first.data.grid.compared, *other.data.grid.compared])
            for method in methods:
                here = one[one.index.get_level_values("regularizer") == method]
                there = two[two.index.get_level_values("regularizer") == method]
                shared = here.index.intersection(there.index)
                a, b = here.reindex(shared), there.reindex(shared)
                row = {"sweep": name, "metric": metric.name, "regularizer": method, "shared": len(shared)}
                row |= {"only_first": len(here) - len(shared), "only_other": len(there) - len(shared)}
                if len(shared):
                    row |= {
                        "changed": int(((a - b).abs() > 1e-12).sum()),
                        "mean_first": metric.scale * float(a.mean()),
                        "mean_other": metric.scale * float(b.mean()),
                        "change": metric.scale * float((b - a).mean()),
                    }
                rows.append(row)
    columns = ["sweep", "metric", "regularizer", "shared", "only_first", "only_other", "changed"]
    columns += ["mean_first", "mean_other", "change"]
    frame = pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(columns[6:], "float64"))

    def of(name: str) -> Column:
        return numbers(
            name, first.data.grid.metrics[0], {"mean_first": f"mean {names[0]}"}.get(name, "mean there")
        )

    return Table(
        name="changes",
        title=f"What changed against {names[0]}",
        caption=f"Over the cells that both sweeps have: how many have another value, and the means of both. Only "
        f"here: cells done in {names[0]} alone; only there: in the other alone.",
        values=frame,
        columns=(
            text("sweep"),
            text("metric"),
            text("regularizer"),
            count("shared", "shared cells"),
            count("changed"),
            count("only_first", "only here"),
            count("only_other", "only there"),
            of("mean_first"),
            of("mean_other"),
            Column("change", lambda row: signed(row["change"], metrics[row["metric"]]), value="change"),
        ),
        block="metric",
    )


def conclusions(results: Sequence[Results], names: Sequence[str]) -> Table:
    """Metric × rival: what each sweep concludes by the primary test after Holm's correction.

    conclusion: "better", "worse" (significant at 0.05) or "undecided", of the treatment. flipped: the sweeps do
    not all conclude the same. sign_changed: the mean differences do not all have one sign.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    metrics: dict[str, Metric] = {}
    for metric in results[0].data.grid.metrics:
        metrics[metric.name] = metric
        found = [primary(one.tests, metric.name).set_index("rival") for one in results]
        for rival in dict.fromkeys(rival for frame in found for rival in frame.index):
            row: dict[str, Any] = {"metric": metric.name, "rival": rival}
            said, gains = [], []
            for frame, name in zip(found, names, strict=True):
                numbers_of: dict[str, float] = frame[["mean_difference", "p_holm"]].T.to_dict().get(rival, {})
                gain, p = numbers_of.get("mean_difference", math.nan), numbers_of.get("p_holm", math.nan)
                said.append(_conclusion(gain, p))
                gains.append(gain)
                row |= {f"{name}: difference": gain, f"{name}: p": p, f"{name}: conclusion": said[-1]}
            row["flipped"] = len(set(said)) > 1
            row["sign_changed"] = min(gains) < 0 < max(gains)
            rows.append(row)
    frame = pd.DataFrame(rows)

    def shown(name: str) -> Column:
        def show(row: Any) -> str:
            gain = signed(row[f"{name}: difference"], metrics[row["metric"]])
            return f"{row[f'{name}: conclusion']}: {gain} (p {p_text(row[f'{name}: p'])})"

        return Column(name, show, numeric=False)

    flips = int(frame["flipped"].sum()) if len(frame) else 0
    return Table(
        name="conclusions",
        title=f"Conclusions about {results[0].treatment}: {flips} of {len(frame)} differ",
        caption=sentences(
            f"Two-sided signed-rank test, paired by {UNITS['dataset'].label}, after {results[0].family.sentence}. "
            "Flipped: better, worse and undecided are not the same in all sweeps. That one sweep is significant "
            "and another is not does not show that they differ."
        ),
        values=frame,
        columns=(
            text("metric"),
            text("rival"),
            *(shown(name) for name in names),
            Column("flipped", lambda row: "yes" if row["flipped"] else "no", numeric=False),
            Column("sign changed", lambda row: "yes" if row["sign_changed"] else "no", numeric=False),
        ),
        block="metric",
    )


def _conclusion(gain: float, p: float) -> str:
    if p != p:
        return "no test"
    if p > ALPHA or gain == 0:
        return "undecided"
    return "better" if gain > 0 else "worse"


def claims_compared(results: Sequence[Results], names: Sequence[str]) -> Table:
    """Claim × sweep: the primary verdicts."""
    import pandas as pd

    by_claim: dict[str, dict[str, Any]] = {}
    for one, name in zip(results, names, strict=True):
        for row in one.verdicts[one.verdicts["primary"]].itertuples():
            entry = by_claim.setdefault(str(row.claim), {"claim": row.claim, "sentence": row.sentence})
            entry[name] = row.verdict
    frame = pd.DataFrame(list(by_claim.values()), columns=["claim", "sentence", *names])
    frame[list(names)] = frame[list(names)].fillna(NOTHING)
    frame["flipped"] = [len(set(row)) > 1 for row in frame[list(names)].to_numpy().tolist()]
    flips = int(frame["flipped"].sum())
    return Table(
        name="claims_compared",
        title=f"Claims: {flips} of {len(frame)} verdicts differ",
        caption=f"Verdicts by {UNITS['dataset'].label}, after Holm's correction.",
        values=frame,
        columns=(
            text("claim", "id"),
            text("sentence", "claim"),
            *(text(name) for name in names),
            Column("flipped", lambda row: "yes" if row["flipped"] else "no", numeric=False),
        ),
    )
