"""What a device can do: products a second and bytes a second. Importing this imports torch."""

import time
from collections.abc import Callable

import torch

from dreg_sweep.precision import get_arithmetic, tensor_float

WARM_UP, REPEATS = 3, 10
SIDE = {"cuda": 8192, "cpu": 1024}  # of the square matrices that are multiplied
BYTES = {"cuda": 2**31, "cpu": 2**26}  # of what is copied: far more than a cache holds


def rates(device: str, precision: str = "float32") -> tuple[float, float]:
    """FLOP/s and bytes a second of the device, which is left with none of its memory taken."""
    found = product_rate(device, precision), copy_rate(device)
    if device == "cuda":
        torch.cuda.empty_cache()
    return found


def product_rate(device: str, precision: str = "float32") -> float:
    """FLOP/s of one large product of float32 matrices in that precision."""
    side = SIDE[device]
    a, b = (torch.rand(side, side, device=device) for _ in range(2))
    with tensor_float(False), get_arithmetic(precision, device)():
        return 2 * side**3 / _seconds(lambda: a @ b, device)


def copy_rate(device: str) -> float:
    """Bytes a second between arithmetic and memory: each is read and written once."""
    source = torch.zeros(BYTES[device] // 4, device=device)
    target = torch.empty_like(source)
    return 2 * BYTES[device] / _seconds(lambda: target.copy_(source), device)


def _seconds(work: Callable[[], object], device: str) -> float:
    """The least of several runs, kernels on the device included."""
    times = []
    for _ in range(WARM_UP + REPEATS):
        started = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return min(times[WARM_UP:])
