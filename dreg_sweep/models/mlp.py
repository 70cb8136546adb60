"""The multilayer perceptron: batched products, so that S small trainings cost one pass over large kernels."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dreg_sweep.activations import Activation
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
    def mask_units(self) -> tuple[int, ...]:
        """Every hidden layer."""
        return self.widths

    def stacks_on(self, device: str) -> bool:
        """Everywhere."""
        return True

    def initial(self, rngs: Sequence[np.random.Generator]) -> Parameters:
        """U(±1/√fan_in) for weights (S, in, out) and biases (S, out), as torch.nn.Linear has it.

        Weights lie as (in, out), so that z = xW + b and the gradient xᵀ dz comes out of its matrix product in
        the layout of the weights: the fused optimizer wants them alike, and nothing is transposed. The linear
        layers come first, so the start is the same under every activation.
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

    def forward(
        self,
        parameters: Parameters,
        x: Tensor,
        scales: Mapping[str, Tensor] | None = None,
        masks: Sequence[Tensor] | None = None,
        buffers: Buffers | None = None,
        training: bool = False,
    ) -> tuple[Tensor, list[LayerTrace]]:
        """One pass; see `Network.forward`."""
        layers: list[LayerTrace] = []
        h = x
        for i in range(len(self.widths) + 1):
            hidden = i < len(self.widths)
            mask = masks[i] if hidden and masks is not None else None
            h, layer = linear(parameters, i, h, scales, self.activation if hidden else None, mask)
            layers.append(layer)
        return h, layers


def linear(
    parameters: Parameters,
    number: int,
    h: Tensor,
    scales: Mapping[str, Tensor] | None,
    activation: Activation | None,
    mask: Tensor | None,
) -> tuple[Tensor, LinearTrace]:
    """The linear layer of that number on h (S, B, in), its activation and mask: (S, B, out) and the trace."""
    name = f"weight{number}"
    weight, bias = parameters[name], parameters[f"bias{number}"]
    scale = None if scales is None else scales[name]
    if scale is None:
        z = torch.baddbmm(bias.unsqueeze(1), h, weight)
    else:
        # Scaling z instead of W spares two passes over the weights; x(cW) = c(xW).
        z = torch.bmm(h, weight) * scale[:, None, None] + bias.unsqueeze(1)
    coefficients = parameters.get(f"coefficients{number}")
    out = z if activation is None else activation.value(z, coefficients)
    layer = LinearTrace(weight, z, activation, coefficients, scale, mask)
    return (out if mask is None else out * mask), layer
