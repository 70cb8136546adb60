"""The statistics of one results folder, gathered in the order in which the report tells them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dreg_sweep.analysis.chapters.across import all_at_once
from dreg_sweep.analysis.chapters.caveats import audit, remarks, robustness
from dreg_sweep.analysis.chapters.fits import fitted_functions
from dreg_sweep.analysis.chapters.headline import headline
from dreg_sweep.analysis.chapters.levels import by_level
from dreg_sweep.analysis.chapters.noise import along_the_ladder
from dreg_sweep.analysis.chapters.off_training import learning_curves, off_the_training_set
from dreg_sweep.analysis.chapters.parts import Chapter
from dreg_sweep.analysis.chapters.pressure import on_the_layers
from dreg_sweep.analysis.chapters.scarcity import data_scarcity
from dreg_sweep.analysis.chapters.strengths import by_strength
from dreg_sweep.analysis.chapters.variants import by_variant, entered
from dreg_sweep.analysis.claims import without
from dreg_sweep.analysis.claims.reading import Study, built_in
from dreg_sweep.analysis.claims.verdicts import Evidence, judge
from dreg_sweep.analysis.pairing import Family, comparisons
from dreg_sweep.analysis.report.render import Table
from dreg_sweep.analysis.scores import called
from dreg_sweep.analysis.study import Data
from dreg_sweep.analysis.tables import pressure
from dreg_sweep.analysis.tables.variants import Entry

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Results:
    """Everything that was computed from one set of rows.

    tests: the frame of `comparisons`. verdicts: the frame of `judge`. variants: each in the place of the main one.
    chapters: in order. remarks: what the data cannot tell yet, one line each.
    """

    data: Data
    treatment: Any
    baseline: Any | None
    family: Family
    study: Study
    tests: "pd.DataFrame"
    verdicts: "pd.DataFrame"
    variants: tuple[Entry, ...]
    chapters: tuple[Chapter, ...]
    remarks: tuple[str, ...]

    @property
    def tables(self) -> list[Table]:
        """All tables, in order."""
        return [table for chapter in self.chapters for table in chapter.tables]


def compute(
    data: Data, treatment: Any, baseline: Any | None, family: Family, study: Study | None = None
) -> Results:
    """All tables and figures that the data allow. study: the claims to judge, by default the built-in ones."""
    grid = data.grid
    tests = comparisons(grid, treatment, family)
    names = [metric.name for metric in grid.metrics]
    given, study = study, study or built_in(treatment, baseline, names, called(grid.metrics))
    pressed = None
    if data.history is not None:
        pressed = pressure.pressure(grid, data.main, data.history, treatment, baseline)
    evidence = Evidence(grid, data.sizes, family, treatment, tests, data.main, data.history)
    verdicts = judge(study, evidence)
    left_out = without.verdicts_without_rivals(study, evidence)
    variants = entered(data, treatment, baseline, family, given, tests, verdicts)
    chapters: list[Chapter | None] = [
        headline(data, treatment, family, tests),
        all_at_once(data),
        by_level(data, baseline),
        along_the_ladder(data),
        by_strength(data, treatment, baseline),
        by_variant(variants, baseline, study),
        data_scarcity(data, treatment, baseline),
        fitted_functions(data, baseline),
        learning_curves(data, baseline),
        off_the_training_set(data, baseline),
        on_the_layers(data, treatment, baseline, pressed),
        robustness(data, treatment, without.table(left_out, study.reading, grid)),
        audit(data),
    ]
    return Results(
        data=data,
        treatment=treatment,
        baseline=baseline,
        family=family,
        study=study,
        tests=tests,
        verdicts=verdicts,
        variants=tuple(variants),
        chapters=tuple(chapter for chapter in chapters if chapter is not None),
        remarks=tuple(remarks(data, tests)),
    )
