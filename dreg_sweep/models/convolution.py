"""Convolutions of a stack: the cells lie side by side as groups of channels, (B, S·C, H, W)."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from dreg_sweep.activations import Activation
from dreg_sweep.models.trace import LayerTrace, Parameters


def side_by_side(x: Tensor, channels: int, height: int, width: int) -> Tensor:
    """(S, B, C·H·W) → (B, S·C, H, W), without a copy where S is 1."""
    size, batch = x.shape[:2]
    return x.transpose(0, 1).reshape(batch, size * channels, height, width)


def apart(x: Tensor, size: int) -> Tensor:
    """(B, S·C, H, W) → (S, B, C·H·W), a view."""
    return x.view(len(x), size, -1).transpose(0, 1)


@dataclass(frozen=True)
class Normalization:
    """Batch normalization as a factor on each channel.

    gamma: (S, C). batch: what was normalized by its own statistics, (B, S·C, H, W); None where the running
    variance (S, C) was used.
    """

    gamma: Tensor
    batch: Tensor | None
    running: Tensor
    eps: float

    @cached_property
    def scale(self) -> Tensor:
        """γ/√(var + ε), (S, C)."""
        if self.batch is None:
            return self.gamma * torch.rsqrt(self.running + self.eps)
        variance = self.batch.var((0, 2, 3), correction=0).view(self.gamma.shape)
        return self.gamma * torch.rsqrt(variance + self.eps)


@dataclass(frozen=True)
class ConvTrace(LayerTrace):
    """A convolution: weight (S, out, in, k, k), stride and padding alike in both directions.

    input_size: (H, W) of what it reads. scale: (S,) the factor on the weight in this pass, None for 1.
    normalization: what batch normalization then multiplies each channel with, None without. A unit is a channel at
    a position, channel by channel.
    """

    input_size: tuple[int, int]
    stride: int
    padding: int
    scale: Tensor | None = None
    normalization: Normalization | None = None

    @property
    def channels(self) -> int:
        """Output channels."""
        return self.weight.shape[1]

    @cached_property
    def row_norms(self) -> Tensor:
        """Squared weights summed over the taps that lie inside the image, at each position: exact at borders.

        That sum is itself a convolution, of an image of ones with W² summed over its input channels. Batch
        statistics count as constants.
        """
        size, out = self.weight.shape[:2]
        ones = self.weight.new_ones(1, size, *self.input_size)
        squares = self.weight.square().sum(2).flatten(0, 1).unsqueeze(1)  # (S·out, 1, k, k)
        norms = conv2d(ones, squares, stride=self.stride, padding=self.padding, groups=size).view(size, out, -1)
        if self.scale is not None:
            norms = norms * self.scale.square()[:, None, None]
        if self.normalization is not None:
            norms = norms * self.normalization.scale.square().unsqueeze(2)
        return norms.flatten(1)


def convolve(
    parameters: Parameters,
    number: int,
    h: Tensor,
    scales: Mapping[str, Tensor] | None,
    *,
    stride: int = 1,
    padding: int = 0,
) -> tuple[Tensor, Tensor | None]:
    """The convolution of that number on h (B, S·in, H, W): z (B, S·out, H', W') and the scale on its weight.

    A bias is added where the parameters have one.
    """
    name = f"weight{number}"
    weight, bias = parameters[name], parameters.get(f"bias{number}")
    size, out = weight.shape[:2]
    scale = None if scales is None else scales[name]
    flat = weight.reshape(size * out, *weight.shape[2:])
    if scale is None:
        shift = None if bias is None else bias.reshape(-1)
        return conv2d(h, flat, shift, stride, padding, groups=size), None
    z = conv2d(h, flat, None, stride, padding, groups=size) * scale.repeat_interleave(out)[:, None, None]
    return (z if bias is None else z + bias.reshape(-1)[:, None, None]), scale


def activate(
    z: Tensor, size: int, activation: Activation, coefficients: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """σ(z) for z (B, S·C, H, W): in the same layout for the next layer, then z and σ(z) apart for the trace."""
    flat = apart(z, size)
    value = activation.value(flat, coefficients)
    return value.transpose(0, 1).reshape(z.shape), flat, value
