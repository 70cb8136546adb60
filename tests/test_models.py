"""The convolutional networks against torch.nn modules of the same weights, in float64."""

import pytest
import torch
from torch.nn.functional import conv2d, cross_entropy

from dreg_sweep.activations import ACTIVATIONS
from dreg_sweep.models.convolution import apart, convolve, side_by_side
from tests.networks import IMAGE, as_theirs, inputs, lenet, perturbed, plain, resnet


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("size", "kernel", "padding"), [(1, 3, 0), (2, 3, 1), (3, 5, 2), (2, 2, 0), (1, 1, 2)])
def test_lenet_computes_what_torch_does(activation, size, kernel, padding):
    shape = (2, 16, 13)
    network = lenet(activation, shape, kernel=kernel, padding=padding)
    parameters, _ = perturbed(network, size)
    x = inputs(size, shape=shape)
    logits, layers = network.forward(parameters, x)
    assert [layer.activation is None for layer in layers] == [False] * 4 + [True]
    for cell in range(size):
        module, _ = plain(network, activation, parameters, {}, cell)
        torch.testing.assert_close(logits[cell], module(x[cell].view(-1, *shape)), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("size", [1, 3])
def test_resnet_trains_and_evaluates_as_torch_does(activation, size):
    """Logits, weights and running averages over three steps of gradient descent, then evaluation."""
    network = resnet(activation, blocks=1 if activation == "cubic" else 2)  # a cube of a cube of … loses digits
    parameters, buffers = perturbed(network, size)
    parameters = {name: value.requires_grad_() for name, value in parameters.items()}
    modules = [plain(network, activation, parameters, buffers, cell) for cell in range(size)]
    weights = [name for name in parameters if not name.startswith("coefficients")]
    y = torch.arange(4) % 3
    for step in range(3):
        x = inputs(size, seed=step)
        logits, _ = network.forward(parameters, x, buffers=buffers, training=True)
        loss = cross_entropy(logits.flatten(0, 1), y.repeat(size), reduction="sum")
        gradients = torch.autograd.grad(loss, [parameters[name] for name in weights])
        with torch.no_grad():
            for name, gradient in zip(weights, gradients, strict=True):
                parameters[name] -= 0.01 * gradient
        for cell, (module, names) in enumerate(modules):
            theirs = module(x[cell].view(-1, *IMAGE))
            torch.testing.assert_close(logits[cell], theirs, rtol=1e-9, atol=1e-9)
            tensors = list(module.parameters())
            slopes = torch.autograd.grad(cross_entropy(theirs, y, reduction="sum"), tensors)
            with torch.no_grad():
                for tensor, slope in zip(tensors, slopes, strict=True):
                    tensor -= 0.01 * slope
                for tensor, name in names.items():
                    ours = as_theirs((parameters | buffers)[name][cell])
                    torch.testing.assert_close(ours, tensor, rtol=1e-9, atol=1e-9)
    x = inputs(size, seed=9)
    before = {name: value.clone() for name, value in buffers.items()}
    logits, _ = network.forward(parameters, x, buffers=buffers)
    for cell, (module, _) in enumerate(modules):
        theirs = module.eval()(x[cell].view(-1, *IMAGE))
        torch.testing.assert_close(logits[cell], theirs, rtol=1e-9, atol=1e-9)
    assert all(torch.equal(buffers[name], value) for name, value in before.items())


@pytest.mark.parametrize("build", [lenet, resnet])
@pytest.mark.parametrize("training", [True, False])
def test_cells_of_a_stack_do_not_see_one_another(build, training):
    network = build()
    parameters, buffers = perturbed(network, 3)
    parameters = {name: value.requires_grad_() for name, value in parameters.items()}
    x = inputs(3).requires_grad_()
    logits, _ = network.forward(parameters, x, buffers=dict(buffers), training=training)
    gradients = torch.autograd.grad(logits[1].square().sum(), [x, *parameters.values()])
    for gradient in gradients:
        assert not gradient[[0, 2]].any()
        assert gradient[1].any() or gradient.shape[1:] == (4,)  # a shift before batch normalization has no effect


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("padding", [0, 1, 2])
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("biased", [False, True])
def test_a_convolution_of_a_stack_is_one_of_each_cell(kernel, stride, padding, scaled, biased):
    generator = torch.Generator().manual_seed(0)

    def randn(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    size, batch, channels, out = 3, 2, 2, 4
    parameters = {"weight7": randn(size, out, channels, kernel, kernel)}
    parameters |= {"bias7": randn(size, out)} if biased else {}
    scales = {"weight7": randn(size)} if scaled else None
    x = randn(size, batch, channels * 6 * 7)
    z, scale = convolve(parameters, 7, side_by_side(x, channels, 6, 7), scales, stride=stride, padding=padding)
    assert (scale is not None) == scaled
    for cell, ours in enumerate(apart(z, size)):
        weight = parameters["weight7"][cell] * (scales["weight7"][cell] if scaled else 1)
        bias = parameters["bias7"][cell] if biased else None
        expected = conv2d(x[cell].view(batch, channels, 6, 7), weight, bias, stride, padding)
        torch.testing.assert_close(ours, expected.flatten(1), rtol=1e-12, atol=1e-12)


def test_spectral_norms_scales_reach_every_weight():
    for network in (lenet(), resnet()):
        parameters, buffers = perturbed(network, 2)
        scales = {name: torch.tensor([0.5, 2.0]).double() for name in network.weight_names}
        scaled = {
            name: value * scales[name].view(-1, *[1] * (value.dim() - 1)) if name in scales else value
            for name, value in parameters.items()
        }
        x = inputs(2)
        ours, layers = network.forward(parameters, x, scales, buffers=buffers)
        expected, plainly = network.forward(scaled, x, buffers=buffers)
        torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)
        for layer, other in zip(layers, plainly, strict=True):
            torch.testing.assert_close(layer.row_norms, other.row_norms, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("build", [lenet, resnet])
def test_dropout_masks_the_last_features(build):
    network = build("relu")
    parameters, buffers = perturbed(network, 2)
    x = inputs(2)
    (units,) = network.mask_units
    masks = [torch.zeros(2, 4, units, dtype=torch.float64)]
    masks[0][:, 0] = 1.0
    plainly, _ = network.forward(parameters, x, buffers=buffers)
    masked, _ = network.forward(parameters, x, masks=masks, buffers=buffers)
    torch.testing.assert_close(masked[:, 0], plainly[:, 0])
    bias = parameters[network.weight_names[-1].replace("weight", "bias")]
    torch.testing.assert_close(masked[:, 1:], bias.unsqueeze(1).expand(-1, 3, -1))
