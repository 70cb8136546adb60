"""Several sweeps side by side: which cells changed, and which conclusions flipped."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dreg_sweep.analysis.grid import AXES, Grid
from dreg_sweep.analysis.marginal import marginal_column
from dreg_sweep.analysis.pairing import UNITS, primary, primary_unit
from dreg_sweep.analysis.report.provenance import provenance
from dreg_sweep.analysis.report.render import NOTHING, Column, Table
from dreg_sweep.analysis.results import Results
from dreg_sweep.analysis.statistics.rank_tests import ALPHA
from dreg_sweep.analysis.tables.wording import count, numbers, p_text, sentences, signed, text

if TYPE_CHECKING:
    import pandas as pd


def tables(results: Sequence[Results], names: Sequence[str]) -> list[Table]:
    """The tables `differing`, `changes`, `conclusions` and `claims_compared` of sweeps, the first one leading."""
    found = [conclusions(results, names), claims_compared(results, names), changes(results, names)]
    return [*found, differing(results, names)]


def differing(results: Sequence[Results], names: Sequence[str]) -> Table:
    """What the sweeps say of their making and do not all say alike: training rows, recipe, versions, levels."""
    import pandas as pd

    said: list[dict[str, str]] = []
    for one in results:
        own: dict[str, list[str]] = {}
        for row in provenance(one.data.main).itertuples():
            own.setdefault(str(row.what), []).append(str(row.value))
        own |= {f"levels of {factor}": list(map(str, levels)) for factor, levels in one.data.grid.levels.items()}
        said.append({what: ", ".join(values) for what, values in own.items()})
    keys = [what for what in dict.fromkeys(key for own in said for key in own) if what != _TIME]
    rows = [
        {"what": what, **{name: own.get(what, NOTHING) for name, own in zip(names, said, strict=True)}}
        for what in keys
        if len({own.get(what, NOTHING) for own in said}) > 1
    ]
    return Table(
        name="differing",
        title=f"What the sweeps differ in: {len(rows)} of {len(keys)} things they say about themselves",
        caption="Settings, data, versions and levels that are not the same in all sweeps, from their rows.",
        values=pd.DataFrame(rows, columns=["what", *names]),
        columns=(text("what"), *(text(name) for name in names)),
    )


_TIME = "training time of all cells"


def _marginal(values: "pd.Series[Any]") -> float:
    """The marginal mean of values that are indexed by the factors of cells, of one regularizer."""
    return float(marginal_column(values.rename("value").reset_index(), "value").iloc[0])


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
                        "mean_first": metric.scale * _marginal(a),
                        "mean_other": metric.scale * _marginal(b),
                        "change": metric.scale * _marginal(b - a),
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

    conclusion: "better", "worse" (significant at 0.05, of the treatment), "undecided", or "no test". flipped: the
    sweeps that tested do not all conclude the same; null where fewer than two did. sign_changed: likewise for the
    signs of the mean differences.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    metrics = {metric.name: metric for one in results for metric in one.data.grid.metrics}
    for metric in metrics:
        found = [primary(one.tests, metric).set_index("rival").T.to_dict() for one in results]
        for rival in dict.fromkeys(rival for tests in found for rival in tests):
            row: dict[str, Any] = {"metric": metric, "rival": rival}
            said, gains = [], []
            for tests, name in zip(found, names, strict=True):
                test: dict[str, Any] = tests.get(rival, {})
                gain, p = test.get("mean_difference", math.nan), test.get("p_holm", math.nan)
                conclusion = _conclusion(gain, test.get("rank_biserial", math.nan), p)
                row |= {f"{name}: difference": gain, f"{name}: p": p, f"{name}: conclusion": conclusion}
                if conclusion != NO_TEST:
                    said.append(conclusion)
                    gains.append(gain)
            row["flipped"] = len(set(said)) > 1 if len(said) > 1 else None
            row["sign_changed"] = min(gains) < 0 < max(gains) if len(gains) > 1 else None
            rows.append(row)
    frame = pd.DataFrame(rows)

    def shown(name: str) -> Column:
        def show(row: Any) -> str:
            if row[f"{name}: conclusion"] == NO_TEST:
                return NO_TEST
            gain = signed(row[f"{name}: difference"], metrics[row["metric"]])
            return f"{row[f'{name}: conclusion']}: {gain} (p {p_text(row[f'{name}: p'])})"

        return Column(name, show, numeric=False)

    flipped = [row["flipped"] for row in rows if row["flipped"] is not None]
    both, flips = len(flipped), sum(flipped)
    return Table(
        name="conclusions",
        title=f"Conclusions about {results[0].treatment}: {flips} of the {both} tested in several sweeps flipped",
        caption=sentences(
            f"Two-sided signed-rank test, paired by {_units(results)}, after {results[0].family.sentence}. "
            "Flipped: better, worse and undecided are not the same in all sweeps that tested. That one sweep is "
            "significant and another is not does not show that they differ."
        ),
        values=frame,
        columns=(
            text("metric"),
            text("rival"),
            *(shown(name) for name in names),
            Column("flipped", lambda row: _yes(row["flipped"]), numeric=False),
            Column("sign changed", lambda row: _yes(row["sign_changed"]), numeric=False),
        ),
        block="metric",
    )


NO_TEST = "no test"


def _units(results: Sequence[Results]) -> str:
    """The primary units of the sweeps: `dataset means`, and where they differ both."""
    return " or ".join(dict.fromkeys(UNITS[primary_unit(one.data.grid)].label for one in results))


def _yes(value: Any) -> str:
    return NOTHING if value is None or value != value else "yes" if value else "no"


def _conclusion(gain: float, ranks: float, p: float) -> str:
    """Of a test: significant only counts where the ranks and the mean point the same way."""
    if p != p:
        return NO_TEST
    if p > ALPHA or gain * ranks <= 0:
        return "undecided"
    return "better" if gain > 0 else "worse"


def claims_compared(results: Sequence[Results], names: Sequence[str]) -> Table:
    """Claim × sweep: the primary verdicts. flipped: null where fewer than two sweeps judged the sentence."""
    import pandas as pd

    by_sentence: dict[str, dict[str, Any]] = {}
    for one, name in zip(results, names, strict=True):
        for row in one.verdicts[one.verdicts["primary"]].itertuples():
            entry = by_sentence.setdefault(str(row.sentence), {"claim": row.claim, "sentence": row.sentence})
            entry[name] = row.verdict
    frame = pd.DataFrame(list(by_sentence.values()), columns=["claim", "sentence", *names])
    rows = frame[list(names)].to_numpy().tolist()
    judged = [[verdict for verdict in row if isinstance(verdict, str)] for row in rows]
    frame["flipped"] = [len(set(verdicts)) > 1 if len(verdicts) > 1 else None for verdicts in judged]
    frame[list(names)] = frame[list(names)].fillna(NOTHING)
    flips = sum(len(set(verdicts)) > 1 for verdicts in judged)
    both = sum(len(verdicts) > 1 for verdicts in judged)
    return Table(
        name="claims_compared",
        title=f"Claims: {flips} of the {both} judged in several sweeps flipped",
        caption=f"Verdicts by {_units(results)}, after Holm's correction.",
        values=frame,
        columns=(
            text("claim", "id"),
            text("sentence", "claim"),
            *(text(name) for name in names),
            Column("flipped", lambda row: _yes(row["flipped"]), numeric=False),
        ),
    )
