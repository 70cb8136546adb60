"""The optimizers a recipe may name, over stacked parameters. Weight decay is left to the regularizers."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from dreg_sweep.errors import UserError, unknown_level
from dreg_sweep.models import Parameters

_LANES = 16  # float32 numbers in the widest vector register


class StackedParameters:
    """Parameters of a stack in storage that treats every cell alike.

    The fused optimizers work through a tensor in whole vector registers and finish its tail one number at a
    time, with another rounding. Each cell's slice is therefore padded to whole registers: `storages` (S, P) are
    what an optimizer updates, `views` the parameters in them, (S, …) leaves for autograd.
    """

    def __init__(self, values: Parameters, device: torch.device) -> None:
        self.views: Parameters = {}
        self.storages: list[Tensor] = []
        for name, value in values.items():
            size = math.prod(value.shape[1:])
            storage = torch.zeros(len(value), -(-size // _LANES) * _LANES, device=device)
            view = storage[:, :size].view(value.shape)
            view.copy_(value)
            self.storages.append(storage)
            self.views[name] = view.requires_grad_()

    def set_gradients(self, gradients: Iterable[Tensor]) -> None:
        """Hand each storage its gradient; `gradients` in the order of the views."""
        for storage, gradient in zip(self.storages, gradients, strict=True):
            flat = gradient.contiguous().flatten(1)  # fused optimizers read raw memory
            if flat.shape == storage.shape:
                storage.grad = flat
                continue
            if storage.grad is None:
                storage.grad = torch.zeros_like(storage)
            storage.grad[:, : flat.shape[1]] = flat


def _adamw(storages: list[Tensor], lr: float, *, betas: list[float], eps: float) -> torch.optim.Optimizer:
    if not isinstance(betas, list) or len(betas) != 2 or not all(0 <= _number("betas", b) < 1 for b in betas):
        raise UserError(f"optimizer.betas={betas} must be two numbers from 0 to below 1, for example [0.9,0.999]")
    first, second = betas
    if _number("eps", eps) <= 0:
        raise UserError(f"optimizer.eps={eps} must be above 0")
    return torch.optim.AdamW(storages, lr=lr, betas=(first, second), eps=eps, weight_decay=0.0, fused=True)


def _sgd(storages: list[Tensor], lr: float, *, momentum: float, nesterov: bool) -> torch.optim.Optimizer:
    if not 0 <= _number("momentum", momentum) < 1:
        raise UserError(f"optimizer.momentum={momentum} must be from 0 to below 1")
    if not isinstance(nesterov, bool) or (nesterov and not momentum):
        raise UserError(f"optimizer.nesterov={nesterov} must be true or false, and true needs optimizer.momentum")
    return torch.optim.SGD(storages, lr=lr, momentum=momentum, nesterov=nesterov, fused=True)


def _number(key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(f"optimizer.{key}={value} must be a number")
    return value


OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {"adamw": _adamw, "sgd": _sgd}


def get_optimizer(
    name: str, storages: list[Tensor], lr: float, options: Mapping[str, Any]
) -> torch.optim.Optimizer:
    """The optimizer of that name; `UserError` for a name, option or value it does not take."""
    if name not in OPTIMIZERS:
        raise unknown_level("optimizer", name, OPTIMIZERS)
    try:
        return OPTIMIZERS[name](storages, lr, **options)
    except TypeError as error:
        raise UserError(f"optimizer={name}: {error}") from None
