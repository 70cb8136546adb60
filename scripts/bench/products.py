"""The rate of matrix products on this machine, and the arithmetic of a step. Importing this imports torch."""

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from dreg_sweep.models.products import affine

WARM_UP = 3  # products that do not count


@dataclass(frozen=True)
class Product:
    """As many products of (rows × inner) by (inner × columns), float32: one by torch, several by the engine."""

    count: int
    rows: int
    inner: int
    columns: int

    @property
    def name(self) -> str:
        """As the table has it."""
        shape = f"{self.rows} × {self.inner} by {self.inner} × {self.columns}"
        return shape if self.count == 1 else f"{self.count} of {shape}, a stack's first layer"

    def rate(self, seconds: float) -> float:
        """GFLOP/s on one thread, taken over about so many seconds."""
        torch.set_num_threads(1)
        x, weight, bias = (
            torch.rand(self.count, *shape)
            for shape in ((self.rows, self.inner), (self.columns, self.inner), (self.columns,))
        )

        @torch.no_grad()
        def product() -> None:
            if self.count == 1:
                torch.mm(x[0], weight[0].mT)
            else:
                affine(x, weight.mT, bias)  # stored as the engine stores it

        for _ in range(WARM_UP):
            product()
        started, done, taken = time.perf_counter(), 0, 0.0
        while taken < seconds:
            product()
            done += 1
            taken = time.perf_counter() - started
        return 2 * self.count * self.rows * self.inner * self.columns * done / taken / 1e9


LARGE = Product(1, 1024, 1024, 1024)  # what the machine can do


def flops_a_step(sizes: Sequence[int], batch: int) -> int:
    """Of one cell's products in a step without a penalty; sizes: inputs, widths, classes.

    A layer multiplies three times: forward, for its weights' gradient, and for the gradient of its inputs, which
    the first layer does not need.
    """
    layers = [fan_in * fan_out for fan_in, fan_out in itertools.pairwise(sizes)]
    return 2 * batch * (3 * sum(layers) - layers[0])
