"""Activations, each beside its first and second derivative.

All work elementwise on pre-activations z of shape (S, B, U): S stacked cells, B samples, U units. h = σ(z) where
it is at hand, so that what can be told from it is not computed twice.

A cell's values must not depend on where in a stack it lies. On a CPU torch's kernels of gelu and silu have one
rounding in the body of a tensor and another in its tail, and go `_in_whole_registers`; tanh and exp have not.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

from dreg_sweep.errors import unknown_level


class Activation(ABC):
    """σ and σ'. coefficients: those of one layer, (S, K), where σ learns."""

    @abstractmethod
    def value(self, z: Tensor, coefficients: Tensor | None = None) -> Tensor:
        """σ(z)."""

    @abstractmethod
    def derivative(self, z: Tensor, coefficients: Tensor | None = None, h: Tensor | None = None) -> Tensor:
        """σ'(z)."""

    def mean_square_derivative(
        self, z: Tensor, coefficients: Tensor | None = None, h: Tensor | None = None
    ) -> Tensor:
        """mean_b σ'(z)² of each unit, (S, U), in float32 or more; to be differentiated once."""
        squares = self.derivative(z, coefficients, h).square()
        return squares.mean(1, dtype=torch.promote_types(z.dtype, torch.float32))

    def initial(self, size: int, layers: Iterable[int]) -> dict[str, Tensor]:
        """Start of the coefficients of the layers with these numbers, (S, K) each; empty for a fixed σ."""
        return {}


@dataclass(frozen=True)
class Fixed(Activation):
    """σ as function(z), σ' as slope(z, h), σ'' as curvature(z, h); without curvature σ' is piecewise constant.

    Autograd is told these three instead of deriving its own: fewer passes over z, above all where σ' is part of
    an objective that is differentiated again.
    """

    function: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor, Tensor], Tensor]
    curvature: Callable[[Tensor, Tensor], Tensor] | None = None

    def value(self, z: Tensor, coefficients: Tensor | None = None) -> Tensor:
        """σ(z)."""
        return _Value.apply(z, self) if torch.is_grad_enabled() else self.function(z)

    def derivative(self, z: Tensor, coefficients: Tensor | None = None, h: Tensor | None = None) -> Tensor:
        """σ'(z)."""
        h = self.value(z) if h is None else h
        return _Derivative.apply(z, h, self) if torch.is_grad_enabled() else self.slope(z, h)

    def mean_square_derivative(
        self, z: Tensor, coefficients: Tensor | None = None, h: Tensor | None = None
    ) -> Tensor:
        """mean_b σ'(z)² of each unit, (S, U)."""
        return _MeanSquareDerivative.apply(z, self.value(z) if h is None else h, self)


class _Value(Function):
    """σ(z) with the gradient g ∘ σ'(z)."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, activation: Fixed) -> Tensor:
        h = activation.function(z)
        ctx.activation = activation
        ctx.save_for_backward(z, h)
        return h

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        z, h = ctx.saved_tensors
        return gradient * ctx.activation.derivative(z, None, h), None


class _Derivative(Function):
    """σ'(z) with the gradient g ∘ σ''(z); h depends on z and gets none of its own."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, h: Tensor, activation: Fixed) -> Tensor:
        ctx.activation = activation
        ctx.save_for_backward(z, h)
        return activation.slope(z, h)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        z, h = ctx.saved_tensors
        curvature = ctx.activation.curvature
        return None if curvature is None else gradient * curvature(z, h), None, None


class _MeanSquareDerivative(Function):
    """mean_b σ'(z)² with the gradient 2/B · g ∘ σ'(z) σ''(z), each factor computed once."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, h: Tensor, activation: Fixed) -> Tensor:
        slope = activation.slope(z, h)
        ctx.activation = activation
        ctx.save_for_backward(z, h, slope)
        return slope.square().mean(1, dtype=torch.promote_types(z.dtype, torch.float32))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        z, h, slope = ctx.saved_tensors
        curvature = ctx.activation.curvature
        if curvature is None:
            return None, None, None
        return curvature(z, h).mul_(slope).mul_((gradient * (2.0 / z.shape[1])).unsqueeze(1)), None, None


@dataclass(frozen=True)
class Learnable(Activation):
    """σ as function(z, coefficients) and σ' as slope(z, coefficients); autograd derives the rest.

    coefficients: the numbers that a layer starts from.
    """

    function: Callable[[Tensor, Tensor], Tensor]
    slope: Callable[[Tensor, Tensor], Tensor]
    coefficients: tuple[float, ...]

    def value(self, z: Tensor, coefficients: Tensor | None = None) -> Tensor:
        """σ(z)."""
        assert coefficients is not None
        return self.function(z, coefficients)

    def derivative(self, z: Tensor, coefficients: Tensor | None = None, h: Tensor | None = None) -> Tensor:
        """σ'(z)."""
        assert coefficients is not None
        return self.slope(z, coefficients)

    def initial(self, size: int, layers: Iterable[int]) -> dict[str, Tensor]:
        """The same start in every cell and layer."""
        start = torch.tensor(self.coefficients).expand(size, -1)
        return {f"coefficients{number}": start.clone() for number in layers}


@dataclass(frozen=True)
class Sliced(Activation):
    """Fixed activations of a stack whose cells differ in them. parts: (activation, cells), in stack order."""

    parts: tuple[tuple[Fixed, int], ...]

    def value(self, z: Tensor, coefficients: Tensor | None = None) -> Tensor:
        """σ(z)."""
        return torch.cat([part.value(own) for part, own in self._split(z)])

    def derivative(self, z: Tensor, coefficients: Tensor | None = None, h: Tensor | None = None) -> Tensor:
        """σ'(z)."""
        pieces = zip(self._split(z), self._split(h), strict=True)
        return torch.cat([part.derivative(own, None, known) for (part, own), (_, known) in pieces])

    def mean_square_derivative(
        self, z: Tensor, coefficients: Tensor | None = None, h: Tensor | None = None
    ) -> Tensor:
        """mean_b σ'(z)² of each unit, (S, U)."""
        pieces = zip(self._split(z), self._split(h), strict=True)
        return torch.cat([part.mean_square_derivative(own, None, known) for (part, own), (_, known) in pieces])

    def _split(self, z: Tensor | None) -> list[tuple[Fixed, Any]]:
        """Each part with its cells of z, with None where z is None."""
        if z is None:
            return [(part, None) for part, _ in self.parts]
        pieces = z.split([cells for _, cells in self.parts])
        return [(part, piece) for (part, _), piece in zip(self.parts, pieces, strict=True)]


def sliced(activations: Sequence[Activation]) -> Activation:
    """The activation of a stack, one given a cell; equal ones should be neighbours. All but one must be fixed."""
    parts = tuple((activation, len(list(run))) for activation, run in groupby(activations))
    if len(parts) == 1:
        return parts[0][0]
    fixed = tuple((activation, cells) for activation, cells in parts if isinstance(activation, Fixed))
    assert len(fixed) == len(parts), "learnable activations have parameters of their own and are not mixed"
    return Sliced(fixed)


_WHOLE_REGISTERS = 64  # float32 numbers in the four widest registers that torch's kernels take at a time


def _in_whole_registers(kernel: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    """An elementwise kernel on z, filled up with zeros so that no number is left to the kernel's tail."""
    spare = -z.numel() % _WHOLE_REGISTERS
    if z.device.type != "cpu" or (not spare and z.is_contiguous()):
        return kernel(z)
    return kernel(pad(z.reshape(-1), (0, spare)))[: z.numel()].view(z.shape)


def relu(z: Tensor) -> Tensor:
    """max(z, 0)."""
    return torch.relu(z)


def relu_slope(z: Tensor, h: Tensor) -> Tensor:
    """1 where z > 0, else 0 (0 at the kink, as autograd has it)."""
    return torch.sign(h)


def gelu(z: Tensor) -> Tensor:
    """z Φ(z), Φ the standard normal distribution function, exact form (Hendrycks & Gimpel 2016)."""
    return _in_whole_registers(torch.nn.functional.gelu, z)


def gelu_slope(z: Tensor, h: Tensor) -> Tensor:
    """Φ(z) + z φ(z)."""
    return _in_whole_registers(lambda z: torch.ops.aten.gelu_backward(torch.ones_like(z), z), z)


def gelu_curvature(z: Tensor, h: Tensor) -> Tensor:
    """(2 - z²) φ(z)."""
    squares = z * z
    return torch.exp(-0.5 * squares) * ((2.0 - squares) * (1.0 / math.sqrt(2.0 * math.pi)))


def silu(z: Tensor) -> Tensor:
    """z s(z), s the logistic function (Elfwing et al. 2018)."""
    return _in_whole_registers(torch.nn.functional.silu, z)


def silu_slope(z: Tensor, h: Tensor) -> Tensor:
    """s(z) (1 + z (1 - s(z)))."""
    return _in_whole_registers(lambda z: torch.ops.aten.silu_backward(torch.ones_like(z), z), z)


def silu_curvature(z: Tensor, h: Tensor) -> Tensor:
    """s(z) (1 - s(z)) (2 + z (1 - 2 s(z)))."""
    s = _in_whole_registers(torch.sigmoid, z)
    return (s - s * s) * (2.0 + (z - 2.0 * h))


def tanh(z: Tensor) -> Tensor:
    """The hyperbolic tangent."""
    return torch.tanh(z)


def tanh_slope(z: Tensor, h: Tensor) -> Tensor:
    """1 - tanh²(z)."""
    return 1.0 - h * h


def tanh_curvature(z: Tensor, h: Tensor) -> Tensor:
    """-2 tanh(z) (1 - tanh²(z))."""
    return -2.0 * h * (1.0 - h * h)


def _per_layer(coefficients: Tensor) -> tuple[Tensor, ...]:
    """(S, 4) learnable coefficients → four tensors (S, 1, 1) that broadcast over samples and units."""
    return coefficients[:, :, None, None].unbind(1)


def cubic(z: Tensor, coefficients: Tensor) -> Tensor:
    """c0 + c1 z + c2 z² + c3 z³ with learnable c, one set a layer (after ChainzRule, Martnishn 2026)."""
    c0, c1, c2, c3 = _per_layer(coefficients)
    return c0 + z * (c1 + z * (c2 + z * c3))


def cubic_slope(z: Tensor, coefficients: Tensor) -> Tensor:
    """c1 + 2 c2 z + 3 c3 z²."""
    _, c1, c2, c3 = _per_layer(coefficients)
    return c1 + z * (2.0 * c2 + z * (3.0 * c3))


# The projection of GELU on cubic polynomials under z ~ N(0, 1), from its Hermite coefficients
# E[σ] = 1/(2√π), E[σ'] = 1/2, E[σ'']/2 = 3/(8√π), E[σ''']/6 = 0: training starts from a sane shape.
_GELU_AS_CUBIC = (1 / (8 * math.sqrt(math.pi)), 0.5, 3 / (8 * math.sqrt(math.pi)), 0.0)

ACTIVATIONS: dict[str, Activation] = {
    "relu": Fixed(relu, relu_slope),
    "gelu": Fixed(gelu, gelu_slope, gelu_curvature),
    "silu": Fixed(silu, silu_slope, silu_curvature),
    "tanh": Fixed(tanh, tanh_slope, tanh_curvature),
    "cubic": Learnable(cubic, cubic_slope, _GELU_AS_CUBIC),
}


def get_activation(name: str) -> Activation:
    """The activation of that name; `UserError` listing the choices otherwise."""
    try:
        return ACTIVATIONS[name]
    except KeyError:
        raise unknown_level("activation", name, ACTIVATIONS) from None
