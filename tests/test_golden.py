"""The golden rows agree with the code, and tell which part's version is to be raised where they do not."""

import functools
import json
from dataclasses import replace
from typing import Any

import pytest

from dreg_sweep import schedules
from dreg_sweep.activations import ACTIVATIONS
from dreg_sweep.models.mlp import MLP
from dreg_sweep.regularizers import REGULARIZERS
from dreg_sweep.versions import VERSIONS
from tests.golden import rows
from tests.golden.cells import golden_cells
from tests.golden.rows import Golden, compute, stored, suspects, this_environment, unannounced, without_numbers

NEEDS_A_GPU = {"precision.tf32", "precision.bf16"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("golden")


@pytest.fixture(scope="module")
def now(folder, single_thread):
    """The numbers of the golden cells here and now."""
    return compute(golden_cells(folder), folder)


def test_numbers_change_with_a_version_only(now):
    assert unannounced(now, this_environment(), stored()) == []
    assert without_numbers(now, stored()) == []


def test_every_level_that_has_a_version_has_a_golden_cell(now):
    run_through = {part.partition("=")[0] for one in now.values() for part in one.code.split()}
    assert (
        run_through
        == {
            "engine",
            *(f"{factor}.{level}" for factor, levels in VERSIONS.items() for level in levels),
        }
        - NEEDS_A_GPU
    )


def _steeper(monkeypatch, scale):
    gelu: Any = ACTIVATIONS["gelu"]
    monkeypatch.setitem(ACTIVATIONS, "gelu", replace(gelu, function=lambda z: scale * gelu.function(z)))


def _stronger(monkeypatch, scale):
    dreg: Any = REGULARIZERS["dreg"]

    @functools.wraps(dreg.penalty)  # its options are read from its signature
    def stronger(trace, **options):
        return scale * dreg.penalty(trace, **options)

    monkeypatch.setitem(REGULARIZERS, "dreg", replace(dreg, penalty=stronger))


def _faster(monkeypatch, scale):
    cosine = schedules.SCHEDULES["cosine"]()
    monkeypatch.setitem(schedules.SCHEDULES, "cosine", lambda: lambda step, steps: scale * cosine(step, steps))


def _wider(monkeypatch, scale):
    start = MLP.initial
    monkeypatch.setattr(MLP, "initial", lambda *arguments: {k: v * scale for k, v in start(*arguments).items()})


PLANTED = {
    "activation.gelu": _steeper,
    "regularizer.dreg": _stronger,
    "schedule.cosine": _faster,
    "model.mlp": _wider,
}


@pytest.mark.parametrize("exactly", [True, False])
@pytest.mark.parametrize("part", PLANTED)
def test_a_planted_change_is_noticed_and_names_the_part(part, exactly, now, folder, monkeypatch, single_thread):
    """In the environment of the stored numbers by its last bits, elsewhere where it is larger than the bounds."""
    PLANTED[part](monkeypatch, 1 + 2**-20 if exactly else 1.1)
    names = [name for name, one in now.items() if part in one.code or name in ("relu", "lenet", "sgd", "constant")]
    cells = {name: cell for name, cell in golden_cells(folder).items() if name in names}
    here = this_environment()
    (line,) = unannounced(compute(cells, folder), here, {here if exactly else "elsewhere": now})
    assert line.startswith(f"the numbers of {part} have changed (")
    assert "dreg_sweep/versions.py" in line


def test_a_raised_version_asks_for_its_numbers(now):
    (name, one), *_ = now.items()
    raised = {**now, name: Golden(one.code.replace("relu=1", "relu=2"), {})}
    kept = {"anywhere": now}
    assert unannounced(raised, "anywhere", kept) == []
    (line,) = without_numbers(raised, kept)
    assert repr(name) in line


def codes(**cells):
    return {name: " ".join(f"{part}=1" for part in ("engine", *parts.split())) for name, parts in cells.items()}


def test_the_fewest_parts_that_explain_all_changes_are_named():
    base = codes(base="relu none mlp")
    assert suspects({}, base) == {}
    assert suspects(codes(a="gelu none mlp", b="gelu dreg mlp"), base) == {"gelu": ["a", "b"]}
    both = codes(a="gelu none mlp", b="relu dreg mlp")
    assert suspects(both, base) == {"gelu": ["a"], "dreg": ["b"]}
    assert suspects(codes(a="relu none mlp"), base) == {"engine": ["a"]}
    assert suspects(codes(a="relu none mlp", b="gelu dreg mlp"), {}) == {"engine": ["a", "b"]}


def test_numbers_are_stored_to_the_last_bit(tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "FOLDER", tmp_path)
    numbers = {"count": 3, "third": 1 / 3, "layers": [0.1, 5e-324], "huge": 1.7976931348623157e308}
    path = rows.write("torch 1, cpu", {"cell": Golden("engine=1", numbers)})
    assert json.loads(path.read_text())["cells"]["cell"]["numbers"]["third"] == (1 / 3).hex()
    assert stored() == {"torch 1, cpu": {"cell": Golden("engine=1", numbers)}}


@pytest.mark.parametrize(
    ("before", "now", "exactly", "differ"),
    [
        (1.0, 1.0 + 2**-52, True, True),
        (1.0, 1.0 + 2**-52, False, False),
        (1.0, 1.001, False, True),
        (30, 31, True, True),
        (30, 31, False, False),
        (30, 33, False, True),
        ([1.0, 2.0], [1.0], False, True),
        (1.0, None, False, True),
        (float("nan"), float("nan"), True, False),
        (0.0, 1e-12, False, False),
    ],
)
def test_what_counts_as_moved(before, now, exactly, differ):
    assert rows.moved({"x": before}, {"x": now}, exactly) == (["x"] if differ else [])
