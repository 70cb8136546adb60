"""YAML of claims files: numbers as on the command line, and what is refused."""

import pytest

from dreg_sweep.analysis.claims.strict_yaml import read_yaml
from dreg_sweep.errors import UserError


@pytest.mark.parametrize(("text", "value"), [("2e3", 2000.0), ("1E3", 1000.0), ("1e-2", 0.01), ("7", 7)])
def test_numbers_are_those_of_the_command_line(text, value):
    assert read_yaml(f"a: {text}", "mine.yaml") == {"a": value}


def test_a_quoted_number_and_a_name_stay_text():
    assert read_yaml("a: '2e3'\nb: 2e3x", "mine.yaml") == {"a": "2e3", "b": "2e3x"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nb: 2\na: 3", ("line 3", "key a", "twice")),
        ("a: &x [1]\nb: *x", ("line 2", "alias")),
        ("[" * 5000, ("line 1", "deep")),
        ("a:\n\t- 1", ("line 2",)),
    ],
)
def test_what_is_refused_is_one_line_with_its_place(text, words):
    with pytest.raises(UserError) as caught:
        read_yaml(text, "mine.yaml")
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in ("mine.yaml", *words))
