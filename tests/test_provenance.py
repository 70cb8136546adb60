"""The code fingerprint: changes with what decides a cell's numbers, and with nothing else."""

import ast
import shutil
from pathlib import Path

import pytest

from dreg_sweep import provenance

PACKAGE = Path(provenance.__file__).parent


@pytest.fixture
def fingerprint(tmp_path, monkeypatch):
    """The fingerprint of (activation, methods, model) after an edit of a copy of the package."""
    copy = tmp_path / "dreg_sweep"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(provenance, "_PACKAGE", copy)

    def after(module="train.py", old="", new="", cell=("relu", ("dreg",), "mlp")):
        text = (copy / module).read_text()
        assert old in text
        (copy / module).write_text(text.replace(old, new, 1) if old else text)
        forget()
        return provenance.code_fingerprint(*cell)

    def forget():
        for function in vars(provenance).values():
            if hasattr(function, "cache_clear"):
                function.cache_clear()

    yield after
    forget()


def test_comments_and_docstrings_do_not_count(fingerprint):
    before = fingerprint()
    assert (
        fingerprint("regularizers/layer_jacobians.py", '"""Layer-wise Jacobian penalty', '"""A Jacobian penalty')
        == before
    )
    assert fingerprint("train.py", "\n\n", "\n\n# A remark.\n\n\n") == before


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("regularizers/layer_jacobians.py", "torch.stack(terms).sum(0)", "torch.stack(terms).mean(0)"),  # its own
        ("regularizers/layer_jacobians.py", "layer.jacobian_norm for", "2 * layer.jacobian_norm for"),
        ("activations.py", "return torch.relu(z)", "return torch.relu(z) + 1"),
        ("models/mlp.py", "torch.addcmul(", "torch.addcmul_("),  # reached from another module
        ("models/products.py", "gradient.sum(1)", "gradient.mean(1)"),
        ("models/trace.py", "weight.flatten(2).mT", "weight.flatten(2)"),
        ("data/split.py", "CHUNK = 1024", "CHUNK = 512"),
        ("streams.py", '"penalty", *paired', '"penalties", *paired'),
    ],
)
def test_what_decides_the_numbers_counts(fingerprint, module, old, new):
    assert fingerprint() != fingerprint(module, old, new)


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        (
            "regularizers/input_gradients.py",
            "return _penalty(trace, of_logits",
            "return 2 * _penalty(trace, of_logits",
        ),
        ("models/lenet.py", "max_pool2d", "avg_pool2d"),
        ("augment.py", "self.pad", "2 * self.pad"),
        ("regularizers/registry.py", '"dreg": Regularizer', '"mine": Regularizer(),\n    "dreg": Regularizer'),
        ("activations.py", "return torch.tanh(z)", "return torch.tanh(2 * z)"),
        ("status.py", "_NAMED_AT_MOST = 10", "_NAMED_AT_MOST = 11"),
    ],
)
def test_other_levels_and_other_code_do_not_count(fingerprint, module, old, new):
    assert fingerprint() == fingerprint(module, old, new)


OWN = ("relu", ("mine",), "mlp")
MINE = (
    "from dreg_sweep.regularizers import Regularizer\n{imported}\nREGULARIZER = Regularizer(penalty={function})\n"
)


def with_own_file(tmp_path, text):
    (tmp_path / "dreg_sweep" / "regularizers" / "mine.py").write_text(text)


def test_a_level_in_a_file_of_its_own_is_that_file_and_nothing_elses(fingerprint, tmp_path):
    others, without, source = fingerprint(), fingerprint(cell=OWN), provenance.source_digest()
    text = MINE.format(imported="def mine(trace):\n    return trace.losses.mean(1)\n", function="mine")
    with_own_file(tmp_path, text)
    own = fingerprint(cell=OWN)
    assert own not in (without, others)
    assert fingerprint() == others
    assert provenance.source_digest() != source
    assert fingerprint("regularizers/mine.py", "def mine", "# A remark.\ndef mine", cell=OWN) == own
    for old, new in [("mean(1)", "sum(1)"), ("penalty=mine", "penalty=mine, input_gradient=True")]:
        changed = fingerprint("regularizers/mine.py", old, new, cell=OWN)
        assert changed != own
        own = changed
    assert fingerprint() == others


@pytest.mark.parametrize(
    ("imported", "function"),
    [
        ("from dreg_sweep.regularizers.layer_jacobians import dreg", "dreg"),
        ("from dreg_sweep.regularizers.layer_jacobians import dreg as other", "other"),
        ("from dreg_sweep.regularizers import layer_jacobians", "layer_jacobians.dreg"),
        ("import dreg_sweep.regularizers.layer_jacobians as other", "other.dreg"),
        ("from .layer_jacobians import dreg", "dreg"),
        ("from . import layer_jacobians", "layer_jacobians.dreg"),
        ("from ..regularizers.layer_jacobians import dreg", "dreg"),
    ],
)
def test_what_a_file_of_its_own_imports_counts_too(imported, function, fingerprint, tmp_path):
    with_own_file(tmp_path, MINE.format(imported=imported, function=function))
    before = fingerprint(cell=OWN)
    assert fingerprint("regularizers/outputs.py", "mean(1)", "sum(1)", cell=OWN) == before
    assert (
        fingerprint("regularizers/layer_jacobians.py", "stack(terms).sum", "stack(terms).mean", cell=OWN) != before
    )


@pytest.mark.parametrize("text", ["def f(:\n", "x = 1\0", "from dreg_sweep.nonesuch import f\nf()\n"])
def test_a_file_that_cannot_be_read_is_no_level(text, fingerprint, tmp_path):
    """Before anything of it trains it is refused, with the reason."""
    without = fingerprint(cell=OWN)
    with_own_file(tmp_path, text)
    assert fingerprint(cell=OWN) == without


def test_the_digest_is_the_same_in_every_version_of_python():
    """Computed once, under Python 3.11; `ast.dump` alone would differ in 3.12 and 3.13."""
    source = "def f(x: int = 3, *, y=None) -> str:\n    return f'{x!r:>4}' + u'ä' if x else [*y, 1.5e-3]\n"
    assert provenance._digest(ast.parse(source)) == "e3f41fe11f2cba4a"


def test_levels_differ():
    found = {
        provenance.code_fingerprint(activation, methods, model, augmentation)
        for activation in ("relu", "tanh")
        for methods in (("none",), ("dreg",), ("igpen",), ("igpen", "dropout"))
        for model in ("mlp", "lenet", "resnet")
        for augmentation in ("none", "crop_flip")
    }
    assert len(found) == 2 * 4 * 3 * 2
