"""What code made a row: the commit, and a version number of each part of the code that decides a cell's numbers.

A version is raised by hand, by whoever changes the numbers of a cell; tests/golden names the part. Rows that are
stored under a lower one are stale. Whatever leaves the numbers as they are leaves the version as it is.
"""

import hashlib
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from dreg_sweep import __version__

if TYPE_CHECKING:  # dreg-status, which compares versions, does without cells
    from dreg_sweep.cells import Cell

_PACKAGE = Path(__file__).parent
_REGULARIZERS = _PACKAGE / "regularizers"
_UNKNOWN = f"{__version__}+unknown"

# What all cells run through: steps, evaluation, probe, random streams, products, learning rates, losses.
ENGINE = 1
# What only some cells run through. Methods in files of their own are not here: theirs is a digest of the file.
VERSIONS: Mapping[str, Mapping[str, int]] = {
    "activation": {"relu": 1, "gelu": 1, "silu": 1, "tanh": 1, "cubic": 1},
    "regularizer": {
        "none": 1,
        "weight_decay": 1,
        "dropout": 1,
        "spectral_norm": 1,
        "igpen": 1,
        "dreg": 1,
        "double_backprop": 1,
        "spectreg": 1,
        "frobreg": 1,
        "jacreg": 1,
        "onehot": 1,
        "random_onehot": 1,
        "confidence_penalty": 1,
        "weight_decay_l2": 1,
        "spectral_penalty": 1,
    },
    "model": {"mlp": 1, "lenet": 1, "lenet_tuned": 1, "resnet": 1},
    "augmentation": {"none": 1, "crop_flip": 1},
    "optimizer": {"adamw": 1, "sgd": 1},
    "schedule": {"constant": 1, "cosine": 1, "piecewise": 1},
    "precision": {"float32": 1, "tf32": 1, "bf16": 1},
    # From prepared rows, which have a fingerprint of their own, to splits: draws, standardization, features, noise.
    "data": {"arrays": 1, "texts": 1, "functions": 1},
}


def parts_of(cell: "Cell") -> list[tuple[str, str]]:
    """The versioned parts that a cell runs through beside the engine, as pairs of `VERSIONS`' keys."""
    return [
        ("activation", cell.activation),
        *(("regularizer", name) for name in sorted(set(cell.regularizer.names))),
        ("model", cell.model.name),
        ("augmentation", cell.recipe.augmentation.name),
        ("optimizer", cell.recipe.optimizer.name),
        ("schedule", cell.recipe.schedule.name),
        ("precision", cell.recipe.precision),
        ("data", _kind_of_data(cell)),
    ]


def _kind_of_data(cell: "Cell") -> str:
    if cell.dataset.source == "function":
        return "functions"
    return "texts" if cell.dataset.modality == "text" else "arrays"


def code_fingerprint(cell: "Cell") -> str:
    """The versions of the parts of the code that decide a cell's numbers.

    Args:
        cell: whose levels need not exist: what the code does not have is refused elsewhere, before it trains.

    Returns:
        For example `engine=1 activation.relu=1 regularizer.dreg=1 …`. A regularizer in a file of its own has 12 hex
        digits of the file's SHA-256 in place of a number, and a level without a version has 0.
    """
    return _text(tuple(parts_of(cell)))


@cache
def _text(parts: tuple[tuple[str, str], ...]) -> str:
    versions = [f"{factor}.{level}={_version(factor, level)}" for factor, level in parts]
    return " ".join([f"engine={ENGINE}", *versions])


def _version(factor: str, level: str) -> int | str:
    number = VERSIONS[factor].get(level)
    if number is not None or factor != "regularizer":
        return number or 0
    try:
        return hashlib.sha256((_REGULARIZERS / f"{level}.py").read_bytes()).hexdigest()[:12]
    except (OSError, ValueError):
        return 0


def changes(before: str | None, now: str | None) -> list[str]:
    """The parts whose versions differ between two fingerprints, in words: `regularizer.dreg 1 → 2`.

    Args:
        before: of a stored row. The 16 hex digits that rows had once name no part, and differ from nothing.
        now: of the same cell now.
    """
    if before == now:
        return []
    old, new = _versions(before), _versions(now)
    return [f"{part} {old[part]} → {new[part]}" for part in new if part in old and old[part] != new[part]]


@cache
def _versions(fingerprint: str | None) -> dict[str, str]:
    """Part → version, of what a fingerprint names."""
    pairs = (part.partition("=") for part in (fingerprint or "").split())
    return {part: version for part, equals, version in pairs if equals}


@cache
def code_version() -> str:
    """`0.1.0+g1a2b3c4` from a git checkout, with `.dirty` where tracked files differ; elsewhere the bare version.

    `0.1.0+unknown` from a checkout of which git does not tell the commit.
    """
    if not (_PACKAGE.parent / ".git").exists():
        return __version__
    commit, _, dirty = _described()[0].partition("-")
    return f"{__version__}+g{commit}" + (f".{dirty}" if dirty else "") if commit else _UNKNOWN


def why_unknown() -> str | None:
    """Why the commit of this checkout is unknown, in one line with the remedy; None where it is not."""
    if code_version() != _UNKNOWN:
        return None
    return (
        f"rows will not name the commit that made them, but {_UNKNOWN}: {_described()[1]}; "
        f"`git -C {_PACKAGE.parent} describe --always` must work for the user who runs the sweep"
    )


@cache
def _described() -> tuple[str, str]:
    """What git calls the commit, and where it does not, why."""
    command = ["git", "-C", str(_PACKAGE.parent), "describe", "--always", "--abbrev=10", "--dirty", "--exclude=*"]
    try:
        run = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, timeout=10)
    except FileNotFoundError:
        return "", "git is not installed"
    except (OSError, subprocess.SubprocessError) as error:
        return "", f"git cannot be run ({type(error).__name__})"
    lines = run.stderr.strip().splitlines()
    return run.stdout.strip() if run.returncode == 0 else "", lines[0] if lines else "git gives no reason"


def source_digest() -> str:
    """A digest of the code that trains, as its files are now: whether new workers would run what old ones do."""
    files = [file for file in _PACKAGE.rglob("*.py") if "analysis" not in file.relative_to(_PACKAGE).parts]
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in sorted(files))).hexdigest()[:16]
