"""What one cell is trained and evaluated on; images, features and texts standardized by its own training rows."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from dreg_sweep.data import feature_cache
from dreg_sweep.data.functions import Function, FunctionData, midpoints
from dreg_sweep.data.pixel_noise import gaussian_rows
from dreg_sweep.data.prepared import ArrayData, Prepared, TextData
from dreg_sweep.data.seeding import digest
from dreg_sweep.data.spec import NoiseLadder, TaskName
from dreg_sweep.data.stratify import Rows

Floats = npt.NDArray[np.float32]
Targets = Rows | Floats

CHUNK = 1024  # rows turned to float at a time
TINY = 1e-6  # a channel whose deviation is below this share of its largest value is constant: divided by 1


@dataclass(frozen=True)
class Split(ABC):
    """identity: equal for two splits of equal content, so that their memory can be shared.

    x_train: (n, D) float32, C-contiguous, images flattened channel first. y_train, y_eval: classes, (n,) and
    (n_eval,) int64 in 0..n_outputs-1; in regression (n, n_outputs) and (n_eval, n_outputs) float32.
    input_shape: (C, H, W) of images, else (D,). n_outputs: classes, or numbers in a target. severities: the
    ladder of `corruption` ("gaussian": σ in standardized units; "typos": share of the words; "none").
    """

    task: ClassVar[TaskName]

    identity: str
    x_train: Floats
    y_train: Targets
    y_eval: Targets
    input_shape: tuple[int, ...]
    n_outputs: int
    severities: tuple[float, ...]
    corruption: str

    @abstractmethod
    def eval_rows(self, severity: int | None, start: int, stop: int) -> Floats:
        """Evaluation rows start to stop (cut at the end), (rows, D) float32, a fresh array.

        severity: None = clean, else an index into `severities`. A row does not depend on the chunk it
        comes in. Asking for every severity of a chunk before the next chunk draws the noise only once.
        """

    def noise_rows(self, start: int, stop: int) -> Floats | None:
        """What severity s adds to the clean rows start to stop, divided by s; None where nothing is added.

        The same for every split of a dataset's evaluation rows.
        """
        return None

    def clean_rows(self, rows: Rows) -> Floats:
        """The clean evaluation rows of these numbers."""
        return self.eval_rows(None, 0, len(self.y_eval))[rows]


@dataclass(frozen=True)
class ArraySplit(Split):
    """Keeps the evaluation rows as stored (uint8 for images) and standardizes them chunk by chunk."""

    task = "classification"

    source: npt.NDArray[np.generic]  # (N, H, W, C), the part the evaluation rows lie in
    rows: Rows
    mean: Floats  # (C,)
    scale: Floats  # (C,)
    noise_key: tuple[str, str]  # dataset name, evaluate_on

    def eval_rows(self, severity: int | None, start: int, stop: int) -> Floats:
        x = self.clean_rows(np.arange(start, min(stop, len(self.rows))))
        if severity is not None:
            noise = self.noise_rows(start, stop)
            noise *= np.float32(self.severities[severity])
            x += noise
        return x

    def clean_rows(self, rows: Rows) -> Floats:
        return standardize(self.source[self.rows[rows]], self.mean, self.scale)

    def noise_rows(self, start: int, stop: int) -> Floats:
        return gaussian_rows(*self.noise_key, prod(self.input_shape), start, min(stop, len(self.rows)))


@dataclass(frozen=True)
class TextSplit(Split):
    """Holds the encoded evaluation texts, clean first and then each severity; memory-mapped where cached."""

    task = "classification"

    encoded: tuple[Floats, ...]  # 1 + len(severities) arrays of (n_eval, D)

    def eval_rows(self, severity: int | None, start: int, stop: int) -> Floats:
        if severity is not None and not 0 <= severity < len(self.severities):
            raise IndexError(f"severity {severity} of {len(self.severities)}")
        return np.array(self.encoded[0 if severity is None else severity + 1][start:stop])


@dataclass(frozen=True)
class RegressionSplit(Split):
    """Points of a known function, neither standardized nor corrupted: the fit of the raw function is studied."""

    task = "regression"

    y_train: Floats  # (n, 1)
    y_eval: Floats  # (n_eval, 1)
    x_eval: Floats  # (n_eval, D)
    x_test: Floats  # (m, D), the test grid, also where a validation part is evaluated on
    function: Function

    def eval_rows(self, severity: int | None, start: int, stop: int) -> Floats:
        if severity is not None:
            raise IndexError(f"severity {severity} of 0")
        return self.x_eval[start:stop].copy()

    def places(self) -> Mapping[str, tuple[Floats, Floats]]:
        """Where a fit is looked at: place → (inputs (m, D), targets (m, 1)), in the order train, between, test.

        train: the training points with the targets they were given, noise and all. between: `midpoints` of the
        training points. test: the test grid. The targets of both are without noise.
        """
        between = midpoints(self.x_train)
        return {
            "train": (self.x_train, self.y_train),
            "between": (between, self.function(between)),
            "test": (self.x_test, self.function(self.x_test)),
        }


def make_split(
    prepared: Prepared,
    train_size: int | None,
    seed: int,
    evaluate_on: str,
    noise: NoiseLadder,
    cache_dir: Path | None,
) -> Split:
    """The split of (dataset, train_size, seed); train_size None takes every training row in file order.

    evaluate_on: "test" or "validation" (the official one, else a fixed stratified tenth of the training rows,
    which is then not trained on). cache_dir: where the features of texts are kept between runs; None keeps
    nothing. `UserError` where the prepared data cannot give such a split.
    """
    rows = prepared.train_rows(train_size, seed, evaluate_on)
    part, eval_rows = prepared.eval_part(evaluate_on)
    return _SPLITTERS[type(prepared)](_Choice(prepared, rows, part, eval_rows, evaluate_on, cache_dir), noise)


@dataclass(frozen=True)
class _Choice:
    """Which rows of a dataset make a split."""

    prepared: Any  # of the type that the splitter is entered for
    rows: Rows  # of the training part
    part: str  # that the evaluation rows lie in
    eval_rows: Rows
    evaluate_on: str
    cache_dir: Path | None

    def key(self, ladder: tuple[float, ...]) -> str:
        """64 hex digits of everything that a split follows from."""
        return digest(
            self.prepared.fingerprint,
            self.prepared.spec.name,  # names the noise
            digest(self.rows.tolist()),
            self.evaluate_on,
            list(ladder),
            list(self.prepared.input_shape),
        )

    def fields(self, ladder: tuple[float, ...]) -> dict[str, Any]:
        """The fields that a split of any kind has, but for x_train and corruption."""
        return {
            "identity": self.key(ladder)[:16],
            "y_train": self.prepared.targets["train"][self.rows],
            "y_eval": self.prepared.targets[self.part][self.eval_rows],
            "input_shape": self.prepared.input_shape,
            "n_outputs": self.prepared.n_outputs,
            "severities": ladder,
        }


def _split_arrays(choice: _Choice, noise: NoiseLadder) -> ArraySplit:
    data: ArrayData = choice.prepared
    rows, inputs = choice.rows, data.inputs["train"]
    mean, scale = channel_statistics(inputs, rows)
    x_train = np.empty((len(rows), prod(data.input_shape)), np.float32)
    for start in range(0, len(rows), CHUNK):
        x_train[start : start + CHUNK] = standardize(inputs[rows[start : start + CHUNK]], mean, scale)
    return ArraySplit(
        x_train=x_train,
        source=data.inputs[choice.part],
        rows=choice.eval_rows,
        mean=mean,
        scale=scale,
        noise_key=(data.spec.name, choice.evaluate_on),
        corruption="gaussian",
        **choice.fields(noise.pixel_sigma),
    )


def _split_texts(choice: _Choice, noise: NoiseLadder) -> TextSplit:
    data: TextData = choice.prepared
    train_texts = [data.texts["train"][i] for i in choice.rows]
    eval_texts = [data.texts[choice.part][i] for i in choice.eval_rows]
    ladder = noise.text_rate
    x_train, *encoded = feature_cache.encoded(
        choice.key(ladder), train_texts, eval_texts, ladder, data, choice.evaluate_on, choice.cache_dir
    )
    return TextSplit(
        x_train=np.array(x_train), encoded=tuple(encoded), corruption="typos", **choice.fields(ladder)
    )


def _split_function(choice: _Choice, noise: NoiseLadder) -> RegressionSplit:
    data: FunctionData = choice.prepared
    return RegressionSplit(
        x_train=data.inputs["train"][choice.rows],
        x_eval=data.inputs[choice.part][choice.eval_rows],
        x_test=data.inputs["test"],
        function=data.function,
        corruption="none",
        **choice.fields(()),
    )


_SPLITTERS: dict[type[Prepared], Callable[[_Choice, NoiseLadder], Split]] = {
    ArrayData: _split_arrays,
    TextData: _split_texts,
    FunctionData: _split_function,
}


def channel_statistics(inputs: npt.NDArray[np.generic], rows: Rows) -> tuple[Floats, Floats]:
    """(mean, scale) of each channel over all pixels of the rows, two passes in float64, each shape (C,).

    The scale is the standard deviation, or 1 for a channel that is constant up to rounding.
    """
    channels = inputs.shape[3]
    count = len(rows) * prod(inputs.shape[1:3])
    total, squares, largest = np.zeros(channels), np.zeros(channels), np.zeros(channels)
    for start in range(0, len(rows), CHUNK):
        pixels = inputs[rows[start : start + CHUNK]].reshape(-1, channels).astype(np.float64)
        total += pixels.sum(axis=0)
        largest = np.maximum(largest, np.abs(pixels).max(axis=0))
    mean = total / count
    for start in range(0, len(rows), CHUNK):
        pixels = inputs[rows[start : start + CHUNK]].reshape(-1, channels).astype(np.float64)
        squares += ((pixels - mean) ** 2).sum(axis=0)
    deviation = np.sqrt(squares / count)
    scale = np.where(deviation > TINY * largest, deviation, 1.0)
    return mean.astype(np.float32), scale.astype(np.float32)


def standardize(images: npt.NDArray[np.generic], mean: Floats, scale: Floats) -> Floats:
    """(n, H, W, C) → (n, C·H·W) float32, (x - mean) / scale of each channel."""
    planes = images.transpose(0, 3, 1, 2)  # first, so that numpy's inner loops are as long as an image is wide
    x = np.empty(planes.shape, np.float32)
    np.subtract(planes, mean[:, None, None], out=x, dtype=np.float32, casting="unsafe")
    x /= scale[:, None, None]
    return x.reshape(len(images), -1)
