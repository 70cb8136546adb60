"""The order in which levels appear: the papers' for the names they use, then others alphabetically."""

from collections.abc import Iterable, Sequence
from typing import Any

AT = "@"  # between a regularizer and its strength, in levels such as spectreg@0.03
PAPER_ORDER: dict[str, tuple[str, ...]] = {
    "regularizer": (
        "none",
        "weight_decay",
        "dropout",
        "spectral_norm",
        "igpen",
        "dreg",
        "weight_decay_l2",
        "spectral_penalty",
        "confidence_penalty",
        "double_backprop",
        "spectreg",
        "frobreg",
        "jacreg",
        "onehot",
        "random_onehot",
    ),
    "activation": ("relu", "gelu", "silu", "tanh"),
    "dataset": (
        "mnist",
        "fashion_mnist",
        "cifar10",
        "gtsrb",
        "sst2",
        "trec6",
        "tweet_emotion",
        "tweet_offensive",
    ),
}


def ordered(factor: str, levels: Iterable[Any]) -> list[Any]:
    """The distinct levels of a factor in display order; numbers (seeds, sizes) ascend.

    Levels `name@strength` stand where the regularizer of that name does, by ascending strength. A pandas series
    may have a million values.
    """
    unique = getattr(levels, "unique", None)
    if unique is not None:
        levels = unique().tolist()
    known = PAPER_ORDER.get(factor, ())

    def key(level: Any) -> tuple[int, int, Any, float]:
        if not isinstance(level, str):
            return 1, 0, level, 0.0
        name, strength = split(level) if factor == "regularizer" else (level, None)
        rank = -1.0 if strength is None else strength
        return (0, known.index(name), "", rank) if name in known else (2, 0, name, rank)

    return sorted(set(levels), key=key)


def listed(names: Sequence[Any], most: int = 6) -> str:
    """`a, b, c`; of more than `most` names the first two and how many others there are."""
    texts = [str(name) for name in names]
    if len(texts) <= most:
        return ", ".join(texts)
    return f"{', '.join(texts[:2])} and {len(texts) - 2} others"


def split(level: str) -> tuple[str, float | None]:
    """The name and the strength of `name@strength`; any other text is a name without one."""
    name, at, strength = level.rpartition(AT)
    try:
        return (name, float(strength)) if at and name else (level, None)
    except ValueError:
        return level, None
