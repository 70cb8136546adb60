"""dreg on convolutions: every layer Jacobian against torch.func in float64, and its sums written out."""

import math

import pytest
import torch
from torch.func import jacrev, vmap
from torch.nn.functional import batch_norm, conv2d, max_pool2d, unfold

from dreg_sweep.activations import ACTIVATIONS
from dreg_sweep.models.convolution import ConvTrace, apart, convolve, side_by_side
from dreg_sweep.regularizers.layer_jacobians import dreg
from tests.engine import double_stack
from tests.networks import inputs, lenet, perturbed, plain, resnet, torchs_own


def squared_norms(jacobians):
    """(B, outputs…, inputs…) → (B,)."""
    return jacobians.square().flatten(1).sum(1)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("padding", [0, 1, 2])
def test_a_convolutions_jacobian_is_exact_to_the_border(activation, kernel, stride, padding):
    generator = torch.Generator().manual_seed(kernel + 10 * stride + 100 * padding)

    def randn(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    size, batch, image, out = 2, 3, (2, 6, 5), 3
    sigma = ACTIVATIONS[activation]
    coefficients = randn(size, 4) if activation == "cubic" else None
    parameters = {"weight0": randn(size, out, image[0], kernel, kernel), "bias0": randn(size, out)}
    x = randn(size, batch, math.prod(image))
    for scales in (None, {"weight0": randn(size)}):
        z, scale = convolve(parameters, 0, side_by_side(x, *image), scales, stride=stride, padding=padding)
        flat = apart(z, size)
        trace = ConvTrace(
            parameters["weight0"], flat, sigma, coefficients, None, image[1:], stride, padding, scale
        )
        assert trace.channels * trace.positions == flat.shape[2]
        for cell in range(size):
            weight, bias = parameters["weight0"][cell], parameters["bias0"][cell]
            weight = weight if scales is None else weight * scales["weight0"][cell]

            def linear(h, weight=weight, bias=bias):
                return conv2d(h.view(1, *image), weight, bias, stride, padding).flatten()

            def layer(h, linear=linear, cell=cell):
                learned = None if coefficients is None else coefficients[cell : cell + 1]
                return torchs_own(sigma)(linear(h), learned)

            rows = jacrev(linear)(x[cell, 0]).square().sum(1)
            torch.testing.assert_close(trace.row_norms[cell], rows, rtol=1e-12, atol=1e-12)
            expected = squared_norms(vmap(jacrev(layer))(x[cell])).mean()
            torch.testing.assert_close(trace.jacobian_norm[cell], expected, rtol=1e-10, atol=1e-12)


class Normalized:
    """One pass through a small ResNet of two cells, and through its twin of the second one.

    traces: of ours, by the number of the weight. reads: what each of the twin's convolutions read. frozen: its
    normalized convolutions as functions of one image, with the statistics of this pass as constants.
    """

    def __init__(self, activation, training, scaled):
        self.shape = (2, 5, 4)
        network = resnet(activation, self.shape, (3, 4), 1)
        parameters, buffers = perturbed(network, 2)
        scales = None
        if scaled:
            scales = {name: torch.tensor([2.0, 0.7], dtype=torch.float64) for name in network.weight_names}
        x = inputs(2, 3, self.shape)
        module, _ = plain(network, activation, parameters, buffers, 1)
        with torch.no_grad():
            for part in module.modules():
                if scaled and hasattr(part, "weight") and not isinstance(part, torch.nn.BatchNorm2d):
                    part.weight *= 0.7
        self.reads: list[tuple[torch.Tensor, torch.Tensor]] = []
        self.frozen = []
        convolutions = [part for part in module.modules() if isinstance(part, torch.nn.Conv2d)]
        norms = [part for part in module.modules() if isinstance(part, torch.nn.BatchNorm2d)]
        for convolution in convolutions:
            convolution.register_forward_hook(lambda _, args, out: self.reads.append((args[0], out)))
        module.train(training)(x[1].view(-1, *self.shape))
        # The convolutions were heard in the order of the pass, the shortcut last: that of their numbers.
        for convolution, norm, (_, out) in zip(convolutions, norms, self.reads, strict=True):
            mean = out.detach().mean((0, 2, 3)) if training else norm.running_mean
            variance = out.detach().var((0, 2, 3), correction=0) if training else norm.running_var

            def mapped(h, convolution=convolution, norm=norm, mean=mean, variance=variance):
                z = conv2d(h[None], convolution.weight, None, convolution.stride, convolution.padding)
                return batch_norm(z, mean, variance, norm.weight, norm.bias, False, 0.0, norm.eps)[0]

            self.frozen.append(mapped)
        _, layers = network.forward(parameters, x, scales, None, buffers, training)
        self.traces = layers[:-1]
        self.activation = network.activation
        self.coefficients = parameters.get

    def sigma(self, z, number):
        """σ behind the convolution of that number, of one image."""
        learned = self.coefficients(f"coefficients{number}")
        learned = None if learned is None else learned[1:2]
        return torchs_own(self.activation)(z.flatten(), learned)


@pytest.mark.parametrize("activation", ["gelu", "tanh", "relu", "cubic"])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("scaled", [False, True])
def test_batch_normalization_counts_as_a_constant_factor(activation, training, scaled):
    """A stem, a block with the identity and one with a projection: the Jacobians of their sums in (h1, h)."""
    seen = Normalized(activation, training, scaled)
    norms = [trace.jacobian_norm[1] for trace in seen.traces]
    stem, first, second, third, fourth, shortcut = range(6)
    reads = [read for read, _ in seen.reads]

    def jacobian_norm(function, *reads):
        arguments = tuple(range(len(reads)))
        jacobians = vmap(jacrev(function, argnums=arguments))(*reads)
        return sum(squared_norms(jacobian) for jacobian in jacobians).mean()

    for number in (stem, first, third):
        expected = jacobian_norm(lambda h, n=number: seen.sigma(seen.frozen[n](h), n), reads[number])
        torch.testing.assert_close(norms[number], expected, rtol=1e-9, atol=0)

    def identity_block(inner, h):
        return seen.sigma(seen.frozen[second](inner) + h.detach(), second)

    jacobians = vmap(jacrev(identity_block))(reads[second], reads[first])
    torch.testing.assert_close(norms[second], squared_norms(jacobians).mean(), rtol=1e-9, atol=0)

    def projected_block(inner, h):
        return seen.sigma(seen.frozen[fourth](inner) + seen.frozen[shortcut](h), fourth)

    expected = jacobian_norm(projected_block, reads[fourth], reads[shortcut])
    torch.testing.assert_close(norms[fourth] + norms[shortcut], expected, rtol=1e-9, atol=0)


def lenet_sums(network, parameters, x, cell):
    """For each layer of one cell: (mean over rows of Σ σ'² ‖w‖² over units, its channels, its positions)."""
    sums = []
    h = x.view(-1, *network.input_shape)
    for i in range(len(network.channels)):
        weight, bias = parameters[f"weight{i}"][cell], parameters[f"bias{i}"][cell]
        z = conv2d(h, weight, bias, padding=network.padding)
        slope = network.activation.derivative(z)
        inside = unfold(torch.ones_like(h[:1]), network.kernel, padding=network.padding)[0]  # (taps, positions)
        total = 0.0
        for channel, taps in enumerate(weight.flatten(1)):
            for position in range(inside.shape[1]):
                norm = sum(w * w for w, counts in zip(taps, inside[:, position], strict=True) if counts)
                total += slope[:, channel].flatten(1)[:, position].square().mean() * norm
        sums.append((total, len(weight), inside.shape[1]))
        h = max_pool2d(network.activation.value(z), 2)
    h = h.flatten(1)
    last = len(network.weight_names) - 1
    for i in range(len(network.channels), last + 1):
        weight, bias = parameters[f"weight{i}"][cell], parameters[f"bias{i}"][cell]
        z = h @ weight + bias
        slope = network.activation.derivative(z) if i < last else torch.ones_like(z)
        total = sum(slope[:, unit].square().mean() * weight[:, unit].square().sum() for unit in range(z.shape[1]))
        sums.append((total, z.shape[1], 1))
        h = network.activation.value(z)
    return sums


@pytest.mark.parametrize("layers", ["hidden", "all"])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("positions", ["sum", "mean"])
def test_dregs_options_on_lenet_are_the_sums_written_out(layers, reduction, positions):
    network = lenet("tanh", (2, 6, 5))
    options = {"layers": layers, "reduction": reduction, "positions": positions}
    stack, x, y = double_stack("dreg", options=options, shape=network.input_shape, network=network)
    penalty = stack.penalties(stack.forward(x, y, training=True))[0]
    for cell in range(stack.size):
        sums = lenet_sums(network, stack.parameters, x[cell], cell)
        expected = sum(
            total / (channels if reduction == "mean" else 1) / (places if positions == "mean" else 1)
            for total, channels, places in (sums if layers == "all" else sums[:-1])
        )
        assert penalty[cell].item() == pytest.approx(expected.item(), rel=1e-12)


def test_positions_are_nothing_to_an_mlp():
    stack, x, y = double_stack("dreg")
    trace = stack.forward(x, y, training=True)
    assert torch.equal(dreg(trace, positions="mean"), dreg(trace))


@pytest.mark.parametrize("build", [lenet, resnet])
@pytest.mark.parametrize("activation", ["gelu", "cubic"])
def test_gradients_of_dreg_agree_with_finite_differences(build, activation):
    """Through a ResNet's batch statistics too: constants of the Jacobian, not of the penalty."""
    shape = (1, 5, 4)
    network = build(activation, shape) if build is lenet else build(activation, shape, (2, 3), 1)
    stack, x, y = double_stack("dreg", size=2, shape=shape, network=network)
    names = list(stack.parameters)

    def penalty(*values):
        stack.parameters = dict(zip(names, values, strict=True))
        return stack.penalties(stack.forward(x, y, training=True))[0]

    assert torch.autograd.gradcheck(penalty, tuple(stack.parameters.values()), fast_mode=True)
