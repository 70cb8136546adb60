"""The registry, and the methods that are no penalties; each of the penalties' families has a file of its own."""

import importlib
from pathlib import Path

import pytest
import torch
from torch.nn.utils import parametrizations

from dreg_sweep.activations import ACTIVATIONS
from dreg_sweep.errors import UserError
from dreg_sweep.models.mlp import MLP
from dreg_sweep.regularizers import (
    REGULARIZERS,
    dropout,
    get_regularizer,
    refuse_unfit,
    spectral_norm,
    weight_decay,
)
from tests.engine import double_stack
from tests.regularizer_oracles import ORACLES, lenet, oracle


@pytest.mark.parametrize("name", [name for name, method in REGULARIZERS.items() if method.penalty])
@pytest.mark.parametrize("activation", [name for name in ACTIVATIONS if name != "relu"])  # kinked
def test_gradients_through_penalties_agree_with_finite_differences(name, activation):
    stack, x, y = double_stack(name, activation, size=2)
    names = list(stack.parameters)
    for _ in range(200):  # where singular vectors have settled, σ does not feel them turn
        stack.forward(x, y, training=True)

    def penalty(*values):
        for seed, stream in enumerate(stack.streams):  # the same draws at every call
            stream.manual_seed(seed)
        stack.parameters = dict(zip(names, values, strict=True))
        return stack.penalties(stack.forward(x, y, training=True))[0]

    assert torch.autograd.gradcheck(penalty, tuple(stack.parameters.values()), fast_mode=True)


@oracle("spectral_norm")
def test_spectral_norm_agrees_with_torchs_parametrization():
    torch.manual_seed(0)
    layer = parametrizations.spectral_norm(torch.nn.Linear(7, 5).double(), n_power_iterations=1)
    original = layer.parametrizations.weight
    u, v = original[0]._u.clone()[None], original[0]._v.clone()[None]
    weight = original.original.detach().mT.clone()[None].requires_grad_()  # ours lie as (in, out)
    probe = torch.randn(5, 7, dtype=torch.float64)
    for _ in range(3):
        theirs = layer.weight  # one power iteration in training mode
        sigma, u, v = spectral_norm(weight, u, v)
        torch.testing.assert_close((weight / sigma[:, None, None])[0].mT, theirs, rtol=1e-12, atol=1e-12)
        (ours_gradient,) = torch.autograd.grad(((weight / sigma[:, None, None])[0].mT * probe).sum(), weight)
        (their_gradient,) = torch.autograd.grad((theirs * probe).sum(), original.original)
        torch.testing.assert_close(ours_gradient[0].mT, their_gradient, rtol=1e-12, atol=1e-12)


@oracle("spectral_norm")
@pytest.mark.parametrize("strength", [1.0, 2.0])
def test_spectrally_normalized_layers_have_norm_one_over_the_strength(strength):
    stack, x, y = double_stack("spectral_norm", strength=strength)
    for _ in range(200):
        trace = stack.forward(x, y, training=True)
    for layer in trace.layers:
        scaled = layer.weight * layer.scale[:, None, None]
        norms = torch.linalg.matrix_norm(scaled, ord=2)
        torch.testing.assert_close(norms, torch.full_like(norms, 1 / strength), rtol=1e-6, atol=0)


def test_evaluation_leaves_the_power_iteration_alone():
    stack, x, y = double_stack("spectral_norm")
    before = {name: (u.clone(), v.clone()) for name, (u, v) in stack.singular.items()}
    stack.forward(x, y, training=False)
    assert all(torch.equal(stack.singular[name][0], u) for name, (u, _) in before.items())
    stack.forward(x, y, training=True)
    assert not all(torch.equal(stack.singular[name][0], u) for name, (u, _) in before.items())


@oracle("weight_decay")
def test_weight_decay_is_that_of_torchs_adamw():
    torch.manual_seed(0)
    start, lr, strengths = torch.randn(3, 5, 4), 0.01, torch.tensor([0.0, 0.1, 3.0])
    ours = start.clone()
    plain = torch.optim.AdamW([ours.requires_grad_()], lr=lr, weight_decay=0.0)
    theirs = [start[cell].clone().requires_grad_() for cell in range(3)]
    decayed = [
        torch.optim.AdamW([weight], lr=lr, weight_decay=decay)
        for weight, decay in zip(theirs, strengths.tolist(), strict=True)
    ]
    for _ in range(5):
        gradient = torch.randn(3, 5, 4)
        ours.grad = gradient
        with torch.no_grad():
            weight_decay([ours], strengths, lr)
        plain.step()
        for cell, (weight, optimizer) in enumerate(zip(theirs, decayed, strict=True)):
            weight.grad = gradient[cell]
            optimizer.step()
    torch.testing.assert_close(ours, torch.stack(theirs), rtol=1e-5, atol=1e-6)


@oracle("dropout")
def test_dropout_masks_have_the_asked_rate_and_unit_mean():
    strength = torch.tensor([0.0, 0.2, 0.5])
    streams = [torch.Generator().manual_seed(seed) for seed in range(3)]
    mask = dropout((3, 400, 500), strength, streams)
    for cell, p in enumerate(strength.tolist()):
        values = mask[cell].unique().tolist()
        assert values == pytest.approx([1.0] if p == 0 else [0.0, 1 / (1 - p)])
        dropped = (mask[cell] == 0).double().mean().item()
        assert dropped == pytest.approx(p, abs=4 * (p * (1 - p) / mask[cell].numel()) ** 0.5 + 1e-9)


@oracle("dropout")
def test_a_cells_mask_comes_from_its_own_stream():
    def draw(seeds):
        streams = [torch.Generator().manual_seed(seed) for seed in seeds]
        return dropout((len(seeds), 9, 7), torch.full((len(seeds),), 0.5), streams)

    assert torch.equal(draw([1, 2, 3])[2], draw([3, 1])[0])
    assert not torch.equal(draw([1, 2])[0], draw([1, 2])[1])


@oracle("dropout")
def test_dropout_multiplies_hidden_units_in_training_only():
    stack, x, y = double_stack("dropout", activation="relu", strength=0.5)
    trained = stack.forward(x, y, training=True)
    evaluated = stack.forward(x, y, training=False)
    assert torch.equal(trained.layers[0].preactivation, evaluated.layers[0].preactivation)
    assert not torch.equal(trained.logits, evaluated.logits)
    stack.streams = [torch.Generator().manual_seed(cell) for cell in range(3)]
    again = stack.forward(x, y, training=True)
    streams = [torch.Generator().manual_seed(cell) for cell in range(3)]
    masks = [dropout((3, 8, units), stack.methods[0].strength.float(), streams) for units in (6, 5)]
    h = x
    for i, mask in enumerate(masks):
        z = h @ stack.parameters[f"weight{i}"] + stack.parameters[f"bias{i}"][:, None]
        h = torch.relu(z) * mask
    logits = h @ stack.parameters["weight2"] + stack.parameters["bias2"][:, None]
    torch.testing.assert_close(again.logits, logits)


@oracle("none")
def test_the_baseline_touches_nothing():
    stack, x, y = double_stack("none")
    trace = stack.forward(x, y, training=True)
    assert stack.penalties(trace) == [None]
    assert all(layer.scale is None for layer in trace.layers)
    assert torch.equal(trace.logits, stack.forward(x, y, training=False).logits)
    assert REGULARIZERS["none"].function is None


def test_every_regularizer_has_an_oracle_and_a_card():
    for path in Path(__file__).parent.glob("test_regularizers*.py"):
        importlib.import_module(f"tests.{path.stem}")
    assert set(ORACLES) == set(REGULARIZERS)
    for name, method in REGULARIZERS.items():
        if method.function is not None:
            card = method.function.__doc__ or ""
            assert "Source:" in card, f"the docstring of {name} lacks its source, if only `Source: this project.`"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("l2", 0.1, {}), "regularizer=l2 is unknown; choose one of: confidence_penalty, double_backprop, dreg"),
        (("l2", 0.1, {}, "always.l2"), "always=l2 is unknown; choose one of: confidence_penalty"),
        (("dropout", 1.0, {}), "regularizer.strength=1 is out of range for dropout: 0 to 0.99"),
        (("dropout", 2.0, {}, "always.dropout"), "always.dropout.strength=2 is out of range for dropout: 0 to"),
        (("spectral_norm", 0.0, {}), "out of range for spectral_norm: 1e-06 to inf"),
        (("dreg", 0.1, {"form": "lokal"}), "regularizer.form=lokal is unknown; choose one of: local, cumulative"),
        (("dreg", 0.1, {"layer": "all"}), "regularizer.layer is not an option of dreg; its options: form, reduc"),
        (
            ("dreg", 0.1, {"layer": "all"}, "regularizer.also.dreg"),
            "regularizer.also.dreg.layer is not an option of dreg; its options: form",
        ),
        (
            ("frobreg", 0.1, {"projections": 2}),
            "regularizer.projections is not an option of frobreg; its options: n",
        ),
        (("spectreg", 0.1, {"projections": 0}), "regularizer.projections=0 must be a whole number of at least 1"),
        (("spectreg", 0.1, {"projections": 1.5}), "projections=1.5 must be a whole number of at least 1"),
        (("spectreg", 0.1, {"directions": "row"}), "directions=row is unknown; choose one of: batch, sample"),
        (("spectral_norm", 1.0, {"n_power_iterations": 0}), "must be a whole number of at least 1"),
        (("spectral_norm", 1.0, {"eps": 1.0}), "eps is not an option of spectral_norm; its options: n_power_iter"),
    ],
)
def test_a_mistake_is_named_with_the_choices(arguments, message):
    with pytest.raises(UserError) as caught:
        get_regularizer(*arguments)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("names", "options", "network", "task", "message"),
    [
        (
            ["spectral_norm", "spectral_penalty"],
            {},
            "mlp",
            "classification",
            "spectral_norm and spectral_penalty both follow the singular values; choose one of them",
        ),
        (
            ["jacreg"],
            {},
            "mlp",
            "regression",
            "jacreg is about classes, and wave is a regression; for a regression",
        ),
        (["none", "confidence_penalty"], {}, "mlp", "regression", "confidence_penalty is about classes"),
        (["dreg"], {"form": "cumulative"}, "lenet", "classification", "form=cumulative of dreg needs model=mlp"),
    ],
)
def test_what_does_not_fit_together_is_refused_in_one_line(names, options, network, task, message):
    methods = {name: get_regularizer(name, 0.5, options) for name in names}
    networks = {"mlp": MLP(4, (6,), 3, ACTIVATIONS["relu"]), "lenet": lenet()}
    with pytest.raises(UserError) as caught:
        refuse_unfit(methods, networks[network], network, task, "wave")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_a_refusal_recommends_is_not_refused():
    network = MLP(4, (6,), 1, ACTIVATIONS["relu"])
    with pytest.raises(UserError) as caught:
        refuse_unfit({"onehot": get_regularizer("onehot", 0.5, {})}, network, "mlp", "regression", "wave")
    names = str(caught.value).partition("choose one of: ")[2].split(", ")
    assert {"none", "double_backprop", "spectreg", "frobreg", "dreg"} <= set(names)
    for name in names:
        refuse_unfit({name: get_regularizer(name, 0.5, {})}, network, "mlp", "regression", "wave")
