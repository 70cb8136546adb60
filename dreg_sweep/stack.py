"""The state of one stack in training: network, parameters and regularizer of S cells, and their forward pass."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from dreg_sweep.models import Network, Parameters, Trace
from dreg_sweep.regularizers import Regularizer

_SETTLING_ITERATIONS = 15  # power iterations before training, as torch's parametrization does


@dataclass
class Stack:
    """S cells of one computation graph. `streams`: each cell's own generator for penalty noise and masks."""

    network: Network
    parameters: Parameters
    regularizer: Regularizer
    strength: Tensor  # (S,)
    streams: Sequence[torch.Generator]

    def __post_init__(self) -> None:
        self.singular: dict[str, tuple[Tensor, Tensor]] = {}
        if self.regularizer.norm is not None:
            for name in self.network.weight_names:
                self._settle_power_iteration(name)

    @property
    def size(self) -> int:
        """S, the number of cells."""
        return len(self.streams)

    @property
    def weights(self) -> list[Tensor]:
        """The weight matrices, each (S, in, out)."""
        return [self.parameters[name] for name in self.network.weight_names]

    def _settle_power_iteration(self, name: str) -> None:
        weight = self.parameters[name].detach()
        fan_in, fan_out = weight.shape[1:]
        u, v = (torch.stack([_unit_vector(s, n, weight.dtype) for s in self.streams]) for n in (fan_out, fan_in))
        assert self.regularizer.norm is not None
        _, u, v = self.regularizer.norm(weight, u, v, n_power_iterations=_SETTLING_ITERATIONS)
        self.singular[name] = (u, v)

    def forward(self, x: Tensor, y: Tensor, training: bool) -> Trace:
        """One pass over x (S, B, D) with labels y (S, B). `training` draws masks and moves power iterations."""
        masks = None
        if training and self.regularizer.mask is not None:
            shapes = [(self.size, x.shape[1], units) for units in self.network.hidden_sizes]
            masks = [self.regularizer.mask(shape, self.strength, self.streams) for shape in shapes]
        logits, layers = self.network.forward(self.parameters, x, self._scales(training), masks)
        losses = cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="none").view(y.shape)
        return Trace(x, layers, logits, losses)

    def _scales(self, training: bool) -> Mapping[str, Tensor] | None:
        norm = self.regularizer.norm
        if norm is None:
            return None
        scales = {}
        for name, (u, v) in self.singular.items():
            options = self.regularizer.options if training else {}
            sigma, u, v = norm(self.parameters[name], u, v, update=training, **options)
            self.singular[name] = (u, v)
            scales[name] = 1.0 / (sigma * self.strength)
        return scales

    def penalty(self, trace: Trace) -> Tensor | None:
        """The regularizer's penalty before its strength, (S,), or None where it is no term of the objective."""
        if self.regularizer.penalty is None:
            return None
        return self.regularizer.penalty(trace, **self.regularizer.options)


def _unit_vector(stream: torch.Generator, length: int, dtype: torch.dtype) -> Tensor:
    vector = torch.randn(length, generator=stream, device=stream.device, dtype=dtype)
    return vector / vector.norm()


def seeded_generators(seeds: Sequence[int], device: torch.device) -> list[torch.Generator]:
    """One torch generator a cell on the device."""
    return [torch.Generator(device).manual_seed(seed) for seed in seeds]


def batch_order(seed: int, n: int, steps: int, batch_size: int) -> np.ndarray:
    """Row numbers of every batch, int64 (steps, batch_size).

    The rows of all epochs, each a fresh permutation of the n training rows, are laid end to end and cut into
    batches of one size: every row is seen equally often, and no batch is shorter than another.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    epochs = -(-steps * batch_size // n)
    rows = np.concatenate([rng.permutation(n) for _ in range(epochs)])
    return rows[: steps * batch_size].reshape(steps, batch_size)
