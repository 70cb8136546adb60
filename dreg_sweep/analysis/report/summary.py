"""The claim table of the report, and the page itself."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dreg_sweep.analysis.claims.outcome import Outcome
from dreg_sweep.analysis.claims.reading import Study
from dreg_sweep.analysis.pairing import UNITS, primary_unit, why_primary
from dreg_sweep.analysis.report.page import Picture, Section, page
from dreg_sweep.analysis.report.provenance import provenance
from dreg_sweep.analysis.report.render import NOTHING, Column, Table
from dreg_sweep.analysis.results import Results
from dreg_sweep.analysis.tables.wording import p_values, plural, text

if TYPE_CHECKING:
    import pandas as pd

BY_SEED = {"unit": "seed", "side": "one-sided", "correction": "none"}


def claim_table(results: Results) -> Table:
    """One row a claim: the primary verdict with its numbers, and how the other readings judge."""
    return claims(results.verdicts, results.study, primary_unit(results.data.grid))


def claims(verdicts: "pd.DataFrame", study: Study, unit: str) -> Table:
    """The claim table of a frame of `judge`. unit: the primary one of the grid."""
    primary = verdicts[verdicts["primary"]].reset_index(drop=True)
    other = verdicts
    for name, value in BY_SEED.items():
        other = other[other[name] == value]
    frame = primary.assign(
        seeds_one_sided=primary["claim"].map(other.set_index("claim")["verdict"]).fillna(NOTHING),
        everywhere=[_tally(verdicts[verdicts["claim"] == claim]) for claim in primary["claim"]],
    )
    others = [f"{row.claim} by {UNITS[str(row.unit)].label}" for row in primary.itertuples() if row.unit != unit]
    others += [f"{row.claim} {row.side}" for row in primary.itertuples() if row.side != "two-sided"]
    others += [f"{row.claim} uncorrected" for row in primary.itertuples() if row.correction != "holm"]
    reading = f", {study.reading}" if study.reading else ""
    except_for = f" ({', '.join(others)})" if others else ""
    return Table(
        name="claims",
        title=f"Claims: {study.title}",
        caption=f"From: {study.source}. Verdict: by {UNITS[unit].label}, two-sided, after Holm's correction"
        f"{except_for}: reproduced where every comparison that the sentence makes is significant (0.05) in its "
        "direction, contradicted where one is significant in the other, undecided otherwise. Observed: what the "
        "plain means show. Decides: the rival (or the place) that the verdict depends on. p: of that comparison; "
        "least p: the smallest it could have been († above "
        f"0.05). Seeds: the verdict by seed means, one-sided and uncorrected{reading}. "
        "All: how often reproduced / contradicted / undecided over every unit, side and correction. claims.csv "
        "has each.",
        values=frame,
        columns=(
            text("claim", "id"),
            text("sentence", "claim"),
            text("verdict"),
            text("observed"),
            text("decisive", "decides"),
            p_values("p", "p"),
            Column("pairs", lambda row: _whole(row["pairs"]), value="pairs"),
            Column("least p", _least, value="floor"),
            text("seeds_one_sided", "seeds"),
            text("everywhere", "all"),
        ),
    )


def _tally(verdicts: "pd.DataFrame") -> str:
    counts = verdicts["verdict"].value_counts()
    return " / ".join(str(counts.get(name, 0)) for name in Outcome)


def _whole(value: Any) -> str:
    import pandas as pd

    return NOTHING if pd.isna(value) else str(int(value))


def _least(row: Mapping[str, Any]) -> str:
    if row["floor"] != row["floor"]:
        return NOTHING
    return f"{row['floor']:.2g}{'' if row['can_reach'] else '†'}"


def report(results: Results, pictures: Mapping[str, Path], warnings: Sequence[str]) -> str:
    """The page of one analysis. pictures: figure name → its PNG."""
    sections = [
        Section(
            title=chapter.title,
            text=list(chapter.text),
            tables=list(chapter.tables),
            pictures=[
                Picture(drawing.name, drawing.title, drawing.caption, pictures[drawing.name])
                for drawing in chapter.drawings
                if drawing.name in pictures
            ],
        )
        for chapter in results.chapters
        if not chapter.is_audit
    ]
    audit = next(chapter for chapter in results.chapters if chapter.is_audit)
    sections.append(Section(title="Audit tables", text=[], tables=list(audit.tables), pictures=[]))
    return page(
        title=f"{results.treatment} against its rivals",
        lead=lead(results),
        claims=claim_table(results),
        sections=sections,
        audit=list(audit.text),
        warnings=[*warnings, *results.remarks],
        provenance=provenance(results.data.main),
    )


def lead(results: Results) -> list[str]:
    """The first sentences of the report: what was compared, and how many claims hold."""
    grid = results.data.grid
    counts = results.verdicts[results.verdicts["primary"]]["verdict"].value_counts()
    said = ", ".join(f"{counts.get(name, 0)} {name}" for name in Outcome)
    cells = int(grid.done.sum())
    return [
        f"{cells} trainings: {_some(len(grid.compared), 'regularizer')} on "
        f"{_some(len(grid.levels['dataset']), 'dataset')} under "
        f"{_some(len(grid.levels['activation']), 'activation')} with {_some(len(grid.levels['seed']), 'seed')}.",
        f"Of {int(counts.sum())} claims: {said}. Unit of evidence: {why_primary(grid)}; "
        f"{results.family.sentence}.",
    ]


def _some(amount: int, noun: str) -> str:
    return f"{amount} {plural(amount, noun)}"
