"""A table as LaTeX that compiles as it is and stays within the page.

It needs \\usepackage{booktabs}, and \\usepackage{longtable} as well where a table is longer than a page. A table
that is too wide gets headers of several lines, then smaller type, then its columns in panels below one another.
"""

import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dreg_sweep.analysis.report.render import Table

_GREEK = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho varsigma sigma tau upsilon "
    "varphi chi psi omega"
)
_CAPITALS = "Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega"
_MATH = {
    "<": "<", ">": ">", "±": r"\pm", "×": r"\times", "−": "-", "≤": r"\leq", "≥": r"\geq", "→": r"\rightarrow",
    "←": r"\leftarrow", "↔": r"\leftrightarrow", "↑": r"\uparrow", "↓": r"\downarrow", "⇒": r"\Rightarrow",
    "‖": r"\|", "|": r"\vert", "′": r"^{\prime}", "″": r"^{\prime\prime}", "·": r"\cdot", "≈": r"\approx",
    "≠": r"\neq", "∈": r"\in", "∞": r"\infty", "∂": r"\partial", "∇": r"\nabla", "√": r"\surd", "∑": r"\sum",
    "°": r"^{\circ}", "µ": r"\mu", "⁻": "^{-}",
} | dict(zip("αβγδεζηθικλμνξπρςστυφχψω", (f"\\{name}" for name in _GREEK.split()), strict=True)) | {
    letter: f"\\{name}" for letter, name in zip(
        "ΓΔΘΛΞΠΣΦΨΩ", _CAPITALS.split(), strict=True)
} | {sign: f"^{{{digit}}}" for digit, sign in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")} | {
    sign: f"_{{{digit}}}" for digit, sign in enumerate("₀₁₂₃₄₅₆₇₈₉")
}  # fmt: skip
LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{",
    "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "–": "--", "—": "---", "…": r"\dots{}",
    "†": r"\dag{}", "‡": r"\ddag{}", "“": "``", "”": "''", "‘": "`", "’": "'", '"': "''", "`": r"\`{}",
    "[": "{[}", "]": "{]}", "*": "{*}",  # \\ would read one that starts the next row as its own
    "\0": "{}",
} | {sign: f"\\ensuremath{{{command}}}" for sign, command in _MATH.items()}  # fmt: skip
_ACCENTS = (
    "\u0300\u0301\u0302\u0303\u0304\u0306\u0307\u0308\u030a\u030b\u030c\u0327"  # those that inputenc composes
)
_LETTERS = "ßÆæØøŒœŁłÅåı§¶£¿¡"  # those that the default font has as they are

PAGE = 345.0  # pt: the text width of LaTeX's article class as it comes, the narrowest usual one
_LINES = 48  # lines of a table that a page of that class holds, its caption among them
# The ways to set a table, tried in turn: size, width of an em of Computer Modern in it, \tabcolsep (both in pt),
# and whether headers may break into lines.
_STYLES = (
    ("footnotesize", 8.5, 4.0, False), ("footnotesize", 8.5, 4.0, True), ("scriptsize", 8.0, 3.5, True),
)  # fmt: skip
# Widths of Computer Modern's characters in em, rounded up; the others have 0.56, and 0.8 beyond ASCII.
_EMS = {letter: width for letters, width in (
    ("ijlI.,:;'!|[]", 0.3), (" frst()-/\"", 0.4), ("0123456789acez–", 0.5), ("mw&%@MW—", 1.0),
    ("ABCDEFGHJKLNOPQRSTUVXYZ+=<>~", 0.8),
) for letter in letters}  # fmt: skip
_BOLD = 1.16  # how much wider bold is
_LEAST = 7.0  # em: a column of texts is not made narrower than this
_WORD = 16  # letters; a longer word without punctuation may be cut anywhere
_BREAKS = re.compile(r"(?<=[/_.=:-])(?=\S)")  # places inside a word where a line may end


@dataclass(frozen=True)
class _Panel:
    """Columns set side by side. columns: their places. widths: pt; None where nothing needs to break."""

    columns: tuple[int, ...]
    widths: dict[int, float | None]


@dataclass(frozen=True)
class _Style:
    """How a table is set. size: LaTeX's name. em, sep: width of an em and of \\tabcolsep, pt."""

    size: str
    em: float
    sep: float
    panels: tuple[_Panel, ...]


def latex(table: "Table", width: float = PAGE) -> str:
    """The table as a float, or a `longtable` where it is longer than a page; best \\textbf, second \\underline.

    width: pt that it may take. Widths are estimated for Computer Modern, which is wider than Times. A column of
    unbreakable entries that is wider than that by itself runs into the margin.
    """
    printed = table.printed()
    style = _fit(table, printed, width)
    long = _height(table, printed, style, width) > _LINES
    title, caption = escape(table.title), _breakable(table.caption)
    label = re.sub(r"[^A-Za-z0-9]+", "-", table.name)
    size = [f"\\{style.size}", f"\\setlength{{\\tabcolsep}}{{{style.sep:g}pt}}"]
    captions = [f"\\caption[{{{title}}}]{{{_breakable(table.title)}. {caption}}}", f"\\label{{tab:{label}}}"]
    if not long:
        lines = ["% needs \\usepackage{booktabs}", "\\begin{table}", "\\centering", *size, *captions]
        for panel in style.panels:
            head, rows = _rows(table, printed, panel, style.em, repeat=False)
            lines.append("\\par\\medskip")
            lines += [f"\\begin{{tabular}}{{{_letters(table, panel)}}}", "\\toprule", head, "\\midrule", *rows]
            lines += ["\\bottomrule", "\\end{tabular}"]
        return "\n".join([*lines, "\\end{table}", ""])
    lines = ["% needs \\usepackage{booktabs} and \\usepackage{longtable}", "\\begingroup", *size]
    lines.append("\\setlength{\\LTcapwidth}{\\linewidth}")
    again = f"\\caption[]{{{_breakable(table.title)} (continued).}}"
    for number, panel in enumerate(style.panels):
        head, rows = _rows(table, printed, panel, style.em, repeat=True)
        lines += ["\\addtocounter{table}{-1}"] * bool(number)  # all panels are one table
        lines.append(f"\\begin{{longtable}}{{{_letters(table, panel)}}}")
        lines += [*(captions if not number else [again]), "\\\\", "\\toprule", head, "\\midrule", "\\endfirsthead"]
        lines += [again, "\\\\", "\\toprule", head, "\\midrule", "\\endhead", "\\bottomrule", "\\endfoot"]
        lines += [*rows, "\\end{longtable}"]
    return "\n".join([*lines, "\\endgroup", ""])


def escape(text: str) -> str:
    """The text in LaTeX's terms, on one line; a character that its fonts lack becomes `[U+4E2D]`."""
    text = unicodedata.normalize("NFC", " ".join(text.split()))
    text = re.sub(r"-(?=-)", "-\0", text)  # two hyphens would become a dash
    return "".join(LATEX.get(character) or _character(character) for character in text)


def _character(character: str) -> str:
    if (character.isascii() and character.isprintable()) or character in _LETTERS:
        return character
    parts = unicodedata.normalize("NFD", character)
    if character < "\u0180" and len(parts) == 2 and parts[0].isascii() and parts[1] in _ACCENTS:
        return character
    return f"{{[}}U+{ord(character):04X}{{]}}"


def _breakable(text: str) -> str:
    """Escaped, with leave to end a line inside a long name where it must."""
    words = []
    for word in text.split():
        pieces = [escape(piece) for piece in _pieces(word)]
        words.append("\\penalty900{}".join(pieces))
    return " ".join(words)


def _pieces(word: str) -> list[str]:
    """A word between whose pieces a line may end: after its punctuation, and within what is very long."""
    pieces = []
    for part in _BREAKS.split(word):
        long = len(part) > _WORD or _ems(part) > _WORD
        step = (1 if _ems(part) > len(part) else _WORD // 2) if long else _WORD
        pieces += [part[start : start + step] for start in range(0, len(part), step)]
    return pieces


def _ems(text: str) -> float:
    """About how wide the text is, in em."""
    return sum(_em(character) for character in text)


@cache
def _em(character: str) -> float:
    if character in _EMS or character.isascii():
        return _EMS.get(character, 0.56)
    return 0.8 if character in LATEX else 0.56 * len(_character(character))


def _longest(text: str) -> float:
    """The width in em of the longest part of the text that cannot be broken."""
    return max((_ems(piece) for word in text.split() for piece in _pieces(word)), default=0.0)


def _fit(table: "Table", printed: Sequence[Sequence[str]], page: float) -> _Style:
    """The first style in which all columns stand side by side; panels of columns where none will do."""
    places = range(len(table.columns))
    bodies, pieces = [0.0] * len(places), [0.0] * len(places)
    for number, row in enumerate(printed):
        for place, text in enumerate(row):
            bold = _BOLD if table.marks.get((number, table.columns[place].header)) == "best" else 1.0
            bodies[place] = max(bodies[place], bold * _ems(text))
            pieces[place] = max(pieces[place], bold * _longest(text))
    heads = [_ems(column.header) for column in table.columns]
    whole = [max(pair) for pair in zip(bodies, heads, strict=True)]
    least = []
    for place, column in enumerate(table.columns):
        body = bodies[place] if column.numeric else max(pieces[place], min(bodies[place], _LEAST))
        least.append(max(body, _longest(column.header)))
    for size, em, sep, broken in _STYLES:
        narrowest = least if broken else whole
        panel = _panel(tuple(places), whole, narrowest, em, page - 2 * sep * len(places))
        if panel:
            return _Style(size, em, sep, (panel,))
    return _Style(size, em, sep, _panels(table, whole, least, em, sep, page))


def _panel(
    columns: tuple[int, ...], whole: Sequence[float], least: Sequence[float], em: float, room: float
) -> _Panel | None:
    """The columns with what each gets of the room (pt); None where they do not fit. whole, least: em."""
    slack = room - em * sum(least[place] for place in columns)
    if slack < 0:
        return None
    widths: dict[int, float | None] = {}
    # Whoever lacks little gets it all, so that as few columns as possible break.
    for number, place in enumerate(sorted(columns, key=lambda place: whole[place] - least[place])):
        lacks = em * (whole[place] - least[place])
        given = min(lacks, slack / (len(columns) - number))
        slack -= given
        widths[place] = None if given >= lacks else em * least[place] + given
    return _Panel(columns, widths)


def _panels(
    table: "Table", whole: Sequence[float], least: Sequence[float], em: float, sep: float, page: float
) -> tuple[_Panel, ...]:
    """The columns in as few panels as will do, each of which starts with the columns that name a row."""
    keys = 1
    while keys < len(whole) - 2 and not table.columns[keys].numeric and em * sum(least[: keys + 1]) <= 0.4 * page:
        keys += 1
    others = range(keys, len(whole))
    groups: list[tuple[int, ...]] = [tuple(range(len(whole)))]
    panels: list[_Panel | None] = [None]
    for count in range(2, len(others) + 1):
        bounds = [len(others) * number // count for number in range(count + 1)]
        groups = [(*range(keys), *others[low:high]) for low, high in pairwise(bounds)]
        panels = [_panel(group, whole, least, em, page - 2 * sep * len(group)) for group in groups]
        if all(panels):
            break
    # What fits nowhere keeps its width.
    return tuple(panel or _Panel(group, dict.fromkeys(group)) for panel, group in zip(panels, groups, strict=True))


def _height(table: "Table", printed: Sequence[Sequence[str]], style: _Style, width: float) -> float:
    """About how many lines the table takes with its caption."""
    height = 1.3 * math.ceil(10 * _ems(f"{table.title}. {table.caption}") / width) + 2  # in a larger size
    for panel in style.panels:
        texts = [[column.header for column in table.columns], *printed]
        for row in texts:
            shares = [style.em * _ems(row[place]) / (panel.widths[place] or math.inf) for place in panel.columns]
            height += max(1, math.ceil(1.15 * max(shares)))
        height += 0.8 * sum(table.starts()) + 2
    return height


def _letters(table: "Table", panel: _Panel) -> str:
    return "".join("r" if table.columns[place].numeric else "l" for place in panel.columns)


def _rows(
    table: "Table", printed: Sequence[Sequence[str]], panel: _Panel, em: float, repeat: bool
) -> tuple[str, list[str]]:
    """The header line, and the lines below it; with repeat every row names its block."""

    def cell(place: int, text: str, box: str) -> str:
        width = panel.widths[place]
        if width is None or em * _ems(text) <= width:
            return escape(text)
        ragged = "\\raggedleft" if table.columns[place].numeric else "\\raggedright"
        return f"\\parbox[{box}]{{{width:.0f}pt}}{{{ragged}\\strut {_breakable(text)}\\strut}}"

    head = " & ".join(cell(place, table.columns[place].header, "b") for place in panel.columns) + " \\\\"
    lines = []
    for number, (row, starts) in enumerate(zip(printed, table.starts(), strict=True)):
        if starts and number:
            lines.append("\\midrule")
        cells = []
        for place in panel.columns:
            hidden = table.block and place == 0 and not starts and not repeat  # the block's name stands once
            text = "" if hidden else cell(place, row[place], "t")
            mark = table.marks.get((number, table.columns[place].header), "")
            marked = {"best": f"\\textbf{{{text}}}", "second": f"\\underline{{{text}}}"}
            cells.append(marked.get(mark, text))
        lines.append(" & ".join(cells) + " \\\\")
    if sum("\\parbox" in line for line in lines) > len(table.values) / 2:  # rows of several lines stand apart
        lines = [line if line == "\\midrule" else f"{line}\n\\addlinespace" for line in lines]
    return head, lines
