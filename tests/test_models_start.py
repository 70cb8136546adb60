"""The starts of the convolutional networks, and what is refused before training."""

import math

import numpy as np
import pytest
import torch

from dreg_sweep.activations import ACTIVATIONS
from dreg_sweep.errors import UserError
from dreg_sweep.models import MODELS, build_network
from dreg_sweep.models.lenet import LeNet
from dreg_sweep.models.resnet import ResNet
from tests.networks import IMAGE, inputs, lenet, perturbed, resnet


def test_lenet_starts_as_torch_does():
    network = LeNet((1, 28, 28), (6, 16), (120, 84), 5, 0, 10, ACTIVATIONS["cubic"])
    parameters = network.initial([np.random.default_rng(seed) for seed in (0, 1)])
    fan_ins = {0: 25, 1: 150, 2: 256, 3: 120, 4: 84}
    shapes = {
        "weight0": (6, 1, 5, 5), "weight1": (16, 6, 5, 5), "weight2": (256, 120), "weight3": (120, 84),
        "weight4": (84, 10), "bias0": (6,), "bias1": (16,), "bias2": (120,), "bias3": (84,), "bias4": (10,),
    }  # fmt: skip
    shapes |= {f"coefficients{i}": (4,) for i in range(4)}
    assert {name: tuple(value.shape) for name, value in parameters.items()} == {
        name: (2, *shape) for name, shape in shapes.items()
    }
    for name in network.weight_names:
        bound = 1 / math.sqrt(fan_ins[int(name[-1])])
        values = parameters[name]
        assert bound * 0.95 < values.abs().max() <= bound
        assert values.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.1)
        assert parameters[name.replace("weight", "bias")].abs().max() <= bound


def test_resnet_starts_from_unit_factors():
    network = ResNet((3, 32, 32), (48, 96, 192), 3, 10, ACTIVATIONS["relu"])
    parameters = network.initial([np.random.default_rng(0)])
    convolutions = [parameters[name] for name in network.weight_names[:-1]]
    assert len(convolutions) == 1 + 3 * 3 * 2 + 2
    for number, weight in enumerate(convolutions):
        fan_in = math.prod(weight.shape[2:])
        assert weight.std().item() == pytest.approx(math.sqrt(2 / fan_in), rel=0.05)
        assert weight.mean().item() == pytest.approx(0, abs=4 * math.sqrt(2 / fan_in / weight.numel()))
        assert (parameters[f"gamma{number}"] == 1).all()
        assert (parameters[f"beta{number}"] == 0).all()
    assert parameters[network.weight_names[-1]].shape == (1, 192, 10)
    assert {name for name in parameters if name.startswith("bias")} == {f"bias{len(convolutions)}"}
    buffers = network.initial_buffers(2)
    assert all((buffers[f"mean{i}"] == 0).all() for i in range(len(convolutions)))
    assert all((buffers[f"variance{i}"] == 1).all() for i in range(len(convolutions)))


@pytest.mark.parametrize("build", [lenet, resnet])
def test_a_seed_means_one_start_in_every_stack_and_under_every_activation(build):
    def start(activation, *seeds):
        return build(activation).initial([np.random.default_rng(seed) for seed in seeds])

    together = start("relu", 5, 6)
    for activation in ACTIVATIONS:
        alone = start(activation, 6)
        assert all(torch.equal(alone[name][0], value[1]) for name, value in together.items())
    assert not torch.equal(together["weight0"][0], together["weight0"][1])


OPTIONS = {
    "mlp": {"widths": [5]},
    "lenet": {"channels": [3, 4], "widths": [6], "kernel": 3, "padding": 1},
    "lenet_tuned": {"channels": [3, 4], "widths": [6], "kernel": 3, "padding": 1},
    "resnet": {"widths": [3, 4], "blocks": 1},
}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_comes_from_the_options_of_its_file(name):
    network = build_network(name, IMAGE, 3, ACTIVATIONS["relu"], OPTIONS[name])
    parameters = network.initial([np.random.default_rng(0)])
    x = inputs(1).float()
    logits, _ = network.forward(parameters, x, buffers=network.initial_buffers(1))
    assert logits.shape == (1, 4, 3)


@pytest.mark.parametrize(
    ("name", "shape", "changed", "message"),
    [
        ("vgg", IMAGE, {}, "model=vgg is unknown; choose one of: lenet, lenet_tuned, mlp"),
        ("lenet", (256,), {}, "LeNet needs images; an input here has the shape 256; choose model=mlp"),
        ("resnet", (1,), {}, "ResNet needs images; an input here has the shape 1; choose model=mlp"),
        ("lenet", (1, 8, 8), {"kernel": 5, "padding": 0}, "images of 8×8 are too small for LeNet's 2 conv"),
        ("lenet", (3, 9, 1), {}, "images of 9×1 are too small"),
        ("lenet", IMAGE, {"kernel": 0}, "model.kernel=0 must be a whole number of at least 1"),
        ("lenet", IMAGE, {"kernel": 2.5}, "model.kernel=2.5 must be a whole number of at least 1"),
        ("lenet", IMAGE, {"padding": -1}, "model.padding=-1 must be a whole number of at least 0"),
        ("lenet", IMAGE, {"channels": []}, "model.channels=[] must be a list of one or more positive whole"),
        ("lenet", IMAGE, {"widths": []}, "model.widths=[] must be a list of one or more positive whole numbers"),
        ("lenet", IMAGE, {"widths": 5}, "model.widths=5 must be a list of one or more positive whole numbers"),
        ("resnet", IMAGE, {"widths": [3, 0]}, "model.widths=[3, 0] must be a list of one or more positive"),
        ("resnet", IMAGE, {"blocks": True}, "model.blocks=True must be a whole number of at least 1"),
        ("mlp", IMAGE, {"widths": ["a"]}, "model.widths=['a'] must be a list of positive whole numbers"),
        ("mlp", (7,), {"kernel": 3}, "model=mlp takes exactly the options widths; given: widths, kernel"),
        ("resnet", IMAGE, {"depth": 3}, "model=resnet takes exactly the options widths, blocks; given: widths, b"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_in_one_line(name, shape, changed, message):
    with pytest.raises(UserError) as caught:
        build_network(name, shape, 3, ACTIVATIONS["relu"], OPTIONS.get(name, {}) | changed)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_missing_option_is_named():
    with pytest.raises(UserError, match="model=lenet takes exactly the options channels, widths, kernel, padding"):
        build_network("lenet", IMAGE, 3, ACTIVATIONS["relu"], {"channels": [3]})


def test_padding_that_keeps_the_size_lets_lenet_read_small_images():
    for kernel in (2, 3, 5):
        network = lenet(shape=(1, 4, 5), kernel=kernel, padding=kernel // 2)
        parameters, _ = perturbed(network, 1)
        logits, _ = network.forward(parameters, inputs(1, shape=(1, 4, 5)))
        assert logits.shape == (1, 4, 3)
