"""One identity for a cell: levels in one spelling, typed numbers as the ones they replace, a factor in one line."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dreg_sweep.factors import FACTORS, key_of_before, level_text, like
from dreg_sweep.flat import flat
from tests.commands import cells, run

REPOSITORY = Path(__file__).parent.parent
NUMBERS = st.one_of(st.integers(-(10**9), 10**9), st.floats(allow_nan=False, allow_infinity=False))


def spellings(number):
    """Ways of writing one number on a command line."""
    ways = [repr(number), f"{float(number):.17g}", f"{float(number):.17e}"]
    return [way for way in ways if float(way) == number]


@given(NUMBERS)
@settings(deadline=None, max_examples=300)
def test_a_number_has_one_text_however_it_is_written(number):
    texts = {level_text(int(way) if way.lstrip("-").isdigit() else float(way)) for way in spellings(number)}
    assert len(texts) == 1
    (text,) = texts
    assert float(text) == number
    assert key_of_before(f"mnist/relu/dreg/s0/strength={text}") == f"mnist/relu/dreg/s0/strength={text}"
    for way in spellings(number):
        assert key_of_before(f"mnist/relu/dreg/s0/strength={way}/x=a") == f"mnist/relu/dreg/s0/strength={text}/x=a"


@given(
    st.one_of(NUMBERS, st.lists(NUMBERS, max_size=3)), st.one_of(st.none(), NUMBERS, st.lists(NUMBERS, max_size=3))
)
@settings(deadline=None, max_examples=300)
def test_a_typed_value_keeps_its_value_and_takes_the_type_of_the_one_it_replaces(value, before):
    typed = like(value, before)
    assert typed == value
    assert like(typed, before) == typed
    if isinstance(before, float) and not isinstance(value, list):
        assert isinstance(typed, float)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"), (None, "null"), (1, "1"), (1.0, "1"), (1e-4, "0.0001"), (0.1, "0.1"), (1e16, "1e+16"),
        ([64, 64.0], "[64,64]"), ("gelu", "gelu"), (-0.5, "-0.5"),
    ],
)  # fmt: skip
def test_texts_of_levels(value, text):
    assert level_text(value) == text


@pytest.mark.parametrize(
    ("axis", "spelled", "other"),
    [
        ("regularizer.strength", ["1", "1.0", "1e0"], "0.5"),
        ("optimizer.lr", ["1", "1.0"], "0.01"),
        ("train_size", ["64", "64.0", "6.4e1"], "80"),
        ("model.widths", ["[8,8]", "[8.0,8]"], "[4]"),
        ("seed", ["1", "1.0"], "0"),
    ],
)
def test_two_commands_that_spell_a_level_differently_train_one_cell(axis, spelled, other, tmp_path):
    sets = {"regularizer": "dreg", "train_size": "64", "steps": "1", "noise": "none", "model.widths": "[4]"}
    sets.pop(axis, None)
    common = [f"{key}={value}" for key, value in sets.items()]
    keys = set()
    for spelling in spelled:
        done = run("dreg-sweep", "-m", f"{axis}={spelling},{other}", *common, "results_dir=r", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        keys.add(tuple(cells(tmp_path / "r").index))
    assert len(keys) == 1
    rows = pd.read_parquet(tmp_path / "r" / "cells")
    assert len(rows) == 2
    assert rows["config_hash"].is_unique
    assert "0 to train" in done.stderr


def test_a_row_says_whether_its_strength_and_options_are_the_default(tmp_path):
    axes = ("regularizer.strength=0.0031622776601683794,1", "regularizer.reduction=sum,mean")
    done = run(
        "dreg-sweep", "-m", "regularizer=dreg", *axes, "train_size=64", "steps=1", "noise=none",
        "results_dir=r", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = cells(tmp_path / "r").reset_index(drop=True)
    told = {
        (row.strength == 1, json.loads(row.options)["reduction"]): (row.strength_is_default, row.options_changed)
        for row in rows.itertuples()
    }
    assert told == {
        (False, "sum"): (True, "[]"),
        (False, "mean"): (True, '["reduction"]'),
        (True, "sum"): (False, "[]"),
        (True, "mean"): (False, '["reduction"]'),
    }


def test_a_further_factor_costs_one_line(tmp_path):
    """A copy of the package with one line more: its sweep, its status and its rows have the factor."""
    package = tmp_path / "code"
    skipped = shutil.ignore_patterns("__pycache__")
    for part in ("dreg_sweep", "hydra_plugins", "conf"):
        shutil.copytree(REPOSITORY / part, package / part, ignore=skipped)
    factors = package / "dreg_sweep" / "factors.py"
    line = '    Factor("schedule", str, lambda cell: cell.recipe.schedule.name),\n'
    text = factors.read_text(encoding="utf-8")
    last = '    Factor("train_size",'
    assert text.count(last) == 1
    factors.write_text(text.replace(last, line + last), encoding="utf-8")

    def command(name, *arguments):
        script = f"import sys; from dreg_sweep.cli import {name}; sys.argv[0] = 'dreg-{name}'; {name}()"
        return subprocess.run(
            [sys.executable, "-c", script, *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(package)},
            capture_output=True,
            text=True,
            check=False,
        )

    asked = ["-m", "schedule=constant,cosine", "seed=0,1", "train_size=64", "steps=1", "noise=none"]
    swept = command("sweep", *asked, "results_dir=r")
    assert swept.returncode == 0, swept.stderr
    rows = cells(tmp_path / "r")
    assert rows["schedule"].value_counts().to_dict() == {"constant": 2, "cosine": 2}
    assert "digits/relu/none/s0/schedule=constant/train_size=64" in rows.index
    report = json.loads(command("status", "r", "--json").stdout)
    assert {level: states["done"] for level, states in report["factors"]["schedule"].items()} == {
        "constant": 2,
        "cosine": 2,
    }
    assert "schedule" not in [factor.name for factor in FACTORS]


def test_a_nested_configuration_as_dotted_keys():
    nested = {"seed": 1, "optimizer": {"lr": 0.1, "options": {"betas": [0.9, 0.99]}}, "noise": {}}
    assert flat(nested) == {"seed": 1, "optimizer.lr": 0.1, "optimizer.options.betas": [0.9, 0.99]}
    assert flat(flat(nested)) == flat(nested)
    assert flat(nested, depth=1) == {"seed": 1, "optimizer.lr": 0.1, "optimizer.options": {"betas": [0.9, 0.99]}}
    assert flat(nested, depth=0) == nested
