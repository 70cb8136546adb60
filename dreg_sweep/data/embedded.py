"""Sets that need no file: the digits that come with scikit-learn, and a synthetic text problem."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dreg_sweep.data.arrays import array_data
from dreg_sweep.data.prepared import ArrayData, TextData
from dreg_sweep.data.seeding import generator
from dreg_sweep.data.spec import DatasetSpec, check_options, whole_number
from dreg_sweep.data.stratify import hold_out
from dreg_sweep.data.text_rows import OPTIONS, TextRows, build_text_data
from dreg_sweep.errors import UserError

DIGITS_TEST_SHARE = 0.2
TOY_OPTIONS: dict[str, Any] = {
    "n_train": 1200,
    "n_test": 400,
    "n_classes": 4,
    "difficulty": 0.8,
    "seed": 0,
}
SYLLABLES = [onset + vowel for onset in "bdfgklmnprstvz" for vowel in "aeiou"]
COMMON_WORDS, CLASS_WORDS = 200, 60  # sizes of the common pool and of each class's pool
SHORTEST, LONGEST = 6, 14  # words a text


def digits(spec: DatasetSpec) -> ArrayData:
    """1,797 scans of handwritten digits, 8×8 pixels of 0..16 (UCI Optical Recognition, its former test part).

    They come without a split; a fixed fifth of each class, the same for ever, is the test set: 1,438 / 359.
    """
    check_options(spec, {})
    images, labels = _scans()
    train, test = hold_out(labels, DIGITS_TEST_SHARE, generator("source split", "digits"))
    arrays: dict[str, npt.NDArray[Any]] = {
        "x_train": images[train],
        "y_train": labels[train],
        "x_test": images[test],
        "y_test": labels[test],
    }
    return array_data(spec, arrays, "digits")


def _scans() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Images (1797, 8, 8) and labels (1797,), from scikit-learn's own file.

    Read without scikit-learn, which takes two seconds to import in every process of a sweep; by it where a version
    keeps the file elsewhere.
    """
    package = find_spec("sklearn")
    file = Path((package and package.origin) or "").parent / "datasets" / "data" / "digits.csv.gz"
    if file.exists():
        table = np.loadtxt(file, delimiter=",")
        return table[:, :-1].reshape(-1, 8, 8).astype(np.uint8), table[:, -1].astype(np.int64)
    from sklearn.datasets import load_digits

    scans = load_digits()
    return scans.images.astype(np.uint8), scans.target.astype(np.int64)


def toy_text(spec: DatasetSpec) -> TextData:
    """Synthetic short texts of made-up words; a stand-in for real text where there is no network.

    Each of a text's 6 to 14 words comes with probability `difficulty` from a pool common to all classes, else
    from the pool of its class; words follow Zipf's law within a pool. Options: `n_train`, `n_test`,
    `n_classes`, `difficulty` in [0, 1), `seed` of the generator (not the replicate's), `n_components`.
    """
    options = check_options(spec, {**OPTIONS, **TOY_OPTIONS})
    n_classes = whole_number(spec, options, "n_classes", 2)
    sizes = {part: whole_number(spec, options, f"n_{part}", n_classes) for part in ("train", "test")}
    difficulty = options["difficulty"]
    if isinstance(difficulty, bool) or not isinstance(difficulty, int | float) or not 0 <= difficulty < 1:
        raise UserError(f"dataset.options.difficulty={difficulty!r} of {spec.name} must be at least 0 and below 1")
    rng = generator("toy_text", whole_number(spec, options, "seed", 0))
    vocabulary = _words(COMMON_WORDS + n_classes * CLASS_WORDS, rng)
    common, own = vocabulary[:COMMON_WORDS], vocabulary[COMMON_WORDS:].reshape(n_classes, CLASS_WORDS)
    parts = {
        part: [
            (k, _text(common, own[k], float(difficulty), rng))
            for k in rng.permutation(np.arange(n) % n_classes).tolist()
        ]
        for part, n in sizes.items()
    }
    return build_text_data(spec, TextRows.join(**parts), spec.name, whole_number(spec, options, "n_components", 1))


def _words(count: int, rng: np.random.Generator) -> np.ndarray:
    """`count` distinct words of two or three syllables."""
    words: dict[str, None] = {}
    while len(words) < count:
        words["".join(rng.choice(SYLLABLES, rng.integers(2, 4)))] = None
    return np.array(list(words))


def _text(common: np.ndarray, own: np.ndarray, difficulty: float, rng: np.random.Generator) -> str:
    length = rng.integers(SHORTEST, LONGEST + 1)
    words = [_zipf(common if rng.random() < difficulty else own, rng) for _ in range(length)]
    return " ".join(words)


def _zipf(pool: np.ndarray, rng: np.random.Generator) -> str:
    """A word of the pool, the i-th with probability proportional to 1/i."""
    weights = np.cumsum(1 / np.arange(1, len(pool) + 1))
    return str(pool[np.searchsorted(weights, rng.random() * weights[-1])])
