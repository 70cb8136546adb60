"""Class-stratified draws of rows."""

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]


def allocate(counts: Rows, size: int, least: Rows, most: Rows) -> Rows:
    """How many rows of each class make a sample of `size`, in proportion to `counts`, shape (K,).

    Largest remainder in exact integer arithmetic, with `least <= answer <= most` for every class; ties go to
    the lower class. Needs least.sum() <= size <= most.sum().
    """
    total = int(counts.sum())
    answer = np.clip(size * counts // total, least, most)
    while (gap := size - int(answer.sum())) != 0:
        remainder = size * counts - answer * total  # of the exact share, in units of 1/total
        if gap > 0:
            answer[np.argmax(np.where(answer < most, remainder, np.iinfo(np.int64).min))] += 1
        else:
            answer[np.argmin(np.where(answer > least, remainder, np.iinfo(np.int64).max))] -= 1
    return answer


def draw(labels: Rows, size: int, rng: np.random.Generator) -> Rows:
    """A stratified sample of `size` row numbers in random order; each class has at least one row.

    labels: (n,) in 0..K-1, each class present; K <= size <= n.
    """
    counts = np.bincount(labels)
    chosen = allocate(counts, size, np.ones_like(counts), counts)
    return rng.permutation(_take(labels, chosen, rng))


def hold_out(labels: Rows, share: float, rng: np.random.Generator) -> tuple[Rows, Rows]:
    """(kept, held out) row numbers, each ascending: a stratified share of the rows is held out.

    Each class keeps at least one row, and gives at least one where it has two or more.
    """
    counts = np.bincount(labels)
    least, most = np.minimum(1, counts - 1), counts - 1
    size = int(np.clip(round(share * len(labels)), least.sum(), most.sum()))
    held = np.sort(_take(labels, allocate(counts, size, least, most), rng))
    return np.setdiff1d(np.arange(len(labels)), held), held


def _take(labels: Rows, chosen: Rows, rng: np.random.Generator) -> Rows:
    return np.concatenate([rng.permutation(np.flatnonzero(labels == k))[:count] for k, count in enumerate(chosen)])
