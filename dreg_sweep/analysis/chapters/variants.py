"""Which of a method's variants do the claims hold of?"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dreg_sweep.analysis import figures
from dreg_sweep.analysis.chapters.parts import Chapter, Drawing
from dreg_sweep.analysis.claims.evidence import Evidence
from dreg_sweep.analysis.claims.reading import Study, built_in
from dreg_sweep.analysis.claims.verdicts import judge
from dreg_sweep.analysis.pairing import Family, comparisons
from dreg_sweep.analysis.rows.levels import split
from dreg_sweep.analysis.rows.strengths import middle
from dreg_sweep.analysis.scores import called
from dreg_sweep.analysis.study import Data
from dreg_sweep.analysis.tables import variants
from dreg_sweep.analysis.tables.variants import Entry
from dreg_sweep.analysis.tables.wording import sentences

if TYPE_CHECKING:
    import pandas as pd


def entered(
    data: Data,
    treatment: Any,
    baseline: Any | None,
    family: Family,
    study: Study | None,
    tests: "pd.DataFrame",
    verdicts: "pd.DataFrame",
) -> list[Entry]:
    """Every variant in the place of the main one of its regularizer, tested as the treatment is.

    Those of the treatment's method are judged by the claims. study: the claims, None for the built-in ones. tests,
    verdicts: those of the treatment, which is one of the variants where its method has some.
    """
    found: list[Entry] = []
    for name, one in data.variants.by_level.items():
        own = data if name in data.variants.main.values() else data.instead.get(name)
        if own is None:  # it was left out, and a warning says why
            continue
        level = _level(own, one.regularizer, treatment)
        written = f"{name}{level.removeprefix(one.regularizer)}"  # dreg[mean]@0.01 where it has several strengths
        if own is data and level == treatment:
            found.append(Entry(written, one, level, own.grid, tests, verdicts))
            continue
        against = None if level == baseline else baseline
        declared = _declared(
            family, data.grid.levels["regularizer"], treatment, own.grid.levels["regularizer"], level
        )
        compared = comparisons(own.grid, level, declared)
        judged = None
        if one.regularizer == split(treatment)[0]:
            metrics = own.grid.metrics
            claims = study or built_in(level, against, [metric.name for metric in metrics], called(metrics))
            judged = judge(claims, Evidence(own.grid, own.sizes, declared, level, compared, own.main, own.history))
        found.append(Entry(written, one, level, own.grid, compared, judged))
    return found


def _level(data: Data, regularizer: str, treatment: Any) -> Any:
    """What a regularizer is called in the data: as the treatment, by its name, or at its middle strength."""
    levels = [level for level in data.grid.levels["regularizer"] if split(level)[0] == regularizer]
    return next((level for level in (treatment, regularizer) if level in levels), None) or middle(levels)


def _declared(family: Family, here: Sequence[Any], treatment: Any, there: Sequence[Any], level: Any) -> Family:
    """The family among the levels `there`: all rivals of `level` if it is all of the treatment's `here`."""
    whole = set(family.rivals) >= {*here} - {treatment}
    rivals = (rival for rival in there if rival != level and (whole or rival in family.rivals))
    return replace(family, rivals=tuple(rivals))


def by_variant(entries: Sequence[Entry], baseline: Any | None, study: Study) -> Chapter | None:
    """The variants side by side; None without any."""
    if not entries:
        return None
    names = dict.fromkeys(entry.variant.regularizer for entry in entries)
    tables = [variants.table(entries, baseline)]
    judged = [entry for entry in entries if entry.verdicts is not None]
    claims = variants.claims(judged, study.title)
    drawings: tuple[Drawing, ...] = ()
    if claims is not None:
        tables.append(claims)
        verdicts = variants.primary_verdicts(judged).drop(columns="sentence").T
        verdicts = verdicts.mask(variants.untold(judged), figures.NO_DATA)
        frame = tables[0].values
        frame = frame[frame["variant"].isin(verdicts.index)]
        drawings = (_drawing(judged, verdicts, frame, baseline),)
    tallies = "; ".join(variants.tallies(judged))
    return Chapter(f"Variants of {', '.join(names)}", (f"{tallies}.",) if tallies else (), tuple(tables), drawings)


def _drawing(
    entries: Sequence[Entry], verdicts: "pd.DataFrame", frame: "pd.DataFrame", baseline: Any | None
) -> Drawing:
    metric = entries[0].grid.metrics[0]
    regularizer = entries[0].variant.regularizer
    unit = f", in {metric.difference_unit}" if metric.difference_unit else ""
    return Drawing(
        "variants",
        f"Claims and gain of each variant of {regularizer}",
        sentences(
            "Left: the verdict on each claim, under the reading that the table of claims puts first.",
            f"Right: the difference in {metric.label} to {baseline} with its 95 % bootstrap interval."
            if frame["difference"].notna().any()
            else "",
        ),
        lambda: figures.variant_claims(
            verdicts,
            frame[["variant", "difference", "low", "high"]],
            title=f"What became of the claims with each variant of {regularizer}",
            xlabel=f"{metric.label} minus that of {baseline}{unit}",
        ),
    )
