"""Activations against torch's own and autograd in float64."""

import numpy as np
import pytest
import torch

from dreg_sweep.activations import ACTIVATIONS, get_activation, sliced
from dreg_sweep.errors import UserError
from dreg_sweep.models.mlp import MLP

REFERENCE = {
    "relu": torch.relu,
    "gelu": torch.nn.functional.gelu,
    "silu": torch.nn.functional.silu,
    "tanh": torch.tanh,
    "cubic": lambda z: 0.3 - 0.5 * z + 0.2 * z**2 + 0.1 * z**3,
}
CUBIC = torch.tensor([[0.3, -0.5, 0.2, 0.1]], dtype=torch.float64)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_value_and_derivative_agree_with_torch(name):
    z = torch.linspace(-6, 6, 1001, dtype=torch.float64).reshape(1, 7, 143).requires_grad_()
    coefficients = CUBIC if name == "cubic" else None
    reference = REFERENCE[name](z)
    (slope,) = torch.autograd.grad(reference.sum(), z)
    torch.testing.assert_close(ACTIVATIONS[name].value(z, coefficients), reference, rtol=0, atol=1e-13)
    torch.testing.assert_close(ACTIVATIONS[name].derivative(z, coefficients), slope, rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if name not in ("cubic", "relu")])
def test_derivatives_of_second_order(name):
    """Of σ and σ' by finite differences; the mean square of σ' against the one that autograd derives."""
    z = torch.randn(2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    sigma = ACTIVATIONS[name]
    assert torch.autograd.gradcheck(sigma.value, (z,))
    assert torch.autograd.gradgradcheck(sigma.value, (z,))
    assert torch.autograd.gradcheck(sigma.derivative, (z,))
    assert torch.autograd.gradcheck(sigma.mean_square_derivative, (z,))
    torch.testing.assert_close(sigma.mean_square_derivative(z), sigma.derivative(z).square().mean(1))


def test_the_slope_of_relu_is_constant_where_it_is_differentiable():
    z = torch.tensor([[[-1.0, 0.0, 2.0]]], requires_grad=True)
    sigma = ACTIVATIONS["relu"]
    assert sigma.derivative(z).tolist() == [[[0.0, 0.0, 1.0]]]
    (gradient,) = torch.autograd.grad(sigma.value(z).sum(), z, create_graph=True)
    assert gradient.tolist() == [[[0.0, 0.0, 1.0]]]
    both = sigma.mean_square_derivative(z).sum() + gradient.sum() + 0.0 * z.sum()
    assert torch.autograd.grad(both, z)[0].count_nonzero() == 0


@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if name != "cubic"])
def test_a_number_does_not_depend_on_where_in_a_tensor_it_lies(name):
    z = torch.randn(1, 1, 500, generator=torch.Generator().manual_seed(0)) * 2
    sigma = ACTIVATIONS[name]

    def all_of(z):
        z = z.clone().requires_grad_()
        slope = sigma.derivative(z)
        (curvature,) = torch.autograd.grad(slope.sum(), z, allow_unused=True)
        return [sigma.value(z), slope] + ([] if curvature is None else [curvature])

    whole = all_of(z)
    for start in range(0, 40, 3):
        for length in range(1, 130, 7):
            for part, of_all in zip(all_of(z[:, :, start : start + length]), whole, strict=True):
                assert torch.equal(part, of_all[:, :, start : start + length])


def test_slices_of_a_stack_may_differ_in_their_activation():
    names = ["relu", "relu", "gelu", "tanh"]
    mixed = sliced([ACTIVATIONS[name] for name in names])
    z = torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    h = mixed.value(z)
    found = [h, mixed.derivative(z), mixed.derivative(z, None, h), mixed.mean_square_derivative(z, None, h)]
    found.append(torch.autograd.grad(h.square().sum() + found[3].sum(), z)[0])
    for cell, name in enumerate(names):
        sigma, own = ACTIVATIONS[name], z[cell : cell + 1].detach().requires_grad_()
        h = sigma.value(own)
        wanted = [h, sigma.derivative(own), sigma.derivative(own), sigma.mean_square_derivative(own)]
        wanted.append(torch.autograd.grad(h.square().sum() + wanted[3].sum(), own)[0])
        for ours, alone in zip(found, wanted, strict=True):
            torch.testing.assert_close(ours[cell : cell + 1], alone)
    assert mixed.initial(4, range(2)) == {}
    assert sliced([ACTIVATIONS["cubic"]] * 3) is ACTIVATIONS["cubic"]


def test_cubic_starts_as_the_projection_of_gelu():
    z, weights = np.polynomial.hermite_e.hermegauss(60)  # exact for polynomials under N(0, 1)
    gelu = torch.nn.functional.gelu(torch.from_numpy(z)).numpy()
    design = np.stack([z**k for k in range(4)], axis=1)
    root = np.sqrt(weights)[:, None]
    fitted, *_ = np.linalg.lstsq(design * root, gelu * root[:, 0], rcond=None)
    np.testing.assert_allclose(ACTIVATIONS["cubic"].coefficients, fitted, atol=1e-6)


def test_initialization_is_the_same_under_every_activation():
    def start(activation):
        return MLP(5, (4, 3), 2, activation).initial([np.random.default_rng(1)])

    reference = start(ACTIVATIONS["relu"])
    for activation in ACTIVATIONS.values():
        parameters = start(activation)
        assert all(torch.equal(parameters[name], value) for name, value in reference.items())


def test_unknown_activation_lists_the_choices():
    with pytest.raises(UserError, match=r"activation=swish is unknown; choose one of: cubic, .*gelu, relu"):
        get_activation("swish")
