"""Exact penalties of input gradients against Jacobians of single rows by torch.func, in float64."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from dreg_sweep.activations import ACTIVATIONS
from dreg_sweep.models.mlp import MLP
from dreg_sweep.regularizers import REGULARIZERS, logit_jacobian
from dreg_sweep.tasks import TASKS
from tests.engine import double_stack
from tests.regularizer_oracles import STACKS, oracle, row_function, row_jacobians, row_masks, traced


def of_losses(stack, trace, cell):
    """mean_b ‖∂loss_b/∂x_b‖², one row at a time."""
    logits, masks = row_function(stack, trace, cell), row_masks(trace, cell)
    total = torch.tensor(0.0)
    for row, (x, label) in enumerate(zip(trace.x[cell], trace.y[cell], strict=True)):
        alone = x.detach().requires_grad_()
        loss = cross_entropy(logits(alone, {i: mask[row] for i, mask in masks.items()}), label)
        (gradient,) = torch.autograd.grad(loss, alone, create_graph=True)
        total = total + gradient.square().sum()
    return total / len(trace.y[cell])


def of_logits(stack, trace, cell):
    """mean_b ‖∂g_b/∂x_b‖²."""
    return row_jacobians(stack, trace, cell).square().sum((1, 2)).mean()


def of_probabilities(stack, trace, cell):
    """mean_b ‖∂softmax(g_b)/∂x_b‖²."""
    return row_jacobians(stack, trace, cell, lambda g: g.softmax(0)).square().sum((1, 2)).mean()


def of_true_logits(stack, trace, cell):
    """mean_b of the squared norm of row y_b of ∂g_b/∂x_b."""
    jacobians = row_jacobians(stack, trace, cell)
    rows = [jacobian[label] for jacobian, label in zip(jacobians, trace.y[cell], strict=True)]
    return torch.stack(rows).square().sum(1).mean()


@oracle("igpen")
@oracle("double_backprop")
@oracle("frobreg")
@oracle("jacreg")
@oracle("onehot")
@pytest.mark.parametrize("kind", STACKS)
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("igpen", of_losses),
        ("double_backprop", of_losses),
        ("frobreg", of_logits),
        ("jacreg", of_probabilities),
        ("onehot", of_true_logits),
    ],
)
def test_values_and_gradients_are_those_of_single_rows(name, expected, kind):
    stack, trace, penalty = traced(name, kind)
    oracles = torch.stack([expected(stack, trace, cell) for cell in range(stack.size)])
    torch.testing.assert_close(penalty, oracles, rtol=1e-10, atol=0)
    assert len(set(penalty.tolist())) == stack.size
    parameters = list(stack.parameters.values())
    ours, theirs = (
        torch.autograd.grad(value.sum(), parameters, retain_graph=True, allow_unused=True, materialize_grads=True)
        for value in (penalty, oracles)
    )
    for our, their in zip(ours, theirs, strict=True):
        torch.testing.assert_close(our, their, rtol=1e-9, atol=1e-12)


def test_double_backprop_is_igpen():
    assert REGULARIZERS["double_backprop"] == REGULARIZERS["igpen"]


@pytest.mark.parametrize("kind", STACKS)
@pytest.mark.parametrize("differentiable", [True, False])
def test_the_logit_jacobian_is_that_of_single_rows(kind, differentiable):
    stack, trace, _ = traced("none", kind)
    jacobian = logit_jacobian(trace, differentiable=differentiable)
    for cell in range(stack.size):
        expected = row_jacobians(stack, trace, cell).transpose(0, 1)
        torch.testing.assert_close(jacobian[cell], expected, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("name", ["frobreg", "jacreg"])
def test_a_linear_network_has_one_jacobian(name):
    stack, x, y = double_stack(name, network=MLP(4, (), 3, ACTIVATIONS["relu"]))
    trace = stack.forward(x, y, training=True)
    (weight,) = stack.weights  # (S, D, C)
    p = trace.logits.softmax(2)
    inner = torch.diag_embed(p) - p[..., None] * p[..., None, :]  # (S, B, C, C), ∂p/∂g
    jacobian = {"frobreg": weight.mT[:, None], "jacreg": inner @ weight.mT[:, None]}[name]
    expected = jacobian.square().sum((2, 3)).mean(1)
    torch.testing.assert_close(stack.penalties(trace)[0], expected, rtol=1e-12, atol=0)


def test_in_a_regression_the_loss_is_the_squared_error_and_the_logits_are_the_prediction():
    targets = torch.randn(3, 8, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for name in ("double_backprop", "frobreg"):
        stack, x, _ = double_stack(name, "tanh", network=MLP(4, (6,), 2, ACTIVATIONS["tanh"]))
        stack.task = TASKS["regression"]
        trace = stack.forward(x, targets, training=True)
        penalty = stack.penalties(trace)[0]
        for cell in range(stack.size):
            jacobians = row_jacobians(stack, trace, cell)  # (B, 2, D)
            errors = trace.logits[cell] - targets[cell]
            of_errors = (errors[:, :, None] * jacobians).sum(1)  # ∂(½ Σ_t error_t²)/∂x; two targets
            expected = {"double_backprop": of_errors, "frobreg": jacobians.flatten(1)}[name].square().sum(1).mean()
            assert penalty[cell].item() == pytest.approx(expected.item(), rel=1e-12)
