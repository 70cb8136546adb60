"""The optimizers a recipe may name, over stacked parameters. Weight decay is left to the regularizers.

They call the functional interface of torch.optim: the classes import torch's compiler at their first step, which
takes as long as a small training.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

from dreg_sweep.errors import UserError, unknown_level
from dreg_sweep.models import Parameters

_LANES = 16  # float32 numbers in the widest vector register


class StackedParameters:
    """Parameters of a stack in storage that treats every cell alike.

    The fused optimizers work through a tensor in whole vector registers and finish its tail one number at a
    time, with another rounding. Each cell's slice is therefore padded to whole registers: `storages` (S, P) are
    what an optimizer updates, `views` the parameters in them, (S, …) leaves for autograd. Matrices (S, in, out)
    lie with their inputs side by side, the layout in which their gradients come out of the products.
    """

    def __init__(self, values: Parameters, device: torch.device) -> None:
        self.views: Parameters = {}
        self.storages: list[Tensor] = []
        for name, value in values.items():
            size = math.prod(value.shape[1:])
            storage = torch.zeros(len(value), -(-size // _LANES) * _LANES, device=device)
            view = _as_stored(storage[:, :size].view(_as_stored(value).shape))
            view.copy_(value)
            self.storages.append(storage)
            self.views[name] = view.requires_grad_()
        self._padded: dict[int, Tensor] = {}

    def stored(self, gradients: Iterable[Tensor]) -> list[Tensor]:
        """Gradients of the views, in their order, as gradients of the storages."""
        found = []
        for number, (storage, gradient) in enumerate(zip(self.storages, gradients, strict=True)):
            flat = _as_stored(gradient).contiguous().flatten(1)  # fused optimizers read raw memory
            if flat.shape != storage.shape:
                if number not in self._padded:
                    self._padded[number] = torch.zeros_like(storage)
                self._padded[number][:, : flat.shape[1]] = flat
                flat = self._padded[number]
            found.append(flat)
        return found


def _as_stored(parameter: Tensor) -> Tensor:
    """Matrices transposed, all else as it is; its own inverse."""
    return parameter.mT if parameter.dim() == 3 else parameter


class Optimizer(Protocol):
    """Updates storages in place."""

    def step(self, gradients: list[Tensor], lr: float | Tensor) -> None:
        """One step at the learning rate lr (a number, or a tensor of one on the device) with their gradients."""


@dataclass
class AdamW:
    """Loshchilov & Hutter 2019 without the decay; torch's fused kernels."""

    storages: list[Tensor]
    betas: tuple[float, float]
    eps: float

    def __post_init__(self) -> None:
        self._means, self._squares = ([torch.zeros_like(storage) for storage in self.storages] for _ in range(2))
        self._steps = [torch.zeros((), device=storage.device) for storage in self.storages]

    def step(self, gradients: list[Tensor], lr: float | Tensor) -> None:
        """See `Optimizer`."""
        adamw(
            self.storages, gradients, self._means, self._squares, [], self._steps,
            fused=True, amsgrad=False, beta1=self.betas[0], beta2=self.betas[1], lr=lr, weight_decay=0.0,
            eps=self.eps, maximize=False,
        )  # fmt: skip


@dataclass
class SGD:
    """Stochastic gradient descent with momentum (Sutskever et al. 2013 as torch has it); torch's fused kernels."""

    storages: list[Tensor]
    momentum: float
    nesterov: bool
    _buffers: list[Tensor | None] = field(init=False)

    def __post_init__(self) -> None:
        self._buffers = [None for _ in self.storages]

    def step(self, gradients: list[Tensor], lr: float | Tensor) -> None:
        """See `Optimizer`."""
        sgd(
            self.storages, gradients, self._buffers, fused=True, weight_decay=0.0, momentum=self.momentum,
            lr=lr, dampening=0.0, nesterov=self.nesterov, maximize=False,
        )  # fmt: skip


def _adamw(storages: list[Tensor], *, betas: list[float], eps: float) -> AdamW:
    if not isinstance(betas, list) or len(betas) != 2 or not all(0 <= _number("betas", b) < 1 for b in betas):
        raise UserError(f"optimizer.betas={betas} must be two numbers from 0 to below 1, for example [0.9,0.999]")
    if _number("eps", eps) <= 0:
        raise UserError(f"optimizer.eps={eps} must be above 0")
    return AdamW(storages, (betas[0], betas[1]), eps)


def _sgd(storages: list[Tensor], *, momentum: float, nesterov: bool) -> SGD:
    if not 0 <= _number("momentum", momentum) < 1:
        raise UserError(f"optimizer.momentum={momentum} must be from 0 to below 1")
    if not isinstance(nesterov, bool) or (nesterov and not momentum):
        raise UserError(f"optimizer.nesterov={nesterov} must be true or false, and true needs optimizer.momentum")
    return SGD(storages, momentum, nesterov)


def _number(key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(f"optimizer.{key}={value} must be a number")
    return value


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {"adamw": _adamw, "sgd": _sgd}


def get_optimizer(name: str, storages: list[Tensor], options: Mapping[str, Any]) -> Optimizer:
    """The optimizer of that name; `UserError` for a name, option or value it does not take."""
    if name not in OPTIMIZERS:
        raise unknown_level("optimizer", name, OPTIMIZERS)
    try:
        return OPTIMIZERS[name](storages, **options)
    except TypeError as error:
        raise UserError(f"optimizer={name}: {error}") from None
