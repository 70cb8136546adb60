"""A small residual network for images: stages of basic blocks with batch normalization."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import batch_norm

from dreg_sweep.activations import Activation
from dreg_sweep.models.convolution import ConvTrace, Normalization, activate, apart, convolve, side_by_side
from dreg_sweep.models.mlp import linear
from dreg_sweep.models.trace import Buffers, LayerTrace, Parameters, uniform

_Factors = tuple[Tensor | None, Normalization]  # scale and normalization of a ConvTrace
_EPS = 1e-5
_MOMENTUM = 0.1


@dataclass(frozen=True)
class _Conv:
    """One convolution of the plan. reads: (H, W). shortcut: it projects a block's input onto its output."""

    number: int
    fan_in: int
    fan_out: int
    kernel: int
    stride: int
    reads: tuple[int, int]

    @property
    def padding(self) -> int:
        return self.kernel // 2

    @property
    def writes(self) -> tuple[int, int]:
        height, width = ((side - 1) // self.stride + 1 for side in self.reads)
        return height, width


@dataclass(frozen=True)
class _Block:
    first: _Conv
    second: _Conv
    shortcut: _Conv | None

    @property
    def convolutions(self) -> list[_Conv]:
        return [conv for conv in (self.first, self.second, self.shortcut) if conv is not None]


@dataclass(frozen=True)
class ResNet:
    """Stem, stages of `blocks` basic blocks each, global average, linear (He et al. 2016, section 4.2).

    input_shape: (C, H, W). widths: channels of each stage; the stem has those of the first.

    A block is σ(BN(conv(σ(BN(conv(h))))) + h), 3 × 3 convolutions without biases; from the second stage on the
    first block of a stage halves the image and projects h by a 1 × 1 convolution with BN. Dropout masks the
    averaged channels.

    The layer Jacobian that dreg penalizes is that of σ ∘ BN ∘ convolution with the batch statistics as constants;
    the two convolutions that meet in a sum share its σ', and the identity path, which has no weights, is left out.
    In training, batch normalization makes a row's output depend on its whole batch: penalties of input gradients
    then differentiate the batch's summed outputs in each row, not each row's own output. Evaluation, history
    included, uses running averages, where every row stands alone again.

    A learnable cubic grows along the identity path, which nothing normalizes: the first logits are of order 1 with
    one block a stage, 10^3 with two, and 10^9 with three (widths 16-32-64, three seeds).
    """

    input_shape: tuple[int, int, int]
    widths: tuple[int, ...]
    blocks: int
    n_outputs: int
    activation: Activation

    @cached_property
    def _plan(self) -> tuple[_Conv, list[_Block]]:
        numbers = itertools.count()
        stem = _Conv(next(numbers), self.input_shape[0], self.widths[0], 3, 1, self.input_shape[1:])
        width, reads, blocks = stem.fan_out, stem.writes, []
        for stage, out in enumerate(self.widths):
            for place in range(self.blocks):
                stride = 2 if stage and not place else 1
                first = _Conv(next(numbers), width, out, 3, stride, reads)
                second = _Conv(next(numbers), out, out, 3, 1, first.writes)
                shortcut = _Conv(next(numbers), width, out, 1, stride, reads) if stride > 1 else None
                blocks.append(_Block(first, second, shortcut))
                width, reads = out, first.writes
        return stem, blocks

    @cached_property
    def _convolutions(self) -> list[_Conv]:
        stem, blocks = self._plan
        return [stem, *(conv for block in blocks for conv in block.convolutions)]

    @property
    def weight_names(self) -> list[str]:
        """Convolutions block by block, then the output matrix."""
        return [f"weight{i}" for i in range(len(self._convolutions) + 1)]

    @property
    def linear_layers_only(self) -> bool:
        """Some are convolutions."""
        return False

    @property
    def mask_units(self) -> tuple[int, ...]:
        """The averaged channels."""
        return self.widths[-1:]

    def stacks_on(self, device: str) -> bool:
        """Grouped convolutions gain nothing on a CPU."""
        return device != "cpu"

    def initial(self, rngs: Sequence[np.random.Generator]) -> Parameters:
        """Convolutions N(0, 2/fan_in) (He et al. 2015), γ = 1, β = 0; output layer U(±1/√fan_in) and 0."""
        parameters: Parameters = {}
        for conv in self._convolutions:
            shape = (conv.fan_out, conv.fan_in, conv.kernel, conv.kernel)
            deviation = (2.0 / (conv.fan_in * conv.kernel**2)) ** 0.5
            draws = [(rng.standard_normal(shape) * deviation).astype(np.float32) for rng in rngs]
            parameters[f"weight{conv.number}"] = torch.from_numpy(np.stack(draws))
            parameters[f"gamma{conv.number}"] = torch.ones(len(rngs), conv.fan_out)
            parameters[f"beta{conv.number}"] = torch.zeros(len(rngs), conv.fan_out)
        last, width = len(self._convolutions), self.widths[-1]
        parameters[f"weight{last}"] = uniform(rngs, (width, self.n_outputs), width)
        parameters[f"bias{last}"] = torch.zeros(len(rngs), self.n_outputs)
        stem, blocks = self._plan
        activated = [stem, *(conv for block in blocks for conv in (block.first, block.second))]
        return parameters | self.activation.initial(len(rngs), [conv.number for conv in activated])

    def initial_buffers(self, size: int) -> Buffers:
        """Running means (zeros) and variances (ones) of each convolution's channels, (S, C)."""
        buffers: Buffers = {}
        for conv in self._convolutions:
            buffers[f"mean{conv.number}"] = torch.zeros(size, conv.fan_out)
            buffers[f"variance{conv.number}"] = torch.ones(size, conv.fan_out)
        return buffers

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
        assert buffers is not None
        size, (stem, blocks) = len(x), self._plan
        layers: list[LayerTrace] = []

        def convolved(conv: _Conv, h: Tensor) -> tuple[Tensor, _Factors]:
            """BN ∘ convolution, and the factors on its weight."""
            z, scale = convolve(parameters, conv.number, h, scales, stride=conv.stride, padding=conv.padding)
            z, normalization = _normalized(parameters, buffers, conv.number, z, training)
            return z, (scale, normalization)

        def hidden(z: Tensor, *maps: tuple[_Conv, _Factors]) -> Tensor:
            """σ(z), and a trace for each map that went into z."""
            coefficients = parameters.get(f"coefficients{maps[0][0].number}")
            h, flat, value = activate(z, size, self.activation, coefficients)
            for conv, factors in maps:
                weight = parameters[f"weight{conv.number}"]
                window = (conv.reads, conv.stride, conv.padding)
                layers.append(ConvTrace(weight, flat, self.activation, coefficients, value, *window, *factors))
            return h

        z, factors = convolved(stem, side_by_side(x, *self.input_shape))
        h = hidden(z, (stem, factors))
        for block in blocks:
            z, factors = convolved(block.first, h)
            inner = hidden(z, (block.first, factors))
            z, factors = convolved(block.second, inner)
            maps = [(block.second, factors)]
            if block.shortcut is None:
                z = z + h
            else:
                projected, factors = convolved(block.shortcut, h)
                z = z + projected
                maps.append((block.shortcut, factors))
            h = hidden(z, *maps)
        features = apart(h, size).unflatten(2, (self.widths[-1], -1)).mean(3)
        if masks is not None:
            features = features * masks[0]
        logits, layer = linear(parameters, len(self._convolutions), features, scales, None, None, squared_columns)
        return logits, [*layers, layer]


def _normalized(
    parameters: Parameters, buffers: Buffers, number: int, z: Tensor, training: bool
) -> tuple[Tensor, Normalization]:
    """Batch normalization of z (B, S·C, H, W); in training the running averages move, as torch's do."""
    gamma, beta = parameters[f"gamma{number}"], parameters[f"beta{number}"]
    mean, variance = buffers[f"mean{number}"], buffers[f"variance{number}"]
    out = batch_norm(
        z, mean.view(-1), variance.view(-1), gamma.reshape(-1), beta.reshape(-1), training, _MOMENTUM, _EPS
    )
    return out, Normalization(gamma, z if training else None, variance, _EPS)
