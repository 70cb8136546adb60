"""One table, three files: full-precision CSV, Markdown, and LaTeX with booktabs rules; and plain text."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pandas as pd

Mark = Literal["best", "second"]
NOTHING = "–"

LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{",
    "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\ensuremath{<}",
    ">": r"\ensuremath{>}", "±": r"\ensuremath{\pm}", "×": r"\ensuremath{\times}", "–": "--",
    "−": r"\ensuremath{-}", "σ": r"\ensuremath{\sigma}", "λ": r"\ensuremath{\lambda}",
}  # fmt: skip


@dataclass(frozen=True)
class Column:
    """One printed column: its header, and how a row of the values (name -> value) becomes text."""

    header: str
    show: Callable[[Mapping[str, Any]], str]
    numeric: bool = True


@dataclass(frozen=True)
class Table:
    """A table as values plus the way to print them.

    name: the file name without ending. title, caption: plain text. values: the full-precision frame behind
    the CSV. columns: what Markdown, LaTeX and the terminal show. marks: (row number, header) -> best or
    second. block: a column of `values` whose change starts a new block of rows, ruled off in LaTeX.
    """

    name: str
    title: str
    caption: str
    values: "pd.DataFrame"
    columns: tuple[Column, ...]
    marks: Mapping[tuple[int, str], Mark] = field(default_factory=dict)
    block: str | None = None

    def printed(self) -> list[list[str]]:
        """The text of every printed entry, row by row."""
        rows = self.values.to_dict("records")
        return [[column.show({str(k): v for k, v in row.items()}) for column in self.columns] for row in rows]


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
    return table.values.to_csv(index=False, lineterminator="\n")


def markdown(table: Table) -> str:
    """A pipe table under its title, the caption below; best **bold**, second <u>underlined</u>."""

    def cell(row: int, column: Column, text: str) -> str:
        text = text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")
        mark = table.marks.get((row, column.header))
        return {"best": f"**{text}**", "second": f"<u>{text}</u>"}.get(mark or "", text)

    lines = [f"### {table.title}", ""]
    lines.append("| " + " | ".join(column.header.replace("|", "\\|") for column in table.columns) + " |")
    lines.append("| " + " | ".join("---:" if column.numeric else ":---" for column in table.columns) + " |")
    for number, row in enumerate(table.printed()):
        cells = [cell(number, column, text) for column, text in zip(table.columns, row, strict=True)]
        lines.append("| " + " | ".join(cells) + " |")
    caption = table.caption.replace("*", "\\*").replace("<", "&lt;")
    return "\n".join([*lines, "", caption, ""])


def latex(table: Table) -> str:
    """A `table` float that needs only \\usepackage{booktabs}; best \\textbf, second \\underline."""
    printed = table.printed()
    lines = [
        "% needs \\usepackage{booktabs}",
        "\\begin{table}",
        "\\centering",
        "\\footnotesize",
        "\\setlength{\\tabcolsep}{4pt}",
        f"\\caption{{{escape(table.title)}. {escape(table.caption)}}}",
        f"\\label{{tab:{table.name.replace('_', '-')}}}",
        f"\\begin{{tabular}}{{{''.join('r' if column.numeric else 'l' for column in table.columns)}}}",
        "\\toprule",
        " & ".join(escape(column.header) for column in table.columns) + " \\\\",
        "\\midrule",
    ]
    blocks = list(table.values[table.block]) if table.block else [None] * len(printed)
    for number, row in enumerate(printed):
        starts = number == 0 or blocks[number] != blocks[number - 1]
        if starts and number:
            lines.append("\\midrule")
        cells = []
        for place, (column, text) in enumerate(zip(table.columns, row, strict=True)):
            text = escape(text)
            if table.block and place == 0 and not starts:
                text = ""  # the block's name stands once
            mark = table.marks.get((number, column.header), "")
            marked = {"best": f"\\textbf{{{text}}}", "second": f"\\underline{{{text}}}"}
            cells.append(marked.get(mark, text))
        lines.append(" & ".join(cells) + " \\\\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", "\\end{table}", ""])


def escape(text: str) -> str:
    """The text with every character that LaTeX would read as a command escaped."""
    return "".join(LATEX.get(character, character) for character in text)


def plain(table: Table) -> str:
    """Aligned columns for a terminal, without marks or caption."""
    rows = [[column.header for column in table.columns], *table.printed()]
    widths = [max(len(row[place]) for row in rows) for place in range(len(table.columns))]
    lines = []
    for row in rows:
        cells = [
            text.rjust(width) if column.numeric else text.ljust(width)
            for text, width, column in zip(row, widths, table.columns, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
