"""What the regularizers' tests share: the list of what has an oracle, and networks written out for one row."""

from torch.func import jacrev, vmap
from torch.nn.functional import conv2d, max_pool2d

from dreg_sweep.activations import ACTIVATIONS
from dreg_sweep.models.lenet import LeNet
from tests.engine import double_stack
from tests.networks import torchs_own

ORACLES: dict[str, list] = {}


def oracle(name):
    """Register a test as an oracle of a regularizer."""

    def register(test):
        ORACLES.setdefault(name, []).append(test)
        return test

    return register


def lenet(activation="tanh"):
    """A small LeNet for images of 8 × 8, three classes."""
    return LeNet((1, 8, 8), (2, 3), (6, 5), 3, 1, 3, ACTIVATIONS[activation])


STACKS = {
    "mlp": {"activation": "tanh"},
    "mlp-relu": {"activation": "relu"},
    "mlp-masked-scaled": {"activation": "silu", "others": [("dropout", 0.3), ("spectral_norm", 0.5)]},
    "lenet": {"network": lenet("gelu"), "shape": (1, 8, 8)},
    "lenet-masked-scaled": {
        "network": lenet("relu"),
        "shape": (1, 8, 8),
        "others": [("dropout", 0.3), ("spectral_norm", 0.5)],
    },
}


def traced(regularizer, kind, **more):
    """A stack of one of the STACKS, the trace of a training pass, and the regularizer's penalty (S,)."""
    stack, x, y = double_stack(regularizer, **STACKS[kind], **more)
    trace = stack.forward(x, y, training=True)
    return stack, trace, stack.penalties(trace)[0]


def row_function(stack, trace, cell):
    """The network of one cell for one row: x (D,), masks (layer → (units,)) → logits (C,).

    Weights are scaled as in the trace. Activations that learn are left out.
    """
    network, value = stack.network, torchs_own(stack.network.activation)
    convolutions = len(getattr(network, "channels", ()))

    def logits(x, masks):
        h = x
        for i, layer in enumerate(trace.layers):
            weight, bias = (stack.parameters[f"{name}{i}"][cell] for name in ("weight", "bias"))
            if layer.scale is not None:
                weight = weight * layer.scale[cell]
            if i < convolutions:
                image = h.view(network.input_shape) if i == 0 else h
                h = max_pool2d(value(conv2d(image[None], weight, bias, padding=network.padding)), 2)[0]
            else:
                h = h.flatten() @ weight + bias
                h = value(h) if i < len(trace.layers) - 1 else h
                h = h * masks[i] if i in masks else h
        return h

    return logits


def row_masks(trace, cell):
    """The dropout masks of a cell, layer → (B, units)."""
    masks = {i: getattr(layer, "mask", None) for i, layer in enumerate(trace.layers)}
    return {i: mask[cell] for i, mask in masks.items() if mask is not None}


def row_jacobians(stack, trace, cell, after=lambda logits: logits):
    """∂after(g)/∂x of every row of a cell, g the logits, (B, outputs, D)."""
    logits = row_function(stack, trace, cell)
    jacobian = vmap(jacrev(lambda x, masks: after(logits(x, masks))))
    return jacobian(trace.x[cell], row_masks(trace, cell))
