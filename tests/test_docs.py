"""The examples of the documentation, run as a reader would."""

import doctest
from pathlib import Path

import pytest

from dreg_sweep.analysis.claims.reading import parse_study

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("page", ["docs/statistics.md"])
def test_the_examples_print_what_the_page_says(page, monkeypatch):
    monkeypatch.chdir(ROOT)
    failed, tried = doctest.testfile(str(ROOT / page), module_relative=False)
    assert tried > 10
    assert failed == 0


def test_the_example_of_a_claims_file_is_one():
    text = (ROOT / "docs" / "statistics.md").read_text()
    block = text.split("```yaml\n")[1].split("```")[0]
    assert [claim.kind for claim in parse_study(block, "example").claims] == ["highest", "higher", "placed"]
