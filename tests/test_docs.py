"""The examples of the documentation, run as a reader would."""

import doctest
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from dreg_sweep.analysis.claims.reading import parse_study

ROOT = Path(__file__).parent.parent
EXTENDING = ROOT / "docs" / "extending.md"
CHECKOUT = ("conf", "dreg_sweep", "hydra_plugins", "scripts", "tests", "pyproject.toml", "README.md")
MADE = re.compile(r"^(data|results|runs)/|cache__/|_cache/")  # by commands, and no part of the checkout


@pytest.mark.parametrize("page", ["docs/statistics.md", "docs/extending.md"])
def test_the_examples_print_what_the_page_says(page, monkeypatch):
    monkeypatch.chdir(ROOT)
    failed, tried = doctest.testfile(str(ROOT / page), module_relative=False)
    assert tried > 10
    assert failed == 0


def test_the_example_of_a_claims_file_is_one():
    text = (ROOT / "docs" / "statistics.md").read_text()
    block = text.split("```yaml\n")[1].split("```")[0]
    assert [claim.kind for claim in parse_study(block, "example").claims] == ["highest", "higher", "placed"]


@dataclass(frozen=True)
class Block:
    """A fenced block of a page. file: the one it is about, named at its top; None for what is to be run."""

    language: str
    text: str

    @property
    def file(self):
        named = re.match(r"(?:# @package _global_\n)?(?:#|\+\+\+) ([\w/]+\.(?:py|yaml))\n", self.text)
        return named and named[1]


def sections(page):
    """Heading → the fenced blocks below it, in order."""
    parts = re.split(r"^## (.*)\n", page.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    fenced = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    return {
        heading: [Block(*found) for found in fenced.findall(text)]
        for heading, text in zip(parts[::2], parts[1::2], strict=True)
    }


def follow(block, checkout):
    """Do what a block says: write its file, apply its diff, run its commands."""
    if block.file is None:
        command = {"sh": ["bash", "-euc"], "python": [sys.executable, "-c"]}[block.language]
        finished = run(*command, block.text, cwd=checkout)
        assert finished.returncode == 0, finished.stdout[-3000:] + finished.stderr[-3000:]
    elif block.language == "diff":
        apply(block.text, checkout / block.file)
    else:
        assert not (checkout / block.file).exists()
        (checkout / block.file).write_text(block.text, encoding="utf-8")


def run(*command, cwd):
    """The finished process of a command in a checkout, with the checkout's own code."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    ours = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment = {**ours, "PATH": path, "PYTHONPATH": str(cwd), "COLUMNS": "200", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=600, check=False
    )


def apply(diff, file):
    """Apply a diff whose hunks name no lines: each finds its place by its own text."""
    text = file.read_text(encoding="utf-8")
    for hunk in diff.partition("\n")[2].split("@@\n"):
        lines = hunk.splitlines(keepends=True)
        before, after = ("".join(line[1:] for line in lines if line[0] in kept) for kept in (" -", " +"))
        assert text.count(before) == 1, before
        text = text.replace(before, after)
    file.write_text(text, encoding="utf-8")


def state(checkout):
    """Path → content of the files that a checkout is."""
    files = (path for path in checkout.rglob("*") if path.is_file())
    found = {path.relative_to(checkout).as_posix(): path.read_bytes() for path in files}
    return {name: content for name, content in found.items() if not MADE.search(name)}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of what the package is made from."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in CHECKOUT:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, copy / name)
    return copy


@pytest.fixture(scope="module")
def with_a_regularizer(checkout):
    """A checkout in which the page's section on regularizers was followed; what it was before, and is since."""
    before = state(checkout)
    for block in sections(EXTENDING)["A regularizer"]:
        follow(block, checkout)
    return checkout, before, state(checkout)


def test_each_addition_is_under_twenty_lines():
    blocks = [block for section in sections(EXTENDING).values() for block in section]
    assert len(blocks) > 10
    for block in blocks:
        code = [line for line in block.text.splitlines() if line.strip("+ ")]
        assert len(code) < 20, block.text


def test_a_regularizer_is_its_function_its_test_and_its_file_in_conf(with_a_regularizer):
    checkout, before, after = with_a_regularizer
    assert sorted(after.keys() - before.keys()) == [
        "conf/regularizer/logit_squeezing.yaml",
        "dreg_sweep/regularizers/logit_squeezing.py",
        "tests/test_regularizers_logit_squeezing.py",
    ]
    assert {name: after[name] for name in before} == before
    cells = pd.read_parquet(checkout / "runs" / "squeezing" / "cells").set_index(["regularizer", "seed"])
    assert (cells["status"] == "done").all()
    assert (cells.loc["logit_squeezing", "test_loss"] != cells.loc["none", "test_loss"]).all()
    overall = pd.read_csv(checkout / "runs" / "squeezing" / "analysis" / "tables" / "overall.csv")
    assert set(overall["regularizer"]) == {"none", "logit_squeezing", "dreg"}


def test_the_other_sections_work_as_they_are_written(with_a_regularizer):
    checkout, *_ = with_a_regularizer
    followed = sections(EXTENDING)
    for heading in ("An activation", "A dataset", "A model", "An experiment", "Other numbers"):
        for block in followed.pop(heading):
            follow(block, checkout)
    del followed["A regularizer"]
    assert not any(followed.values())  # the others have examples
    cells = pd.read_parquet(checkout / "results" / "extended" / "cells")
    assert len(cells) == 36
    assert set(cells["status"]) == {"done"}
    assert set(cells["model"]) == {"mlp_he"}
    assert set(cells["activation"]) == {"relu", "elu"}
    assert set(cells["dataset"]) == {"digits", "breast_cancer"}
    overall = pd.read_csv(checkout / "results" / "extended" / "analysis" / "tables" / "overall.csv")
    assert "logit_squeezing" in set(overall["regularizer"])
