"""One table, many forms: full-precision CSV, Markdown, LaTeX, an HTML fragment, and plain text."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from html import escape as html_escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dreg_sweep.analysis.report.latex import escape as escape  # for whoever prints a table
from dreg_sweep.analysis.report.latex import latex
from dreg_sweep.analysis.rows.spelling import visible, visible_lines

if TYPE_CHECKING:
    import pandas as pd

Mark = Literal["best", "second"]
NOTHING = "–"
_PROSE = 32  # characters; a column with a longer entry breaks into lines on a screen


@dataclass(frozen=True)
class Column:
    """One printed column.

    header: its heading. show: how a row of the values (name -> value) becomes text. value: the number behind the
    text, as a name among the values or a function of the row; without it the number that the text starts with.
    """

    header: str
    show: Callable[[Mapping[str, Any]], str]
    numeric: bool = True
    value: str | Callable[[Mapping[str, Any]], Any] | None = None

    def number(self, row: Mapping[str, Any], text: str) -> float | None:
        """What the entry is sorted by; None for one that is sorted as text or is blank."""
        if self.value is None:
            found = re.match(r"[<>≤≥+]?([−-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?)", text) if self.numeric else None
            return float(found[1].replace("−", "-")) if found else None
        try:
            value = float(row[self.value] if isinstance(self.value, str) else self.value(row))
        except (TypeError, ValueError):  # None and pandas' NA among others
            return None
        return None if math.isnan(value) else value


@dataclass(frozen=True)
class Table:
    """A table as values plus the way to print them.

    name: the file name without ending. title, caption: plain text. values: the full-precision frame behind
    the CSV. columns: what all other forms show. marks: (row number, header) -> best or second. block: a column
    of `values` whose change starts a new block of rows, ruled off in LaTeX and HTML.
    """

    name: str
    title: str
    caption: str
    values: "pd.DataFrame"
    columns: tuple[Column, ...]
    marks: Mapping[tuple[int, str], Mark] = field(default_factory=dict)
    block: str | None = None

    def rows(self) -> list[dict[str, Any]]:
        """The values, row by row."""
        return [{str(name): value for name, value in row.items()} for row in self.values.to_dict("records")]

    def printed(self) -> list[list[str]]:
        """The text of every printed entry, row by row."""
        return [[column.show(row) for column in self.columns] for row in self.rows()]

    def starts(self) -> list[bool]:
        """Whether a block of rows starts here, row by row; without blocks only the first row does."""
        blocks = list(self.values[self.block]) if self.block else [None] * len(self.values)
        return [not number or blocks[number] != blocks[number - 1] for number in range(len(blocks))]


def best_two(printed: Sequence[str]) -> list[Mark | None]:
    """Mark the highest and the second highest printed number; ties are all marked, blanks never.

    The second best is the next lower printed value, whether one entry is best or several. Fewer than two
    numbers: nothing is marked.
    """
    numbers = [None if text == NOTHING else Decimal(text) for text in printed]
    distinct = sorted({number for number in numbers if number is not None}, reverse=True)
    if sum(number is not None for number in numbers) < 2:
        return [None] * len(printed)
    places: dict[Decimal | None, Mark] = dict(zip(distinct, ("best", "second"), strict=False))
    return [places.get(number) for number in numbers]


def write(table: Table, folder: Path) -> list[Path]:
    """Write `<name>.csv`, `.md` and `.tex` into the folder; the paths written."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {"csv": csv(table), "md": markdown(table), "tex": latex(table)}
    paths = []
    for ending, text in texts.items():
        path = folder / f"{table.name}.{ending}"
        path.write_text(text, encoding="utf-8", newline="\n")
        paths.append(path)
    return paths


def csv(table: Table) -> str:
    """The values at full precision; null is empty."""
    return harmless(table.values).to_csv(index=False, lineterminator="\n")


def harmless(frame: "pd.DataFrame") -> "pd.DataFrame":
    """The frame with control characters escaped, and an apostrophe before each text that a spreadsheet would run."""
    import pandas as pd

    def guarded(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        formula = re.match(r"[=+@\-\t\r]", value) and not _is_number(value)
        return "'" * bool(formula) + visible_lines(value)

    texts = [name for name in frame.columns if not pd.api.types.is_numeric_dtype(frame[name])]
    guarded_texts = {name: frame[name].astype(object).map(guarded) for name in texts}
    return frame.assign(**guarded_texts).rename(columns=guarded)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def markdown(table: Table) -> str:
    """A pipe table under its title, the caption below; best **bold**, second <u>underlined</u>.

    On GitHub every title, header, entry and caption reads as it is, whatever characters it has.
    """

    def cell(row: int, column: Column, text: str) -> str:
        text = literal(text)
        mark = table.marks.get((row, column.header))
        return {"best": f"**{text}**", "second": f"<u>{text}</u>"}.get(mark or "", text)

    lines = [f"### {literal(table.title)}", ""]
    lines.append("| " + " | ".join(literal(column.header) for column in table.columns) + " |")
    lines.append("| " + " | ".join("---:" if column.numeric else ":---" for column in table.columns) + " |")
    for number, row in enumerate(table.printed()):
        cells = [cell(number, column, text) for column, text in zip(table.columns, row, strict=True)]
        lines.append("| " + " | ".join(cells) + " |")
    paragraphs = [_paragraph(literal(text)) for text in re.split(r"\n\s*\n", table.caption)]
    return "\n".join([*lines, "", "\n\n".join(paragraphs), ""])


def literal(text: str) -> str:
    """The text on one line, with what Markdown, GitHub's above all, would read as markup taken literally.

    An underscore within a word is no emphasis and stays as it is, so that `weight_decay` can be searched for.
    """
    text = re.sub(r"\s*[\r\n\v\f\u0085\u2028\u2029]\s*", " ", text.strip())
    text = re.sub(r"[\\`*\[\]|~]", r"\\\g<0>", visible(text))
    text = re.sub(r"(?<!\w)_+|_+(?!\w)", lambda run: "\\_" * len(run[0]), text)
    text = re.sub(r"&(?=#?\w+;)", "&amp;", text).replace("<", "&lt;")
    text = re.sub(r"^#|#$", r"\\#", text)  # a heading's start and end
    return text.replace("$", "<span>$</span>")  # between two of them GitHub sets formulas


def _paragraph(text: str) -> str:
    """The text, with no start that makes it a list, a quotation or a rule."""
    text = re.sub(r"^(?=[-+](?:\s|$)|--|>)", r"\\", text)
    return re.sub(r"^(\d+)([.)])(?=\s|$)", r"\1\\\2", text)


def html(table: Table, *, label: str = "", badges: Mapping[str, Mapping[str, str]] | None = None) -> str:
    """A <table> with caption; best <strong>, second <u>; `data-sort` at full precision where there is a number.

    label: stands before the title, such as `Table 3`. badges: header -> first word of an entry -> symbol; such
    an entry becomes a `span` of the classes `badge` and that word, the symbol before its text.
    """
    printed = table.printed()
    classes = [_classes(column, [row[place] for row in printed]) for place, column in enumerate(table.columns)]
    title = inline(f"{label}. {table.title}." if label else f"{table.title}.")
    heads = [
        f'<th scope="col"{names}>{inline(column.header)}</th>'
        for column, names in zip(table.columns, classes, strict=True)
    ]
    lines = [
        f"<table><caption><div><strong>{title}</strong> {inline(table.caption)}</div></caption>",
        f"<thead><tr>{''.join(heads)}</tr></thead>",
        "<tbody>",
    ]
    for number, (row, texts, starts) in enumerate(zip(table.rows(), printed, table.starts(), strict=True)):
        cells = []
        for place, (column, text) in enumerate(zip(table.columns, texts, strict=True)):
            attributes = classes[place]
            if (sort := column.number(row, text)) is not None:
                attributes += f' data-sort="{repr(sort).replace("inf", "Infinity").removesuffix(".0")}"'
            if badges:  # on a narrow screen such a table is read entry by entry
                attributes += f' data-header="{html_escape(visible(column.header))}"'
            inner = _badge(text, (badges or {}).get(column.header, {}))
            tag = {"best": "strong", "second": "u"}.get(table.marks.get((number, column.header), ""))
            inner = f"<{tag}>{inner}</{tag}>" if tag else inner
            names_row = place == 0 and not column.numeric
            cells.append(
                f'<th scope="row"{attributes}>{inner}</th>' if names_row else f"<td{attributes}>{inner}</td>"
            )
        rule = ' class="block"' if starts and number else ""
        lines.append(f"<tr{rule}>{''.join(cells)}</tr>")
    return "\n".join([*lines, "</tbody></table>", ""])


def inline(text: str) -> str:
    """The text escaped for HTML; what stands between backticks becomes <code>."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html_escape(visible_lines(text)))


def _classes(column: Column, texts: Sequence[str]) -> str:
    names = ["number"] * column.numeric + ["prose"] * any(len(text) > _PROSE for text in texts)
    return f' class="{" ".join(names)}"' if names else ""


def _badge(text: str, symbols: Mapping[str, str]) -> str:
    word = re.split(r"\W", text, maxsplit=1)[0].lower()
    inner = inline(text)
    if word not in symbols:
        return inner
    return (
        f'<span class="badge {word}"><span aria-hidden="true">{html_escape(symbols[word])}</span> {inner}</span>'
    )


def plain(table: Table) -> str:
    """Aligned columns for a terminal, without marks or caption."""
    rows = [[visible(text) for text in row] for row in [[one.header for one in table.columns], *table.printed()]]
    widths = [max(len(row[place]) for row in rows) for place in range(len(table.columns))]
    lines = []
    for row in rows:
        cells = [
            text.rjust(width) if column.numeric else text.ljust(width)
            for text, width, column in zip(row, widths, table.columns, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
