"""The audit of a sweep: the grid that tables compare, every training size, and what stands beside them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from dreg_sweep.analysis.audit import TROUBLE, Audit, left_out
from dreg_sweep.analysis.grid import State
from dreg_sweep.analysis.rows.select import size_name


@dataclass(frozen=True)
class SweepAudit(Audit):
    """The audit of the largest training sizes, whose lines are about the cells of all sizes.

    by_size: the audit of each training size, ascending, `WHOLE` for the whole set, sizes without any result
    included; empty where no dataset has several. beside: by what they are, the audits of cells that stand apart
    from those of the grid.
    """

    by_size: dict[float, Audit]
    beside: Mapping[str, Audit] = field(default_factory=dict)

    @property
    def parts(self) -> dict[float, Audit]:
        """One audit a size, or the only one, under the key NaN: every cell stands in one of them."""
        return self.by_size or {float("nan"): self}

    def total(self, state: State) -> int:
        """How many cells of all sizes, and beside them, are in that state."""
        return sum(part.count(state) for part in (*self.parts.values(), *self.beside.values()))

    @property
    def total_expected(self) -> int:
        """Cells of all sizes, and beside them, that the sweep should have."""
        return sum(part.expected for part in (*self.parts.values(), *self.beside.values()))

    def lines(self) -> list[str]:
        """The audit as text; with several sizes the first line adds them up, the others name their size.

        What stands beside the grid comes last, each line with its name.
        """
        beside = [
            f"{name}: {line}"
            for name, part in self.beside.items()
            for line in part.lines()
            if line != left_out(part.grid)
        ]
        if not self.by_size:
            return [*super().lines(), *beside]
        sizes = ", ".join(map(size_name, self.by_size))
        done, expected = (
            sum(amount(part) for part in self.by_size.values())
            for amount in (lambda part: part.count(State.DONE), lambda part: part.expected)
        )
        lines = [f"{done} of {expected} cells done at {len(self.by_size)} training sizes ({sizes})"]
        for size, part in self.by_size.items():
            said = part.lines() if part.compared else [_without_result(part)]
            lines += [f"train_size={size_name(size)}: {line}" for line in said]
        return [*lines, *beside]


def _without_result(part: Audit) -> str:
    counted = ((part.count(state), name) for state, name in TROUBLE.items())
    kinds = ", ".join(f"{count} {name}" for count, name in counted if count)
    return f"0 of {part.expected} cells done ({kinds}); no table is about this size"
