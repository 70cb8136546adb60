"""Arrays in an .npz file, the user's own or prepared by us: read, check, keep."""

import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dreg_sweep.data.keep import keep
from dreg_sweep.data.prepared import ArrayData, array_fingerprint
from dreg_sweep.data.spec import DatasetSpec
from dreg_sweep.data.stratify import Rows
from dreg_sweep.errors import UserError

Arrays = Mapping[str, npt.NDArray[Any]]

NEEDED = ("x_train", "y_train", "x_test", "y_test")
PART_KEYS = {"train": "train", "test": "test", "validation": "val"}
MOST_CHANNELS = 4


def read_npz(path: Path) -> Arrays:
    """Every array of the file; `UserError` when it is not there, truncated, not an .npz, or holds objects."""
    if not path.is_file():
        raise UserError(f"{path}: there is no such file")
    try:
        with open(path, "rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise UserError(f"{path}: is a single array; save an .npz with {', '.join(NEEDED)}")
            with archive:
                return {key: archive[key] for key in archive.files}
    # what numpy and zipfile were seen to raise on files cut short or with bytes changed
    except (
        OSError, ValueError, EOFError, KeyError, TypeError, NotImplementedError, RuntimeError, SyntaxError,
        MemoryError, OverflowError, zipfile.BadZipFile, zlib.error, struct.error, tokenize.TokenError,
    ) as error:  # fmt: skip
        raise UserError(
            f"{path}: cannot be read as an .npz of plain arrays ({_first_line(error)}); "
            "it may be truncated: delete or replace it"
        ) from error


def keep_npz(path: Path, arrays: Arrays) -> None:
    """Writes the arrays uncompressed (loads in a tenth of the time); does nothing in a read-only folder."""
    keep(path, lambda file: np.savez(file, **dict[str, Any](arrays)))


def array_data(spec: DatasetSpec, arrays: Arrays, where: str) -> ArrayData:
    """Checks the arrays and maps their labels to 0..K-1.

    x_*: images N×H×W or N×H×W×C (channels last), uint8 or real; or features N×D, real. y_*: N integers, 0 or
    more. x_val and y_val are optional. `where` names the file in the `UserError` of each possible defect.
    """
    missing = [key for key in NEEDED if key not in arrays]
    if missing:
        raise UserError(f"{where}: lacks {', '.join(missing)}; it must hold {', '.join(NEEDED)}")
    if ("x_val" in arrays) != ("y_val" in arrays):
        raise UserError(f"{where}: holds only one of x_val and y_val; supply both or neither")
    present = {part: key for part, key in PART_KEYS.items() if f"x_{key}" in arrays}
    inputs = {part: _inputs(arrays[f"x_{key}"], f"{where}: x_{key}") for part, key in present.items()}
    raw = {part: _labels(arrays[f"y_{key}"], len(inputs[part]), key, where) for part, key in present.items()}
    ndim = arrays["x_train"].ndim
    for part, key in present.items():
        if arrays[f"x_{key}"].ndim != ndim or inputs[part].shape[1:] != inputs["train"].shape[1:]:
            raise UserError(
                f"{where}: x_{key} has rows of shape {arrays[f'x_{key}'].shape[1:]}, "
                f"but x_train of {arrays['x_train'].shape[1:]}"
            )
        if inputs[part].dtype != inputs["train"].dtype:
            raise UserError(
                f"{where}: x_{key} is {arrays[f'x_{key}'].dtype}, but x_train {arrays['x_train'].dtype}; "
                "save both with the same type"
            )
    labels = map_labels(raw, where)
    return ArrayData(spec, array_fingerprint(inputs, labels), labels, inputs, is_image=ndim > 2)


def map_labels(raw: Mapping[str, npt.NDArray[Any]], where: str) -> dict[str, Rows]:
    """Labels of any sortable kind → 0..K-1 in sorted order of those seen in training.

    `UserError` when training has a single class, or another part has a class that training lacks.
    """
    classes = np.unique(raw["train"])
    if len(classes) < 2:
        raise UserError(f"{where}: the training rows are all of class {classes[0]}; at least two are needed")
    for part, values in raw.items():
        strange = np.setdiff1d(values, classes)
        if len(strange):
            shown = ", ".join(" ".join(str(value).split()) for value in strange[:5])
            raise UserError(f"{where}: {part} has labels that no training row has: {shown}")
    return {part: np.searchsorted(classes, values).astype(np.int64) for part, values in raw.items()}


def _inputs(x: npt.NDArray[Any], where: str) -> npt.NDArray[Any]:
    if x.ndim not in (2, 3, 4):
        raise UserError(f"{where} has {x.ndim} dimensions; images are N×H×W or N×H×W×C, features are N×D")
    if x.size == 0:
        raise UserError(f"{where} is empty (shape {x.shape})")
    if x.ndim == 4 and x.shape[3] > MOST_CHANNELS >= x.shape[1]:
        raise UserError(f"{where} has shape {x.shape}; channels come last, so transpose it to N×H×W×C")
    if x.dtype.kind not in "biuf":
        raise UserError(f"{where} has type {x.dtype}; numbers are needed")
    if x.dtype != np.uint8 or x.ndim == 2:
        with np.errstate(over="ignore"):
            x = x.astype(np.float32)
        if not np.isfinite(x).all():
            raise UserError(f"{where} holds NaN or infinite values (or such beyond float32); clean it first")
    if x.ndim == 2:
        return np.ascontiguousarray(x[:, None, None, :])
    return np.ascontiguousarray(x[..., None] if x.ndim == 3 else x)


def _labels(y: npt.NDArray[Any], rows: int, key: str, where: str) -> npt.NDArray[Any]:
    if y.ndim != 1:
        raise UserError(f"{where}: y_{key} has {y.ndim} dimensions; one label a row is needed")
    if len(y) != rows:
        raise UserError(f"{where}: x_{key} has {rows} rows but y_{key} has {len(y)}")
    if y.dtype.kind not in "iu":
        raise UserError(f"{where}: y_{key} has type {y.dtype}; labels must be integers")
    if y.min() < 0:
        raise UserError(f"{where}: y_{key} has the negative label {y.min()}; labels must be 0 or more")
    return y


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
