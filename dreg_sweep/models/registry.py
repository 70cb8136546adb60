"""Model levels: name → the function that builds it from the shape of the inputs and the options of its file."""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dreg_sweep.activations import Activation
from dreg_sweep.errors import UserError, unknown_level
from dreg_sweep.models.lenet import LeNet
from dreg_sweep.models.mlp import MLP
from dreg_sweep.models.resnet import ResNet
from dreg_sweep.models.trace import Network

Shape = tuple[int, ...]


def _mlp(input_shape: Shape, n_outputs: int, activation: Activation, *, widths: Sequence[int]) -> MLP:
    return MLP(math.prod(input_shape), _sizes("widths", widths), n_outputs, activation)


def _lenet(
    input_shape: Shape,
    n_outputs: int,
    activation: Activation,
    *,
    channels: Sequence[int],
    widths: Sequence[int],
    kernel: int,
    padding: int,
) -> LeNet:
    shape = _image("LeNet", input_shape)
    _whole("kernel", kernel, 1)
    _whole("padding", padding, 0)
    sizes = _sizes("channels", channels, 1), _sizes("widths", widths, 1)
    network = LeNet(shape, *sizes, kernel, padding, n_outputs, activation)
    if min(network.image_sizes[-1]) < 1:
        raise UserError(
            f"images of {shape[1]}×{shape[2]} are too small for LeNet's {len(network.channels)} convolutions of "
            f"{kernel}×{kernel} with pooling; choose a larger model.padding ({kernel // 2} loses no pixels), a "
            "smaller model.kernel or fewer model.channels"
        )
    return network


def _resnet(
    input_shape: Shape, n_outputs: int, activation: Activation, *, widths: Sequence[int], blocks: int
) -> ResNet:
    shape = _image("ResNet", input_shape)
    _whole("blocks", blocks, 1)
    return ResNet(shape, _sizes("widths", widths, 1), blocks, n_outputs, activation)


def _sizes(key: str, values: Any, least: int = 0) -> tuple[int, ...]:
    whole = isinstance(values, list | tuple) and all(type(value) is int and value > 0 for value in values)
    if not whole or len(values) < least:
        some = "one or more positive whole numbers" if least else "positive whole numbers"
        raise UserError(f"model.{key}={values} must be a list of {some}, for example [256,256]")
    return tuple(values)


def _whole(key: str, value: Any, least: int) -> None:
    if type(value) is not int or value < least:
        raise UserError(f"model.{key}={value} must be a whole number of at least {least}")


def _image(network: str, shape: Shape) -> tuple[int, int, int]:
    if len(shape) != 3:
        raise UserError(
            f"{network} needs images; an input here has the shape {'×'.join(map(str, shape))}; choose model=mlp"
        )
    return shape[0], shape[1], shape[2]


MODELS: dict[str, Callable[..., Network]] = {
    "mlp": _mlp,
    "lenet": _lenet,
    "lenet_tuned": _lenet,
    "resnet": _resnet,
}


def build_network(
    name: str,
    input_shape: Shape,
    n_outputs: int,
    activation: Activation,
    options: Mapping[str, Any],
) -> Network:
    """The network `name` for inputs of one shape, (C, H, W) or (D,).

    Errors: `UserError` for an unknown name or option, a value out of range, and inputs that do not suit it.
    """
    if name not in MODELS:
        raise unknown_level("model", name, MODELS)
    build = MODELS[name]
    known = [p.name for p in inspect.signature(build).parameters.values() if p.kind is p.KEYWORD_ONLY]
    if set(options) != set(known):
        given = ", ".join(options) or "nothing"
        raise UserError(f"model={name} takes exactly the options {', '.join(known)}; given: {given}")
    return build(input_shape, n_outputs, activation, **options)
