"""A file beside the regularizers that defines REGULARIZER is a level, and concerns nobody else."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hydra.errors import MissingConfigException

import dreg_sweep
from dreg_sweep import mistakes
from dreg_sweep.errors import UserError
from dreg_sweep.regularizers import REGULARIZERS, Regularizer, discover, get_regularizer, registry

LENGTH = """
from dreg_sweep.regularizers import Regularizer

def length(trace, *, power: int = 1):
    return trace.logits.norm(dim=2).pow(power).mean(1)

REGULARIZER = Regularizer(penalty=length, classes=True)
"""


@pytest.fixture
def discovered(tmp_path, monkeypatch):
    """A package of regularizers with these files, looked at: name → text."""
    monkeypatch.setattr(registry, "_UNUSABLE", {})
    monkeypatch.setattr(registry, "REGULARIZERS", dict(REGULARIZERS))
    monkeypatch.syspath_prepend(str(tmp_path))

    def look(**files):
        package = tmp_path / "methods"
        package.mkdir()
        for name, text in {"__init__": "", **files}.items():
            (package / f"{name}.py").write_text(text)
        discover("methods", [str(package)])
        return registry.REGULARIZERS

    yield look
    for name in [name for name in sys.modules if name.partition(".")[0] == "methods"]:
        del sys.modules[name]


def test_no_file_of_the_package_is_unusable():
    assert registry._UNUSABLE == {}


def test_a_file_adds_the_level_of_its_name(discovered):
    found = discovered(length=LENGTH, helpers="def helper():\n    pass\n")
    assert set(found) - set(REGULARIZERS) == {"length"}
    assert {name: found[name] for name in REGULARIZERS} == REGULARIZERS
    method = get_regularizer("length", 0.5, {"power": 2})
    assert method.classes
    assert method.options == {"power": 2}
    with pytest.raises(UserError, match=r"regularizer.size is not an option of length; its options: power"):
        get_regularizer("length", 0.5, {"size": 2})


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("def f(:\n", "methods/mine.py cannot be imported (SyntaxError: invalid syntax"),
        (
            "import nonesuch\n",
            "methods/mine.py cannot be imported (ModuleNotFoundError: No module named 'nonesuch')",
        ),
        ("raise RuntimeError\n", "methods/mine.py cannot be imported (RuntimeError: )"),
        ("REGULARIZER = len\n", "REGULARIZER in methods/mine.py must be a Regularizer(…) with one of penalty,"),
        (
            "from dreg_sweep.regularizers import Regularizer\nREGULARIZER = Regularizer()\n",
            "REGULARIZER in methods/mine.py must be a Regularizer(…) with one of penalty,",
        ),
        (
            "from dreg_sweep.regularizers import Regularizer\nREGULARIZER = Regularizer(penalty=len, decay=len)\n",
            "methods/mine.py cannot be imported (ValueError: a Regularizer(…) has one of penalty, decay,",
        ),
    ],
)
def test_a_file_that_cannot_be_used_stops_those_who_ask_for_it(text, mistake, discovered):
    assert set(discovered(mine=text, length=LENGTH)) - set(REGULARIZERS) == {"length"}
    for key in ("regularizer", "always.mine", "regularizer.also.mine"):
        with pytest.raises(UserError) as caught:
            get_regularizer("mine", 0.1, {}, key)
        (line,) = str(caught.value).splitlines()
        assert line.startswith(f"{key.removesuffix('.mine')}=mine cannot be used: {mistake}")
    assert get_regularizer("dreg", 0.1, {}).function is REGULARIZERS["dreg"].function


OPTIONS = """
from typing import TYPE_CHECKING, Literal
from dreg_sweep.regularizers import Regularizer

if TYPE_CHECKING:
    from nowhere import Trace

def mine(trace: "Trace", *, n: int = 1, power: float = 1.0, root: bool = False, of: str = "all",
         side: Literal["left", 2] = 2):
    return trace.logits.norm(dim=2).mean(1)

REGULARIZER = Regularizer(penalty=mine)
"""


@pytest.mark.parametrize("future", ["", "from __future__ import annotations\n"])
def test_options_are_of_the_type_of_their_annotation(future, discovered):
    discovered(mine=future + OPTIONS)
    for fit in (
        {"n": 2},
        {"power": 2},
        {"power": 0.5},
        {"root": True},
        {"of": "a"},
        {"side": "left"},
        {"side": 2},
    ):
        assert get_regularizer("mine", 0.5, fit).options == fit
    for option, value, needs in [
        ("n", 1.5, "must be a whole number of at least 1"),
        ("n", True, "must be a whole number of at least 1"),
        ("power", "abc", "must be a number"),
        ("power", True, "must be a number"),
        ("power", None, "must be a number"),
        ("root", 3, "must be true or false"),
        ("of", 3, "must be a text"),
        ("side", "right", "is unknown; choose one of: left, 2"),
        ("side", 2.0, "is unknown; choose one of: left, 2"),
        ("side", [2], "is unknown; choose one of: left, 2"),
    ]:
        with pytest.raises(UserError) as caught:
            get_regularizer("mine", 0.5, {option: value})
        assert str(caught.value) == f"regularizer.{option}={value} {needs}"


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        ("", "no annotation"),
        (": list[int]", "the annotation list[int]"),
        (": 'int | None'", "the annotation int | None"),
        (": 'nowhere.Kind'", "the annotation nowhere.Kind"),
    ],
)
def test_an_option_of_an_unknown_type_is_told_to_who_asks_for_the_level(annotation, words, discovered):
    found = discovered(mine=LENGTH.replace(": int = 1", f"{annotation} = 1"), length=LENGTH)
    assert {"mine", "length"} < set(found)
    for options in ({}, {"power": 2}):
        with pytest.raises(UserError) as caught:
            get_regularizer("mine", 0.1, options)
        assert str(caught.value) == (
            f"regularizer=mine cannot be used: its option power has {words}, and must have one of: "
            "int, float, bool, str, Literal[…]"
        )
    get_regularizer("length", 0.1, {"power": 2})


def test_a_file_does_not_replace_a_level(discovered):
    assert discovered(igpen=LENGTH)["igpen"] == REGULARIZERS["igpen"]
    with pytest.raises(UserError, match=r"methods/igpen.py has the name of a level that is there already"):
        get_regularizer("igpen", 0.1, {})


def test_a_helper_with_the_name_of_a_level_switches_nothing_off(discovered):
    helper = "raise RuntimeError\nfrom dreg_sweep.regularizers import REGULARIZERS\n"
    assert discovered(dropout=helper) == REGULARIZERS
    assert get_regularizer("dropout", 0.5, {}).mask is REGULARIZERS["dropout"].mask


def test_a_level_without_a_function_is_told_where_it_belongs():
    with pytest.raises(UserError) as caught:
        get_regularizer("mine", 0.1, {})
    assert str(caught.value).startswith("regularizer=mine is unknown; choose one of: confidence_penalty, ")
    assert str(caught.value).endswith("dreg_sweep/regularizers/mine.py with a REGULARIZER would add it")
    with pytest.raises(UserError, match=r"^always=mine is unknown; choose one of: [\w, ]+$"):
        get_regularizer("mine", 0.1, {}, "always.mine")


def test_a_function_without_a_file_in_conf_is_told_what_it_lacks(tmp_path, monkeypatch):
    (tmp_path / "regularizers").mkdir()
    (tmp_path / "regularizers" / "length.py").write_text(LENGTH)
    (tmp_path / "regularizers" / "weights.py").write_text("def half(weight): ...")
    monkeypatch.setattr(mistakes, "__file__", str(tmp_path / "mistakes.py"))
    said = {
        name: mistakes.composition_mistake(MissingConfigException("", f"regularizer/{name}", ["none", "dreg"]))
        for name in ("length", "weights")
    }
    refusal = "is unknown; choose one of: dreg, none"
    lacks = "; dreg_sweep/regularizers/length.py lacks its conf/regularizer/length.yaml"
    assert said["length"] == f"regularizer=length {refusal}{lacks}"
    assert said["weights"] == f"regularizer=weights {refusal}"


@pytest.fixture
def copied(tmp_path):
    """What a script prints in a copy of the package that has the regularizer `length`."""
    source = Path(dreg_sweep.__file__).parent
    shutil.copytree(source, tmp_path / "dreg_sweep", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "dreg_sweep" / "regularizers" / "length.py").write_text(LENGTH)

    def output(code, **files):
        for name, text in files.items():
            (tmp_path / "dreg_sweep" / "regularizers" / f"{name}.py").write_text(text)
        command = [sys.executable, "-c", code]
        return subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=True
        ).stdout

    return output


@pytest.mark.parametrize(
    "first",
    [
        "dreg_sweep.regularizers.length",
        "dreg_sweep.regularizers.registry",
        "dreg_sweep.stack",
        "dreg_sweep.models",
    ],
)
def test_the_order_of_imports_does_not_matter(first, copied):
    code = (
        f"import {first}\nfrom dreg_sweep.regularizers import REGULARIZERS, length, registry\n"
        "print(REGULARIZERS['length'] is length.REGULARIZER, registry._UNUSABLE)"
    )
    assert copied(code) == "True {}\n"


def test_a_helper_takes_no_functions_place_in_the_package(copied):
    code = "from dreg_sweep.stack import spectral_norm\nprint(spectral_norm.__module__)"
    assert copied(code, spectral_norm="HALF = 0.5\n") == "dreg_sweep.regularizers.weights\n"


def test_the_penalty_of_a_discovered_level_is_the_functions_own(discovered):
    method = discovered(length=LENGTH)["length"]
    assert isinstance(method, Regularizer)
    assert method.function is not None
    trace = type("Trace", (), {"logits": torch.tensor([[[3.0, 4.0], [0.0, 1.0]]])})
    assert method.function(trace).tolist() == [3.0]
