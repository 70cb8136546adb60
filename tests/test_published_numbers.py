"""Every result that README and the pages of results/ print is a rounding of a committed value."""

import importlib
import json
import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from tests.published_numbers import Block, Source, Table, blocks_of, read_source, unexplained

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    str(path.relative_to(ROOT))
    for pattern in ("README.md", "results/README.md", "results/*/README.md")
    for path in ROOT.glob(pattern)
)

# What has decimals or a unit and is no result: on every page these ...
NOTATION = {
    r"arXiv \d{4}\.\d{5}": "an article's number",
    r"\b[A-Za-z][\w-]*,? (?:≥ )?\d+\.\d+\.\d+(?:\.\d+)*": "a version",
    r"Python (?:≥ )?3\.\d+": "a version",
    r"(?:\d·)?10\^-?\d+(?:\.\d+)?": "a strength or a rate",
    r"\d+(?:\.\d+)?e-\d+": "a strength or a rate",
    r"[λσ] = \d[\d.·^,\s]*": "settings",
    r"\d+ % of the test (?:set|rows)": "of the data",
    r"p ≤ 0\.\d+(?: = 1/\d+)?": "the level that the study names",
}
SETTINGS = {"cells": "the size of a grid"}  # right-aligned columns, by their heads
# ... and on one page these phrases, each of which must stand there.
PHRASES = {
    "README.md": {
        "5, 10, 20, 40 % of the words": "a setting",
        "`tweet_irony` (60 %)": "of the data",
    },
    "results/bench/README.md": {
        "AMD EPYC, 24 GiB": "the machine",
        "at least 2.25 times as long": "arithmetic, explained there",
    },
    "results/gradreg_mnist/README.md": {
        "dropout 0.5 on the 84 units": "a setting",
        "λ would be 0.01 instead of 0.5": "settings",
    },
    "results/gradreg_toy/README.md": {"100 points each": "a setting"},
}


def printed(path):
    """What scripts/bench.py prints of a record: tables and, of a growing grid, its line."""
    record = json.loads(path.read_text())
    kind = next((name for name in _PRINTERS if name in json.dumps(record)), None)
    return _PRINTERS[kind](record) if kind else []


def _module(name):
    return importlib.import_module(f"bench.{name}")


def _penalties(record):
    penalties, flops = _module("penalties"), _module("products").flops_a_step
    for model in record["models"]:
        setting, times, rates = penalties.SETTINGS[model["name"]], model["ms_a_step"], model["gflops_of_products"]
        yield from penalties.heading(model["name"], setting)
        yield from penalties.penalty_table(times)
        if rates:
            operations = setting.seeds * flops(setting.sizes, setting.batch)
            yield from ["", *penalties.product_table(rates, times["none"], operations)]


def _parts(record):
    parts = _module("parts")
    for model in record["models"]:
        found = {
            name: [parts.Parts(**own) for own in repeats] for name, repeats in model["seconds_a_cell"].items()
        }
        yield from [model["name"], *parts.parts_table(found)]


def _throughput(record):
    throughput, agreement = _module("throughput"), _module("agreement")
    for model in record["models"]:
        ways = list(model["seconds"])
        yield from [model["name"], *throughput.speed_table(model["seconds"], record["cells"], (ways[1], ways[3]))]
        yield from ["", *agreement.agreement_table([agreement.Agreement(**pair) for pair in model["accuracies"]])]


def _overhead(record):
    overhead, growth = _module("overhead"), _module("growth")
    times = {
        own["name"]: overhead.Times(own["one_cell_seconds"], own["grid_seconds"]) for own in record["launchers"]
    }
    yield from overhead.overhead_table(times, "dreg-sweep, one step", record["cells"])
    seconds = {own["cells"]: own["seconds"] for own in record["growth"]}
    line = growth.Line.through(seconds)
    yield from [str(line), *growth.growth_table(seconds, line)]


def _memory(record):
    memory = _module("memory")
    found = {
        (own["model"], own["regularizer"]): [memory.Peak(**peak) for peak in own["repeats"]]
        for own in record["peaks"]
    }
    yield from memory.memory_table(found)


def _whole_commands(record):
    whole = _module("whole_commands")
    found = {own["label"]: [whole.Run(**repeat) for repeat in own["repeats"]] for own in record["whole_commands"]}
    yield from whole.run_table("command", found)


_PRINTERS = {  # by what only that record holds
    "ms_a_step": _penalties,
    "seconds_a_cell": _parts,
    "accuracies": _throughput,
    "one_cell_seconds": _overhead,
    "peaks": _memory,
    "whole_commands": _whole_commands,
}


@pytest.fixture(scope="module")
def sources():
    """The data files that a block of a page links to; each is read once."""
    read = {}

    def of(page, links):
        for link in links:
            for base in (page.parent, ROOT):
                path = base / link
                files = [*path.glob("*.csv"), *path.glob("*.json")] if path.is_dir() else [path]
                for file in files:
                    if file.is_file() and file not in read:
                        read[file] = read_source(file, lambda path: list(printed(path)))
                    if file.is_file():
                        yield read[file]

    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "scripts")
        yield lambda page, links: list(of(ROOT / page, links))


def exceptions(page):
    return [re.compile(pattern) for pattern in NOTATION] + [
        re.compile(re.escape(phrase.replace("`", ""))) for phrase in PHRASES.get(page, {})
    ]


def page_blocks(page):
    return blocks_of((ROOT / page).read_text(), exceptions(page), SETTINGS)


@pytest.mark.parametrize("page", PAGES)
def test_every_result_is_a_rounding_of_a_committed_value(page, sources):
    wrong = [line for block in page_blocks(page) for line in unexplained(block, sources(page, block.links))]
    assert wrong == []


@pytest.mark.parametrize("page", [page for page in PAGES if page in PHRASES])
def test_every_exception_stands_on_its_page(page):
    text = " ".join((ROOT / page).read_text().split())
    assert [phrase for phrase in PHRASES[page] if phrase not in text] == []


def corrupted(result):
    """The same number with one digit changed, in every place and in two ways."""
    for place, digit in enumerate(result.text):
        for step in (1, 4) if digit.isdigit() else ():
            changed = (int(digit) + step) % 10
            yield replace(result, text=f"{result.text[:place]}{changed}{result.text[place + 1 :]}")


def noticed(page, sources):
    """Of each number with a wrong digit, whether it is noticed: in tables, and in running text."""
    found: dict[str, list[bool]] = {"tables": [], "text": []}
    for block in page_blocks(page):
        read = sources(page, block.links)
        for result in block.sentences:
            found["text"] += [bool(unexplained(Block([wrong]), read)) for wrong in corrupted(result)]
        for column in block.table.columns.values() if block.table else ():
            for number, result in enumerate(column):
                for wrong in corrupted(result):
                    changed = [*column[:number], wrong, *column[number + 1 :]]
                    found["tables"].append(bool(unexplained(Block(table=Table({(0, 0): changed})), read)))
    return found


@pytest.mark.parametrize("page", PAGES)
def test_a_wrong_digit_is_noticed(page, sources):
    """In a table a column must be a column; in running text another value may happen to fit."""
    for kind, least in (("tables", 0.98), ("text", 0.7)):
        found = noticed(page, sources)[kind]
        assert sum(found) >= least * len(found), kind


SEEDS = {"unit": "seed", "side": "one-sided", "correction": "none"}
VERDICT_COLUMNS = {  # head → the rows of a claims.csv that it prints, and whose it is
    "by datasets": ({"primary": True}, "paper_cpu"),
    "by 5 seeds": (SEEDS, "paper_cpu"),
    "by 20 seeds, relu and gelu": (SEEDS, "seeds"),
}
PUBLISHED = ("paper_cpu", "seeds", "scarcity")
BY_SIZE = {"paper_cpu": "scarcity", "seeds": None}  # who has what D is about


def verdict_table():
    """Claim → head → what the table of claims must print."""
    read = {
        name: pd.read_csv(ROOT / f"results/{name}/analysis/claims.csv")
        for name in ("paper_cpu", "seeds", "scarcity")
    }
    found: dict[str, dict[str, str]] = {}
    for claim in read["paper_cpu"]["claim"].unique():
        found[claim] = {}
        for head, (wanted, owner) in VERDICT_COLUMNS.items():
            name = BY_SIZE[owner] if claim == "D" else owner
            if name is None:
                found[claim][head] = "–"
                continue
            rows = read[name][read[name]["claim"] == claim]
            for column, value in wanted.items():
                rows = rows[rows[column] == value]
            (row,) = rows.to_dict("records")
            bold = "**" if row["verdict"] != "undecided" else ""
            impossible = " †" if head == "by datasets" and not row["can_reach"] else ""
            found[claim][head] = f"{bold}{row['verdict']}{bold}{impossible}"
    return found


@pytest.mark.parametrize("page", ["README.md", "results/README.md"])
def test_the_table_of_claims_prints_every_verdict(page):
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("| claim |"))
    rows = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        rows.append([entry.strip() for entry in line.strip("|").split("|")])
    head, _, *body = rows
    printed = {row[0]: {name: row[head.index(name)] for name in VERDICT_COLUMNS} for row in body}
    assert printed == verdict_table()


SOURCE = Source(
    "overall.csv",
    [
        {"regularizer": "none", "clean_mean": "90.6656", "clean_sd": "0.296", "p": "0.03125", "share": "0.954"},
        {"regularizer": "dreg", "clean_mean": "91.2952", "clean_sd": "0.221", "p": "", "share": "1.071"},
    ],
)
CLAIMS = Source("claims.csv", [{"verdict": "undecided", "primary": flag} for flag in ("True", "True", "False")])


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("dreg reaches 91.30 ± 0.22 %", 0),
        ("dreg reaches 91.31 ± 0.22 %", 1),
        ("dreg reaches 90.67 %", 1),  # a value of another regularizer
        ("it reaches 90.67 %", 0),
        ("with p = 0.031 under `none`", 0),
        ("with p = 0.032", 1),
        ("95 to 107 % remain", 0),
        ("108 % remain", 1),
        ("2 undecided", 0),
        ("3 undecided", 1),
        ("in 960 cells and 5 seeds", 0),  # counts of the design are no results
        ("a rate of 0.5, in `lr=0.7`", 1),
        ("λ = 10^-2.5 (arXiv 1234.56789)", 0),
    ],
)
def test_running_text(text, wrong):
    (block,) = blocks_of(text, exceptions(""))
    assert len(unexplained(block, [SOURCE, CLAIMS])) == wrong


@pytest.mark.parametrize(
    ("rows", "wrong"),
    [
        (["| none | 90.67 ± 0.30 |", "| **dreg** | **91.30 ± 0.22** |"], 0),
        (["| none | 91.30 ± 0.30 |", "| dreg | 90.67 ± 0.22 |"], 2),  # exchanged
        (["| none | 90.67 ± 0.22 |", "| dreg | 91.30 ± 0.22 |"], 1),
        (["| none | 90.67 |", "| dreg | 0.22 |"], 1),  # of two columns
        (["| unheard_of | 90.67 |"], 0),  # names nothing: any row will do
    ],
)
def test_tables(rows, wrong):
    (block,) = blocks_of("\n".join(["| regularizer | clean |", "| :--- | ---: |", *rows]))
    assert len(unexplained(block, [SOURCE])) == wrong


def test_a_verdict_in_a_table_is_that_of_its_claim():
    claims = Source(
        "claims.csv", [{"claim": "A1", "verdict": "undecided"}, {"claim": "A2", "verdict": "reproduced"}]
    )
    lines = ["| claim | verdict |", "| :--- | :--- |", "| A1 | undecided |", "| A2 | undecided |"]
    (block,) = blocks_of("\n".join(lines))
    assert unexplained(block, [claims]) == ["undecided in “A2 | verdict”"]


def test_links_are_the_block_s_else_those_of_the_sections_around_it():
    page = """# One
    python made.py --json one.json

First [a](a.csv) and [docs](docs/page.md#part).

Second.

## Two
Third of [all](results/bench).

# Three
Fourth.
"""
    assert [block.links for block in blocks_of(page)] == [
        ["a.csv"], ["one.json", "a.csv"], ["results/bench"], []
    ]  # fmt: skip


def test_without_a_source_nothing_is_a_result():
    (block,) = blocks_of("It takes 3.5 s.")
    assert unexplained(block, []) == ["3.5 in “It takes 3.5 s.”"]
