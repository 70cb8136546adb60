"""Gaussian noise on standardized inputs: one fixed field a dataset, the same for every cell and severity."""

from collections import OrderedDict

import numpy as np
import numpy.typing as npt

from dreg_sweep.data.seeding import generator

Floats = npt.NDArray[np.float32]

BLOCK = 256  # rows drawn by one generator, so that a chunk of rows can be drawn without those before it
CACHE_BYTES = 32 * 2**20  # the whole field of MNIST's test set; drawing costs about 10 ns a number

_blocks: OrderedDict[tuple[str, str, int, int], Floats] = OrderedDict()


def gaussian_rows(name: str, evaluate_on: str, width: int, start: int, stop: int) -> Floats:
    """Rows start to stop of the field ε ~ N(0, 1) of dataset `name`, shape (stop - start, width).

    A row depends on (name, evaluate_on, width, its number) only: not on the cell, the seed, the training size
    or the chunk it is asked for in.
    """
    rows = np.empty((max(stop - start, 0), width), np.float32)
    for number in range(start // BLOCK, -(-stop // BLOCK)):
        first = number * BLOCK
        low, high = max(start, first), min(stop, first + BLOCK)
        rows[low - start : high - start] = _block(name, evaluate_on, width, number)[low - first : high - first]
    return rows


def _block(name: str, evaluate_on: str, width: int, number: int) -> Floats:
    key = (name, evaluate_on, width, number)
    block = _blocks.get(key)
    if block is None:
        block = generator("noise", name, evaluate_on, number).standard_normal((BLOCK, width), np.float32)
        _blocks[key] = block
        while len(_blocks) > 1 and sum(held.nbytes for held in _blocks.values()) > CACHE_BYTES:
            _blocks.popitem(last=False)
    _blocks.move_to_end(key)
    return block
