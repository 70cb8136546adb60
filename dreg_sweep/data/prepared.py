"""A dataset in memory, checked, ready to be split: images or features (`ArrayData`), texts (`TextData`).

The third kind, points of a known function, is in `functions`.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from dreg_sweep.data.seeding import generator
from dreg_sweep.data.spec import EVALUATE_ON, DatasetSpec, TaskName
from dreg_sweep.data.stratify import Rows, draw, hold_out
from dreg_sweep.errors import UserError, unknown_level

VALIDATION_SHARE = 0.1  # of the training rows, where a set has no official validation split
PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Prepared(ABC):
    """What every dataset has.

    fingerprint: 16 hex digits of a sha256 over the content, whatever file it came from.
    targets: part ("train", "test", and "validation" where official) → what is to be predicted, one a row.
    """

    task: ClassVar[TaskName]

    spec: DatasetSpec
    fingerprint: str
    targets: Mapping[str, npt.NDArray[Any]]

    @property
    def n_train(self) -> int:
        """Official training rows."""
        return len(self.targets["train"])

    @property
    def n_test(self) -> int:
        return len(self.targets["test"])

    @property
    @abstractmethod
    def n_outputs(self) -> int:
        """Classes, or numbers in a target."""

    @property
    @abstractmethod
    def input_shape(self) -> tuple[int, ...]:
        """(C, H, W) of images, (D,) of everything else: the shape behind one row of a split."""

    @property
    @abstractmethod
    def least_rows(self) -> tuple[int, str]:
        """The smallest training size, and in words what it has room for."""

    @abstractmethod
    def _hold_out(self, rng: np.random.Generator) -> tuple[Rows, Rows]:
        """(kept, held out) official training rows, each ascending; about `VALIDATION_SHARE` are held out."""

    @abstractmethod
    def _draw(self, pool: Rows, size: int, rng: np.random.Generator) -> Rows:
        """`size` rows of the pool in random order."""

    @cached_property
    def _carved(self) -> tuple[Rows, Rows]:
        """(training pool, validation rows) where both must come from the official training rows."""
        return self._hold_out(generator("validation", self.spec.name))

    def pool(self, evaluate_on: str) -> Rows:
        """Training rows that a split may draw from, ascending; never official validation rows."""
        if evaluate_on == "test" or "validation" in self.targets:
            return np.arange(self.n_train)
        return self._carved[0]

    def eval_part(self, evaluate_on: str) -> tuple[str, Rows]:
        """The part, and its rows, that a model is evaluated on."""
        part = evaluate_on if evaluate_on in self.targets else "train"
        return part, self._carved[1] if part == "train" else np.arange(len(self.targets[part]))

    def check(self, train_size: int | None, evaluate_on: str) -> None:
        """`UserError` if no such split can be made."""
        if evaluate_on not in EVALUATE_ON:
            raise unknown_level("evaluate_on", evaluate_on, EVALUATE_ON)
        name, pool = self.spec.name, len(self.pool(evaluate_on))
        if len(self.eval_part(evaluate_on)[1]) == 0:
            raise UserError(
                f"evaluate_on={evaluate_on}: {name} has no class with two training rows to take one from; "
                "supply x_val and y_val, or evaluate on the test set"
            )
        if train_size is None:
            return
        if isinstance(train_size, bool) or not isinstance(train_size, int) or train_size < 1:
            raise UserError(f"train_size={train_size} must be a whole number above 0, or null for all rows")
        if train_size > pool:
            raise UserError(
                f"train_size={train_size} is more than the {pool} training rows of {name}; "
                f"choose at most {pool}, or null for all"
            )
        least, content = self.least_rows
        if train_size < least:
            raise UserError(f"train_size={train_size} is less than {content} of {name}; choose at least {least}")

    def train_rows(self, train_size: int | None, seed: int, evaluate_on: str) -> Rows:
        """Row numbers (into the official training rows) of one split; checks first.

        None: the whole pool in file order, the same for every seed. Otherwise a draw in random order that
        depends on (dataset name, train_size, seed) only, class-stratified where there are classes.
        """
        self.check(train_size, evaluate_on)
        pool = self.pool(evaluate_on)
        if train_size is None:
            return pool
        rng = generator("split", self.spec.name, train_size, seed)
        return self._draw(pool, train_size, rng)


@dataclass(frozen=True)
class LabelledData(Prepared):
    """Rows of K classes; targets: part → (n,) int64 in 0..K-1. Whatever draws rows is class-stratified."""

    task = "classification"

    @property
    def labels(self) -> Mapping[str, Rows]:
        """The targets by their everyday name."""
        return self.targets

    @cached_property
    def n_classes(self) -> int:
        return int(self.labels["train"].max()) + 1

    @property
    def n_outputs(self) -> int:
        return self.n_classes

    @property
    def least_rows(self) -> tuple[int, str]:
        return self.n_classes, f"one row for each of the {self.n_classes} classes"

    def _hold_out(self, rng: np.random.Generator) -> tuple[Rows, Rows]:
        return hold_out(self.labels["train"], VALIDATION_SHARE, rng)

    def _draw(self, pool: Rows, size: int, rng: np.random.Generator) -> Rows:
        return pool[draw(self.labels["train"][pool], size, rng)]


@dataclass(frozen=True)
class ArrayData(LabelledData):
    """Images or feature vectors.

    inputs: part → (n, H, W, C), uint8 or float32; feature vectors are 1×1 "images" of D channels, so that a
    channel is what standardization works on in both cases.
    """

    inputs: dict[str, npt.NDArray[np.generic]]
    is_image: bool

    @property
    def input_shape(self) -> tuple[int, ...]:
        _, height, width, channels = self.inputs["train"].shape
        return (channels, height, width) if self.is_image else (channels,)


@dataclass(frozen=True)
class TextData(LabelledData):
    """Short texts. texts: part → list of n strings; n_components: width of their features."""

    texts: dict[str, list[str]]
    n_components: int

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.n_components,)


def array_fingerprint(
    inputs: Mapping[str, npt.NDArray[np.generic]], targets: Mapping[str, npt.NDArray[np.generic]]
) -> str:
    """16 hex digits of the sha256 over part, dtype, shape and bytes of each array, in `PARTS` order."""
    sha = hashlib.sha256()
    for part in PARTS:
        if part in targets:
            for array in (inputs[part], targets[part]):
                sha.update(f"{part} {array.dtype.str} {array.shape} ".encode())
                sha.update(np.ascontiguousarray(array).data)
    return sha.hexdigest()[:16]


def text_fingerprint(texts: dict[str, list[str]], labels: dict[str, Rows]) -> str:
    """16 hex digits of the sha256 over part, label and text of each row, in the order of `PARTS`."""
    sha = hashlib.sha256()
    for part in PARTS:
        for text, label in zip(texts.get(part, ()), labels.get(part, ()), strict=True):
            encoded = text.encode()
            sha.update(f"{part} {label} {len(encoded)} ".encode() + encoded)
    return sha.hexdigest()[:16]
