"""Penalties of the gradient in the (standardized) input: of the loss, the logits g, or the softmax.

All but igpen are squared norms of uᵀ ∂g/∂x for some cotangents u of the logits. Under batch normalization a row's
output depends on its batch, so that in training these gradients are of the batch's summed outputs in each row and
have no meaning row by row (models/resnet.py).
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from dreg_sweep.models.trace import LinearTrace, Trace


def input_gradients(trace: Trace, cotangents: Tensor, *, differentiable: bool = True) -> Tensor:
    """uᵀ ∂g/∂x for cotangents u (S, V, B, C) of the logits g: (S, V, B, D).

    Several cotangents through linear layers go backwards together, by the chain rule written out: a tenth to a
    quarter faster than one backward pass each. Through convolutions it is one pass each, which is faster there
    than all in one batch (measured on a CPU). Needs trace.x to require its gradient unless the network is
    linear layers alone.
    """
    linear = [layer for layer in trace.layers if isinstance(layer, LinearTrace)]
    if cotangents.shape[1] > 1 and len(linear) == len(trace.layers):
        gradients = cotangents
        with torch.set_grad_enabled(differentiable):
            for layer in reversed(linear):
                gradients = layer.pull_back(gradients)
        return gradients
    passes = [
        torch.autograd.grad(trace.logits, trace.x, cotangent, retain_graph=True, create_graph=differentiable)[0]
        for cotangent in cotangents.unbind(1)
    ]
    return torch.stack(passes, 1)


def logit_jacobian(trace: Trace, *, differentiable: bool = True) -> Tensor:
    """∂g/∂x of every row, exact: (S, C, B, D)."""
    size, batch, outputs = trace.logits.shape
    basis = torch.eye(outputs, dtype=trace.logits.dtype, device=trace.logits.device)
    cotangents = basis[None, :, None, :].expand(size, outputs, batch, outputs)
    return input_gradients(trace, cotangents, differentiable=differentiable)


def _mean_square(gradients: Tensor) -> Tensor:
    """mean over rows of the squared norm of all else, (S, V, B, D) → (S,)."""
    return gradients.square().sum((1, 3)).mean(1)


def igpen(trace: Trace) -> Tensor:
    """Input gradient penalty, mean_b ‖∂loss_b/∂x_b‖², shape (S,); x is the standardized input.

    The loss is cross entropy (the squared error of a regression). Computed by double backward through the
    trace. The level double_backprop is the same function with the strength of another study. Source: Drucker &
    LeCun 1992 (double backpropagation); Ross & Doshi-Velez 2018, eq. 4; DoubleBack of Varga et al. 2017. The
    DREG study's λ for igpen is unknown: the default 1.0 is the value of Varga et al.'s CIFAR-10 script;
    double_backprop's 50 is that of their MNIST script.
    """
    (gradient,) = torch.autograd.grad(trace.losses.sum(), trace.x, create_graph=True)
    return gradient.square().sum(2).mean(1)


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
    return _mean_square(input_gradients(trace, v.expand(size, projections, batch, outputs))) / projections


def frobreg(trace: Trace) -> Tensor:
    """mean_b ‖∂g_b/∂x_b‖_F² of the logits g, exact, shape (S,).

    Source: Varga et al. 2017 (FrobReg; λ = 0.03 is that of their MNIST script); Sokolić et al. 2017.
    """
    return _mean_square(logit_jacobian(trace))


def jacreg(trace: Trace) -> Tensor:
    """mean_b ‖∂p_b/∂x_b‖_F² of the class probabilities p = softmax(g), exact, shape (S,).

    Row k of ∂p/∂g is p_k (e_k - p). Source: Varga et al. 2017 (JacReg; λ = 1 is that of their MNIST script).
    """
    p = trace.logits.softmax(2)
    rows = torch.diag_embed(p) - p.unsqueeze(3) * p.unsqueeze(2)  # (S, B, C, C)
    return _mean_square(input_gradients(trace, rows.transpose(1, 2)))


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
    chosen = one_hot(classes, trace.logits.shape[2]).to(trace.logits.dtype)
    return _mean_square(input_gradients(trace, chosen.unsqueeze(1)))
