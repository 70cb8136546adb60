"""The splits that a worker keeps: stacks that differ in method or activation train on the same rows."""

from collections.abc import Sequence
from pathlib import Path

from dreg_sweep.cells import Cell
from dreg_sweep.data import Prepared, Split, make_split

KEPT_BYTES = 256 * 2**20  # of float rows, those of the stack at hand included


class Splits:
    """The splits of the last stacks, as far as they fit into `most` bytes."""

    def __init__(self, most: int = KEPT_BYTES) -> None:
        self._most = most
        self._kept: dict[tuple[object, ...], Split] = {}  # the least recently used first

    def of(self, cells: Sequence[Cell], prepared: Prepared, data_dir: Path) -> list[Split]:
        """The split of each of these cells of one dataset; its stack's are kept, whatever their size."""
        keys = [_key(cell, prepared) for cell in cells]
        for key in keys:
            if key in self._kept:
                self._kept[key] = self._kept.pop(key)
        for key, cell in zip(keys, cells, strict=True):
            if key not in self._kept:
                self._kept[key] = make_split(
                    prepared, cell.train_size, cell.seed, cell.evaluate_on, cell.noise, data_dir / "features"
                )
        for key in list(self._kept):
            if key not in keys and sum(map(_bytes, self._kept.values())) > self._most:
                del self._kept[key]
        return [self._kept[key] for key in keys]


def _key(cell: Cell, prepared: Prepared) -> tuple[object, ...]:
    """Equal where the splits are."""
    drawn_by = None if cell.train_size is None else cell.seed  # all rows: one split for every seed
    return prepared.fingerprint, repr(cell.dataset), cell.train_size, drawn_by, cell.evaluate_on, repr(cell.noise)


def _bytes(split: Split) -> int:
    """Of the rows that it holds as numbers: those trained on, and encoded texts along the noise ladder."""
    return sum(rows.nbytes for rows in (split.x_train, *getattr(split, "encoded", ())))
