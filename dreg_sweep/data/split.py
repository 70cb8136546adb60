"""What one cell is trained and evaluated on, standardized with statistics of its own training rows."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dreg_sweep.data import feature_cache
from dreg_sweep.data.pixel_noise import gaussian_rows
from dreg_sweep.data.prepared import ArrayData, Prepared, TextData
from dreg_sweep.data.seeding import digest
from dreg_sweep.data.spec import NoiseLadder
from dreg_sweep.data.stratify import Rows

Floats = npt.NDArray[np.float32]

CHUNK = 1024  # rows turned to float at a time
TINY = 1e-6  # a channel whose deviation is below this share of its largest value is constant: divided by 1


@dataclass(frozen=True)
class Split(ABC):
    """identity: equal for two splits of equal content, so that their memory can be shared.

    x_train: (n, D) float32, C-contiguous, images flattened channel first. y_train: (n,), y_eval: (n_eval,),
    int64 in 0..n_classes-1. input_shape: (C, H, W) or (D,). severities: the ladder of `corruption`
    ("gaussian": σ in standardized units; "typos": share of the words).
    """

    identity: str
    x_train: Floats
    y_train: Rows
    y_eval: Rows
    input_shape: tuple[int, ...]
    n_classes: int
    severities: tuple[float, ...]
    corruption: str

    @abstractmethod
    def eval_rows(self, severity: int | None, start: int, stop: int) -> Floats:
        """Evaluation rows start to stop (cut at the end), (rows, D) float32 standardized, a fresh array.

        severity: None = clean, else an index into `severities`. A row does not depend on the chunk it
        comes in. Asking for every severity of a chunk before the next chunk draws the noise only once.
        """


@dataclass(frozen=True)
class ArraySplit(Split):
    """Keeps the evaluation rows as stored (uint8 for images) and standardizes them chunk by chunk."""

    source: npt.NDArray[np.generic]  # (N, H, W, C), the part the evaluation rows lie in
    rows: Rows
    mean: Floats  # (C,)
    scale: Floats  # (C,)
    noise_key: tuple[str, str]  # dataset name, evaluate_on

    def eval_rows(self, severity: int | None, start: int, stop: int) -> Floats:
        stop = min(stop, len(self.rows))
        x = standardize(self.source[self.rows[start:stop]], self.mean, self.scale)
        if severity is not None:
            noise = gaussian_rows(*self.noise_key, x.shape[1], start, stop)
            noise *= np.float32(self.severities[severity])
            x += noise
        return x


@dataclass(frozen=True)
class TextSplit(Split):
    """Holds the encoded evaluation texts, clean first and then each severity; memory-mapped where cached."""

    encoded: tuple[Floats, ...]  # 1 + len(severities) arrays of (n_eval, D)

    def eval_rows(self, severity: int | None, start: int, stop: int) -> Floats:
        if severity is not None and not 0 <= severity < len(self.severities):
            raise IndexError(f"severity {severity} of {len(self.severities)}")
        return np.array(self.encoded[0 if severity is None else severity + 1][start:stop])


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
    ladder = noise.text_rate if isinstance(prepared, TextData) else noise.pixel_sigma
    key = digest(
        prepared.fingerprint,
        prepared.spec.name,  # names the noise
        digest(rows.tolist()),
        evaluate_on,
        list(ladder),
        list(prepared.input_shape),
    )
    shared: dict[str, Any] = {
        "identity": key[:16],
        "y_train": prepared.labels["train"][rows],
        "y_eval": prepared.labels[part][eval_rows],
        "input_shape": prepared.input_shape,
        "n_classes": prepared.n_classes,
        "severities": ladder,
    }
    if isinstance(prepared, TextData):
        train_texts = [prepared.texts["train"][i] for i in rows]
        eval_texts = [prepared.texts[part][i] for i in eval_rows]
        x_train, *encoded = feature_cache.encoded(
            key, train_texts, eval_texts, ladder, prepared, evaluate_on, cache_dir
        )
        return TextSplit(x_train=np.array(x_train), encoded=tuple(encoded), corruption="typos", **shared)
    assert isinstance(prepared, ArrayData)
    inputs = prepared.inputs["train"]
    mean, scale = channel_statistics(inputs, rows)
    x_train = np.empty((len(rows), prod(prepared.input_shape)), np.float32)
    for start in range(0, len(rows), CHUNK):
        x_train[start : start + CHUNK] = standardize(inputs[rows[start : start + CHUNK]], mean, scale)
    return ArraySplit(
        x_train=x_train,
        source=prepared.inputs[part],
        rows=eval_rows,
        mean=mean,
        scale=scale,
        noise_key=(prepared.spec.name, evaluate_on),
        corruption="gaussian",
        **shared,
    )


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
    x = (images.astype(np.float32) - mean) / scale
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2)).reshape(len(images), -1)
