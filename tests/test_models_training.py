"""The convolutional networks in the engine: training, the identity of a cell, what the probe measures."""

import functools

import pytest
import scipy.stats
import torch
from torch.func import jacrev, vmap
from torch.nn.functional import cross_entropy

from dreg_sweep.activations import ACTIVATIONS
from dreg_sweep.models.lenet import LeNet
from dreg_sweep.models.resnet import ResNet
from dreg_sweep.probe import Probe, Rows
from tests.engine import double_stack, image_split
from tests.networks import OPTIONS, SHAPE, image_cell, lenet, plain, resnet, train_images

pytestmark = pytest.mark.usefixtures("single_thread")

STRENGTH = {
    "none": 0.0,
    "weight_decay": 0.1,
    "dropout": 0.3,
    "spectral_norm": 1.0,
    "spectral_penalty": 0.01,
    "dreg": 0.001,
    "double_backprop": 0.1,
    "spectreg": 0.01,
    "jacreg": 0.1,
    "random_onehot": 0.01,
    "confidence_penalty": 0.1,
}


@functools.cache
def outcomes_of_three(model, regularizer):
    """Of three cells trained by one call."""
    return train_images([image_cell(seed, STRENGTH[regularizer]) for seed in range(3)], model, regularizer)


@pytest.mark.parametrize("model", OPTIONS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_model_learns_under_every_activation(model, activation):
    (outcome,) = train_images([image_cell(0, 0.0)], model, "none", activation, steps=40)
    assert outcome.status == "done"
    first, last = outcome.history[0], outcome.history[-1]
    assert last["loss"] < 0.7 * first["loss"]
    hidden = [name for name in last if name.startswith("jacobian_sq_")]
    assert len(hidden) == {"mlp": 2, "lenet": 4, "resnet": 1 + 2 + 3}[model]


@pytest.mark.parametrize("build", [lenet, resnet])
@pytest.mark.parametrize("regularizer", ["none", "dreg", "double_backprop"])
def test_a_learnable_activation_learns_in_every_layer(build, regularizer):
    network = build("cubic", SHAPE)
    stack, x, y = double_stack(regularizer, shape=SHAPE, network=network)
    trace = stack.forward(x, y, training=True)
    penalties = [penalty for penalty in stack.penalties(trace) if penalty is not None]
    objective = trace.losses.mean(1) + sum(penalties)
    gradients = dict(
        zip(stack.parameters, torch.autograd.grad(objective.sum(), list(stack.parameters.values())), strict=True)
    )
    coefficients = [name for name in gradients if name.startswith("coefficients")]
    hidden = {id(layer.coefficients) for layer in trace.layers if layer.activation is not None}
    assert len(coefficients) == len(hidden)
    for name in coefficients:
        assert gradients[name].shape == (3, 4)
        assert gradients[name].all()
    assert all(gradient.isfinite().all() for gradient in gradients.values())


@pytest.mark.parametrize("model", ["lenet", "resnet"])
@pytest.mark.parametrize("regularizer", STRENGTH)
def test_a_cells_outcome_depends_on_no_other_cell(model, regularizer):
    cells = [image_cell(seed, STRENGTH[regularizer]) for seed in range(3)]
    together = outcomes_of_three(model, regularizer)
    assert train_images(cells[::-1], model, regularizer) == together[::-1]
    assert train_images(cells[1:2], model, regularizer) == [together[1]]
    assert together[0].test_loss != together[1].test_loss


@pytest.mark.parametrize("model", ["lenet", "resnet"])
@pytest.mark.parametrize("regularizer", STRENGTH)
def test_cells_trained_as_one_agree_with_cells_trained_alone(model, regularizer, monkeypatch):
    """What a GPU does, tried here: one pass for all, near the same numbers."""
    cells = [image_cell(seed, STRENGTH[regularizer]) for seed in range(3)]
    apart = outcomes_of_three(model, regularizer)
    for network in (LeNet, ResNet):
        monkeypatch.setattr(network, "stacks_on", lambda self, device: True)
    for ours, alone in zip(train_images(cells, model, regularizer), apart, strict=True):
        assert ours.test_loss == pytest.approx(alone.test_loss, rel=1e-3)
        for row, expected in zip(ours.history, alone.history, strict=True):
            assert row == pytest.approx(expected, rel=1e-2, abs=1e-5)


@pytest.mark.parametrize("build", [lenet, resnet])
def test_the_probe_measures_off_the_training_rows(build):
    network = build("tanh", SHAPE)
    stack, x, y = double_stack(shape=SHAPE, network=network, size=2)
    for name, buffer in stack.buffers.items():
        buffer += 0.1 + 0.1 * float(name[-1])
    x = x.detach()
    places = {"train": Rows(x, y), "near": Rows(x + 0.3, y), "test": Rows(2 * x, y.flip(1))}
    measured = Probe(**places).measure_off_training(stack)
    for cell in range(2):
        module, _ = plain(network, "tanh", stack.parameters, stack.buffers, cell)
        module.eval()

        def logits(row, module=module):
            return module(row.view(1, *SHAPE))[0]

        for place, rows in places.items():
            jacobians = vmap(jacrev(logits))(rows.x[cell])
            expected = jacobians.square().sum((1, 2)).sqrt().mean()
            ours = measured[f"logit_jacobian_{place}"][cell]
            torch.testing.assert_close(ours, expected, rtol=1e-10, atol=0)
        for place in ("near", "test"):
            row = places[place].x[cell].clone().requires_grad_()
            loss = cross_entropy(module(row.view(-1, *SHAPE)), places[place].y[cell], reduction="sum")
            (gradient,) = torch.autograd.grad(loss, row)
            ours = measured[f"input_gradient_{place}"][cell]
            torch.testing.assert_close(ours, gradient.norm(dim=1).mean(), rtol=1e-10, atol=0)
        right = module(places["test"].x[cell].view(-1, *SHAPE)).argmax(1) == places["test"].y[cell]
        assert measured["test_accuracy"][cell] == right.double().mean()


def test_near_rows_lie_a_fifth_of_a_standard_deviation_from_training_rows():
    split, another = (image_split(seed, n=300, n_eval=40) for seed in (0, 1))
    probe, again = (Probe.of([split, other], torch.device("cpu")) for other in (split, another))
    assert probe.train.x.shape == (2, 256, 64)
    rows = {row.tobytes(): label for row, label in zip(split.x_train, split.y_train, strict=True)}
    chosen = [row.tobytes() for row in probe.train.x[0].numpy()]
    assert len(set(chosen)) == 256
    assert [rows[row] for row in chosen] == probe.train.y[0].tolist() == probe.near.y[0].tolist()
    noise = (probe.near.x - probe.train.x)[0].double().flatten().numpy()
    assert noise.std() == pytest.approx(0.2, rel=0.02)
    assert scipy.stats.kstest(noise / 0.2, "norm").pvalue > 0.01
    assert torch.equal(probe.near.x[0], again.near.x[0])
    assert torch.equal(probe.near.x[0], probe.near.x[1])
    assert sorted(row.tobytes() for row in probe.test.x[0].numpy()) == sorted(
        row.tobytes() for row in split.eval_rows(None, 0, 40)
    )
