"""The numbers of a Markdown page that are results, and the data files that they must be roundings of.

A result is a number in a right-aligned column of a table, or in running text one with decimals, a sign, ± before
it or a unit behind it; and so is a verdict in a table, or in running text where a number stands before it. Code is
none, nor are the exceptions that the test declares, each with its reason.

Its source is a CSV or JSON file that the block (paragraph, list item) links to, and for a table the block before
it; for a block without such a link, one that its section, or a section around that, names in a link or in code. A
link to a folder names the data files directly in it. In a source only those rows count whose names the sentence,
or the table's row and head, has: with `dreg` in the sentence no value of another regularizer will do. The numbers
of one column of a table must come from columns of one name.
"""

import csv
import json
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

VERDICTS = ("reproduced", "contradicted", "undecided")
NUMBER = r"[−+\-]?(?<![\w.])\d+(?:,\d{3})*(?:\.\d+)?(?![\w^·]|[.,]\d)"
_UNIT = r"\s?(?:%|points?\b|times\b|ms\b|s\b|seconds\b|minutes\b|core-minutes\b|MiB\b|GiB\b)"
_IN_TEXT = re.compile(
    rf"(?<![\w^.·/]){NUMBER}(?=(?P<unit>{_UNIT})?(?P<verdict>\s+(?:{'|'.join(VERDICTS)}))?)", re.UNICODE
)
_LINK = re.compile(r"!?\[([^\]]*)\]\(([^)\s]+)\)")
_FILE = re.compile(r"[\w./+@-]+\.(?:csv|json)\b")
# The columns that name rows; others tell what was found.
_NAMES = {
    "metric", "measure", "regularizer", "rival", "treatment", "dataset", "activation", "unit", "group", "panel",
    "claim", "variant", "effect", "level", "model", "label", "table",
}  # fmt: skip

_BEFORE, _AFTER = r"(?<![\w+@-])", r"(?![\w+@-])"

Row = Mapping[str, str]


@dataclass(frozen=True)
class Source:
    """A data file as rows of written values."""

    name: str
    rows: Sequence[Row]
    _asked: dict[tuple[str, ...], Sequence[Row]] = field(default_factory=dict, repr=False)

    @cached_property
    def columns(self) -> list[str]:
        """The names of all columns."""
        return list(dict.fromkeys(name for row in self.rows for name in row))

    def about(self, words: tuple[str, ...]) -> Sequence[Row]:
        """The rows that the first of these texts mentions that mentions any, by each column of names."""
        if words not in self._asked:
            self._asked[words] = self._about(words)
        return self._asked[words]

    def _about(self, words: tuple[str, ...]) -> Sequence[Row]:
        rows = self.rows
        for column in _NAMES.intersection(self.columns):
            names = {row[column] for row in self.rows if row.get(column)}
            said = next(filter(None, (_mentioned(names, text) for text in words)), None)
            if said:
                rows = [row for row in rows if row.get(column, "") in {"", *said}]
        return rows


def _mentioned(names: set[str], words: str) -> set[str]:
    """Those that stand in `words` by themselves, and in no longer one that does; a number only where it is all."""
    found = {
        name
        for name in names
        if name == words
        or (re.search("[A-Za-z]", name) and re.search(f"{_BEFORE}{re.escape(name)}{_AFTER}", words))
    }
    return {name for name in found if not any(name != other and name in other for other in found)}


@dataclass(frozen=True)
class Result:
    """A number or a verdict as a page prints it. words: texts around it that may name rows, the nearest first."""

    text: str
    words: tuple[str, ...]
    unit: str = ""

    def rounds(self, written: str) -> bool:
        """Whether this is what a written value becomes when rounded: as it is, in %, or times."""
        if self.text in VERDICTS:
            return written == self.text
        value = _value(written)
        if math.isnan(value) or ("." in self.text and not {*".e"}.intersection(written)):
            return False  # a name; a count, a rank
        printed = self.text.replace(",", "").replace("−", "-")
        half = 0.5 * 10.0 ** -len(printed.partition(".")[2])
        value = value if printed[0] in "+-" else abs(value)
        scales = [1.0]
        if self.unit in ("%", "point", "points") and abs(value) <= 2:
            scales.append(100.0)  # a share
        if self.unit == "times":
            scales.append(0.01)
        return any(abs(value * scale - float(printed)) <= half * (1 + 1e-9) + 1e-12 for scale in scales)


@cache
def _value(written: str) -> float:
    """NaN for what is no number; a number may have a unit behind it."""
    found = re.match(r"[+\-]?\d[\d,]*\.?\d*(?:[eE][+\-]?\d+)?(?= |$)", written)
    return float(found[0].replace(",", "")) if found else math.nan


@dataclass
class Table:
    """The results of a table by column and by place within its entries, such as mean and ± sd."""

    columns: dict[tuple[int, int], list[Result]] = field(default_factory=dict)


@dataclass
class Block:
    """A paragraph or list item with the sentences' results, or a table."""

    sentences: list[Result] = field(default_factory=list)
    counts: list[tuple[int, str]] = field(default_factory=list)  # of verdicts
    table: Table | None = None
    links: list[str] = field(default_factory=list)  # as written, of the block itself, or else of its section


Exceptions = Sequence[re.Pattern[str]]


def blocks_of(page: str, exceptions: Exceptions = (), settings: Collection[str] = ()) -> list[Block]:
    """The blocks of a Markdown page in their order. settings: heads of columns that hold no results."""
    found: list[Block] = []
    named: dict[int, list[str]] = {}  # level of a heading → what its section names
    _, *sections = re.split(r"^(#+) .*$", f"# \n{page}", flags=re.MULTILINE)
    for heading, section in zip(sections[::2], sections[1::2], strict=True):
        named = {level: links for level, links in named.items() if level < len(heading)}
        named[len(heading)] = _links(section)
        links = [link for links in named.values() for link in links]
        introduction: list[str] = []
        for lines in _chunks(section):
            own = _links("\n".join(lines))
            block = _table(lines, settings) if lines[0].startswith("|") else _text(" ".join(lines), exceptions)
            block.links = own or (introduction if block.table else []) or links
            introduction = own
            found.append(block)
    return found


def _links(text: str) -> list[str]:
    folders = [target for _, target in _LINK.findall(text) if not Path(target).suffix and "#" not in target]
    return list(dict.fromkeys([*_FILE.findall(text), *folders]))


def _chunks(section: str) -> Iterator[list[str]]:
    """Lines of one paragraph, list item or table, without code blocks."""
    lines: list[str] = []
    fenced, table = False, False
    for line in [*section.splitlines(), ""]:
        stripped = line.strip()
        fenced ^= stripped.startswith("```")
        code = fenced or stripped.startswith("```") or (line.startswith("    ") and not lines)
        row = stripped.startswith("|")
        if lines and (code or not stripped or row != table or stripped.startswith("- ")):
            yield lines
            lines = []
        if stripped and not code:
            lines.append(stripped)
            table = row
    if lines:
        yield lines


def _plain(text: str) -> str:
    """Links as their words, names in code as words; other code goes, for it is to be typed."""
    text = _LINK.sub(lambda link: "" if link[0].startswith("!") else link[1], text)
    code = re.compile(r"`([^`]*)`")
    text = code.sub(lambda span: span[1] if re.fullmatch(r"[A-Za-z_][\w+@-]*", span[1]) else "", text)
    return text.replace("*", "")


def _table(lines: Sequence[str], settings: Collection[str]) -> Block:
    head, alignment, *rows = ([entry.strip() for entry in line.strip("|").split("|")] for line in lines)
    table = Table()
    for row in rows:
        for place, entry in enumerate(row[1:], start=1):
            if head[place] in settings:
                continue
            plain = _plain(entry)
            words = (_plain(row[0]), _plain(head[place]))
            unit = "%" if "%" in head[place] or "%" in entry else ""
            results = [Result(text, words, unit) for text in VERDICTS if plain == text]
            if alignment[place] == "---:":
                results += [Result(text, words, unit) for text in re.findall(NUMBER, plain)]
            for number, result in enumerate(results):
                table.columns.setdefault((place, number), []).append(result)
    return Block(table=table)


def _text(text: str, exceptions: Exceptions) -> Block:
    block = Block()
    plain = _plain(text)
    for exception in exceptions:
        plain = exception.sub(" ", plain)
    for sentence in re.split(r"(?<=[.;]) ", plain):
        for match in _IN_TEXT.finditer(sentence):
            text, unit, verdict = match[0], (match["unit"] or "").strip(), (match["verdict"] or "").strip()
            if verdict:
                block.counts.append((int(text), verdict))
                continue
            measured = sentence[: match.start()].rstrip().endswith("±") or text[0] in "+−-"
            if unit or "." in text or measured:
                block.sentences.append(Result(text, (sentence.strip(),), unit or ("%" if "%" in sentence else "")))
    return block


def unexplained(block: Block, sources: Sequence[Source]) -> list[str]:
    """The results of a block that are a rounding of nothing in the sources, in words."""
    wrong = [result for result in block.sentences if not _found(result, sources)]
    for column in block.table.columns.values() if block.table else ():
        wrong += _strangers(column, sources)
    counts = [f"{count} {verdict}" for count, verdict in block.counts if not _counted(count, verdict, sources)]
    return [*(f"{result.text} in “{' | '.join(result.words)}”" for result in wrong), *counts]


def _found(result: Result, sources: Sequence[Source]) -> bool:
    rows = (row for source in sources for row in source.about(result.words))
    return any(result.rounds(value) for row in rows for value in row.values())


def _counted(count: int, verdict: str, sources: Sequence[Source]) -> bool:
    """Whether a source has so many primary verdicts of this kind."""
    found = [
        sum(row["verdict"] == verdict and row.get("primary", "True") == "True" for row in one.rows)
        for one in sources
        if one.rows and "verdict" in one.rows[0]
    ]
    return count in found


def _strangers(column: Sequence[Result], sources: Sequence[Source]) -> Sequence[Result]:
    """The results of a table's column that the best fitting column of the sources does not have."""
    about = [[row for source in sources for row in source.about(result.words)] for result in column]
    return min(
        (
            [
                result
                for result, rows in zip(column, about, strict=True)
                if not any(result.rounds(row.get(name) or "") for row in rows)
            ]
            for name in dict.fromkeys(name for source in sources for name in source.columns)
        ),
        key=len,
        default=column,
    )


def read_source(path: Path, printed: Callable[[Path], Sequence[str]]) -> Source:
    """A CSV file; or a JSON record, by the lines that `printed` makes of it where it does, else by its values."""
    if path.suffix == ".csv":
        with path.open(newline="") as file:
            return Source(path.name, list(csv.DictReader(file)))
    lines = printed(path)
    return Source(path.name, list(_rows_of(lines)) if lines else _leaves(json.loads(path.read_text())))


def _rows_of(lines: Sequence[str]) -> Iterator[Row]:
    """The rows of the Markdown tables in the lines, under the text above them; and the numbers in that text."""
    above, begun = "", False
    for line in lines:
        entries = [entry.strip() for entry in line.strip().strip("|").split("|")]
        if not line.startswith("|"):
            above, begun = line or above, False
            numbers = re.findall(r"\d+(?:\.\d+)?", line)
            yield {f"text {place}": number for place, number in enumerate(numbers)}
        elif begun and not entries[0].startswith(":--"):
            values = {f"column {place}": entry for place, entry in enumerate(entries[1:], start=1)}
            yield {"table": above, "label": entries[0], **values}
        begun = line.startswith("|")


def _leaves(record: object, path: str = "") -> list[Row]:
    """Every number of a record beside its place in it."""
    if isinstance(record, Mapping):
        return [leaf for key, value in record.items() for leaf in _leaves(value, f"{path}/{key}")]
    if isinstance(record, list):
        return [leaf for value in record for leaf in _leaves(value, path)]
    return [{"place": path, "value": str(record)}] if isinstance(record, int | float) else []
