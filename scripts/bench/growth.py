"""How the time of a command grows with its cells: the line through its measured times."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import linear_regression, median

from bench.report import spread, table


@dataclass(frozen=True)
class Line:
    """The least-squares line through the median times. slope: s a cell; start: s of a command without cells."""

    slope: float
    start: float
    largest: float  # deviation of a median from the line, s
    share: float  # the largest deviation as a share of the line

    @classmethod
    def through(cls, seconds: Mapping[int, Sequence[float]]) -> "Line":
        """Of at least two counts of cells, with the times of their repeats."""
        medians = {cells: median(times) for cells, times in seconds.items()}
        slope, start = linear_regression(list(medians), list(medians.values()))
        off = {cells: abs(taken - (start + slope * cells)) for cells, taken in medians.items()}
        shares = [deviation / (start + slope * cells) for cells, deviation in off.items()]
        return cls(slope, start, max(off.values()), max(shares))

    def at(self, cells: int) -> float:
        """Seconds of so many cells."""
        return self.start + self.slope * cells

    def __str__(self) -> str:
        return (
            f"The line: {1000 * self.slope:.2f} ms a cell and {self.start:.2f} s to start; "
            f"at most {self.largest:.2f} s off, and at most {100 * self.share:.1f} %."
        )


def growth_table(seconds: Mapping[int, Sequence[float]], line: Line) -> list[str]:
    """One line a count of cells, in Markdown."""
    columns = ["cells", "s, median", "minimum", "maximum", "on the line, s"]
    return table(
        columns, [[f"{cells:,}", *spread(times), f"{line.at(cells):.2f}"] for cells, times in seconds.items()]
    )
