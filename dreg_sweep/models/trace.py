"""What a forward pass of a stack leaves behind, and what every stackable architecture offers."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from dreg_sweep.activations import Activation
from dreg_sweep.models.products import product, squared_pull_backs

Parameters = dict[str, Tensor]
Buffers = dict[str, Tensor]  # what a network carries from step to step beside its parameters


def as_matrix(weight: Tensor) -> Tensor:
    """Stacked weights as matrices (S, fan_in, out): a linear layer's as they are, a convolution's reshaped.

    A convolution's (S, out, in, kh, kw) becomes (S, in·kh·kw, out), the matrix whose spectral norm Miyato et al.
    2018 and Yoshida & Miyato 2017 take.
    """
    return weight if weight.dim() == 3 else weight.flatten(2).mT


@dataclass(frozen=True)
class LayerTrace(ABC):
    """One map with weights and what follows it in a forward pass: h = σ(z), z = scale · (weight ∘ input) + ….

    weight: before any scale, stacked. preactivation: (S, B, U), U = channels × positions; a linear layer has one
    position. activation: None for the output layer (σ = identity). coefficients: (S, K) of a learnable activation.
    value: σ(z) in the shape of z where it is at hand.
    """

    weight: Tensor
    preactivation: Tensor
    activation: Activation | None
    coefficients: Tensor | None
    value: Tensor | None

    @property
    @abstractmethod
    def channels(self) -> int:
        """Units of a linear layer, output channels of a convolution."""

    @property
    @abstractmethod
    def row_norms(self) -> Tensor:
        """‖∂z_i/∂input‖² of each unit i, scales included, shape (S, U)."""

    @property
    def squared_norm(self) -> Tensor:
        """‖weight‖_F² before any scale, (S,)."""
        return self.weight.square().flatten(1).sum(1)

    @property
    def positions(self) -> int:
        """Places at which each channel stands: 1, or a convolution's output pixels."""
        return self.preactivation.shape[2] // self.channels

    @cached_property
    def slope(self) -> Tensor:
        """σ'(z), shape (S, B, U)."""
        if self.activation is None:
            return torch.ones_like(self.preactivation)
        return self.activation.derivative(self.preactivation, self.coefficients, self.value)

    @cached_property
    def mean_square_slope(self) -> Tensor:
        """mean_b σ'(z_b)² of each unit, (S, U)."""
        if self.activation is None:
            return torch.ones_like(self.preactivation[:, 0])
        return self.activation.mean_square_derivative(self.preactivation, self.coefficients, self.value)

    @property
    def jacobian_norm(self) -> Tensor:
        """mean_b ‖diag(σ'(z_b)) W‖_F² of the map and its activation, (S,)."""
        return (self.mean_square_slope * self.row_norms).sum(1)


@dataclass(frozen=True)
class LinearTrace(LayerTrace):
    """A linear layer: weight (S, in, out), which reads (S, B, in).

    scale: (S,) the factor on the weight in this pass, None for 1. mask: (S, B, out), what multiplied the
    activations (dropout), None for nothing. squared_columns: column sums of the squared weight, (S, out), where
    they came with the product.
    """

    reads: Tensor
    scale: Tensor | None = None
    mask: Tensor | None = None
    squared_columns: Tensor | None = None

    @property
    def channels(self) -> int:
        """Units."""
        return self.weight.shape[2]

    @property
    def squared_norm(self) -> Tensor:
        """‖weight‖_F² before any scale, (S,)."""
        return self._squared_columns.sum(1)

    @property
    def row_norms(self) -> Tensor:
        """Column sums of the squared weights (which lie as (in, out)), (S, U)."""
        norms = self._squared_columns
        return norms if self.scale is None else norms * self.scale.square()[:, None]

    @property
    def _squared_columns(self) -> Tensor:
        return self.weight.square().sum(1) if self.squared_columns is None else self.squared_columns

    def pull_back(self, cotangents: Tensor) -> Tensor:
        """Cotangents of the layer's output (S, V, B, out) → of its input (S, V, B, in): the chain rule."""
        outer = product(self._of_map(cotangents), self.weight.mT)
        if self.scale is not None:
            outer = outer * self.scale[:, None, None]
        return outer.view(*cotangents.shape[:3], -1)

    def squared_pull_back(self, cotangents: Tensor) -> Tensor:
        """Squared norms of `pull_back`, (S, V, B); to be differentiated once."""
        squares = squared_pull_backs(self._of_map(cotangents), self.weight).view(cotangents.shape[:3])
        return squares if self.scale is None else squares * self.scale.square()[:, None, None]

    def _of_map(self, cotangents: Tensor) -> Tensor:
        """Cotangents of the output (S, V, B, out) → of scale · (weight ∘ input), (S, V·B, out)."""
        inner = cotangents
        if self.mask is not None:
            inner = inner * self.mask.unsqueeze(1)
        if self.activation is not None:
            inner = inner * self.slope.unsqueeze(1)
        return inner.flatten(1, 2)


@dataclass(frozen=True)
class Trace:
    """What one forward pass saw: all that a penalty may look at.

    x: (S, B, D), the standardized inputs. y: labels (S, B), or targets (S, B, T) of a regression. logits: (S,
    B, C), or predictions (S, B, T). losses: (S, B), cross entropies in nats, or squared errors. streams: each
    cell's own generator, for penalties that draw. singular_values: the largest of each weight matrix by power
    iteration, (S,) each, where a method asks for them.
    """

    x: Tensor
    y: Tensor
    layers: Sequence[LayerTrace]
    logits: Tensor
    losses: Tensor
    streams: Sequence[torch.Generator]
    singular_values: Sequence[Tensor] = ()


class Network(Protocol):
    """A stackable architecture."""

    @property
    def weight_names(self) -> Sequence[str]:
        """Names of the weights of its maps, input to output."""

    @property
    def linear_layers_only(self) -> bool:
        """Whether gradients in the inputs can be had layer by layer, without autograd's."""

    @property
    def mask_units(self) -> Sequence[int]:
        """Units of each layer that dropout masks, input to output."""

    def stacks_on(self, device: str) -> bool:
        """Whether several cells train faster as one than one after the other on `cpu` or `cuda`."""

    def initial(self, rngs: Sequence[np.random.Generator]) -> Parameters:
        """Parameters for a stack, one generator a cell."""

    def initial_buffers(self, size: int) -> Buffers:
        """Buffers for a stack of so many cells."""

    def mapped(self, parameters: Parameters, x: Tensor) -> Tensor | None:
        """Inputs x (S, B, D) times the weights of the first layer, (S, B, U): without scale and bias, linear in x.

        None where the first layer is no matrix.
        """

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
        """Logits (S, B, C) and the layers' traces for inputs x (S, B, D).

        scales: (S,) factors on weights by name. masks: (S, B, units) for each of `mask_units`. `training` uses
        the batch's own statistics and moves the buffers, where the network has any. squared_columns: compute
        those of linear layers along with their products, for penalties that look at them. mapped: `mapped` of x
        where it is known; then x is not looked at.
        """


def uniform(rngs: Sequence[np.random.Generator], shape: tuple[int, ...], fan_in: int) -> Tensor:
    """U(±1/√fan_in), as torch's linear and convolutional layers start, (S, *shape) float32.

    The draws use numpy, so a seed means the same start on every device and torch version.
    """
    bound = 1.0 / math.sqrt(fan_in)
    return torch.from_numpy(np.stack([rng.uniform(-bound, bound, shape).astype(np.float32) for rng in rngs]))
