"""The files of an analysis: tables, figures, claims.csv, report.html."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dreg_sweep.analysis import compare
from dreg_sweep.analysis.report.page import Picture, Section, page
from dreg_sweep.analysis.report.provenance import provenance
from dreg_sweep.analysis.report.render import Table, write
from dreg_sweep.analysis.report.summary import claim_table, report
from dreg_sweep.analysis.results import Drawing, Results

if TYPE_CHECKING:
    import pandas as pd

# What an earlier analysis of other data may have left, and this one would not overwrite.
_TABLES = (
    "overall", "ranks", "pairwise_*", "standing", "rank_tests", "variance", "activation_by_regularizer*",
    "dataset_by_regularizer", "noise_ladder", "noise_retained", "scarcity", "scarcity_trend", "pressure",
    "bootstrap", "fragility_*", "coverage", "not_done", "claims", "tests", "changes", "conclusions",
    "claims_compared",
)  # fmt: skip
_FIGURES = (
    "clean_vs_noisy", "forest", "seeds", "critical_difference", "heatmap", "noise", "scarcity", "pressure",
)  # fmt: skip


def write_analysis(results: Results, out: Path) -> list[Path]:
    """Write one analysis; the paths written, the report last."""
    tables = [*results.tables, claim_table(results)]
    drawings = [drawing for chapter in results.chapters for drawing in chapter.drawings]
    written = _tables(tables, out / "tables")
    tests = out / "tables" / "tests.csv"
    _csv(results.tests, tests)
    figures = _figures(drawings, out / "figures")
    claims = out / "claims.csv"
    _csv(results.verdicts, claims)
    written += [tests, *figures, claims]
    _remove_leftovers(out, written)
    pictures = {path.stem: path for path in figures if path.suffix == ".png"}
    html = out / "report.html"
    html.write_text(report(results, pictures, results.data.warnings), encoding="utf-8", newline="\n")
    return [*written, html]


def write_comparison(
    results: Sequence[Results], names: Sequence[str], out: Path
) -> tuple[list[Table], list[Path]]:
    """Write a comparison of sweeps; its tables and the paths written."""
    import pandas as pd

    tables = compare.tables(results, names)
    written = _tables(tables, out / "tables")
    verdicts = pd.concat(
        [one.verdicts.assign(results=name) for one, name in zip(results, names, strict=True)], ignore_index=True
    )
    claims = out / "claims.csv"
    _csv(verdicts, claims)
    drawings: list[Drawing] = []
    for one, name in zip(results, names, strict=True):
        for chapter in one.chapters:
            drawings += [
                Drawing(f"{drawing.name}_{place}", f"{name}: {drawing.title}", drawing.caption, drawing.draw)
                for place, drawing in enumerate(chapter.drawings)
                if drawing.name in ("forest", "heatmap")
            ]
    numbered = [
        Drawing(
            f"{drawing.name.rsplit('_', 1)[0]}_{1 + number // 2}", drawing.title, drawing.caption, drawing.draw
        )
        for number, drawing in enumerate(drawings)
    ]
    figures = _figures(numbered, out / "figures")
    written += [claims, *figures]
    _remove_leftovers(out, written)
    pictures = {path.stem: path for path in figures if path.suffix == ".png"}
    html = page(
        title=f"{' and '.join(names)} compared",
        lead=[f"{name}: {one.data.audit.lines()[0]}." for one, name in zip(results, names, strict=True)],
        claims=None,
        sections=[
            Section("What changed", [], tables, []),
            Section(
                "Both sweeps",
                [],
                [],
                [Picture(one.name, one.title, one.caption, pictures[one.name]) for one in numbered],
            ),
        ],
        audit=[
            f"{name}: {line}" for one, name in zip(results, names, strict=True) for line in one.data.audit.lines()
        ],
        warnings=[
            f"{name}: {line}"
            for one, name in zip(results, names, strict=True)
            for line in (*one.data.warnings, *one.remarks)
        ],
        provenance=pd.concat(
            [provenance(one.data.main).assign(sweep=name) for one, name in zip(results, names, strict=True)],
            ignore_index=True,
        ),
    )
    path = out / "report.html"
    path.write_text(html, encoding="utf-8", newline="\n")
    return tables, [*written, path]


def short_names(paths: Sequence[str]) -> list[str]:
    """The shortest endings of the paths that tell them apart."""
    parts = [Path(path).resolve().parts for path in paths]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return [f"{path} ({place})" for place, path in enumerate(paths, start=1)]


def _tables(tables: Iterable[Table], folder: Path) -> list[Path]:
    return [path for table in tables for path in write(table, folder)]


def _figures(drawings: Iterable[Drawing], folder: Path) -> list[Path]:
    from dreg_sweep.analysis.figures import save

    folder.mkdir(parents=True, exist_ok=True)
    return [path for drawing in drawings for path in save(drawing.draw(), folder / drawing.name)]


def _csv(frame: "pd.DataFrame", path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(path, index=False, lineterminator="\n")


def _remove_leftovers(out: Path, written: Sequence[Path]) -> None:
    """Remove the tables and figures of an earlier analysis that these data do not allow."""
    kept = set(written)
    for folder, names, endings in (
        ("tables", _TABLES, ("csv", "md", "tex")),
        ("figures", _FIGURES, ("png", "pdf")),
    ):
        for name in names:
            for ending in endings:
                for path in (out / folder).glob(f"{name}.{ending}"):
                    if path not in kept:
                        path.unlink()
