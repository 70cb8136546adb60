"""Whether two programs that train the same cells from other random numbers come to the same accuracies."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, variance

import pandas as pd

from bench.report import table

MEASURES = ("clean_accuracy", "noisy_accuracy")
STANDARD_ERRORS = 4  # by which two mean accuracies may differ
# This much is let pass: the recipes differ in details, few seeds tell their own spread badly, and each program has
# drawn the noise of the test rows once for all its seeds.
LEAST_BOUND = 0.01


@dataclass(frozen=True)
class Agreement:
    """Mean accuracies of one combination, script and runner, with the largest difference that seeds explain."""

    activation: str
    regularizer: str
    measure: str
    script: float
    runner: float
    bound: float

    @property
    def name(self) -> str:
        """As a table has it."""
        return f"{self.activation}, {self.regularizer}, {self.measure.removesuffix('_accuracy')}"

    @property
    def holds(self) -> bool:
        """Whether they differ no more than that."""
        return abs(self.runner - self.script) <= self.bound

    def __str__(self) -> str:
        return (
            f"{self.name}: script {self.script:.4f}, dreg-sweep {self.runner:.4f}, "
            f"more than {self.bound:.4f} apart"
        )


def agreements(script: pd.DataFrame, runner: pd.DataFrame) -> list[Agreement]:
    """Both means of each combination, for each measure that the two frames have.

    The variance between seeds is pooled over the combinations.
    """
    found = []
    for measure in MEASURES:
        if script[measure].isna().all() and runner[measure].isna().all():
            continue
        groups = [
            {
                (str(activation), str(regularizer)): list(rows[measure])
                for (activation, regularizer), rows in frame.groupby(["activation", "regularizer"], sort=False)
            }
            for frame in (script, runner)
        ]
        seeds = min(len(values) for group in groups for values in group.values())
        pooled = fmean(variance(values) for group in groups for values in group.values())
        bound = max(STANDARD_ERRORS * math.sqrt(2 * pooled / seeds), LEAST_BOUND)
        found += [
            Agreement(*pair, measure, fmean(values), fmean(groups[1][pair]), bound)
            for pair, values in groups[0].items()
        ]
    return found


def agreement_table(found: Sequence[Agreement]) -> list[str]:
    """One line a combination and measure, in percent."""
    columns = ["mean over seeds, in %", "script", "dreg-sweep", "difference", "may differ by"]
    return table(
        columns,
        [
            [
                pair.name,
                f"{100 * pair.script:.2f}",
                f"{100 * pair.runner:.2f}",
                f"{100 * (pair.runner - pair.script):+.2f}",
                f"{100 * pair.bound:.2f}",
            ]
            for pair in found
        ],
    )
