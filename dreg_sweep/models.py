"""Networks whose parameters carry a leading stack dimension S, one slice a cell.

A forward pass returns a `Trace`, which is all that a regularizer may look at. The linear layers are batched
matrix products, so that S small trainings cost one pass over a few large kernels.
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from dreg_sweep.activations import Activation
from dreg_sweep.errors import UserError, unknown_level

Parameters = dict[str, Tensor]


@dataclass(frozen=True)
class LayerTrace:
    """One linear layer of a forward pass; `activation` is None for the output layer (σ = identity)."""

    weight: Tensor  # (S, in, out), before any scale
    scale: Tensor | None  # (S,) the factor on the weight in this pass, None for 1
    preactivation: Tensor  # (S, B, out)
    activation: Activation | None
    coefficients: Tensor | None  # (S, K) of a learnable activation

    @cached_property
    def slope(self) -> Tensor:
        """σ'(z), shape (S, B, out)."""
        if self.activation is None:
            return torch.ones_like(self.preactivation)
        return self.activation.derivative(self.preactivation, self.coefficients)


@dataclass(frozen=True)
class Trace:
    """What one forward pass saw. `losses` are cross entropies in nats, one a sample."""

    x: Tensor  # (S, B, D)
    layers: Sequence[LayerTrace]
    logits: Tensor  # (S, B, C)
    losses: Tensor  # (S, B)


class Network(Protocol):
    """A stackable architecture."""

    @property
    def weight_names(self) -> Sequence[str]:
        """Names of the weight matrices, input to output."""

    @property
    def hidden_sizes(self) -> Sequence[int]:
        """Units of each hidden layer."""

    def initial(self, rngs: Sequence[np.random.Generator]) -> Parameters:
        """Parameters for a stack, one generator a cell."""

    def forward(
        self,
        parameters: Parameters,
        x: Tensor,
        scales: Mapping[str, Tensor] | None = None,
        masks: Sequence[Tensor] | None = None,
    ) -> tuple[Tensor, list[LayerTrace]]:
        """Logits (S, B, C) and the layers' traces for inputs x (S, B, D)."""


@dataclass(frozen=True)
class MLP:
    """Fully connected network in_features → widths → n_classes with one activation on each hidden layer."""

    in_features: int
    widths: tuple[int, ...]
    n_classes: int
    activation: Activation

    @property
    def weight_names(self) -> list[str]:
        """Names of the weight matrices, input to output."""
        return [f"weight{i}" for i in range(len(self.widths) + 1)]

    @property
    def hidden_sizes(self) -> tuple[int, ...]:
        """Units of each hidden layer: the shapes of the dropout masks."""
        return self.widths

    def initial(self, rngs: Sequence[np.random.Generator]) -> Parameters:
        """U(±1/√fan_in) for weights (S, in, out) and biases (S, out), as torch.nn.Linear has it.

        Weights lie as (in, out), so that z = xW + b and the gradient xᵀ dz comes out of its matrix product in
        the layout of the weights: the fused optimizer wants them alike, and nothing is transposed. The draws
        use numpy, so a seed means the same start on every device and torch version; the linear layers come
        first, so the start is the same under every activation.
        """
        sizes = (self.in_features, *self.widths, self.n_classes)
        parameters: Parameters = {}
        for i, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
            bound = 1.0 / math.sqrt(fan_in)
            for name, shape in ((f"weight{i}", (fan_in, fan_out)), (f"bias{i}", (fan_out,))):
                cells = [rng.uniform(-bound, bound, shape).astype(np.float32) for rng in rngs]
                parameters[name] = torch.from_numpy(np.stack(cells))
        if self.activation.coefficients:
            start = torch.tensor(self.activation.coefficients).expand(len(rngs), -1)
            parameters |= {f"coefficients{i}": start.clone() for i in range(len(self.widths))}
        return parameters

    def forward(
        self,
        parameters: Parameters,
        x: Tensor,
        scales: Mapping[str, Tensor] | None = None,
        masks: Sequence[Tensor] | None = None,
    ) -> tuple[Tensor, list[LayerTrace]]:
        """One pass. `scales`: (S,) factors on weight matrices by name; `masks`: (S, B, H) a hidden layer."""
        layers: list[LayerTrace] = []
        h = x
        for i, name in enumerate(self.weight_names):
            weight, bias = parameters[name], parameters[f"bias{i}"]
            scale = None if scales is None else scales[name]
            if scale is None:
                z = torch.baddbmm(bias.unsqueeze(1), h, weight)
            else:
                # Scaling z instead of W spares two passes over the weights; x(cW) = c(xW).
                z = torch.bmm(h, weight) * scale[:, None, None] + bias.unsqueeze(1)
            hidden = i < len(self.widths)
            activation = self.activation if hidden else None
            coefficients = parameters.get(f"coefficients{i}")
            layers.append(LayerTrace(weight, scale, z, activation, coefficients))
            if hidden:
                h = self.activation.value(z, coefficients)
                if masks is not None:
                    h = h * masks[i]
        return z, layers


def _mlp(input_shape: tuple[int, ...], n_classes: int, activation: Activation, *, widths: Sequence[int]) -> MLP:
    if not isinstance(widths, list | tuple) or not all(type(w) is int and w > 0 for w in widths):
        raise UserError(f"model.widths={widths} must be a list of positive whole numbers, for example [256,256]")
    return MLP(math.prod(input_shape), tuple(widths), n_classes, activation)


MODELS: dict[str, Callable[..., Network]] = {"mlp": _mlp}


def build_network(
    name: str,
    input_shape: tuple[int, ...],
    n_classes: int,
    activation: Activation,
    options: Mapping[str, Any],
) -> Network:
    """The network `name` for inputs of one shape; `UserError` for an unknown name or option."""
    if name not in MODELS:
        raise unknown_level("model", name, MODELS)
    try:
        return MODELS[name](input_shape, n_classes, activation, **options)
    except TypeError as error:
        raise UserError(f"model={name}: {error}") from None
