"""Methods that act on the weights. Biases, normalization factors and activation coefficients are free."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from dreg_sweep.models.trace import Trace


def weight_decay(weights: Sequence[Tensor], strength: Tensor, lr: float | Tensor) -> None:
    """Decoupled weight decay, W ← (1 - lr · λ) W before each step, in place; weights (S, …), λ (S,).

    Biases and activation coefficients do not decay. Source: Loshchilov & Hutter 2019, Algorithm 2 (their
    schedule multiplier is in lr here, as in torch.optim.AdamW). The default 0.01 is torch's.
    """
    factor = 1.0 - lr * strength
    for weight in weights:
        weight.mul_(factor.view(-1, *[1] * (weight.dim() - 1)))


def weight_decay_l2(trace: Trace) -> Tensor:
    """Half the squared norm of all weights, ½ Σ_l ‖W_l‖_F², in the loss, shape (S,); biases are free.

    Under Adam this is not decoupled decay: its gradient passes through the optimizer's moments. Source: Krogh &
    Hertz 1991; Varga et al. 2017 (λ = 5e-4 is that of their MNIST script).
    """
    return 0.5 * torch.stack([layer.squared_norm for layer in trace.layers]).sum(0)


def spectral_norm(
    weight: Tensor,
    u: Tensor,
    v: Tensor,
    *,
    n_power_iterations: int = 1,
    update: bool = True,
    eps: float = 1e-12,
) -> tuple[Tensor, Tensor, Tensor]:
    """Spectral norm σ of weights (S, in, out) by power iteration: returns σ (S,), u (S, out), v (S, in).

    Each iteration, with W the (out, in) matrix of a layer: u ← Wv/‖Wv‖, v ← Wᵀu/‖Wᵀu‖, outside the gradient;
    then σ = uᵀWv, whose gradient in W is uvᵀ. `update=False` takes u and v as they are (evaluation). Every
    layer computes (W / (λσ)) x + b: λ = 1, the default, is the published method, a larger λ a smaller Lipschitz
    bound. A convolution's W is its (out, in·k·k) matrix. Batch normalization after a layer undoes its scale.
    Source: Miyato et al. 2018, Algorithm 1; agrees with torch.nn.utils.parametrizations.spectral_norm.
    """
    if update:
        with torch.no_grad():
            for _ in range(n_power_iterations):
                u = _times(v, weight)
                u = u / u.norm(dim=1, keepdim=True).clamp_min(eps)
                v = _times(u, weight.mT)
                v = v / v.norm(dim=1, keepdim=True).clamp_min(eps)
    return _Bilinear.apply(weight, u, v), u, v


def _times(vector: Tensor, matrix: Tensor) -> Tensor:
    """vᵀM of each cell; as rows, because batched products with columns are ten times slower on a CPU."""
    return torch.bmm(vector.unsqueeze(1), matrix).squeeze(1)


class _Bilinear(Function):
    """vᵀWu of each cell with the gradient g v uᵀ in the memory layout of W, in one pass; u and v are constants."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, u: Tensor, v: Tensor) -> Tensor:
        ctx.save_for_backward(weight, u, v)
        return (_times(v, weight) * u).sum(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        weight, u, v = ctx.saved_tensors
        v = v * gradient.unsqueeze(1)
        return torch.mul(v.unsqueeze(2), u.unsqueeze(1), out=torch.empty_like(weight)), None, None


def spectral_penalty(trace: Trace) -> Tensor:
    """Half the squared spectral norm of each weight matrix, ½ Σ_l σ(W_l)², shape (S,).

    σ comes from one power iteration a step, as in spectral_norm. Source: Yoshida & Miyato 2017; the default
    λ = 0.01 is that of their experiments.
    """
    return 0.5 * torch.stack([sigma.square() for sigma in trace.singular_values]).sum(0)
