"""The variants of a regularizer side by side: how well each does, and which claims hold of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dreg_sweep.analysis.claims.outcome import Outcome
from dreg_sweep.analysis.grid import Grid, State
from dreg_sweep.analysis.pairing import UNITS, primary_unit, why_primary
from dreg_sweep.analysis.report.render import NOTHING, Column, Table
from dreg_sweep.analysis.rows.select import OPTION
from dreg_sweep.analysis.rows.variants import Variant
from dreg_sweep.analysis.tables.fragility import intervals
from dreg_sweep.analysis.tables.overall import by_metric
from dreg_sweep.analysis.tables.wording import about, mean_sd, sentences, signed, text

if TYPE_CHECKING:
    import pandas as pd

VERDICTS = tuple(Outcome)
_EACH_ALONE = (
    "Each variant stands alone in the place of the main one, among the same rivals. That there are several is not "
    "corrected for: the best of them, chosen here, gains less on new data than it seems to."
)


@dataclass(frozen=True)
class Entry:
    """A variant in the place of the one that the other tables are about.

    name: as tables write it. variant: what it is. grid: of it and its rivals, in which it is the regularizer
    `level`. tests: the frame of `comparisons` for that level. verdicts: the frame of `judge`; None where the
    claims are about another method.
    """

    name: str
    variant: Variant
    level: Any
    grid: Grid
    tests: "pd.DataFrame"
    verdicts: "pd.DataFrame | None"

    @property
    def agreeing(self) -> tuple[int, int]:
        """Of how many claims the plain means are as claimed, and of how many they tell anything at all."""
        if self.verdicts is None:
            return 0, 0
        holds = self.verdicts.loc[self.verdicts["primary"], "holds"].dropna()
        return int(holds.sum()), len(holds)

    @property
    def expected(self) -> int:
        """Cells that the variant should have."""
        return int((self.grid.state[self.grid.place("regularizer", self.level)] != State.OUTSIDE).sum())

    @property
    def done(self) -> int:
        """Cells that it has."""
        return int(self.grid.done[self.grid.place("regularizer", self.level)].sum())


def standing(entries: Sequence[Entry], baseline: Any | None) -> "pd.DataFrame":
    """One row a variant: regularizer, variant, its options, then what it achieved.

    Columns regularizer.<option>; agreeing, told (see `Entry.agreeing`); done, expected (its cells), blocks (those
    with a result of it and of every rival); for every metric m m_mean and m_sd (over seeds, n − 1) over these
    blocks; rank of the first metric's mean among `ranked` regularizers, itself and its rivals; difference (its
    gain over the baseline, in the printed unit) with low and high, the bootstrap interval over the primary unit.
    Numbers are null where nothing tells.
    """
    import pandas as pd

    metrics = entries[0].grid.metrics
    rows: list[dict[str, Any]] = []
    for entry in entries:
        grid = entry.grid
        row: dict[str, Any] = {"regularizer": entry.variant.regularizer, "variant": entry.name}
        row |= {f"{OPTION}{option}": value for option, value in entry.variant.settings.items()}
        row |= dict(zip(("agreeing", "told"), entry.agreeing, strict=True))
        row |= {"done": entry.done, "expected": entry.expected, "blocks": 0}
        if entry.level in grid.compared and grid.complete.any():
            row |= {"blocks": int(grid.complete.sum()), "ranked": len(grid.compared)}
            own = by_metric(grid, entry.tests)
            for line in own[own["regularizer"] == entry.level].to_dict("records"):
                row |= {f"{line['metric']}_mean": line["mean"], f"{line['metric']}_sd": line["sd"]}
                row.setdefault("rank", line["rank"])
        found = intervals(grid, entry.level)
        for line in [] if found is None else found.values.to_dict("records"):
            if (line["metric"], line["rival"]) == (metrics[0].name, baseline):
                row |= {"difference": line["mean_difference"], "low": line["low"], "high": line["high"]}
        rows.append(row)
    options = dict.fromkeys(name for row in rows for name in row if name.startswith(OPTION))
    measured = [f"{metric.name}_{what}" for metric in metrics for what in ("mean", "sd")]
    numbers = [*measured, "rank", "difference", "low", "high"]
    counted = ["agreeing", "told", "done", "expected", "blocks"]
    columns = ["regularizer", "variant", *options, *counted, *measured, "rank", "ranked", *numbers[-3:]]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.astype(dict.fromkeys(numbers, "float64") | {"ranked": "Int64"})


def table(entries: Sequence[Entry], baseline: Any | None) -> Table:
    """`standing` as a table."""
    frame = standing(entries, baseline)
    grid = entries[0].grid
    metric, unit = grid.metrics[0], UNITS[primary_unit(grid)]
    several, judged = frame["regularizer"].nunique() > 1, bool(frame["told"].any())
    as_claimed = Column("as claimed", lambda row: f"{row['agreeing']} of {row['told']}", value="agreeing")

    def rank(row: Any) -> str:
        return NOTHING if row["rank"] != row["rank"] else f"{row['rank']:g} of {row['ranked']}"

    def interval(row: Any) -> str:
        if row["low"] != row["low"]:
            return NOTHING
        return f"[{signed(row['low'], metric)}, {signed(row['high'], metric)}]"

    return Table(
        name="variants",
        title="Variants by the settings of their options",
        caption=sentences(
            _EACH_ALONE,
            "Mean ± standard deviation over seeds; within a seed, values are averaged over activations and "
            f"datasets first. Rank: of {metric.name}, among the variant and its rivals.",
            f"Difference: the gain in {metric.name} over {baseline}, with the 95 % interval of a bootstrap over "
            f"{unit.short}, too short rather than too long with few of them. Primary unit: {why_primary(grid)}."
            if baseline is not None
            else "",
            "As claimed: of how many claims the plain means are as claimed, of those they tell anything of."
            if judged
            else "",
            "Means and ranks are over the blocks (dataset, activation, seed) that a variant shares with all its "
            "rivals, which are not equally many."
            if frame["blocks"].nunique() > 1
            else "",
            about(grid, pairs=True),
        ),
        values=frame,
        columns=(
            *([text("regularizer")] if several else []),
            text("variant"),
            *(mean_sd(f"{one.name}_mean", f"{one.name}_sd", one, one.name) for one in grid.metrics),
            Column("rank", rank, value="rank"),
            Column("difference", lambda row: signed(row["difference"], metric), value="difference"),
            Column("95 % interval", interval, value="low"),
            *([as_claimed] if judged else []),
            Column("cells", lambda row: f"{row['done']} of {row['expected']}", value="done"),
        ),
        block="regularizer" if several else None,
    )


def primary_verdicts(entries: Sequence[Entry]) -> "pd.DataFrame":
    """Claim × variant: the verdict under the primary reading, of the variants that the claims are about.

    Indexed by the claims' ids, with the columns sentence (as of the first variant) and the variants' names.
    """
    import pandas as pd

    found: dict[str, pd.Series[str]] = {}
    for entry in entries:
        if entry.verdicts is not None:
            rows = entry.verdicts[entry.verdicts["primary"]].set_index("claim")
            found.setdefault("sentence", rows["sentence"])
            found[entry.name] = rows["verdict"]
    return pd.DataFrame(found).rename_axis("claim")


def untold(entries: Sequence[Entry]) -> "pd.DataFrame":
    """Variant × claim: whether the data tell nothing of the claim."""
    import pandas as pd

    found: dict[str, pd.Series[bool]] = {}
    for entry in entries:
        if entry.verdicts is not None:
            rows = entry.verdicts[entry.verdicts["primary"]].set_index("claim")
            found[entry.name] = rows["holds"].isna()
    return pd.DataFrame(found).T


def claims(entries: Sequence[Entry], title: str) -> Table | None:
    """`primary_verdicts` as a table whose last row counts them; None without any. title: of the study."""
    import pandas as pd

    verdicts = primary_verdicts(entries)
    if verdicts.empty:
        return None
    names = [name for name in verdicts.columns if name != "sentence"]
    counted = {name: " / ".join(map(str, counts(verdicts[name]).values())) for name in names}
    last = {"claim": "all", "sentence": " / ".join(VERDICTS), **counted}
    return Table(
        name="variants_claims",
        title=f"Claims by variant: {title}",
        caption=sentences(
            "The verdict on each claim under the reading that the table of claims puts first, "
            f"and in the last row how many are {', '.join(VERDICTS[:-1])} and {VERDICTS[-1]}.",
            _EACH_ALONE,
        ),
        values=pd.concat([verdicts.reset_index(), pd.DataFrame([last])], ignore_index=True),
        columns=(text("claim", "id"), text("sentence", "claim"), *(text(name) for name in names)),
    )


def counts(verdicts: "pd.Series[str]") -> dict[str, int]:
    """How many of these are reproduced, contradicted and undecided."""
    return {name: int((verdicts == name).sum()) for name in VERDICTS}


def tallies(entries: Sequence[Entry]) -> list[str]:
    """`dreg[mean]: 2 reproduced, 3 contradicted, 5 undecided`, a line a variant that the claims are about."""
    verdicts = primary_verdicts(entries)
    lines = []
    for entry in entries:
        if entry.verdicts is not None:
            said = ", ".join(f"{amount} {name}" for name, amount in counts(verdicts[entry.name]).items())
            lacks = "" if entry.done == entry.expected else f" ({entry.done} of {entry.expected} cells done)"
            lines.append(f"{entry.name}: {said}{lacks}")
    return lines
