"""The files of an analysis replace those of an earlier one all together or not at all, and nobody else's."""

import errno
import hashlib

import pytest

from dreg_sweep.analysis import output
from dreg_sweep.analysis.output import write_analysis, write_comparison
from dreg_sweep.analysis.pairing import choose_family
from dreg_sweep.analysis.results import compute
from dreg_sweep.analysis.study import read
from tests.grids import made_up


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """An analysis of three datasets, one activation, two seeds and two regularizers."""
    path = tmp_path_factory.mktemp("rows") / "rows.parquet"
    shape = {"datasets": ("mnist", "cifar10", "sst2"), "activations": ("relu",), "seeds": range(2)}
    made_up({"dreg": 8}, **shape, regularizers=("none", "dreg")).to_parquet(path)
    return compute(read(path), "dreg", "none", choose_family(None, ["none"]))


def contents(folder):
    """Every file below a folder with its digest, and every empty folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in folder.rglob("*")
        if path.is_file() or not any(path.iterdir())
    }


def fill(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("earlier")


def full_disk(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_the_paths_written_are_there_and_nothing_else_is(results, tmp_path):
    out = tmp_path / "not" / "there" / "yet"
    written = write_analysis(results, out)
    assert contents(out).keys() == {str(path.relative_to(out)) for path in written}
    assert written[-1] == out / "report.html"
    again = contents(out)
    assert write_analysis(results, out) == written
    assert contents(out) == again


@pytest.mark.parametrize("what", ["report", "claim_table", "_figures", "write", "_csv"])
def test_whatever_fails_while_files_are_made_leaves_the_earlier_ones(results, tmp_path, monkeypatch, what):
    fill(tmp_path, "tables/overall.csv", "tables/scarcity.md", "figures/heatmap.png", "claims.csv", "report.html")
    before = contents(tmp_path)
    monkeypatch.setattr(output, what, full_disk)
    for out in (tmp_path, tmp_path / "new" / "folder"):
        with pytest.raises(OSError, match="No space left"):
            write_analysis(results, out)
        assert contents(tmp_path) == before
    if what not in ("report", "claim_table"):
        with pytest.raises(OSError, match="No space left"):
            write_comparison([results, results], ["a", "b"], tmp_path)
        assert contents(tmp_path) == before


@pytest.mark.parametrize("blocked", ["tables", "report.html", "figures/forest.png"])
def test_what_stands_in_the_way_is_seen_before_anything_is_replaced(results, tmp_path, blocked):
    fill(tmp_path, "claims.csv", "tables" if blocked == "tables" else f"{blocked}/mine.txt")
    before = contents(tmp_path)
    with pytest.raises(OSError, match=r"exists|is a folder"):
        write_analysis(results, tmp_path)
    assert contents(tmp_path) == before
    fill(tmp_path, "file")
    with pytest.raises(NotADirectoryError):
        write_analysis(results, tmp_path / "file")


def test_no_report_stands_beside_tables_of_another_analysis(results, tmp_path, monkeypatch):
    """Killed at any move: the earlier report is gone with the first one, and the new one comes last."""
    out = tmp_path / "out"
    fill(out, "report.html", "tables/scarcity.csv")
    move = output.Path.replace
    moved = []

    def replace(path, place):
        assert not (out / "report.html").exists()
        assert (out / "tables" / "scarcity.csv").exists()
        moved.append(place.name)
        if place.name == "claims.csv":
            raise KeyboardInterrupt
        return move(path, place)

    monkeypatch.setattr(output.Path, "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        write_analysis(results, out)
    assert not (out / "report.html").exists()
    assert (out / "tables" / "overall.csv").exists()
    assert {path.name for path in out.iterdir()} == {"tables", "figures"}
    monkeypatch.undo()
    written = write_analysis(results, out)
    assert written[-1].read_text(encoding="utf-8").startswith("<!")
    assert not (out / "tables" / "scarcity.csv").exists()


OURS = (
    "tables/scarcity.csv", "tables/scarcity.tex", "tables/not_done.md", "tables/pairwise_top-1_top_5.md",
    "tables/fragility_test_loss.tex", "tables/changes.csv", "figures/noise.pdf", "figures/forest_2.png",
    "tables/pressure.md",
)  # fmt: skip
THEIRS = (
    "tables/pairwise_notes.md", "tables/fragility_mine.csv", "tables/scarcity.xlsx", "tables/overall_old.csv",
    "tables/activation_by_regularizer_mine.md", "figures/forest_mine.png", "figures/noise.svg", "scarcity.csv",
    "tables/sub/scarcity.csv", "notes.md",
)  # fmt: skip


def test_leftovers_are_what_an_earlier_analysis_wrote_and_no_more(results, tmp_path):
    fill(tmp_path, *OURS, *THEIRS)
    (tmp_path / "tables" / "tests.csv").write_text("unit,metric\nseed,top-1/top 5\nseed,test_loss\nseed,\n")
    written = {str(path.relative_to(tmp_path)) for path in write_analysis(results, tmp_path)}
    assert contents(tmp_path).keys() == written | set(THEIRS)
    assert not written & set(OURS)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"a,b\n1,2\n", b'metric\n"open\n'])
def test_a_strange_table_of_tests_is_no_obstacle(results, tmp_path, content):
    fill(tmp_path, "tables/pairwise_notes.md")
    (tmp_path / "tables" / "tests.csv").write_bytes(content)
    assert tmp_path / "tables" / "tests.csv" in write_analysis(results, tmp_path)
    assert (tmp_path / "tables" / "pairwise_notes.md").exists()


def test_a_comparison_replaces_an_analysis(results, tmp_path):
    write_analysis(results, tmp_path)
    known = {*output._TABLES, *(f"{what}_{name}" for what in output._OF_A_METRIC for name in output.ACCURACIES)}
    assert {path.stem for path in (tmp_path / "tables").iterdir()} <= known
    tables, written = write_comparison([results, results], ["a", "b"], tmp_path)
    assert {table.name for table in tables} <= known
    assert contents(tmp_path).keys() == {str(path.relative_to(tmp_path)) for path in written}
    assert {path.stem for path in written if path.parent.name == "tables"} == {table.name for table in tables}
    figures = {path.name for path in written if path.suffix == ".png"}
    assert figures == {"forest_1.png", "forest_2.png", "heatmap_1.png", "heatmap_2.png"}
