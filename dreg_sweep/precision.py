"""The arithmetic of matrix products and convolutions in training steps.

What lasts (parameters, optimizer state) and all losses are float32 at every precision; so are evaluation and
history, products included.
"""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import torch

from dreg_sweep.errors import UserError, unknown_level

Arithmetic = Callable[[], AbstractContextManager[None]]


@contextlib.contextmanager
def tensor_float(allowed: bool) -> Iterator[None]:
    """Whether products of float32 numbers may round these to TF32 (ten bits of mantissa) on a GPU."""
    matrices, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matrices.allow_tf32, convolutions.allow_tf32
    matrices.allow_tf32 = convolutions.allow_tf32 = allowed
    try:
        yield
    finally:
        matrices.allow_tf32, convolutions.allow_tf32 = before


@contextlib.contextmanager
def _bfloat16(device: str) -> Iterator[None]:
    """torch's autocast. The backward pass runs within it, too: it calls the same products."""
    with torch.autocast(device, dtype=torch.bfloat16):
        yield


PRECISIONS: dict[str, Callable[[str], Arithmetic]] = {
    "float32": lambda device: contextlib.nullcontext,
    "tf32": lambda device: lambda: tensor_float(True),
    "bf16": lambda device: lambda: _bfloat16(device),
}


def get_arithmetic(precision: str, device: str) -> Arithmetic:
    """What surrounds each training step on `cpu` or `cuda`; `UserError` for a precision that is not there."""
    if precision not in PRECISIONS:
        raise unknown_level("precision", precision, PRECISIONS)
    return PRECISIONS[precision](device)


def refuse_unfit_precision(precision: str, device: str) -> None:
    """`UserError` where a device of that kind has no such arithmetic to offer."""
    get_arithmetic(precision, device)
    if precision != "float32" and device != "cuda":
        raise UserError(
            f"precision={precision} needs a CUDA device, and this trains on the {device.upper()}; "
            "choose precision=float32 or device=cuda"
        )
