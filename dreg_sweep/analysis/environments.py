"""In which environments the rows of an analysis were made, and which levels of which factors they split."""

from typing import TYPE_CHECKING

from dreg_sweep.analysis.rows.levels import listed, ordered
from dreg_sweep.environment import tell_apart, told_by
from dreg_sweep.factors import CROSSED

if TYPE_CHECKING:
    import pandas as pd


def mixed_environments(rows: "pd.DataFrame") -> list[str]:
    """A line on each environment of the done rows, with the levels that only some of its rows have; none for one.

    Args:
        rows: of `load_cells`.
    """
    done = rows[rows["status"] == "done"]
    names = ("environment", "torch_version", "device")
    columns = (done[name].astype(object).where(done[name].notna(), None) for name in names)
    told = [told_by(*row) for row in zip(*columns, strict=True)]
    same = tell_apart(told)
    if len(set(same.values())) < 2:
        return []
    named = done.assign(environment=[same[one] for one in told])
    groups = [(str(name), part) for name, part in named.groupby("environment", sort=False)]
    lines = [
        f"mixed: the rows were made in {len(groups)} environments, whose last bits and sometimes counts differ"
    ]
    for name, part in sorted(groups, key=lambda group: -len(group[1])):
        parts = []
        for factor in CROSSED:
            own, every = set(part[factor]), set(named[factor])
            if own != every:
                parts.append(f"{factor} {listed(ordered(factor, own))}")
        lines.append(f"{len(part)} rows: {name} ({'; '.join(parts) or 'some rows of every level'})")
    return lines
