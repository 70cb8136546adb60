"""The optimizers a recipe may name, as torch.optim objects over stacked parameters.

Both update elementwise, so stacked cells do not touch each other. Weight decay is left to the regularizers.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from dreg_sweep.errors import UserError, unknown_level


def _adamw(parameters: Iterable[Tensor], lr: float, *, betas: list[float], eps: float) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        parameters, lr=lr, betas=(betas[0], betas[1]), eps=eps, weight_decay=0.0, fused=True
    )


def _sgd(parameters: Iterable[Tensor], lr: float, *, momentum: float, nesterov: bool) -> torch.optim.Optimizer:
    # Not fused: the fused kernel's vectorized body and scalar tail round differently, and a cell's values
    # would depend on its place in the stack.
    return torch.optim.SGD(parameters, lr=lr, momentum=momentum, nesterov=nesterov, fused=False, foreach=False)


OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {"adamw": _adamw, "sgd": _sgd}


def get_optimizer(
    name: str, parameters: Iterable[Tensor], lr: float, options: Mapping[str, Any]
) -> torch.optim.Optimizer:
    """The optimizer of that name; `UserError` for a name, option or value it does not take."""
    if name not in OPTIMIZERS:
        raise unknown_level("optimizer", name, OPTIMIZERS)
    try:
        return OPTIMIZERS[name](parameters, lr, **options)
    except (TypeError, ValueError, IndexError) as error:
        raise UserError(f"optimizer={name}: {error}") from None
