"""The state of one stack in training: network, parameters and methods of S cells, and their forward pass."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from dreg_sweep.models import Buffers, Network, Parameters, Trace, as_matrix
from dreg_sweep.regularizers import Regularizer, spectral_norm
from dreg_sweep.tasks import TASKS, Task

_SETTLING_ITERATIONS = 15  # power iterations before training, as torch's parametrization does
_ORDERS_KEPT = 16  # batch orders of the seeds last used; a training of 600,000 rows has one of 2.4 MB


@dataclass(frozen=True)
class Method:
    """A regularizer with its strength λ in each cell, (S,)."""

    regularizer: Regularizer
    strength: Tensor


@dataclass
class Stack:
    """S cells of one computation graph.

    methods: what regularizes them, all at once; the first is the level under study, which may be the baseline.
    streams: each cell's own generator for penalty noise and masks.
    """

    network: Network
    parameters: Parameters
    methods: Sequence[Method]
    streams: Sequence[torch.Generator]
    task: Task = TASKS["classification"]
    buffers: Buffers = field(default_factory=dict)

    def __post_init__(self) -> None:
        regularizers = [method.regularizer for method in self.methods]
        self._squared_columns = any(regularizer.squared_columns for regularizer in regularizers)
        asked = any(regularizer.input_gradient for regularizer in regularizers)
        self.needs_input_gradient = asked and not self.network.linear_layers_only
        self._following = next((r for r in regularizers if r.follows_singular_values), None)
        self._mask = next((method for method in self.methods if method.regularizer.mask), None)
        self._norm = next((method for method in self.methods if method.regularizer.norm), None)
        self.singular: dict[str, tuple[Tensor, Tensor]] = {}
        if self._following is not None:
            for name in self.network.weight_names:
                self._settle_power_iteration(name)

    @property
    def size(self) -> int:
        """S, the number of cells."""
        return len(self.streams)

    @property
    def device(self) -> torch.device:
        """Where it trains."""
        return self.methods[0].strength.device

    @property
    def weights(self) -> list[Tensor]:
        """The weights of its maps, stacked."""
        return [self.parameters[name] for name in self.network.weight_names]

    def _settle_power_iteration(self, name: str) -> None:
        weight = as_matrix(self.parameters[name].detach())
        fan_in, fan_out = weight.shape[1:]
        u, v = (torch.stack([_unit_vector(s, n, weight.dtype) for s in self.streams]) for n in (fan_out, fan_in))
        _, u, v = spectral_norm(weight, u, v, n_power_iterations=_SETTLING_ITERATIONS)
        self.singular[name] = (u, v)

    def mapped(self, x: Tensor) -> Tensor | None:
        """x (S, B, D) through the weights of the first layer, where that is a matrix; see `Network.mapped`."""
        return self.network.mapped(self.parameters, x)

    def forward(self, x: Tensor, y: Tensor, training: bool, mapped: Tensor | None = None) -> Trace:
        """One pass over x (S, B, D) with labels y (S, B), or targets (S, B, T).

        `training` draws masks, moves power iterations and normalizes by the batch's statistics. mapped: `mapped`
        of x where it is known; then x is not looked at.
        """
        masks = None
        if training and self._mask is not None:
            draw, strength = self._mask.regularizer.mask, self._mask.strength
            assert draw is not None
            shapes = [(self.size, x.shape[1], units) for units in self.network.mask_units]
            masks = [draw(shape, strength, self.streams) for shape in shapes]
        sigmas = self._singular_values(training)
        scales = None
        if self._norm is not None:
            scales = {name: 1.0 / (sigma * self._norm.strength) for name, sigma in sigmas.items()}
        squares = training and self._squared_columns
        logits, layers = self.network.forward(
            self.parameters, x, scales, masks, self.buffers, training, squares, mapped
        )
        losses = self.task.losses(logits, y)
        return Trace(x, y, layers, logits, losses, self.streams, list(sigmas.values()))

    def _singular_values(self, training: bool) -> Mapping[str, Tensor]:
        """σ of each weight matrix by name, in float32; empty where no method asks for it."""
        sigmas: dict[str, Tensor] = {}
        if self._following is None:
            return sigmas
        options = self._following.options if training else {}
        with torch.autocast(self.device.type, enabled=False):
            for name, kept in self.singular.items():
                sigma, *moved = spectral_norm(as_matrix(self.parameters[name]), *kept, update=training, **options)
                if training:  # in place: a replayed step finds them where it left them
                    for vector, new in zip(kept, moved, strict=True):
                        vector.copy_(new)
                sigmas[name] = sigma
        return sigmas

    def penalties(self, trace: Trace) -> list[Tensor | None]:
        """Each method's penalty before its strength, (S,), or None where it is no term of the objective."""
        return [
            None if method.regularizer.penalty is None
            else method.regularizer.penalty(trace, **method.regularizer.options)
            for method in self.methods
        ]  # fmt: skip

    def decay(self, lr: float | Tensor) -> None:
        """Shrink the weights as the methods that decay them say; to be called before a step of that rate."""
        for method in self.methods:
            if method.regularizer.decay is not None:
                method.regularizer.decay(self.weights, method.strength, lr)


def _unit_vector(stream: torch.Generator, length: int, dtype: torch.dtype) -> Tensor:
    vector = torch.randn(length, generator=stream, device=stream.device, dtype=dtype)
    return vector / vector.norm()


def seeded_generators(seeds: Sequence[int], device: torch.device) -> list[torch.Generator]:
    """One torch generator a cell on the device."""
    return [torch.Generator(device).manual_seed(seed) for seed in seeds]


@lru_cache(_ORDERS_KEPT)
def batch_order(seed: int, n: int, steps: int, batch_size: int) -> np.ndarray:
    """Row numbers of every batch, int32 (steps, batch_size), not to be written to.

    The rows of all epochs, each a fresh permutation of the n training rows, are laid end to end and cut into
    batches of one size: every row is seen equally often, and no batch is shorter than another.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    epochs = -(-steps * batch_size // n)
    rows = np.concatenate([rng.permutation(n).astype(np.int32) for _ in range(epochs)])
    order = rows[: steps * batch_size].reshape(steps, batch_size)
    order.flags.writeable = False
    return order
