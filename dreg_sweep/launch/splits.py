"""The splits that a worker keeps: stacks that differ in method or activation train on the same rows."""

import math
from collections.abc import Sequence
from pathlib import Path

from dreg_sweep.cells import Cell
from dreg_sweep.data import Prepared, Split, make_split

KEPT_BYTES = 256 * 2**20  # of training rows, those of the stack at hand included


class Splits:
    """The splits of the last stacks, as far as their training rows fit into `most` bytes."""

    def __init__(self, most: int = KEPT_BYTES) -> None:
        self._most = most
        self._kept: dict[tuple[object, ...], Split] = {}  # the least recently used first

    def of(self, cells: Sequence[Cell], prepared: Prepared, data_dir: Path) -> list[Split]:
        """The split of each of these cells of one dataset; its stack's are kept, whatever their size."""
        keys = [_key(cell, prepared) for cell in cells]
        for key in keys:
            if key in self._kept:
                self._kept[key] = self._kept.pop(key)
        missing = {key: cell for key, cell in zip(keys, cells, strict=True) if key not in self._kept}
        room = self._most - sum(_row_bytes(cell, prepared) for cell in missing.values())
        for key in list(self._kept):
            if key not in keys and sum(split.x_train.nbytes for split in self._kept.values()) > room:
                del self._kept[key]
        for key, cell in missing.items():
            self._kept[key] = make_split(
                prepared, cell.train_size, cell.seed, cell.evaluate_on, cell.noise, data_dir / "features"
            )
        return [self._kept[key] for key in keys]


def _key(cell: Cell, prepared: Prepared) -> tuple[object, ...]:
    """Equal where the splits are."""
    drawn_by = None if cell.train_size is None else cell.seed  # all rows: one split for every seed
    return prepared.fingerprint, repr(cell.dataset), cell.train_size, drawn_by, cell.evaluate_on, repr(cell.noise)


def _row_bytes(cell: Cell, prepared: Prepared) -> int:
    """What the training rows of a cell will take: float32 numbers."""
    return 4 * (cell.train_size or prepared.n_train) * math.prod(prepared.input_shape)
