"""Penalties of the gradient in the (standardized) input: of the loss, the logits g, or the softmax.

All but igpen are squared norms of uᵀ ∂g/∂x for some cotangents u of the logits. Under batch normalization a row's
output depends on its batch, so that in training these gradients are of the batch's summed outputs in each row and
have no meaning row by row (models/resnet.py).
"""

from typing import Literal

import torch
from torch import Tensor

from dreg_sweep.models.trace import LinearTrace, Trace


def input_gradients(trace: Trace, cotangents: Tensor, *, differentiable: bool = True) -> Tensor:
    """uᵀ ∂g/∂x for cotangents u (S, V, B, C) of the logits g: (S, V, B, D).

    Through the linear layers at the network's end all cotangents go backwards together, by the chain rule
    written out, which computes nothing but this; through what lies before (convolutions) it is a pass of autograd
    each, faster there than all in one batch (measured on a CPU). Needs trace.x to require its gradient unless the
    network is linear layers alone. differentiable=False is for a trace of which no penalty is taken afterwards.
    """
    gradients, reads, left = cotangents, trace.logits, len(trace.layers)
    with torch.set_grad_enabled(differentiable):
        for layer in reversed(trace.layers):
            if not isinstance(layer, LinearTrace):
                break
            gradients, reads, left = layer.pull_back(gradients), layer.reads, left - 1
    if not left:
        return gradients
    passes = [
        torch.autograd.grad(reads, trace.x, gradient, retain_graph=True, create_graph=differentiable)[0]
        for gradient in gradients.unbind(1)
    ]
    return torch.stack(passes, 1)


def squared_input_gradients(trace: Trace, cotangents: Tensor) -> Tensor:
    """‖uᵀ ∂g/∂x‖² for cotangents u (S, V, B, C) of the logits g: (S, V, B); to be differentiated once."""
    linear = [layer for layer in trace.layers if isinstance(layer, LinearTrace)]
    if len(linear) < len(trace.layers):
        return input_gradients(trace, cotangents).square().sum(3)
    first, *others = linear
    for layer in reversed(others):
        cotangents = layer.pull_back(cotangents)
    return first.squared_pull_back(cotangents)


def logit_jacobian(trace: Trace, *, differentiable: bool = True) -> Tensor:
    """∂g/∂x of every row, exact: (S, C, B, D)."""
    return input_gradients(trace, _basis(trace), differentiable=differentiable)


def _basis(trace: Trace) -> Tensor:
    """Every logit's own cotangent, (S, C, B, C)."""
    size, batch, outputs = trace.logits.shape
    basis = torch.eye(outputs, dtype=trace.logits.dtype, device=trace.logits.device)
    return basis[None, :, None, :].expand(size, outputs, batch, outputs)


def _penalty(trace: Trace, cotangents: Tensor) -> Tensor:
    """mean_b Σ_v ‖u_vᵀ ∂g_b/∂x_b‖², (S,)."""
    return squared_input_gradients(trace, cotangents).sum(1).mean(1)


def igpen(trace: Trace) -> Tensor:
    """Input gradient penalty, mean_b ‖∂loss_b/∂x_b‖², shape (S,); x is the standardized input.

    The loss is cross entropy (the squared error of a regression). The level double_backprop is the same function
    with the strength of another study. Source: Drucker & LeCun 1992 (double backpropagation); Ross & Doshi-Velez
    2018, eq. 4; DoubleBack of Varga et al. 2017. The DREG study's λ for igpen is unknown: the default 1.0 is the
    value of Varga et al.'s CIFAR-10 script; double_backprop's 50 is that of their MNIST script.
    """
    (of_logits,) = torch.autograd.grad(trace.losses.sum(), trace.logits, create_graph=True)
    return _penalty(trace, of_logits.unsqueeze(1))


def spectreg(
    trace: Trace,
    *,
    directions: Literal["batch", "sample"] = "batch",
    projections: int = 1,
) -> Tensor:
    """Random projections of the logits' Jacobian, mean_b ‖vᵀ ∂g_b/∂x_b‖², shape (S,); expectation mean_b ‖J_g‖_F².

    directions=batch: one v ~ N(0, I_C) for all rows of a batch, not normalized. directions=sample: a v for each
    row, uniform on the sphere of radius √C. projections: so many independent v, averaged. v comes from the
    cell's own stream. Source: Varga et al. 2017 (SpectReg; λ = 0.03 is that of their MNIST script); Hoffman et
    al. 2019, Algorithm 1, for sample and projections, where the penalty is ½‖J_g‖_F²: their λ is twice ours.
    """
    size, batch, outputs = trace.logits.shape
    rows = batch if directions == "sample" else 1
    draws = [
        torch.randn(
            projections, rows, outputs, generator=stream, device=trace.logits.device, dtype=trace.logits.dtype
        )
        for stream in trace.streams
    ]
    v = torch.stack(draws)
    if directions == "sample":
        v = v * (outputs**0.5 / v.norm(dim=3, keepdim=True))
    return _penalty(trace, v.expand(size, projections, batch, outputs)) / projections


def frobreg(trace: Trace) -> Tensor:
    """mean_b ‖∂g_b/∂x_b‖_F² of the logits g, exact, shape (S,).

    Source: Varga et al. 2017 (FrobReg; λ = 0.03 is that of their MNIST script); Sokolić et al. 2017.
    """
    return _penalty(trace, _basis(trace))


def jacreg(trace: Trace) -> Tensor:
    """mean_b ‖∂p_b/∂x_b‖_F² of the class probabilities p = softmax(g), exact, shape (S,).

    Row k of ∂p/∂g is p_k (e_k - p). Source: Varga et al. 2017 (JacReg; λ = 1 is that of their MNIST script).
    """
    p = trace.logits.softmax(2)
    rows = torch.diag_embed(p) - p.unsqueeze(3) * p.unsqueeze(2)  # (S, B, C, C)
    return _penalty(trace, rows.transpose(1, 2))


def onehot(trace: Trace) -> Tensor:
    """mean_b ‖∂g_{b,y_b}/∂x_b‖², the gradient of the true class's logit, shape (S,).

    Source: Varga et al. 2017 (λ = 0.3 is that of their MNIST script).
    """
    return _of_one_logit(trace, trace.y)


def random_onehot(trace: Trace) -> Tensor:
    """mean_b ‖∂g_{b,k_b}/∂x_b‖² with k_b uniform over the C classes, shape (S,); expectation mean_b ‖J_g‖_F² / C.

    A class is drawn for each row from the cell's own stream. Source: Varga et al. 2017 (RandomOnehot), whose
    script never draws the last class; all are drawn here. Their λ is unknown: the default 0.3 is that of
    onehot.
    """
    batch, outputs = trace.logits.shape[1:]
    drawn = [
        torch.randint(outputs, (batch,), generator=stream, device=trace.logits.device) for stream in trace.streams
    ]
    return _of_one_logit(trace, torch.stack(drawn))


def _of_one_logit(trace: Trace, classes: Tensor) -> Tensor:
    chosen = torch.zeros_like(trace.logits).scatter_(2, classes.unsqueeze(2), 1.0)
    return _penalty(trace, chosen.unsqueeze(1))
