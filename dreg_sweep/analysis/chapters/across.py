"""All regularizers at once: rank tests, analysis of variance, critical difference."""

from dreg_sweep.analysis import figures
from dreg_sweep.analysis.chapters.parts import Chapter, Drawing
from dreg_sweep.analysis.pairing import UNITS, primary_unit
from dreg_sweep.analysis.study import Data
from dreg_sweep.analysis.tables import across
from dreg_sweep.analysis.tables.overall import mean_ranks


def all_at_once(data: Data) -> Chapter | None:
    grid = data.grid
    tests = across.by_unit(grid)
    found = (across.standing(grid, tests), across.rank_tests(grid, tests), across.variance(grid))
    tables = [table for table in found if table is not None]
    if not tables or not grid.complete.any():
        return None
    metric = grid.metrics[0]
    drawings = []
    unit = UNITS[primary_unit(grid)]
    means, blocks = mean_ranks(grid, metric, unit.factors)
    test = tests.get((metric.name, unit.name))
    if test is not None:
        import pandas as pd

        critical = test.critical_difference
        drawings.append(
            Drawing(
                "critical_difference",
                "Mean ranks and Nemenyi's critical difference",
                f"{metric.label.capitalize()}, {blocks} {unit.label}. Regularizers joined by a bar are not "
                "shown to differ at 0.05.",
                lambda: figures.critical_difference(
                    pd.Series(means), critical, blocks=blocks, title=f"Mean ranks: {metric.label}"
                ),
            )
        )
    return Chapter("All regularizers at once", (), tuple(tables), tuple(drawings))
