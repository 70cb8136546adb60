"""The report as a browser shows it: nothing loaded, no complaints, tables that sort, no sideways scrolling."""

import os
import re
import struct
import subprocess
import sys
import zlib
from html.parser import HTMLParser

import pandas as pd
import pytest

from dreg_sweep.analysis.report.page import LONG, Picture, Section, page
from dreg_sweep.analysis.report.render import Column, Table
from tests.browser import CHROMIUM, Browser


def png(width=640, height=400):
    """A white image of that size."""

    def chunk(kind, content):
        checked = kind + content
        return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))

    rows = (b"\0" + b"\xff" * width) * height
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def column(name, show="{:.2f}", numeric=True):
    return Column(name, lambda row: show.format(row[name]), numeric, value=name if numeric else None)


def table(name, rows, **marks):
    """Method and three numbers a row; ties in `rank`, nothing printed tells 91.301 from 91.304."""
    methods = [f"method_{(7 * number) % rows}" for number in range(rows)]
    frame = pd.DataFrame(
        {
            "method": methods,
            "accuracy": [91.304, 91.301, *(90 - number / 3 for number in range(rows - 2))],
            "rank": [float(number % 3) if number != 1 else None for number in range(rows)],
        }
    )
    columns = (
        column("method", "{}", numeric=False),
        column("accuracy"),
        Column("rank", lambda row: "–" if row["rank"] != row["rank"] else f"{row['rank']:g}", value="rank"),
        *(column(f"severity {severity}") for severity in range(12)),
    )
    for severity in range(12):
        frame[f"severity {severity}"] = frame["accuracy"] - severity
    return Table(name, f"Accuracy <in %> of {name}", "Mean ± sd & more. " * 20, frame, columns, marks)


def report(tmp_path, **changes):
    (tmp_path / "figure.png").write_bytes(png(2000, 600))
    claims = pd.DataFrame(
        {
            "claim": ["dreg has the highest accuracy " + "on every dataset " * 8, "ranking", "scarcity"],
            "verdict": ["reproduced", "contradicted", "undecided"],
            "p": [0.031, 1e-9, None],
        }
    )
    columns = (column("claim", "{}", False), column("p", "{:.3f}"), column("verdict", "{}", False))
    picture = Picture("figure", 'Clean "against" noisy', "Six <b>methods</b>", tmp_path / "figure.png")
    arguments = {
        "title": "A report & its <title>",
        "lead": ["The first sentence with `code`.", "The second one."],
        "claims": Table("claims", "Claims", "What was claimed.", claims, columns),
        "sections": [
            Section(
                "Methods", ["Text.", "a" * 300], [table("overall", 6), table("overall", LONG + 40)], [picture]
            ),
            Section("Methods", [], [], []),
        ],
        "audit": ["240 of 240 cells done"],
        "warnings": ["<script>alert(1)</script> is no script"],
        "provenance": pd.DataFrame({"what": ["torch", "hash"], "value": ["2.9", "f" * 64], "cells": [240, 1]}),
    }
    return page(**{**arguments, **changes})


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if CHROMIUM is None:
        pytest.skip("no Chromium that starts here, which would show the report (.ci/run installs it)")
    browser = Browser(tmp_path_factory.mktemp("browser"))
    yield browser
    browser.close()


@pytest.fixture
def shown(browser, tmp_path):
    """Opens the report, or the one given, in a window of that size."""

    def show(text=None, **window):
        path = tmp_path / "report.html"
        path.write_text(text or report(tmp_path), encoding="utf-8", newline="\n")
        browser.open(path, **window)
        return browser

    return show


COLUMN = "[...document.querySelectorAll('#table-overall tbody tr')].map(row => row.cells[{}].textContent)"
HEAD = "document.querySelectorAll('#table-overall thead th')[{}]"


class Outline(HTMLParser):
    """The ids, references and text of a page, and the tags that are open at its end."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.addresses, self.text, self.open = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag not in {"meta", "link", "img"}:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            if name in {"src", "href", "srcset", "action", "data", "style", "onclick"}:
                self.addresses.append(value)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_parts_stand_in_order_and_every_anchor_exists_once(tmp_path):
    text = report(tmp_path)
    outline = Outline(text)
    assert outline.open == []
    assert len(outline.ids) == len(set(outline.ids))
    own = [address for address in outline.addresses if not address.startswith("data:")]
    assert {address.lstrip("#") for address in own} <= set(outline.ids)
    assert all(address.startswith("#") for address in own)
    order = [text.index(f'id="{name}"') for name in (
        "warnings", "claims", "methods", "table-overall", "table-overall-2", "figure-figure", "methods-2", "audit",
        "provenance",
    )]  # fmt: skip
    assert order == sorted(order)
    assert text.index("The second one.") < order[0]
    assert "alert" not in re.sub(r"&lt;script&gt;alert\(1\)&lt;/script&gt;", "", text)
    assert "Accuracy &lt;in %&gt; of overall" in text
    assert "<code>code</code>" in text
    assert 'alt="Clean &#34;against&#34; noisy"' in text
    assert 'width="2000" height="600"' in text


def test_verdicts_differ_by_symbol_and_word(tmp_path):
    text = report(tmp_path)
    for word, symbol in (("reproduced", "✓"), ("contradicted", "✗"), ("undecided", r"\?")):
        badge = rf'<span class="badge {word}"><span aria-hidden="true">{symbol}</span> '
        assert re.search(rf"<td[^>]*>{badge}{word}</span></td>", text)
        assert re.search(rf"{badge}1 {word}</span>", text)  # the count above the table
    assert "badge" not in re.sub(r"(?s)<style>.*?</style>", "", report(tmp_path, claims=None))


def test_the_same_input_gives_the_same_bytes(tmp_path):
    script = (
        "import sys; from pathlib import Path; from tests.test_analysis_report import report\n"
        "sys.stdout.reconfigure(encoding='utf-8'); print(report(Path(sys.argv[1])), end='')\n"
        "assert not {'torch', 'hydra'} & set(sys.modules)"
    )
    command = [sys.executable, "-c", script, tmp_path]
    texts = {
        subprocess.run(command, check=True, capture_output=True, env=os.environ | {"PYTHONHASHSEED": seed}).stdout
        for seed in ("1", "2")
    }
    assert texts == {report(tmp_path).encode()}


def test_the_least_report_has_no_empty_parts(tmp_path):
    nothing = pd.DataFrame({"what": []})
    text = report(tmp_path, lead=[], claims=None, sections=[], audit=[], warnings=[], provenance=nothing)
    assert "<section" not in text
    assert "<table" not in text


def test_pictures_must_be_png(tmp_path):
    (tmp_path / "other.png").write_bytes(b"GIF89a")
    for path, error in ((tmp_path / "other.png", ValueError), (tmp_path / "none.png", FileNotFoundError)):
        with pytest.raises(error, match=path.name):
            report(tmp_path, sections=[Section("S", [], [], [Picture("p", "P", "", path)])])


def test_nothing_is_loaded_and_nothing_complained_of(shown):
    browser = shown()
    assert browser.run("document.querySelectorAll('thead button').length") > 0  # the script ran
    assert browser.run("getComputedStyle(document.querySelector('.badge')).borderTopStyle") == "solid"
    assert browser.run("[...document.images].every(image => image.naturalWidth === 2000)")
    assert browser.complaints() == []
    assert browser.requests() == [browser.run("location.href")]


@pytest.mark.parametrize(
    "intruder",
    [
        "<script>document.title = 'taken'</script>",
        "<img src=x onerror=\"document.title = 'taken'\">",
        "<img src=http://127.0.0.1:9/x.png>",
        "<link rel=stylesheet href=http://127.0.0.1:9/x.css>",
        "<script src=http://127.0.0.1:9/x.js></script>",
        "<iframe src=http://127.0.0.1:9/></iframe>",
    ],
)
def test_the_policy_keeps_out_what_is_not_the_pages_own(shown, tmp_path, intruder):
    browser = shown(report(tmp_path).replace("</main>", f"{intruder}</main>"))
    assert browser.run("document.title") == "A report & its <title>"
    assert browser.seen("Audits.issueAdded")
    loaded = {event["requestId"] for event in browser.seen("Network.responseReceived")}
    sent = browser.seen("Network.requestWillBeSent")
    assert [e["request"]["url"][:5] for e in sent if e["requestId"] in loaded].count("file:") == 1
    assert not [e for e in sent if e["requestId"] in loaded and e["request"]["url"].startswith("http")]


def test_tables_sort_by_their_numbers_and_return(shown):
    browser = shown()
    came = browser.run(COLUMN.format(0))
    assert browser.run(COLUMN.format(2)) == ["0", "–", "2", "0", "1", "2"]

    def click(place):
        browser.run(f"{HEAD.format(place)}.querySelector('button').click()")
        return [browser.run(f"{HEAD.format(other)}.getAttribute('aria-sort')") for other in (0, 1, 2)]

    # 91.304 and 91.301 print alike.
    assert click(1) == [None, "ascending", None]
    assert browser.run(COLUMN.format(0)) == [*came[:1:-1], came[1], came[0]]
    assert click(1) == [None, "descending", None]
    assert browser.run(COLUMN.format(0)) == came
    assert click(1) == [None, None, None]
    assert browser.run(COLUMN.format(0)) == came
    # Ties keep their order and blanks are last, either way.
    assert click(2) == [None, None, "ascending"]
    assert browser.run(COLUMN.format(0)) == [came[place] for place in (0, 3, 4, 2, 5, 1)]
    assert click(2) == [None, None, "descending"]
    assert browser.run(COLUMN.format(0)) == [came[place] for place in (2, 5, 4, 0, 3, 1)]
    # Another column starts anew, from the order in which the rows came.
    assert click(0) == ["ascending", None, None]
    assert browser.run(COLUMN.format(0)) == sorted(came)
    assert browser.complaints() == []


def test_tables_sort_by_keyboard(shown):
    browser = shown()
    came = browser.run(COLUMN.format(0))
    browser.run(f"{HEAD.format(1)}.querySelector('button').focus()")
    browser.press("Enter", "\r")
    assert browser.run(COLUMN.format(0)) != came
    assert browser.run("document.activeElement.parentElement.getAttribute('aria-sort')") == "ascending"
    browser.press("Enter", "\r")
    browser.press("Enter", "\r")
    assert browser.run(COLUMN.format(0)) == came


@pytest.mark.parametrize(("width", "dark"), [(320, False), (400, True), (700, False), (1600, True)])
def test_the_page_does_not_scroll_sideways(shown, width, dark):
    browser = shown(width=width, dark=dark)
    for unfolded in (False, True):
        browser.run(
            f"document.querySelectorAll('details').forEach(details => details.open = {str(unfolded).lower()})"
        )
        assert browser.run("document.documentElement.scrollWidth") == width
        beyond = (
            "[...document.querySelectorAll('main, nav, section, p, figure, img, .badge, caption > div, .scroll')]"
            f".filter(e => e.getBoundingClientRect().right > {width} + 1).map(e => e.outerHTML.slice(0, 80))"
        )
        assert browser.run(beyond) == []
    wide = "document.querySelector('#table-overall .scroll')"
    assert browser.run(f"{wide}.scrollWidth > {wide}.clientWidth")
    assert browser.run(f"{wide}.tabIndex") == 0  # whoever has only keys can scroll it
    long = "document.querySelector('#table-overall-2 .scroll')"
    assert browser.run(f"{long}.scrollHeight > {long}.clientHeight && {long}.clientHeight < innerHeight")


CONTRAST = """
(() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const channels = colour => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return canvas.getImageData(0, 0, 1, 1).data;
  };
  const light = colour => channels(colour).slice(0, 3).reduce((sum, channel, place) => {
    const part = channel / 255, linear = part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    return sum + [0.2126, 0.7152, 0.0722][place] * linear;
  }, 0);
  const ground = element => {
    for (; element; element = element.parentElement) {
      const colour = getComputedStyle(element).backgroundColor;
      if (channels(colour)[3] === 255) return colour;
    }
  };
  const all = [...document.body.querySelectorAll("*")].filter(element =>
    [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim()) && element.tagName !== "SCRIPT");
  return Math.min(...all.map(element => {
    const [a, b] = [light(getComputedStyle(element).color), light(ground(element))].sort((a, b) => b - a);
    return (a + 0.05) / (b + 0.05);
  }));
})()
"""


@pytest.mark.parametrize("dark", [False, True])
def test_all_text_stands_out_from_its_ground(shown, dark):
    browser = shown(dark=dark)
    assert browser.run("matchMedia('(prefers-color-scheme: dark)').matches") is dark
    assert browser.run(CONTRAST) >= 4.5  # WCAG's AA


def test_long_tables_are_folded_and_a_link_or_paper_unfolds_them(shown):
    browser = shown()
    folded = "[...document.querySelectorAll('details')].map(details => details.open)"
    assert browser.run(folded) == [False]
    browser.run("dispatchEvent(new Event('beforeprint'))")
    assert browser.run(folded) == [True]
    browser.run("dispatchEvent(new Event('afterprint'))")
    assert browser.run(folded) == [False]
    browser.run("document.querySelector('nav a[href=\"#table-overall-2\"]').click()")
    browser.run("new Promise(done => setTimeout(done, 50))")
    assert browser.run(folded) == [True]
