"""What a table looks like in HTML and in LaTeX; the LaTeX is compiled, where there is a pdflatex."""

import re
import shutil
import subprocess
from typing import Any

import pandas as pd
import pytest

from dreg_sweep.analysis.report.latex import LATEX
from dreg_sweep.analysis.report.render import Column, Table, escape, html, latex, markdown, write

SYMBOLS = 'λ σ² × − – ± ≤ ≥ → ‖W‖ x′ & _ % # $ { } ~ ^ \\ [a] *b* a--b <c> "q" 10⁻²·⁵ é ü ł 中 ` \' | ∂ † … — ₂'
SENTENCE = "dreg is above weight_decay and igpen (p ≤ 0.031 after Holm) on every dataset of this grid. "
METHODS = ("none", "weight_decay", "dropout", "spectral_norm", "igpen", "dreg")


def text(name):
    return Column(name, lambda row: str(row[name]), numeric=False)


def spread(name):
    return Column(name, lambda row: f"{row[name]:.2f} ± {row[name] / 90:.2f}", value=name)


def table(name, rows, columns, caption="A caption.", **options):
    return Table(name, f"Title of {name}", caption, pd.DataFrame(rows), tuple(columns), **options)


def hard_cases():
    """Tables that are wide, long, both, or full of what LaTeX reads as commands."""
    values = {
        f"{metric}: {what}": 91.3 for metric in ("clean", "noisy", "overall") for what in ("mean", "mean rank")
    }
    yield table(
        "wide",
        [{"regularizer": method, **values} for method in METHODS],
        [text("regularizer"), *map(spread, values), spread("overall: mean"), spread("noisy: mean")],
        marks={(row, name): "best" for row in range(6) for name in values},
    )
    levels = [(a, d) for a in ("relu", "gelu") for d in ("mnist", "a/long/name_of_a_dataset=with_a_key", "x" * 60)]
    yield Table(
        "blocks_&_%",
        SYMBOLS,
        f"{SYMBOLS}\n\n{'long_name_' * 20} {SENTENCE}",
        pd.DataFrame([{"activation": a, "dataset": d, **dict.fromkeys(METHODS, 80.1)} for a, d in levels]),
        (text("activation"), text("dataset"), *map(spread, METHODS)),
        {(row, "dreg"): "best" for row in range(6)} | {(row, "igpen"): "second" for row in range(6)},
        "activation",
    )
    characters = [*SYMBOLS.split(), *(sign for sign in LATEX if sign != "\0"), *map(chr, range(0xA0, 0x180))]
    rows: list[dict[str, Any]]
    rows = [{"as it is": sign, "[in brackets]": f"[{sign}]", "*": f"*{sign}"} for sign in characters]
    yield table("symbols", rows, map(text, rows[0]), SYMBOLS)
    rows = [{"claim": "C1", "said": SENTENCE * 2, "seen": SENTENCE, "p": 0.5, "verdict": "undecided: no data"}] * 3
    yield table("claims", rows, (text("claim"), text("said"), text("seen"), spread("p"), text("verdict")))
    cells = [f"{d}/{a}/dreg/s{s}" for d in ("mnist", "sst2") for a in ("relu", "gelu", "tanh") for s in range(20)]
    rows = [{"dataset": cell.split("/")[0], "cell": cell, "accuracy": 80.0} for cell in cells]
    yield table("long", rows, (text("dataset"), text("cell"), spread("accuracy")), SENTENCE * 4, block="dataset")
    severities = [f"severity {number}" for number in range(9)]
    rows = [{"cell": cell, **dict.fromkeys(severities, 80.0)} for cell in cells]
    yield table("long_and_wide", rows, (text("cell"), *map(spread, severities)))
    yield table("one", [{"x": 1.0}], [spread("x")], "")
    yield table("two_long_texts", [{"x": "y" * 200, "z": "中" * 40}], [text("x"), text("z")])
    yield table("empty", {"x": [], "z": []}, [text("x"), spread("z")])


def test_latex_compiles_and_stays_within_the_page(tmp_path):
    if shutil.which("pdflatex") is None:
        pytest.skip("no pdflatex here, which would set the tables (.ci/run installs it)")
    tables = list(hard_cases())
    for one in tables:
        write(one, tmp_path)
    inputs = "\\clearpage\n".join(f"\\input{{{number}}}" for number, _ in enumerate(tables))
    for number, one in enumerate(tables):
        (tmp_path / f"{one.name}.tex").rename(tmp_path / f"{number}.tex")  # a name of TeX's own rules
    packages = "\\usepackage{booktabs}\\usepackage{longtable}"
    document = f"\\documentclass{{article}}{packages}\\begin{{document}}\\listoftables\n{inputs}\\end{{document}}"
    (tmp_path / "all.tex").write_text(document, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "all"]
    for _ in range(3):  # longtable settles its widths in the second run or the third
        ran = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=120)
        log = (tmp_path / "all.log").read_text(encoding="utf-8", errors="replace")
        assert ran.returncode == 0, log[-3000:]
    assert [float(width) for width in re.findall(r"Overfull \\hbox \(([\d.]+)pt", log) if float(width) > 5] == []
    for trouble in ("Float too large", "Overfull \\vbox", "undefined", "multiply defined", "Missing character"):
        assert trouble not in log


def test_latex_says_which_packages_it_needs():
    for one in hard_cases():
        first, *lines = latex(one).splitlines()
        long = "\\begin{longtable}" in "".join(lines)
        assert first == "% needs \\usepackage{booktabs}" + " and \\usepackage{longtable}" * long
        assert long == (one.name in {"symbols", "long", "long_and_wide"})


def test_latex_takes_the_gentlest_way_to_fit():
    columns = [text("method"), *(spread(f"mean of {number}") for number in range(12))]
    rows = [{"method": "dreg"} | {f"mean of {number}": 91.3 for number in range(12)}]

    def style(count, **page):
        found = latex(table("t", rows, columns[: count + 1]), **page)
        return "footnotesize" in found, "parbox" in found, found.count("\\begin{tabular}")

    assert style(5) == (True, False, 1)
    assert style(12) == (False, False, 3)
    assert style(12, width=1000.0) == (True, False, 1)
    heads = [spread("a header of many words"), spread("another header of many words")]
    rows = [{column.header: 1.5 for column in heads}]
    assert "\\parbox[b]" in latex(table("t", rows, heads), width=150.0)


def test_panels_repeat_the_columns_that_name_a_row():
    wide = next(one for one in hard_cases() if one.name == "blocks_&_%")
    found = latex(wide)
    heads = re.findall(r"\\toprule\n(.*) \\\\", found)
    assert len(heads) > 1
    assert all(head.startswith("activation & dataset & ") for head in heads)
    assert [name for head in heads for name in head.split(" & ")[2:]] == [escape(name) for name in METHODS]
    assert found.count("\\caption") == found.count("\\label") == 1


def test_escape_leaves_no_command():
    assert escape("5 %\n λ_1\t<") == r"5 \% \ensuremath{\lambda}\_1 \ensuremath{<}"
    assert escape("---") == "-{}-{}-"
    assert escape("[x] *") == "{[}x{]} {*}"
    assert escape("e\u0301 中 \x07") == "é {[}U+4E2D{]} {[}U+0007{]}"


def number(value, row=None, shown="", numeric=True):
    return Column("x", lambda row: "", numeric, value).number(row or {}, shown)


def test_the_number_behind_an_entry():
    assert number("x", {"x": 0.1 + 0.2}) == 0.1 + 0.2
    assert number(lambda row: row["a"] - row["b"], {"a": 1, "b": 3}) == -2
    assert [number("x", {"x": value}) for value in (None, pd.NA, float("nan"), "text")] == [None] * 4
    shown = {
        "91.30 ± 0.22": 91.3,
        "−0.5": -0.5,
        "<0.001 (0.2)": 0.001,
        "+3 points": 3.0,
        "–": None,
        "1e-09": 1e-09,
    }
    assert {entry: number(None, shown=entry) for entry in shown} == shown
    assert number(None, shown="2 of 3", numeric=False) is None


def test_html_escapes_marks_and_carries_full_precision():
    values = [1 / 3, 1e-9, float("inf"), None]
    one = Table(
        "t",
        'A <title> & "more"',
        "Caption <b> with `code`",
        pd.DataFrame({"name": ["<i>", "b", "c", "d"], "x": values, "kind": ["a", "a", "b", "b"]}),
        (text("name"), Column("x <y>", lambda row: f"{row['x']:.2f}", value="x")),
        {(0, "x <y>"): "best", (1, "x <y>"): "second"},
        "kind",
    )
    found = html(one, label="Table 3")
    assert "<caption><div><strong>Table 3. A &lt;title&gt; &amp; &quot;more&quot;.</strong> " in found
    assert "Caption &lt;b&gt; with <code>code</code></div></caption>" in found
    assert '<th scope="col">name</th><th scope="col" class="number">x &lt;y&gt;</th>' in found
    assert '<th scope="row">&lt;i&gt;</th>' in found
    assert '<td class="number" data-sort="0.3333333333333333"><strong>0.33</strong></td>' in found
    assert '<td class="number" data-sort="1e-09"><u>0.00</u></td>' in found
    assert '<td class="number" data-sort="Infinity">inf</td>' in found
    assert '<td class="number">nan</td>' in found
    assert found.count("<tr") == 5
    assert found.count('<tr class="block"><th scope="row">c') == found.count("block") == 1


AS_THEMSELVES = {
    "weight_decay": "weight_decay",
    "a__b_c=λ_é": "a__b_c=λ_é",
    "0.91 ± 0.02": "0.91 ± 0.02",
    "<script>": "&lt;script>",
    "**x**": "\\*\\*x\\*\\*",
    "_x_ __y__ z._w": "\\_x\\_ \\_\\_y\\_\\_ z.\\_w",
    "a|b": "a\\|b",
    "[x](y)": "\\[x\\](y)",
    "`x` ~y~": "\\`x\\` \\~y\\~",
    "&lt; & &#60; AT&T": "&amp;lt; & &amp;#60; AT&T",
    "C:\\*": "C:\\\\\\*",
    "# x #": "\\# x \\#",
    "$x_1$": "<span>$</span>x_1<span>$</span>",
    "two\nlines": "two lines",
}


@pytest.mark.parametrize("name", AS_THEMSELVES)
def test_markdown_shows_every_text_as_itself(name):
    columns = [Column("x", lambda row: name, numeric=False), Column(name, lambda row: "1.5")]
    columns.append(Column("y", lambda row: name))
    one = Table(
        "t", name, name, pd.DataFrame({"z": [0, 1]}), tuple(columns), {(0, "x"): "best", (1, "y"): "second"}
    )
    said = AS_THEMSELVES[name]
    assert markdown(one).splitlines() == [
        f"### {said}",
        "",
        f"| x | {said} | y |",
        "| :--- | ---: | ---: |",
        f"| **{said}** | 1.5 | {said} |",
        f"| {said} | 1.5 | <u>{said}</u> |",
        "",
        said,
    ]


def test_a_caption_starts_no_block():
    def caption(text):
        return markdown(table("t", [{"x": 1.0}], [spread("x")], text)).split("\n\n", 2)[2].removesuffix("\n")

    assert caption("- a") == "\\- a"
    assert caption("1. a\n\n> b\n# c") == "1\\. a\n\n\\> b # c"
    assert caption("---") == "\\---"
    assert caption("-0.5 to 2.5") == "-0.5 to 2.5"
