"""The files of an analysis: tables, figures, claims.csv, report.html.

All of them are written to a folder of their own first, and take the place of an earlier analysis by renaming only:
whatever goes wrong while they are made, a full disk included, leaves the earlier files as they were. The earlier
report goes before the first of them is replaced and the new one comes last, so that no report stands beside tables
of another analysis.
"""

import csv
import errno
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dreg_sweep.analysis import side_by_side
from dreg_sweep.analysis.chapters.parts import Drawing
from dreg_sweep.analysis.report.page import Picture, Section, page
from dreg_sweep.analysis.report.provenance import provenance
from dreg_sweep.analysis.report.render import Table, harmless, write
from dreg_sweep.analysis.report.summary import claim_table, report
from dreg_sweep.analysis.results import Results
from dreg_sweep.analysis.scores import ACCURACIES, Metric

if TYPE_CHECKING:
    import pandas as pd

# What an earlier analysis of other data may have left, and this one would not overwrite.
_TABLES = (
    "overall", "ranks", "standing", "rank_tests", "variance", "activation_by_regularizer",
    "activation_by_regularizer_by_group", "dataset_by_regularizer", "noise_ladder", "noise_retained", "scarcity",
    "scarcity_trend", "scarcity_fragility", "size_tests", "strengths", "tuning", "tuning_ranks",
    "tuning_fragility", "chosen_strengths",
    "fits", "off_training", "off_training_reduction", "pressure",
    "bootstrap", "coverage", "not_done", "claims", "claims_without_rivals", "tests", "changes", "differing",
    "conclusions",
    "claims_compared", "variants", "variants_claims",
)  # fmt: skip
_OF_A_METRIC = ("pairwise", "fragility")  # and `_` and the metric's name
_FIGURES = (
    "clean_vs_noisy", "forest", "seeds", "critical_difference", "heatmap", "noise", "scarcity", "pressure",
    "sizes", "strengths", "sensitivity", "variants", "off_training", "off_training_course", "learning_curves",
)  # fmt: skip
_OF_A_SWEEP = ("forest", "heatmap")  # and `_` and the number of the sweep, in a comparison
_NUMBERED = (*_OF_A_SWEEP, "fits")  # and `_` and a number
_REPORT = "report.html"
_STAGE = ".writing-"


def write_analysis(results: Results, out: Path) -> list[Path]:
    """Write one analysis; the paths written, the report last. Raises OSError."""

    def fill(stage: Path) -> list[Path]:
        drawings = [drawing for chapter in results.chapters for drawing in chapter.drawings]
        written = _tables([*results.tables, claim_table(results)], stage / "tables")
        written.append(_csv(results.tests, stage / "tables" / "tests.csv"))
        figures = _figures(drawings, stage / "figures")
        written += [*figures, _csv(results.verdicts, stage / "claims.csv")]
        html = report(results, _pictures(figures), results.data.warnings)
        return [*written, _text(html, stage / _REPORT)]

    return _exchanged(out, fill)


def write_comparison(
    results: Sequence[Results], names: Sequence[str], out: Path
) -> tuple[list[Table], list[Path]]:
    """Write a comparison of sweeps; its tables and the paths written, the report last. Raises OSError."""
    import pandas as pd

    tables = side_by_side.tables(results, names)
    verdicts = pd.concat(
        [one.verdicts.assign(results=name) for one, name in zip(results, names, strict=True)], ignore_index=True
    )
    drawings = [
        Drawing(f"{drawing.name}_{place}", f"{name}: {drawing.title}", drawing.caption, drawing.draw)
        for place, (one, name) in enumerate(zip(results, names, strict=True), start=1)
        for chapter in one.chapters
        for drawing in chapter.drawings
        if drawing.name in _OF_A_SWEEP
    ]

    def fill(stage: Path) -> list[Path]:
        written = _tables(tables, stage / "tables")
        written.append(_csv(verdicts, stage / "claims.csv"))
        figures = _figures(drawings, stage / "figures")
        pictures = _pictures(figures)
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
                    [Picture(one.name, one.title, one.caption, pictures[one.name]) for one in drawings],
                ),
            ],
            audit=[
                f"{name}: {line}"
                for one, name in zip(results, names, strict=True)
                for line in one.data.audit.lines()
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
        return [*written, *figures, _text(html, stage / _REPORT)]

    return tables, _exchanged(out, fill)


def short_names(paths: Sequence[str]) -> list[str]:
    """The shortest endings of the paths that tell them apart."""
    parts = [Path(path).resolve().parts for path in paths]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return [f"{path} ({place})" for place, path in enumerate(paths, start=1)]


def _exchanged(out: Path, fill: Callable[[Path], list[Path]]) -> list[Path]:
    """Put what `fill` writes into the output folder, in that order; the paths there. Raises OSError.

    fill: writes files into an empty folder, by the paths that they are to have in `out`, and lists them.
    """
    if out.exists() and not out.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(out))
    missing = [folder for folder in (out, *out.parents) if not folder.exists()]
    out.mkdir(parents=True, exist_ok=True)
    try:
        # Within `out`: of the same file system, and writable wherever the result is to be.
        with tempfile.TemporaryDirectory(dir=out, prefix=_STAGE, ignore_cleanup_errors=True) as name:
            stage = Path(name)
            made = fill(stage)
            places = [out / path.relative_to(stage) for path in made]
            leftovers = _leftovers(out, places)  # of the earlier analysis, of which tests.csv tells
            _prepare(places)
            (out / _REPORT).unlink(missing_ok=True)
            for path, place in zip(made, places, strict=True):
                path.replace(place)
            for path in leftovers:
                path.unlink(missing_ok=True)
    except BaseException:
        for folder in missing:
            try:
                folder.rmdir()
            except OSError:  # something is in it
                break
        raise
    return places


def _prepare(places: Iterable[Path]) -> None:
    """Make the folders of files that are to be moved there; OSError, before any is, where that cannot be done."""
    folders: dict[Path, None] = {}
    for place in places:
        folders[place.parent] = None
        if place.is_dir():
            raise IsADirectoryError(errno.EISDIR, f"{place.name} is a folder", str(place))
    for folder in folders:
        folder.mkdir(exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))


def _pictures(figures: Iterable[Path]) -> dict[str, Path]:
    return {path.stem: path for path in figures if path.suffix == ".png"}


def _tables(tables: Iterable[Table], folder: Path) -> list[Path]:
    return [path for table in tables for path in write(table, folder)]


def _figures(drawings: Iterable[Drawing], folder: Path) -> list[Path]:
    from dreg_sweep.analysis.figures import save

    folder.mkdir(parents=True, exist_ok=True)
    return [path for drawing in drawings for path in save(drawing.draw(), folder / drawing.name)]


def _csv(frame: "pd.DataFrame", path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    harmless(frame).to_csv(path, index=False, lineterminator="\n")
    return path


def _text(text: str, path: Path) -> Path:
    path.write_text(text, encoding="utf-8", newline="\n")
    return path


def _leftovers(out: Path, written: Sequence[Path]) -> list[Path]:
    """The tables and figures of an earlier analysis that these data do not allow: names that this stage writes.

    A metric's tables are known by the accuracies, and by what `tests.csv` of the earlier analysis lists.
    """
    slugs = dict.fromkeys([*ACCURACIES, *(Metric(name).slug for name in _tested(out / "tables" / "tests.csv"))])
    tables = [*_TABLES, *(f"{what}_{slug}" for what in _OF_A_METRIC for slug in slugs)]
    found = [out / "tables" / f"{name}.{ending}" for name in tables for ending in ("csv", "md", "tex")]
    for ending in ("png", "pdf"):
        found += [out / "figures" / f"{name}.{ending}" for name in _FIGURES]
        for name in _NUMBERED:
            numbered = sorted((out / "figures").glob(f"{name}_*.{ending}"))
            found += [path for path in numbered if path.stem.removeprefix(f"{name}_").isdecimal()]
    kept = set(written)
    return [path for path in found if path not in kept and path.is_file()]


def _tested(path: Path) -> list[str]:
    """The metrics that a table of tests is about; none where it is missing or something else."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return sorted({row.get("metric") or "" for row in csv.DictReader(file)} - {""})
    except (OSError, UnicodeDecodeError, csv.Error):
        return []
