"""Files as other people write them: separators, encodings, decimal commas, headers, blanks and what cannot be seen."""

import csv
import io

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dreg_sweep.analysis.command import main
from dreg_sweep.analysis.report.render import harmless
from dreg_sweep.analysis.rows.reading import load_cells
from dreg_sweep.analysis.rows.select import where
from dreg_sweep.analysis.rows.spelling import quoted, split_levels, visible
from dreg_sweep.errors import UserError

HEADER = ["activation", "regularizer", "dataset", "seed", "clean_accuracy", "my_score"]
ROWS = [
    ["relu", name, data, str(seed), f"0.{9 - seed}{i}25", f"{1.5 + i}"]
    for seed in range(2)
    for i, (name, data) in enumerate((n, d) for n in ("none", "dreg, strong") for d in ("a", "ü b"))
]


def written(path, delimiter=",", encoding="utf-8", comma=False, header=HEADER, quoting=csv.QUOTE_MINIMAL):
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, quoting=quoting)
    writer.writerow(header)
    for *levels, accuracy, score in ROWS:
        numbers = [accuracy, score]
        writer.writerow([*levels, *(n.replace(".", ",") if comma else n for n in numbers)])
    path.write_bytes(text.getvalue().encode(encoding))
    return load_cells(path)


@given(
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]),
    st.booleans(),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    st.sampled_from(
        [HEADER, [name.upper() for name in HEADER], [f" {n.replace('_', ' ').title()} " for n in HEADER]]
    ),
)
@settings(deadline=None, max_examples=80)
def test_one_table_reads_the_same_however_it_is_written(
    tmp_path_factory, delimiter, encoding, comma, quoting, header
):
    folder = tmp_path_factory.mktemp("dialect")
    plain = written(folder / "plain.csv")
    other = written(folder / "other.csv", delimiter, encoding, comma, header, quoting)
    names = HEADER[:5]
    pd.testing.assert_frame_equal(other[names], plain[names])
    unusual = delimiter != "," or comma or encoding in ("utf-16", "cp1252") or header != HEADER
    assert bool(other.attrs["warnings"]) == unusual
    assert all("\n" not in line and "other.csv" in line for line in other.attrs["warnings"])


@pytest.mark.parametrize("number", ["1.234,5", "1,234.5", "12.345.678,9"])
def test_numbers_with_both_marks_are_refused(number, tmp_path):
    (tmp_path / "rows.csv").write_text(
        f"activation;regularizer;dataset;seed;clean_accuracy;n\nrelu;none;a;0;0,5;{number}\n"
    )
    with pytest.raises(UserError, match="thousands") as mistake:
        load_cells(tmp_path / "rows.csv")
    assert number in str(mistake.value)


def test_two_columns_of_one_name_are_refused(tmp_path):
    (tmp_path / "rows.csv").write_text(
        "activation,regularizer,Regularizer,dataset,seed,clean_accuracy\nrelu,a,b,c,0,0.5\n"
    )
    with pytest.raises(UserError, match="regularizer and Regularizer"):
        load_cells(tmp_path / "rows.csv")


@pytest.mark.parametrize("blank", [" ", "\u00a0", "\u200b", "\ufeff", "\t", " \u200b "])
def test_levels_that_differ_in_blanks_are_named(blank, tmp_path, capsys):
    lines = ["activation,regularizer,dataset,seed,clean_accuracy", "relu,none,a,0,0.5", "relu,dreg,a,0,0.6"]
    path = tmp_path / "rows.csv"
    path.write_text("\n".join([*lines, f"relu,dreg{blank},a,0,0.7"]), encoding="utf-8")
    assert main([str(path), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert 'regularizer has the levels "dreg" and "dreg' in said
    assert "blanks" in said
    path.write_text("\n".join([*lines[:2], f"relu,dreg{blank},a,0,0.7"]), encoding="utf-8")
    frame = load_cells(path)
    assert frame["regularizer"].tolist() == ["none", "dreg"]
    assert "blanks" in frame.attrs["warnings"][0]


def test_what_cannot_be_seen_reaches_no_terminal_page_or_file(tmp_path, capsys):
    evil = "a\x07\x1b[31mb\u202ec"
    rows = ["activation,regularizer,dataset,seed,clean_accuracy"]
    rows += [f"relu,{name},d{d},0,0.{d + 1}{i}" for i, name in enumerate(("none", "dreg", evil)) for d in range(3)]
    (tmp_path / "rows.csv").write_text("\n".join(rows), encoding="utf-8")
    assert main([str(tmp_path / "rows.csv"), "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr()
    texts = [printed.out, printed.err]
    endings = (".md", ".csv", ".html", ".tex")
    files = [path for path in (tmp_path / "out").rglob("*.*") if path.suffix in endings]
    texts += [path.read_text(encoding="utf-8") for path in files]
    assert r"a\x07\x1b[31mb\u202ec" in printed.out
    for text in texts:
        assert not {"\x07", "\x1b", "\u202e"} & set(text)


def test_a_spreadsheet_runs_no_text():
    texts = ["=HYPERLINK()", "+1+1", "@x", "-a"]
    frame = pd.DataFrame({"=cmd": texts, "ok": ["a", "-0.5", "+3", "1e-3"], "n": [-1, 2, 3, 4]})
    safe = harmless(frame)
    assert safe["'=cmd"].tolist() == ["'=HYPERLINK()", "'+1+1", "'@x", "'-a"]
    assert safe["ok"].tolist() == ["a", "-0.5", "+3", "1e-3"]
    assert safe["n"].tolist() == [-1, 2, 3, 4]


LEVELS = st.text(st.sampled_from("ab ,\"'=[]1.;|"), min_size=1, max_size=8).map(str.strip).filter(bool)


@given(st.lists(LEVELS, min_size=1, max_size=4, unique=True))
@settings(deadline=None, max_examples=200)
def test_a_level_that_is_offered_can_be_pasted_back(levels):
    pasted = ",".join(quoted(level, always=True) for level in levels)
    assert split_levels(pasted) == levels
    assert split_levels(quoted(levels[0])) == [levels[0]]
    frame = pd.DataFrame({"regularizer": pd.array([*levels, "other"], "string"), "status": "done"})
    assert where(frame, [f"regularizer={quoted(levels[0])}"])["regularizer"].tolist() == [levels[0]]


@given(st.text(max_size=20))
@settings(deadline=None, max_examples=200)
def test_visible_text_has_nothing_unseen_and_is_left_alone(text):
    once = visible(text)
    assert once == visible(once)
    assert all(c.isprintable() or c in "\u00a0\u00ad" or c.isspace() or ord(c) > 0x7F for c in once)
    assert not set(once) & set("\x00\x07\x1b\r\n\t\u202e\u200b")
