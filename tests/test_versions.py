"""Versions of the code: one for each level, named by rows; what a sweep says where a commit is not known."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from dreg_sweep import __version__, versions
from dreg_sweep.activations import ACTIVATIONS
from dreg_sweep.augment import AUGMENTATIONS
from dreg_sweep.cells import RegularizerSpec
from dreg_sweep.data import DatasetSpec
from dreg_sweep.launch.trial import own_file
from dreg_sweep.models.registry import MODELS
from dreg_sweep.optimizers import OPTIMIZERS
from dreg_sweep.precision import PRECISIONS
from dreg_sweep.regularizers import REGULARIZERS
from dreg_sweep.schedules import SCHEDULES
from dreg_sweep.versions import VERSIONS, changes, code_fingerprint
from tests.commands import cells, run
from tests.test_plan import cell

REGISTRIES = {
    "activation": ACTIVATIONS,
    "regularizer": [name for name in REGULARIZERS if own_file(name) is None],
    "model": MODELS,
    "augmentation": AUGMENTATIONS,
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "precision": PRECISIONS,
}


@pytest.fixture
def forget():
    """Functions that remember what they read forget it, before the test's own changes and after them."""
    for function in vars(versions).values():
        if hasattr(function, "cache_clear"):
            function.cache_clear()
    yield
    for function in vars(versions).values():
        if hasattr(function, "cache_clear"):
            function.cache_clear()


@pytest.mark.parametrize("factor", REGISTRIES)
def test_every_level_of_every_registry_has_a_version(factor):
    assert set(VERSIONS[factor]) == set(REGISTRIES[factor])
    assert all(type(number) is int and number >= 1 for number in VERSIONS[factor].values())


def test_every_factor_of_versions_is_tested():
    assert set(VERSIONS) == {*REGISTRIES, "data"}


def test_a_fingerprint_names_the_parts_that_a_cell_runs_through():
    text = code_fingerprint(cell("gelu", "dreg"))
    assert text == (
        f"engine={versions.ENGINE} activation.gelu={VERSIONS['activation']['gelu']} "
        f"regularizer.dreg={VERSIONS['regularizer']['dreg']} model.mlp={VERSIONS['model']['mlp']} "
        f"augmentation.none={VERSIONS['augmentation']['none']} optimizer.adamw={VERSIONS['optimizer']['adamw']} "
        f"schedule.constant={VERSIONS['schedule']['constant']} precision.float32="
        f"{VERSIONS['precision']['float32']} data.arrays={VERSIONS['data']['arrays']}"
    )


def test_a_level_of_several_methods_names_each():
    combined = replace(
        cell(),
        regularizer=RegularizerSpec(
            "igpen", 1.0, {}, (RegularizerSpec("dropout", 0.5, {}),), (RegularizerSpec("weight_decay", 0.1, {}),)
        ),
    )
    names = re.findall(r"regularizer\.(\w+)=", code_fingerprint(combined))
    assert names == ["dropout", "igpen", "weight_decay"]


@pytest.mark.parametrize(
    ("source", "modality", "kind"),
    [
        ("digits", "vision", "arrays"),
        ("arrays", "tabular", "arrays"),
        ("toy_text", "text", "texts"),
        ("text_table", "text", "texts"),
        ("function", "tabular", "functions"),
    ],
)
def test_the_kind_of_data_follows_from_the_dataset(source, modality, kind):
    of = replace(cell(), dataset=DatasetSpec(source, source, modality, "clean"))
    assert f"data.{kind}={VERSIONS['data'][kind]}" in code_fingerprint(of).split()


@pytest.mark.parametrize("factor", ["activation", "regularizer", "model", "optimizer"])
def test_a_raised_version_concerns_the_cells_of_that_level_alone(factor, monkeypatch, forget):
    level = {"activation": "gelu", "regularizer": "dreg", "model": "mlp", "optimizer": "adamw"}[factor]
    of_level, other = (
        cell("gelu", "dreg"),
        replace(cell("relu", "igpen"), model=replace(cell().model, name="lenet")),
    )
    other = replace(other, recipe=replace(other.recipe, optimizer=replace(other.recipe.optimizer, name="sgd")))
    before = {of.key: code_fingerprint(of) for of in (of_level, other)}
    number = VERSIONS[factor][level]
    monkeypatch.setitem(VERSIONS[factor], level, number + 1)
    versions._text.cache_clear()
    said = changes(before[of_level.key], code_fingerprint(of_level))
    assert said == [f"{factor}.{level} {number} → {number + 1}"]
    assert code_fingerprint(other) == before[other.key]


def test_what_only_one_side_names_differs_from_nothing():
    now = "engine=2 activation.relu=1 optimizer.sgd=4"
    assert changes("engine=1 activation.relu=1", now) == ["engine 1 → 2"]
    assert changes("0123456789abcdef", now) == []  # rows of before
    assert changes(None, now) == changes(now, None) == changes(now, now) == []


def test_a_method_in_a_file_of_its_own_has_the_digest_of_the_file(monkeypatch, tmp_path, forget):
    monkeypatch.setattr(versions, "_REGULARIZERS", tmp_path)
    without = code_fingerprint(cell(regularizer="mine"))
    assert "regularizer.mine=0" in without.split()
    (tmp_path / "mine.py").write_text("# one\n")
    versions._text.cache_clear()
    one = code_fingerprint(cell(regularizer="mine"))
    (digest,) = re.findall(r"regularizer\.mine=([0-9a-f]{12})\b", one)
    (tmp_path / "mine.py").write_text("# other\n")
    versions._text.cache_clear()
    (change,) = changes(one, code_fingerprint(cell(regularizer="mine")))
    assert change.startswith(f"regularizer.mine {digest} → ")


def test_the_digest_of_the_source_is_of_what_trains(monkeypatch, tmp_path):
    copy = tmp_path / "dreg_sweep"
    shutil.copytree(Path(versions.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(versions, "_PACKAGE", copy)
    before = versions.source_digest()
    (copy / "analysis" / "study.py").write_text("")
    assert versions.source_digest() == before
    (copy / "regularizers" / "mine.py").write_text("")
    assert versions.source_digest() != before


@pytest.mark.parametrize(("checkout", "version"), [(False, __version__), (True, f"{__version__}+unknown")])
def test_a_checkout_whose_commit_is_not_known_says_so(checkout, version, monkeypatch, tmp_path, forget):
    """A folder .git that holds nothing is no repository; without one it is an installed wheel."""
    monkeypatch.setattr(versions, "_PACKAGE", tmp_path / "dreg_sweep")
    if checkout:
        (tmp_path / ".git").mkdir()
    assert versions.code_version() == version
    reason = versions.why_unknown()
    assert (reason is not None) == checkout
    if reason:
        assert "git" in reason
        assert len(reason.splitlines()) == 1


def test_without_git_the_commit_is_not_known(monkeypatch, tmp_path, forget):
    monkeypatch.setattr(versions, "_PACKAGE", tmp_path / "dreg_sweep")
    (tmp_path / ".git").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert versions.code_version() == f"{__version__}+unknown"
    assert "git is not installed" in versions.why_unknown()


@pytest.mark.skipif(
    versions.code_version() == __version__ or versions.why_unknown() is not None, reason="needs a git checkout"
)
def test_a_sweep_that_git_refuses_warns_once_and_its_rows_say_unknown(tmp_path):
    command = ("dreg-sweep", "-m", "seed=0,1", "train_size=50", "epochs=1", "results_dir=r")
    refused = run(*command, cwd=tmp_path, GIT_TEST_ASSUME_DIFFERENT_OWNER="1")
    assert refused.returncode == 0
    assert refused.stderr.count("warning: ") == 1
    assert "dubious ownership" in refused.stderr
    assert set(cells(tmp_path / "r")["code_version"]) == {f"{__version__}+unknown"}
    known = run(*command, "seed=0,1,2", cwd=tmp_path)
    assert "warning" not in known.stderr
    assert f"{__version__}+g" in cells(tmp_path / "r")["code_version"].iloc[-1]
