"""Activations, each beside its analytic derivative.

Every function works elementwise on pre-activations z of shape (S, B, H): S stacked cells, B samples, H units.
`coefficients`, where an activation learns, are its K numbers of one layer, shape (S, K).

The formulas use only kernels whose vectorized body and scalar tail agree to the last bit (tanh and erf do,
torch's sigmoid does not), so that a cell's values do not depend on where in a stack it lies.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from dreg_sweep.errors import unknown_level


@dataclass(frozen=True)
class Activation:
    """σ and σ' as functions of z, or of z and the coefficients where σ learns.

    `coefficients`: initial values of the learnable numbers a layer, empty for a fixed σ.
    """

    function: Callable[..., Tensor]
    slope: Callable[..., Tensor]
    coefficients: tuple[float, ...] = ()

    def value(self, z: Tensor, coefficients: Tensor | None = None) -> Tensor:
        """σ(z)."""
        return self.function(z) if coefficients is None else self.function(z, coefficients)

    def derivative(self, z: Tensor, coefficients: Tensor | None = None) -> Tensor:
        """σ'(z)."""
        return self.slope(z) if coefficients is None else self.slope(z, coefficients)

    def initial(self, size: int, layers: Iterable[int]) -> dict[str, Tensor]:
        """Start of the coefficients of the layers with these numbers, (S, K) each; empty for a fixed σ."""
        if not self.coefficients:
            return {}
        start = torch.tensor(self.coefficients).expand(size, -1)
        return {f"coefficients{number}": start.clone() for number in layers}


def relu(z: Tensor) -> Tensor:
    """max(z, 0)."""
    return torch.relu(z)


def relu_derivative(z: Tensor) -> Tensor:
    """1 where z > 0, else 0 (0 at the kink, as autograd has it)."""
    return (z > 0).to(z.dtype)


def gelu(z: Tensor) -> Tensor:
    """z Φ(z), Φ the standard normal distribution function, exact form (Hendrycks & Gimpel 2016)."""
    return torch.nn.functional.gelu(z)


def gelu_derivative(z: Tensor) -> Tensor:
    """Φ(z) + z φ(z)."""
    cdf = 0.5 * (1.0 + torch.erf(z * math.sqrt(0.5)))
    return cdf + z * torch.exp(-0.5 * z * z) * (1.0 / math.sqrt(2.0 * math.pi))


def _sigmoid(z: Tensor) -> Tensor:
    return 0.5 * (1.0 + torch.tanh(0.5 * z))


def silu(z: Tensor) -> Tensor:
    """z s(z), s the logistic function (Elfwing et al. 2018)."""
    return z * _sigmoid(z)


def silu_derivative(z: Tensor) -> Tensor:
    """s(z) (1 + z (1 - s(z)))."""
    s = _sigmoid(z)
    return s * (1.0 + z * (1.0 - s))


def tanh(z: Tensor) -> Tensor:
    """The hyperbolic tangent."""
    return torch.tanh(z)


def tanh_derivative(z: Tensor) -> Tensor:
    """1 - tanh²(z)."""
    t = torch.tanh(z)
    return 1.0 - t * t


def _per_layer(coefficients: Tensor) -> tuple[Tensor, ...]:
    """(S, 4) learnable coefficients → four tensors (S, 1, 1) that broadcast over samples and units."""
    return coefficients[:, :, None, None].unbind(1)


def cubic(z: Tensor, coefficients: Tensor) -> Tensor:
    """c0 + c1 z + c2 z² + c3 z³ with learnable c, one set a layer (after ChainzRule, Martnishn 2026)."""
    c0, c1, c2, c3 = _per_layer(coefficients)
    return c0 + z * (c1 + z * (c2 + z * c3))


def cubic_derivative(z: Tensor, coefficients: Tensor) -> Tensor:
    """c1 + 2 c2 z + 3 c3 z²."""
    _, c1, c2, c3 = _per_layer(coefficients)
    return c1 + z * (2.0 * c2 + z * (3.0 * c3))


# The projection of GELU on cubic polynomials under z ~ N(0, 1), from its Hermite coefficients
# E[σ] = 1/(2√π), E[σ'] = 1/2, E[σ'']/2 = 3/(8√π), E[σ''']/6 = 0: training starts from a sane shape.
_GELU_AS_CUBIC = (1 / (8 * math.sqrt(math.pi)), 0.5, 3 / (8 * math.sqrt(math.pi)), 0.0)

ACTIVATIONS: dict[str, Activation] = {
    "relu": Activation(relu, relu_derivative),
    "gelu": Activation(gelu, gelu_derivative),
    "silu": Activation(silu, silu_derivative),
    "tanh": Activation(tanh, tanh_derivative),
    "cubic": Activation(cubic, cubic_derivative, _GELU_AS_CUBIC),
}


def get_activation(name: str) -> Activation:
    """The activation of that name; `UserError` listing the choices otherwise."""
    try:
        return ACTIVATIONS[name]
    except KeyError:
        raise unknown_level("activation", name, ACTIVATIONS) from None
