"""Activations against torch's own and autograd in float64."""

import numpy as np
import pytest
import torch

from dreg_sweep.activations import ACTIVATIONS, get_activation
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
    with pytest.raises(UserError, match="activation=swish is unknown; choose one of: cubic, gelu"):
        get_activation("swish")
