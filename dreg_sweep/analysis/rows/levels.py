"""The order in which levels appear: the paper's for the names it uses, then others alphabetically."""

from collections.abc import Iterable
from typing import Any

PAPER_ORDER: dict[str, tuple[str, ...]] = {
    "regularizer": ("none", "weight_decay", "dropout", "spectral_norm", "igpen", "dreg"),
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

    A pandas series may have a million values.
    """
    unique = getattr(levels, "unique", None)
    if unique is not None:
        levels = unique().tolist()
    known = PAPER_ORDER.get(factor, ())

    def key(level: Any) -> tuple[int, int, Any]:
        if level in known:
            return 0, known.index(level), ""
        return (2, 0, level) if isinstance(level, str) else (1, 0, level)

    return sorted(set(levels), key=key)
