"""Encoded texts kept between runs: one folder a split, complete once it has its manifest, checked when read."""

import hashlib
import io
import json
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from dreg_sweep.data import features
from dreg_sweep.data.keep import keep
from dreg_sweep.data.prepared import TextData
from dreg_sweep.data.seeding import digest
from dreg_sweep.data.typos import corrupt

Floats = npt.NDArray[np.float32]

MANIFEST = "sha256.json"  # file name → sha256 of its bytes
log = logging.getLogger(__name__)


def encoded(
    key: str,
    train_texts: Sequence[str],
    eval_texts: Sequence[str],
    rates: Sequence[float],
    prepared: TextData,
    evaluate_on: str,
    cache_dir: Path | None,
) -> list[Floats]:
    """[training, clean evaluation, evaluation at each rate]: (n, D) arrays, from the cache if there.

    key names everything about the texts and the ladder; the encoding's own version is added here. A folder
    that fails its checksums is made again; one that cannot be written costs time only. Two processes may make
    the same folder at once: both write the same numbers.
    """
    folder = None if cache_dir is None else cache_dir / digest(key, features.identity())[:24]
    names = ["train", "clean"] + [f"noisy{i}" for i in range(len(rates))]
    if folder is not None and (arrays := _read(folder, names)) is not None:
        return arrays
    encoder = features.fit(train_texts, prepared.n_components)
    noisy = corrupt(eval_texts, rates, prepared.spec.name, evaluate_on)
    arrays = [encoder.encode(texts) for texts in (train_texts, eval_texts, *noisy)]
    if folder is not None:
        _write(folder, dict(zip(names, arrays, strict=True)))
    return arrays


def _read(folder: Path, names: Sequence[str]) -> list[Floats] | None:
    """The arrays, memory-mapped; None if the folder is not there or any file is not what was written."""
    try:
        sums = json.loads((folder / MANIFEST).read_text())
        for name in names:
            with open(folder / f"{name}.npy", "rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != sums[name]:
                    raise ValueError(f"{name}.npy differs from its checksum")
        return [np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in names]
    except FileNotFoundError:
        if not (folder / MANIFEST).exists():  # nobody has made it, or somebody is at it
            return None
        problem = "is incomplete"
    except (OSError, ValueError, KeyError, TypeError) as error:
        problem = f"is damaged ({error})"
    log.warning("%s %s; making it again", folder, problem)
    return None


def _write(folder: Path, arrays: dict[str, Floats]) -> None:
    """The arrays, and last of all what tells that they are complete."""
    sums = {}
    for name, array in arrays.items():
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        sums[name] = hashlib.sha256(buffer.getbuffer()).hexdigest()
        if not keep(folder / f"{name}.npy", partial(_fill, buffer.getvalue())):
            return
    keep(folder / MANIFEST, partial(_fill, json.dumps(sums, indent=1).encode()))


def _fill(content: bytes, file: IO[bytes]) -> None:
    file.write(content)
