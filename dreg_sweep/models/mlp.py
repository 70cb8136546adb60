"""The multilayer perceptron: batched products, so that S small trainings cost one pass over large kernels."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dreg_sweep.activations import Activation
from dreg_sweep.models.products import affine, affine_with_squares, product
from dreg_sweep.models.trace import Buffers, LayerTrace, LinearTrace, Parameters, uniform


@dataclass(frozen=True)
class MLP:
    """Fully connected network in_features → widths → n_outputs with one activation on each hidden layer."""

    in_features: int
    widths: tuple[int, ...]
    n_outputs: int
    activation: Activation

    @property
    def weight_names(self) -> list[str]:
        """Names of the weight matrices, input to output."""
        return [f"weight{i}" for i in range(len(self.widths) + 1)]

    @property
    def linear_layers_only(self) -> bool:
        """All of them."""
        return True

    @property
    def mask_units(self) -> tuple[int, ...]:
        """Every hidden layer."""
        return self.widths

    def stacks_on(self, device: str) -> bool:
        """Everywhere."""
        return True

    def initial(self, rngs: Sequence[np.random.Generator]) -> Parameters:
        """U(±1/√fan_in) for weights (S, in, out) and biases (S, out), as torch.nn.Linear has it.

        z = xW + b. The linear layers come first, so the start is the same under every activation.
        """
        sizes = (self.in_features, *self.widths, self.n_outputs)
        parameters: Parameters = {}
        for i, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
            parameters[f"weight{i}"] = uniform(rngs, (fan_in, fan_out), fan_in)
            parameters[f"bias{i}"] = uniform(rngs, (fan_out,), fan_in)
        return parameters | self.activation.initial(len(rngs), range(len(self.widths)))

    def initial_buffers(self, size: int) -> Buffers:
        """None."""
        return {}

    def mapped(self, parameters: Parameters, x: Tensor) -> Tensor:
        """x W of the first layer."""
        return product(x, parameters["weight0"])

    def forward(
        self,
        parameters: Parameters,
        x: Tensor,
        scales: Mapping[str, Tensor] | None = None,
        masks: Sequence[Tensor] | None = None,
        buffers: Buffers | None = None,
        training: bool = False,
        squared_columns: bool = False,
        mapped: Tensor | None = None,
    ) -> tuple[Tensor, list[LayerTrace]]:
        """One pass; see `Network.forward`."""
        layers: list[LayerTrace] = []
        h = x
        for i in range(len(self.widths) + 1):
            hidden = i < len(self.widths)
            mask = masks[i] if hidden and masks is not None else None
            activation = self.activation if hidden else None
            known = mapped if i == 0 else None
            h, layer = linear(parameters, i, h, scales, activation, mask, squared_columns, known)
            layers.append(layer)
        return h, layers


def linear(
    parameters: Parameters,
    number: int,
    h: Tensor,
    scales: Mapping[str, Tensor] | None,
    activation: Activation | None,
    mask: Tensor | None,
    squared_columns: bool,
    mapped: Tensor | None = None,
) -> tuple[Tensor, LinearTrace]:
    """The linear layer of that number on h (S, B, in), its activation and mask: (S, B, out) and the trace.

    mapped: h times the weight, where it is known.
    """
    name = f"weight{number}"
    weight, bias = parameters[name], parameters[f"bias{number}"]
    scale = None if scales is None else scales[name]
    squares = None
    if scale is not None or mapped is not None:
        # Scaling z instead of W spares two passes over the weights; x(cW) = c(xW).
        mapped = product(h, weight) if mapped is None else mapped
        factor = torch.ones_like(bias[:, 0]) if scale is None else scale
        z = torch.addcmul(bias.unsqueeze(1), mapped, factor[:, None, None])
    elif squared_columns:
        z, squares = affine_with_squares(h, weight, bias)
    else:
        z = affine(h, weight, bias)
    coefficients = parameters.get(f"coefficients{number}")
    out = z if activation is None else activation.value(z, coefficients)
    layer = LinearTrace(weight, z, activation, coefficients, out, h, scale, mask, squares)
    return (out if mask is None else out * mask), layer
