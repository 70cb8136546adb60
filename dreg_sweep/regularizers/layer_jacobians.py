"""Penalties of the Jacobians of single layers.

Shapes, here and in the sibling modules: S stacked cells, B samples of a batch, D inputs, U units, C classes. A
penalty returns one value a cell, shape (S,), before its strength λ. Its options are its keyword arguments, and the
keys of its file in conf/regularizer/.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from dreg_sweep.models.trace import LayerTrace, LinearTrace, Trace


def dreg(
    trace: Trace,
    *,
    form: Literal["local", "cumulative"] = "local",
    reduction: Literal["sum", "mean"] = "sum",
    positions: Literal["sum", "mean"] = "sum",
    layers: Literal["hidden", "all"] = "hidden",
) -> Tensor:
    """Layer-wise Jacobian penalty, Σ_l mean_b ‖J_l(x_b)‖_F², shape (S,).

    form=local: J_l = ∂h_l/∂h_{l-1} = diag(σ'(z_l)) W_l, so ‖J_l‖_F² = Σ_i σ'(z_{l,i})² ‖W_{l,i,:}‖² in closed
    form: no backward pass, one look at each weight matrix. Of a convolution i runs over channels and positions,
    and W_{l,i,:} holds the taps inside the image. form=cumulative: J_l = ∂h_l/∂x, the product of the local ones
    up to layer l, exact and far dearer (B·H³ a layer); for linear layers only. reduction: sum over a layer's
    units (channels of a convolution), or their mean. positions: sum over the positions of a convolution, or
    their mean. layers: the hidden ones, or the output layer too (σ' = 1 there). The sum over layers and the
    mean over the batch are fixed.

    Pooling, which has no weights, and dropout masks are not part of J_l; batch normalization is, with the batch's
    statistics as constants. Source: Martnishn 2026, arXiv 2606.23942, of which the abstract alone was at hand; the
    formula, the sum, the choice of layers and all of it for convolutions are a reconstruction. λ = 10^-2.5 is the
    paper's.
    """
    chosen = [layer for layer in trace.layers if layers == "all" or layer.activation is not None]
    if not chosen:  # a linear model has no hidden layer
        return trace.losses.new_zeros(len(trace.losses))
    local = form == "local"
    norms = [layer.jacobian_norm for layer in chosen] if local else _cumulative_jacobian_norms(chosen)
    terms = []
    for layer, norm in zip(chosen, norms, strict=True):
        shared = layer.channels if reduction == "mean" else 1
        shared *= layer.positions if positions == "mean" else 1
        terms.append(norm / shared if shared > 1 else norm)
    return torch.stack(terms).sum(0)


def _cumulative_jacobian_norms(layers: Sequence[LayerTrace]) -> list[Tensor]:
    """mean_b ‖∂h_l/∂x‖_F² of each layer, shapes (S,).

    With J_l = A_l W_1, ‖J_l‖_F² = Σ (A_l G) ∘ A_l for G = W_1 W_1ᵀ: samples differ in A_l (H_l × H_1) alone, so
    nothing of size B × H × D is ever made.
    """
    norms: list[Tensor] = []
    chain = gram = torch.empty(0)
    for i, layer in enumerate(layers):
        assert isinstance(layer, LinearTrace)  # others are refused before training
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
