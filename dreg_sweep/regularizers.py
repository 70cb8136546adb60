"""The regularizers: one pure function and one card (its docstring) each, in one explicit dict at the bottom.

Shapes: S stacked cells, B samples of a batch, D inputs, H units, C classes. A penalty returns one value a
cell, shape (S,), before its strength λ; the objective of a cell is mean_b CE_b + λ · penalty. λ may differ
from cell to cell of a stack. Options of a function beyond the trace are its keyword arguments, and the keys
of its file in conf/regularizer/.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_origin

import torch
from torch import Tensor

from dreg_sweep.errors import UserError, unknown_level
from dreg_sweep.models import LayerTrace, Trace


def dreg(
    trace: Trace,
    *,
    form: Literal["local", "cumulative"] = "local",
    reduction: Literal["sum", "mean"] = "sum",
    layers: Literal["hidden", "all"] = "hidden",
) -> Tensor:
    """Layer-wise Jacobian penalty, Σ_l mean_b ‖J_l(x_b)‖_F², shape (S,).

    form=local: J_l = ∂h_l/∂h_{l-1} = diag(σ'(z_l)) W_l, so ‖J_l‖_F² = Σ_i σ'(z_{l,i})² ‖W_{l,i,:}‖² in closed
    form: no backward pass, one look at each weight matrix. form=cumulative: J_l = ∂h_l/∂x, the product of the
    local ones up to layer l, exact and far dearer (B·H³ a layer).
    reduction: sum over a layer's units, or their mean. layers: the hidden ones, or the output layer too
    (σ' = 1 there). The sum over layers and the mean over the batch are fixed.

    Source: Martnishn 2026, arXiv 2606.23942, of which the abstract alone was at hand; the formula, the sum and
    the choice of layers are a reconstruction. λ = 10^-2.5 is the paper's. Dropout masks are not part of J_l.
    """
    chosen = [layer for layer in trace.layers if layers == "all" or layer.activation is not None]
    if not chosen:  # a linear model has no hidden layer
        return trace.losses.new_zeros(len(trace.losses))
    norms = local_jacobian_norms(chosen) if form == "local" else _cumulative_jacobian_norms(chosen)
    sizes = [layer.weight.shape[2] for layer in chosen]
    terms = [norm / size if reduction == "mean" else norm for norm, size in zip(norms, sizes, strict=True)]
    return torch.stack(terms).sum(0)


def local_jacobian_norms(layers: Sequence[LayerTrace]) -> list[Tensor]:
    """mean_b ‖diag(σ'(z_b)) W‖_F² of each layer, shapes (S,)."""
    norms = []
    for layer in layers:
        row_norms = layer.weight.square().sum(1)  # (S, H), of ∂z_i/∂h_{l-1}
        if layer.scale is not None:
            row_norms = row_norms * layer.scale.square()[:, None]
        norms.append((layer.slope.square().mean(1) * row_norms).sum(1))
    return norms


def _cumulative_jacobian_norms(layers: Sequence[LayerTrace]) -> list[Tensor]:
    """mean_b ‖∂h_l/∂x‖_F² of each layer, shapes (S,).

    With J_l = A_l W_1, ‖J_l‖_F² = Σ (A_l G) ∘ A_l for G = W_1 W_1ᵀ: samples differ in A_l (H_l × H_1) alone, so
    nothing of size B × H × D is ever made.
    """
    norms: list[Tensor] = []
    chain = gram = torch.empty(0)
    for i, layer in enumerate(layers):
        weight = layer.weight.mT  # (S, H, in)
        weight = weight if layer.scale is None else weight * layer.scale[:, None, None]
        slope = layer.slope
        if i == 0:
            gram = torch.bmm(weight, weight.mT)  # (S, H1, H1)
            chain = torch.diag_embed(slope)  # (S, B, H1, H1)
        else:
            chain = slope.unsqueeze(3) * torch.matmul(weight.unsqueeze(1), chain)  # (S, B, H, H1)
        samples = (torch.matmul(chain, gram.unsqueeze(1)) * chain).sum((2, 3))
        norms.append(samples.mean(1))
    return norms


def igpen(trace: Trace) -> Tensor:
    """Input gradient penalty, mean_b ‖∂CE_b/∂x_b‖², shape (S,); x is the standardized input.

    Computed by double backward through the trace. Source: Drucker & LeCun 1992 (double backpropagation); Ross &
    Doshi-Velez 2018, eq. 4; the same as DoubleBack of Varga et al. 2017. The DREG study's λ for it is unknown;
    the default 1.0 is the value of Varga et al.'s CIFAR-10 script.
    """
    (gradient,) = torch.autograd.grad(trace.losses.sum(), trace.x, create_graph=True)
    return gradient.square().sum(2).mean(1)


def weight_decay(weights: Sequence[Tensor], strength: Tensor, lr: float) -> None:
    """Decoupled weight decay, W ← (1 - lr · λ) W before each step, in place; weights (S, in, out), λ (S,).

    Biases and activation coefficients do not decay. Source: Loshchilov & Hutter 2019, Algorithm 2 (their
    schedule multiplier is in lr here, as in torch.optim.AdamW). The default 0.01 is torch's.
    """
    factor = (1.0 - lr * strength)[:, None, None]
    for weight in weights:
        weight.mul_(factor)


def dropout(shape: tuple[int, int, int], strength: Tensor, streams: Sequence[torch.Generator]) -> Tensor:
    """Inverted dropout on hidden units: a mask (S, B, H) of 0 and 1/(1-p), p = strength, one stream a cell.

    p is rounded to a multiple of 2^-16, the grain of the random bits. Source: Srivastava et al. 2014, section 4;
    default p = 0.5 for hidden units as there (section 7; inputs are not dropped here).
    """
    samples, units = shape[1:]
    words = -(-samples * units // 4)
    mask = torch.empty(shape, device=strength.device)
    bits = torch.empty(words, dtype=torch.int64, device=strength.device)
    for cell, (stream, p) in enumerate(zip(streams, strength.tolist(), strict=True)):
        bits.random_(-(2**63), None, generator=stream)
        draws = bits.view(torch.int16)[: samples * units].view(samples, units)  # uniform on [-2^15, 2^15)
        torch.ge(draws, round(p * 2**16) - 2**15, out=mask[cell])
    return mask * (1.0 / (1.0 - strength))[:, None, None]


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
    then σ = uᵀWv, whose gradient in W is uvᵀ.
    `update=False` takes u and v as they are (evaluation). Every linear layer computes (W / (λσ)) x + b:
    λ = 1, the default, is the published method, a larger λ a smaller Lipschitz bound.
    Source: Miyato et al. 2018, Algorithm 1; agrees with torch.nn.utils.parametrizations.spectral_norm.
    """
    if update:
        with torch.no_grad():
            for _ in range(n_power_iterations):
                u = torch.bmm(weight.mT, v.unsqueeze(2)).squeeze(2)
                u = u / u.norm(dim=1, keepdim=True).clamp_min(eps)
                v = torch.bmm(weight, u.unsqueeze(2)).squeeze(2)
                v = v / v.norm(dim=1, keepdim=True).clamp_min(eps)
    sigma = (torch.bmm(weight, u.unsqueeze(2)).squeeze(2) * v).sum(1)
    return sigma, u, v


@dataclass(frozen=True)
class Regularizer:
    """Where in a training step a method acts; at most one of the four is set, none for the baseline."""

    penalty: Callable[..., Tensor] | None = None  # a term of the objective
    input_gradient: bool = False  # the penalty differentiates in trace.x
    decay: Callable[..., None] | None = None  # shrinks the weights beside the optimizer
    mask: Callable[..., Tensor] | None = None  # multiplies hidden units
    norm: Callable[..., tuple[Tensor, Tensor, Tensor]] | None = None  # divides weight matrices
    strengths: tuple[float, float] = (0.0, float("inf"))  # allowed, both ends included
    options: Mapping[str, Any] = field(default_factory=dict)  # keyword arguments for the function

    @property
    def function(self) -> Callable[..., Any] | None:
        """The method's function, None for the baseline."""
        return self.penalty or self.decay or self.mask or self.norm


REGULARIZERS: dict[str, Regularizer] = {
    "none": Regularizer(),
    "weight_decay": Regularizer(decay=weight_decay),
    "dropout": Regularizer(mask=dropout, strengths=(0.0, 1.0 - 2.0**-16)),
    "spectral_norm": Regularizer(norm=spectral_norm, strengths=(1e-6, float("inf"))),
    "igpen": Regularizer(penalty=igpen, input_gradient=True),
    "dreg": Regularizer(penalty=dreg),
}


def get_regularizer(name: str, strength: float, options: Mapping[str, Any]) -> Regularizer:
    """The regularizer of that name with its options bound; `UserError` for a name, value or option it lacks."""
    if name not in REGULARIZERS:
        raise unknown_level("regularizer", name, REGULARIZERS)
    method = REGULARIZERS[name]
    low, high = method.strengths
    if not low <= strength <= high:
        raise UserError(f"regularizer.strength={strength:g} is out of range for {name}: {low:g} to {high:g}")
    known = _option_types(method.function)
    for key, value in options.items():
        if key not in known:
            choices = ", ".join(known) or "none"
            raise UserError(f"regularizer.{key} is not an option of {name}; its options: {choices}")
        _check_option(f"regularizer.{key}", value, known[key])
    return Regularizer(**{**vars(method), "options": dict(options)})


_INTERNAL = {"update", "eps"}


def _option_types(function: Callable[..., Any] | None) -> dict[str, Any]:
    if function is None:
        return {}
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.annotation for p in parameters if p.kind is p.KEYWORD_ONLY and p.name not in _INTERNAL}


def _check_option(key: str, value: Any, annotation: Any) -> None:
    if get_origin(annotation) is Literal:
        if value not in get_args(annotation):
            raise UserError(
                f"{key}={value} is unknown; choose one of: {', '.join(map(str, get_args(annotation)))}"
            )
    elif annotation is int and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise UserError(f"{key}={value} must be a whole number of at least 1")
