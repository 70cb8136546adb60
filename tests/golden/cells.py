"""The golden cells: together they run through every level of every factor that has a version, and every option."""

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dreg_sweep.activations import ACTIVATIONS
from dreg_sweep.cells import Cell
from dreg_sweep.compose import compose_grid
from tests.composing import loader_and_master

_BASE = ("steps=2", "batch_size=16", "train_size=64", "model.widths=[8,6]")
_IMAGES = ("dataset=arrays", "steps=2", "batch_size=8", "train_size=24")
_LENET = ("model.channels=[2,3]", "model.widths=[6,5]", "model.kernel=3", "model.padding=1")
_FUNCTION = ("dataset=sine", "dataset.options.n_pool=100", "dataset.options.n_grid=31", "noise=none")
_TOY = (
    "dataset=toy_text",
    "dataset.options.n_train=200",
    "dataset.options.n_test=60",
    "dataset.options.n_components=8",
)

_OF_IMAGES = {
    "lenet": ("model=lenet", *_LENET),
    "lenet gelu dreg": ("model=lenet", *_LENET, "activation=gelu", "regularizer=dreg"),
    "lenet dreg mean": ("model=lenet", *_LENET, "activation=tanh", "regularizer=dreg", "regularizer.positions=mean"),
    "lenet dropout": ("model=lenet", *_LENET, "activation=silu", "regularizer=dropout"),
    "lenet spectral_norm": ("model=lenet", *_LENET, "activation=gelu", "regularizer=spectral_norm"),
    "lenet crop_flip": ("model=lenet", *_LENET, "activation=gelu", "augmentation=crop_flip"),
    "lenet_tuned": ("model=lenet_tuned", *_LENET, "activation=gelu"),
    "lenet_tuned igpen": ("model=lenet_tuned", *_LENET, "activation=tanh", "regularizer=igpen"),
    "resnet": ("model=resnet", "model.widths=[4,6]", "model.blocks=1", "activation=gelu"),
    "resnet crop_flip sgd": (
        "model=resnet", "model.widths=[4,6]", "model.blocks=1", "augmentation=crop_flip", "optimizer=sgd"
    ),
    "resnet jacreg": ("model=resnet", "model.widths=[4,6]", "model.blocks=1", "activation=silu", "regularizer=jacreg"),
}  # fmt: skip
_ACTIVATIONS = ("relu", *(name for name in ACTIVATIONS if name != "relu"))
_OTHERS = {
    **{name: (f"activation={name}",) for name in _ACTIVATIONS},
    **{f"{name} dreg": (f"activation={name}", "regularizer=dreg") for name in _ACTIVATIONS},
    **{f"{name} igpen": (f"activation={name}", "regularizer=igpen") for name in _ACTIVATIONS[1:]},
    **{
        f"{name} {method}": (f"activation={name}", f"regularizer={method}")
        for name, methods in {
            "relu": ("weight_decay", "onehot", "frobreg", "weight_decay_l2"),
            "gelu": ("dropout", "double_backprop", "jacreg", "confidence_penalty"),
            "silu": ("spectral_norm", "spectreg", "random_onehot"),
            "tanh": ("spectral_penalty", "weight_decay", "dropout", "spectreg"),
        }.items()
        for method in methods
    },
    "dreg cumulative": ("activation=gelu", "regularizer=dreg", "regularizer.form=cumulative"),
    "dreg mean": ("activation=silu", "regularizer=dreg", "regularizer.reduction=mean"),
    "dreg all layers": ("activation=tanh", "regularizer=dreg", "regularizer.layers=all"),
    "dreg cumulative all": (
        "activation=tanh", "regularizer=dreg", "regularizer.form=cumulative", "regularizer.layers=all"
    ),
    "spectreg sample": ("activation=tanh", "regularizer=spectreg", "regularizer.directions=sample"),
    "spectreg projections": ("activation=gelu", "regularizer=spectreg", "regularizer.projections=2"),
    "spectral_norm iterations": (
        "activation=gelu", "regularizer=spectral_norm", "regularizer.n_power_iterations=3", "regularizer.strength=0.9"
    ),
    "double_backprop also": ("activation=tanh", "regularizer=double_backprop+confidence_penalty"),
    "always": ("activation=gelu", "regularizer=igpen", "+always.dropout=0.3", "+always.weight_decay_l2=0.01"),
    "sgd": ("optimizer=sgd",),
    "sgd gelu": ("optimizer=sgd", "activation=gelu"),
    "sgd weight_decay": ("optimizer=sgd", "activation=silu", "regularizer=weight_decay"),
    "constant": ("schedule=constant",),
    "constant sgd": ("schedule=constant", "optimizer=sgd", "activation=tanh"),
    "piecewise": ("schedule=piecewise", "schedule.milestones=[0.5]", "schedule.factors=[0.1]"),
    "piecewise gelu": (
        "schedule=piecewise", "schedule.milestones=[0.5]", "schedule.factors=[0.1]", "activation=gelu"
    ),
    "no noise": ("noise=none",),
    "validation": ("evaluate_on=validation", "seed=1"),
    "two epochs": ("steps=null", "epochs=2", "train_size=40", "activation=gelu", "seed=2"),
    "deep": ("model.widths=[7,6,5]", "activation=gelu", "regularizer=dreg", "seed=1"),
    "function": (*_FUNCTION, "activation=tanh"),
    "function double_backprop": (*_FUNCTION, "activation=gelu", "regularizer=double_backprop"),
    "function of two": (
        "dataset=squared_norm", "dataset.options.n_pool=100", "dataset.options.n_grid=7", "noise=none",
        "activation=gelu",
    ),
    "texts": (*_TOY,),
    "texts gelu igpen": (*_TOY, "activation=gelu", "regularizer=igpen"),
}  # fmt: skip


@functools.cache
def golden_cells(folder: Path) -> dict[str, Cell]:
    """Name → cell. folder: takes the images that some of them train on."""
    images = folder / "images.npz"
    np.savez(images, **_images())
    jobs = {name: [f"dataset.path={images}", *_IMAGES, *added] for name, added in _OF_IMAGES.items()}
    jobs |= {name: _last_of_each([*_BASE, *added]) for name, added in _OTHERS.items()}
    loader, master = loader_and_master()
    grid = compose_grid(loader, master, list(jobs.values()))
    return dict(zip(jobs, grid.cells, strict=True))


def _last_of_each(overrides: Sequence[str]) -> list[str]:
    """A later override of a key replaces an earlier one."""
    return [f"{key}={value}" for key, value in dict(text.split("=", 1) for text in overrides).items()]


def _images() -> dict[str, np.ndarray]:
    """Coloured images of four classes, brighter in another corner each."""
    rng = np.random.default_rng(7)
    found: dict[str, np.ndarray] = {}
    for part, n in (("train", 60), ("test", 40)):
        labels = np.arange(n) % 4
        images = rng.integers(0, 160, (n, 8, 8, 3))
        for image, label in zip(images, labels, strict=True):
            image[4 * (label // 2) :][:4, 4 * (label % 2) :][:, :4] += 90
        found |= {f"x_{part}": images.astype(np.uint8), f"y_{part}": labels}
    return found
