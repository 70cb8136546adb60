"""The state of one stack in training: network, parameters and methods of S cells, and their forward pass."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from dreg_sweep.models import Buffers, Network, Parameters, Trace, as_matrix
from dreg_sweep.regularizers import Regularizer, spectral_norm
from dreg_sweep.tasks import TASKS, Task

_SETTLING_ITERATIONS = 15  # power iterations before training, as torch's parametrization does


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
        self.needs_input_gradient = any(regularizer.input_gradient for regularizer in regularizers)
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

    def forward(self, x: Tensor, y: Tensor, training: bool) -> Trace:
        """One pass over x (S, B, D) with labels y (S, B), or targets (S, B, T).

        `training` draws masks, moves power iterations and normalizes by the batch's statistics.
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
        logits, layers = self.network.forward(self.parameters, x, scales, masks, self.buffers, training)
        losses = self.task.losses(logits, y)
        return Trace(x, y, layers, logits, losses, self.streams, list(sigmas.values()))

    def _singular_values(self, training: bool) -> Mapping[str, Tensor]:
        """σ of each weight matrix by name; empty where no method asks for it."""
        sigmas = {}
        for name, (u, v) in self.singular.items():
            assert self._following is not None
            options = self._following.options if training else {}
            sigma, u, v = spectral_norm(as_matrix(self.parameters[name]), u, v, update=training, **options)
            self.singular[name] = (u, v)
            sigmas[name] = sigma
        return sigmas

    def penalties(self, trace: Trace) -> list[Tensor | None]:
        """Each method's penalty before its strength, (S,), or None where it is no term of the objective."""
        return [
            None if method.regularizer.penalty is None
            else method.regularizer.penalty(trace, **method.regularizer.options)
            for method in self.methods
        ]  # fmt: skip

    def decay(self, lr: float) -> None:
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


def batch_order(seed: int, n: int, steps: int, batch_size: int) -> np.ndarray:
    """Row numbers of every batch, int64 (steps, batch_size).

    The rows of all epochs, each a fresh permutation of the n training rows, are laid end to end and cut into
    batches of one size: every row is seen equally often, and no batch is shorter than another.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    epochs = -(-steps * batch_size // n)
    rows = np.concatenate([rng.permutation(n) for _ in range(epochs)])
    return rows[: steps * batch_size].reshape(steps, batch_size)
