"""LeNet: two convolutions with pooling, two hidden linear layers."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor
from torch.nn.functional import max_pool2d

from dreg_sweep.activations import Activation
from dreg_sweep.models.convolution import ConvTrace, activate, apart, convolve, side_by_side
from dreg_sweep.models.mlp import linear
from dreg_sweep.models.trace import Buffers, LayerTrace, Parameters, uniform

_POOL = 2


@dataclass(frozen=True)
class LeNet:
    """Convolutions (kernel × kernel, each with 2 × 2 max pooling after σ), then linear layers (LeCun et al. 1998).

    input_shape: (C, H, W). channels: of each convolution. widths: of the hidden linear layers; dropout masks the
    last of them (Varga et al. 2017). The layer Jacobian that dreg penalizes is that of σ ∘ convolution, before the
    pooling, which has no weights.
    """

    input_shape: tuple[int, int, int]
    channels: tuple[int, ...]
    widths: tuple[int, ...]
    kernel: int
    padding: int
    n_outputs: int
    activation: Activation

    @property
    def weight_names(self) -> list[str]:
        """Convolutions, then matrices."""
        return [f"weight{i}" for i in range(len(self.channels) + len(self.widths) + 1)]

    @property
    def linear_layers_only(self) -> bool:
        """Some are convolutions."""
        return False

    @property
    def mask_units(self) -> tuple[int, ...]:
        """The last hidden linear layer."""
        return self.widths[-1:]

    @property
    def image_sizes(self) -> list[tuple[int, int]]:
        """(H, W) that each convolution reads, then the linear layers; not positive where too small."""
        sizes = [self.input_shape[1:]]
        for _ in self.channels:
            height, width = ((side + 2 * self.padding - self.kernel + 1) // _POOL for side in sizes[-1])
            sizes.append((height, width))
        return sizes

    def stacks_on(self, device: str) -> bool:
        """Grouped convolutions gain nothing on a CPU."""
        return device != "cpu"

    def initial(self, rngs: Sequence[np.random.Generator]) -> Parameters:
        """U(±1/√fan_in) for weights and biases, as torch.nn has it; convolutions (S, out, in, k, k)."""
        parameters: Parameters = {}
        for i, (fan_in, fan_out) in enumerate(itertools.pairwise((self.input_shape[0], *self.channels))):
            taps = fan_in * self.kernel**2
            parameters[f"weight{i}"] = uniform(rngs, (fan_out, fan_in, self.kernel, self.kernel), taps)
            parameters[f"bias{i}"] = uniform(rngs, (fan_out,), taps)
        features = self.channels[-1] * math.prod(self.image_sizes[-1])
        sizes = (features, *self.widths, self.n_outputs)
        for i, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes), start=len(self.channels)):
            parameters[f"weight{i}"] = uniform(rngs, (fan_in, fan_out), fan_in)
            parameters[f"bias{i}"] = uniform(rngs, (fan_out,), fan_in)
        return parameters | self.activation.initial(len(rngs), range(len(sizes) - 2 + len(self.channels)))

    def initial_buffers(self, size: int) -> Buffers:
        """None."""
        return {}

    def mapped(self, parameters: Parameters, x: Tensor) -> None:
        """The first layer is a convolution."""

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
        size = len(x)
        layers: list[LayerTrace] = []
        h = side_by_side(x, *self.input_shape)
        for i in range(len(self.channels)):
            z, scale = convolve(parameters, i, h, scales, padding=self.padding)
            coefficients = parameters.get(f"coefficients{i}")
            weight, reads = parameters[f"weight{i}"], (h.shape[2], h.shape[3])
            h, flat, value = activate(z, size, self.activation, coefficients)
            layers.append(
                ConvTrace(weight, flat, self.activation, coefficients, value, reads, 1, self.padding, scale)
            )
            h = max_pool2d(h, _POOL)
        h = apart(h, size)
        first, last = len(self.channels), len(self.channels) + len(self.widths)
        for i in range(first, last + 1):
            mask = masks[0] if i == last - 1 and masks is not None else None
            activation = None if i == last else self.activation
            h, layer = linear(parameters, i, h, scales, activation, mask, squared_columns)
            layers.append(layer)
        return h, layers
