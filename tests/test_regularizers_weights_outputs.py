"""Penalties of weights and of predictions against closed forms, in float64."""

import math
from dataclasses import replace

import pytest
import torch

from dreg_sweep.activations import ACTIVATIONS
from dreg_sweep.models.resnet import ResNet
from tests.engine import double_stack
from tests.regularizer_oracles import lenet, oracle

NETWORKS = {
    "mlp": {},
    "lenet": {"network": lenet(), "shape": (1, 8, 8)},
    "resnet": {"network": ResNet((1, 8, 8), (2, 3, 4), 1, 3, ACTIVATIONS["gelu"]), "shape": (1, 8, 8)},
}


def penalized(name, network, **more):
    """A stack, and a function that gives its penalty (S,) on a training pass."""
    stack, x, y = double_stack(name, **NETWORKS[network], **more)
    return stack, lambda: stack.penalties(stack.forward(x, y, training=True))[0]


def is_weight(name):
    return name.startswith("weight")


@oracle("confidence_penalty")
def test_the_confidence_penalty_by_hand():
    stack, x, y = double_stack("confidence_penalty", size=2)
    trace = stack.forward(x, y, training=True)
    probabilities = [[[0.5, 0.25, 0.25], [1.0, 0.0, 0.0]], [[1 / 3] * 3, [0.8, 0.1, 0.1]]]
    logits = torch.tensor(probabilities, dtype=torch.float64).log().clamp_min(-1e4)
    trace = replace(trace, logits=logits + 7.0)  # a shift of all logits changes no probability
    first = (-1.5 * math.log(2) + 0.0) / 2
    second = (-math.log(3) + 0.8 * math.log(0.8) + 0.2 * math.log(0.1)) / 2
    assert stack.penalties(trace)[0].tolist() == pytest.approx([first, second], rel=1e-12)


@oracle("confidence_penalty")
def test_the_confidence_penalty_is_the_batchs_sum_of_negative_entropies_over_its_size():
    stack, x, y = double_stack("confidence_penalty")
    trace = stack.forward(x, y, training=True)
    entropies = torch.distributions.Categorical(logits=trace.logits).entropy()  # (S, B)
    penalty = stack.penalties(trace)[0]
    torch.testing.assert_close(8 * penalty, -entropies.sum(1), rtol=1e-12, atol=0)
    # As a function of the logits it differs from KL(p ‖ uniform) by a constant (Pereyra et al. 2017).
    p = trace.logits.softmax(2)
    divergence = (p * (p * 3).log()).sum(2).mean(1).sum()
    ours, theirs = (
        torch.autograd.grad(value, trace.logits, retain_graph=True)[0] for value in (penalty.sum(), divergence)
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-14)


@oracle("weight_decay_l2")
@pytest.mark.parametrize("network", NETWORKS)
def test_weight_decay_l2_is_half_the_squared_norm_of_all_weights(network):
    stack, penalty = penalized("weight_decay_l2", network)
    weights = [value for name, value in stack.parameters.items() if is_weight(name)]
    value = penalty()
    for cell in range(stack.size):
        flat = torch.cat([weight[cell].flatten() for weight in weights])
        assert value[cell].item() == pytest.approx(0.5 * flat.dot(flat).item(), rel=1e-12)
    for name, gradient in gradients(stack, value).items():
        expected = stack.parameters[name] if is_weight(name) else torch.zeros_like(gradient)
        torch.testing.assert_close(gradient, expected, rtol=1e-12, atol=0)


@oracle("spectral_penalty")
@pytest.mark.parametrize("network", NETWORKS)
def test_spectral_penalty_converges_to_half_the_squared_singular_values(network):
    stack, penalty = penalized("spectral_penalty", network)
    with torch.no_grad():
        for _ in range(1000):
            penalty()
    value = penalty()
    weights = {name: weight.detach() for name, weight in stack.parameters.items() if is_weight(name)}
    matrices = {name: w.flatten(2) if w.dim() > 3 else w.mT for name, w in weights.items()}  # (S, out, in)
    decompositions = {name: torch.linalg.svd(matrix) for name, matrix in matrices.items()}
    sigmas = torch.stack([s[:, 0] for _, s, _ in decompositions.values()])
    torch.testing.assert_close(value, 0.5 * sigmas.square().sum(0), rtol=1e-9, atol=0)
    for name, gradient in gradients(stack, value).items():
        expected = torch.zeros_like(gradient)
        if is_weight(name):
            u, s, v = decompositions[name]
            matrix = s[:, 0, None, None] * u[:, :, :1] * v[:, :1, :]  # σ u vᵀ, (S, out, in)
            expected = matrix.view(gradient.shape) if gradient.dim() > 3 else matrix.mT
        torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-7)


def gradients(stack, value):
    """∂ Σ_s value_s by parameter; zeros where it does not depend on one."""
    found = torch.autograd.grad(
        value.sum(), list(stack.parameters.values()), allow_unused=True, materialize_grads=True
    )
    return dict(zip(stack.parameters, found, strict=True))
