"""Every regularizer against an oracle of its own: closed forms, float64 autograd, torch's implementations."""

import pytest
import torch
from torch.func import jacrev, vmap
from torch.nn.utils import parametrizations

from dreg_sweep.activations import ACTIVATIONS
from dreg_sweep.errors import UserError
from dreg_sweep.regularizers import REGULARIZERS, dropout, get_regularizer, spectral_norm, weight_decay
from tests.engine import double_stack

ORACLES: dict[str, list] = {}


def oracle(name):
    """Register a test as an oracle of a regularizer."""

    def register(test):
        ORACLES.setdefault(name, []).append(test)
        return test

    return register


def hidden_functions(stack, cell):
    """For one cell: the functions h_{l-1} → h_l of its layers, output layer last."""
    functions = []
    names = stack.network.weight_names
    for i, name in enumerate(names):
        weight, bias = (stack.parameters[n].detach()[cell] for n in (name, f"bias{i}"))
        coefficients = stack.parameters.get(f"coefficients{i}")
        coefficients = None if coefficients is None else coefficients.detach()[cell : cell + 1]
        value = stack.network.activation.value if i < len(names) - 1 else lambda z, _: z

        def layer(h, weight=weight, bias=bias, value=value, coefficients=coefficients):
            return value((h @ weight + bias).view(1, 1, -1), coefficients).view(-1)

        functions.append(layer)
    return functions


def jacobian_norms(stack, x, form, layers):
    """Σ over layers of mean_b ‖J‖_F², and the same divided by the layers' units, by jacrev: ((S,), (S,))."""
    sums, means = [], []
    for cell in range(stack.size):
        functions = hidden_functions(stack, cell)
        functions = functions if layers == "all" else functions[:-1]
        h, total, mean = x[cell].detach(), torch.tensor(0.0), torch.tensor(0.0)
        chain = None
        for function in functions:
            if form == "local":
                jacobians = vmap(jacrev(function))(h)
            else:
                inner = chain
                chain = function if inner is None else (lambda v, f=function, g=inner: f(g(v)))
                jacobians = vmap(jacrev(chain))(x[cell].detach())
            norm = jacobians.square().sum((1, 2)).mean()
            total, mean = total + norm, mean + norm / jacobians.shape[1]
            h = vmap(function)(h)
        sums.append(total)
        means.append(mean)
    return torch.stack(sums), torch.stack(means)


@oracle("dreg")
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("form", ["local", "cumulative"])
@pytest.mark.parametrize("layers", ["hidden", "all"])
def test_dreg_is_the_squared_norm_of_the_layer_jacobians(activation, form, layers):
    for reduction in ("sum", "mean"):
        options = {"form": form, "layers": layers, "reduction": reduction}
        stack, x, y = double_stack("dreg", activation, options=options)
        penalty = stack.penalty(stack.forward(x, y, training=True))
        expected = jacobian_norms(stack, x, form, layers)[0 if reduction == "sum" else 1]
        torch.testing.assert_close(penalty, expected, rtol=1e-10, atol=0)


@oracle("igpen")
def test_igpen_is_the_mean_over_samples_of_the_squared_input_gradient():
    stack, x, y = double_stack("igpen")
    penalty = stack.penalty(stack.forward(x, y, training=True))
    for cell in range(stack.size):
        functions = hidden_functions(stack, cell)
        total = 0.0
        for sample, label in zip(x[cell], y[cell], strict=True):
            h = sample.detach().requires_grad_()
            logits = h
            for function in functions:
                logits = function(logits)
            loss = torch.nn.functional.cross_entropy(logits, label)
            total += torch.autograd.grad(loss, h)[0].square().sum().item()
        assert penalty[cell].item() == pytest.approx(total / len(y[cell]), rel=1e-12)


@pytest.mark.parametrize("name", [name for name, method in REGULARIZERS.items() if method.penalty])
@pytest.mark.parametrize("activation", [name for name in ACTIVATIONS if name != "relu"])  # kinked
def test_gradients_through_penalties_agree_with_finite_differences(name, activation):
    stack, x, y = double_stack(name, activation, size=2)
    names = list(stack.parameters)

    def penalty(*values):
        stack.parameters = dict(zip(names, values, strict=True))
        return stack.penalty(stack.forward(x, y, training=True))

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
    masks = [dropout((3, 8, units), stack.strength.float(), streams) for units in (6, 5)]
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
    assert stack.penalty(trace) is None
    assert all(layer.scale is None for layer in trace.layers)
    assert torch.equal(trace.logits, stack.forward(x, y, training=False).logits)
    assert REGULARIZERS["none"].function is None


def test_every_regularizer_has_an_oracle_and_a_card():
    assert set(ORACLES) == set(REGULARIZERS)
    for method in REGULARIZERS.values():
        if method.function is not None:
            assert "Source:" in (method.function.__doc__ or "")


@pytest.mark.parametrize(
    ("name", "strength", "options", "message"),
    [
        ("l2", 0.1, {}, "regularizer=l2 is unknown; choose one of: dreg, dropout"),
        ("dropout", 1.0, {}, "regularizer.strength=1 is out of range for dropout: 0 to 0.99"),
        ("spectral_norm", 0.0, {}, "out of range"),
        (
            "dreg",
            0.1,
            {"form": "lokal"},
            "regularizer.form=lokal is unknown; choose one of: local, cumulative",
        ),
        ("dreg", 0.1, {"layer": "all"}, "regularizer.layer is not an option of dreg; its options: form"),
        ("spectral_norm", 1.0, {"n_power_iterations": 0}, "must be a whole number of at least 1"),
    ],
)
def test_a_mistake_is_named_with_the_choices(name, strength, options, message):
    with pytest.raises(UserError, match=message.replace(".", r"\.")):
        get_regularizer(name, strength, options)
