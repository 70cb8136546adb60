"""Small convolutional networks for tests, and the same in torch's own words."""

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import gelu, max_pool2d, silu

from dreg_sweep.activations import ACTIVATIONS
from dreg_sweep.models import build_network
from dreg_sweep.models.lenet import LeNet
from dreg_sweep.models.resnet import ResNet
from dreg_sweep.regularizers import get_regularizer
from dreg_sweep.train import Methods, train_stack
from tests.engine import cell_plan, image_split, small_recipe

IMAGE = (2, 9, 8)
SHAPE = (2, 6, 5)  # of the images that are trained on
OPTIONS = {
    "mlp": {"widths": [6, 5]},
    "lenet": {"channels": [3, 4], "widths": [6, 5], "kernel": 3, "padding": 1},
    "resnet": {"widths": [3, 4], "blocks": 1},
}
THEIRS = {"relu": torch.relu, "gelu": gelu, "silu": silu, "tanh": torch.tanh}


def torchs_own(activation):
    """σ in torch's own words, as a function of z and of one cell's coefficients (1, 4) or None."""
    (name,) = (name for name, ours in ACTIVATIONS.items() if ours is activation)

    def sigma(z, coefficients=None):
        if coefficients is None:
            return THEIRS[name](z)
        return sum(coefficients[0, k] * z**k for k in range(4))

    return sigma


def lenet(activation="gelu", shape=IMAGE, channels=(3, 4), kernel=3, padding=1):
    """A small one with three outputs."""
    return LeNet(shape, channels, (6, 5), kernel, padding, 3, ACTIVATIONS[activation])


def resnet(activation="gelu", shape=IMAGE, widths=(3, 4, 5), blocks=2):
    """A small one with three outputs."""
    return ResNet(shape, widths, blocks, 3, ACTIVATIONS[activation])


def perturbed(network, size, seed=0):
    """Parameters and buffers in float64, all away from the values they start from."""
    rngs = [np.random.default_rng(seed + cell) for cell in range(size)]
    generator = torch.Generator().manual_seed(seed)
    parameters, buffers = (
        {
            name: value.double() * (1 + torch.rand(value.shape, generator=generator, dtype=torch.float64))
            + 0.1 * torch.rand(value.shape, generator=generator, dtype=torch.float64)
            for name, value in values.items()
        }
        for values in (network.initial(rngs), network.initial_buffers(size))
    )
    return parameters, buffers


def inputs(size, batch=4, shape=IMAGE, seed=0):
    """Random images, flat: (S, B, D)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(size, batch, math.prod(shape), generator=generator, dtype=torch.float64)


def hidden_functions(activation, parameters, cell):
    """σ of each hidden layer of one cell, in the order in which they are applied."""
    if activation in THEIRS:
        return itertools.repeat(THEIRS[activation])
    polynomials = [value[cell] for name, value in parameters.items() if name.startswith("coefficients")]
    return [lambda z, c=c: sum(c[k] * z**k for k in range(4)) for c in polynomials]


class PlainLeNet(nn.Module):
    """LeNet of one cell, in torch's own words."""

    def __init__(self, network, functions):
        super().__init__()
        sides = network.input_shape[1:]
        for _ in network.channels:
            sides = [(side + 2 * network.padding - network.kernel + 1) // 2 for side in sides]
        channels = (network.input_shape[0], *network.channels)
        sizes = (network.channels[-1] * math.prod(sides), *network.widths, network.n_outputs)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(a, b, network.kernel, padding=network.padding) for a, b in itertools.pairwise(channels)
        )
        self.linear = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
        self.functions = functions

    def forward(self, x):
        functions = iter(self.functions)
        for convolution in self.convolutions:
            x = max_pool2d(next(functions)(convolution(x)), 2)
        x = x.flatten(1)
        for linear in self.linear[:-1]:
            x = next(functions)(linear(x))
        return self.linear[-1](x)


class PlainBlock(nn.Module):
    """A basic block; its shortcut projects where the stride is 2."""

    def __init__(self, fan_in, fan_out, stride):
        super().__init__()
        self.first = nn.Conv2d(fan_in, fan_out, 3, stride, 1, bias=False)
        self.first_bn = nn.BatchNorm2d(fan_out)
        self.second = nn.Conv2d(fan_out, fan_out, 3, 1, 1, bias=False)
        self.second_bn = nn.BatchNorm2d(fan_out)
        projection = [nn.Conv2d(fan_in, fan_out, 1, 2, bias=False), nn.BatchNorm2d(fan_out)] if stride == 2 else []
        self.shortcut = nn.Sequential(*projection)

    def forward(self, x, functions):
        inner = next(functions)(self.first_bn(self.first(x)))
        return next(functions)(self.second_bn(self.second(inner)) + self.shortcut(x))


class PlainResNet(nn.Module):
    """ResNet of one cell, in torch's own words."""

    def __init__(self, network, functions):
        super().__init__()
        self.stem = nn.Conv2d(network.input_shape[0], network.widths[0], 3, 1, 1, bias=False)
        self.stem_bn = nn.BatchNorm2d(network.widths[0])
        self.blocks = nn.ModuleList()
        width = network.widths[0]
        for stage, out in enumerate(network.widths):
            for place in range(network.blocks):
                self.blocks.append(PlainBlock(width, out, 2 if stage > 0 and place == 0 else 1))
                width = out
        self.output = nn.Linear(width, network.n_outputs)
        self.functions = functions

    def forward(self, x):
        functions = iter(self.functions)
        x = next(functions)(self.stem_bn(self.stem(x)))
        for block in self.blocks:
            x = block(x, functions)
        return self.output(x.mean((2, 3)))


def plain(network, activation, parameters, buffers, cell):
    """The torch.nn module of one cell with its weights, and our name of each of its parameters and buffers."""
    functions = hidden_functions(activation, parameters, cell)
    module = (PlainResNet if isinstance(network, ResNet) else PlainLeNet)(network, functions).double()
    names: dict[Any, str] = {}
    maps = [part for part in module.modules() if isinstance(part, nn.Conv2d | nn.Linear)]
    norms = [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]
    for number, part in enumerate(maps):
        names[part.weight] = f"weight{number}"
        if part.bias is not None:
            names[part.bias] = f"bias{number}"
    for number, part in enumerate(norms):
        names |= {part.weight: f"gamma{number}", part.bias: f"beta{number}"}
        names |= {part.running_mean: f"mean{number}", part.running_var: f"variance{number}"}
    with torch.no_grad():
        for tensor, name in names.items():
            tensor.copy_(as_theirs((parameters | buffers)[name][cell]))
    return module, names


def as_theirs(value):
    """Our matrices lie as (in, out), torch's as (out, in)."""
    return value.mT if value.dim() == 2 else value


def image_cell(seed, strength):
    """A cell on images of its own."""
    return replace(cell_plan(seed, strength), split=image_split(seed, SHAPE, n=40))


def train_images(cells, model, regularizer, activation="gelu", device="cpu", **recipe):
    """Outcomes of cells of `image_cell`, wall times left out."""
    network = build_network(model, SHAPE, 3, ACTIVATIONS[activation], OPTIONS[model])
    methods = Methods(get_regularizer(regularizer, cells[0].strength, {}))
    recipe = small_recipe(**{"steps": 4, **recipe})
    outcomes = train_stack(network, methods, recipe, cells, torch.device(device))
    return [replace(outcome, seconds=0.0) for outcome in outcomes]
