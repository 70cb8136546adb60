"""The report: one HTML file that holds its tables and figures and loads nothing from anywhere.

A content security policy admits the page's own style and script, by their hashes, and images that stand in it.
"""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dreg_sweep.analysis.claims.outcome import Outcome
from dreg_sweep.analysis.report.render import Column, Table, html, inline
from dreg_sweep.analysis.rows.spelling import visible_lines

if TYPE_CHECKING:
    import jinja2
    import pandas as pd

VERDICTS: Mapping[str, str] = {Outcome.REPRODUCED: "✓", Outcome.CONTRADICTED: "✗", Outcome.UNDECIDED: "?"}
LONG = 24  # rows; a longer table is folded away
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Picture:
    """A figure. name: of its anchor. title, caption: plain text; the title is also the image's alternative."""

    name: str
    title: str
    caption: str
    png: Path


@dataclass(frozen=True)
class Section:
    """A part of the report: paragraphs, then tables, then figures. `code` in a text is set as such."""

    title: str
    text: list[str]
    tables: list[Table]
    pictures: list[Picture]


def page(
    *,
    title: str,
    lead: Sequence[str],
    claims: Table | None,
    sections: Sequence[Section],
    audit: Sequence[str],
    warnings: Sequence[str],
    provenance: "pd.DataFrame",
) -> str:
    """The report as the text of an HTML file; the same input gives the same bytes.

    claims: a table whose column `verdict` starts with reproduced, contradicted or undecided. lead, audit,
    warnings: one sentence or line each. provenance: any frame; an empty one is left out. Tables and figures are
    numbered in the order in which they stand.

    Raises OSError for a picture that cannot be read, ValueError for one that is no PNG.
    """
    from markupsafe import Markup

    counter = _Counter()
    first = counter.table(claims, claims=True) if claims else None
    parts = [
        {
            "id": counter.anchor(section.title),
            "title": section.title,
            "text": section.text,
            "tables": [counter.table(table) for table in section.tables],
            "pictures": [counter.picture(picture) for picture in section.pictures],
        }
        for section in sections
    ]
    last = counter.table(_provenance(provenance)) if len(provenance) else None
    contents = [
        *([_entry("Warnings")] if warnings else []),
        *([_entry("Claims")] if first else []),
        *({**part, "below": [*part["tables"], *part["pictures"]]} for part in parts),
        *([_entry("Audit")] if audit else []),
        *([_entry("Provenance")] if last else []),
    ]
    css, js = _part("page.css"), _part("page.js")
    return _template().render(
        title=title,
        lead=lead,
        claims=first,
        tally=_tally(claims) if claims else [],
        sections=parts,
        audit=audit,
        warnings=warnings,
        provenance=last,
        contents=contents,
        policy=(
            f"default-src 'none'; img-src data:; style-src '{_hash(css)}'; script-src '{_hash(js)}'; "
            "base-uri 'none'; form-action 'none'"
        ),
        css=Markup(css),
        js=Markup(js),
    )


class _Counter:
    """Numbers tables and figures, and gives out anchors, none of them twice."""

    def __init__(self) -> None:
        self.numbers = {"Table": 0, "Figure": 0}
        self.anchors = {"content", "warnings", "claims", "audit", "provenance"}

    def anchor(self, text: str) -> str:
        """An id like the text."""
        name = wanted = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "part"
        number = 1
        while {name, f"{name}-heading"} & self.anchors:
            number += 1
            name = f"{wanted}-{number}"
        self.anchors |= {name, f"{name}-heading"}
        return name

    def label(self, kind: str) -> str:
        """`Table 3`."""
        self.numbers[kind] += 1
        return f"{kind} {self.numbers[kind]}"

    def table(self, table: Table, claims: bool = False) -> dict[str, Any]:
        """What the template says about a table."""
        from markupsafe import Markup

        label = self.label("Table")
        badges = {column.header: VERDICTS for column in _verdicts(table)} if claims else None
        return {
            "id": self.anchor(f"table-{table.name}"),
            "label": label,
            "title": table.title,
            "rows": len(table.values),
            "long": len(table.values) > LONG and not claims,
            "claims": claims,
            "html": Markup(html(table, label=label, badges=badges)),
        }

    def picture(self, picture: Picture) -> dict[str, Any]:
        """What the template says about a figure."""
        content = picture.png.read_bytes()
        if content[:8] != _SIGNATURE or len(content) < 24:
            raise ValueError(f"{picture.png} is not a PNG image")
        return {
            "id": self.anchor(f"figure-{picture.name}"),
            "label": self.label("Figure"),
            "title": picture.title,
            "caption": picture.caption,
            "data": f"data:image/png;base64,{base64.b64encode(content).decode()}",
            "width": int.from_bytes(content[16:20]),  # of the header chunk, which always comes first
            "height": int.from_bytes(content[20:24]),
        }


def _entry(title: str) -> dict[str, Any]:
    """A line of the contents for one of the page's own parts."""
    return {"id": title.lower(), "title": title, "below": []}


def _verdicts(table: Table) -> list[Column]:
    return [column for column in table.columns if column.header.lower() == "verdict"]


def _tally(claims: Table) -> list[tuple[str, str, int]]:
    """Verdict, symbol and count, of those that occur."""
    counts = {word: int((claims.values["verdict"] == word).sum()) for word in VERDICTS}
    return [(word, VERDICTS[word], count) for word, count in counts.items() if count]


def _provenance(frame: "pd.DataFrame") -> Table:
    def column(name: str) -> Column:
        numeric = frame[name].dtype.kind in "iuf"
        return Column(name, lambda row: str(row[name]), numeric, value=name if numeric else None)

    frame = frame.rename(columns=str)
    columns = tuple(column(name) for name in frame.columns)
    return Table("provenance", "What made these numbers", "", frame, columns)


def _hash(text: str) -> str:
    """A source expression of the policy."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _part(name: str) -> str:
    return files(__package__).joinpath("template", name).read_text(encoding="utf-8")


@cache
def _template() -> "jinja2.Template":
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        autoescape=True,
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        finalize=lambda value: visible_lines(value) if type(value) is str else value,  # Markup is done already
    )
    environment.filters["inline"] = lambda text: Markup(inline(text))
    return environment.from_string(_part("page.html"))
