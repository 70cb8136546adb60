"""Penalties that draw: exact for a given draw, right in mean and variance, drawn from a cell's own stream."""

import pytest
import torch
from scipy.stats import chisquare

from dreg_sweep.activations import ACTIVATIONS
from dreg_sweep.models.mlp import MLP
from dreg_sweep.stack import seeded_generators
from tests.engine import double_stack
from tests.regularizer_oracles import oracle, row_jacobians, traced

CPU = torch.device("cpu")
DRAWS = 4000
FORMS = [("batch", 1), ("batch", 3), ("sample", 1), ("sample", 3)]


def many_draws(regularizer, options=None):
    """A penalty of one cell's network and rows under many streams, (DRAWS,), and the rows' Jacobians (B, C, D)."""
    single, x, y = double_stack("none", "tanh", size=1)
    jacobians = row_jacobians(single, single.forward(x, y, training=True), 0).detach()
    stack, _, _ = double_stack(regularizer, "tanh", size=1, options=options)
    stack.parameters = {
        name: value.detach().expand(DRAWS, *value.shape[1:]) for name, value in stack.parameters.items()
    }
    stack.streams = seeded_generators(range(DRAWS), CPU)
    x = x.detach().repeat(DRAWS, 1, 1).requires_grad_()
    trace = stack.forward(x, y.repeat(DRAWS, 1), training=True)
    return stack.penalties(trace)[0].detach(), jacobians


@oracle("spectreg")
@pytest.mark.parametrize("kind", ["mlp", "mlp-masked-scaled", "lenet"])
@pytest.mark.parametrize(("directions", "projections"), FORMS)
def test_spectreg_is_the_squared_norm_of_the_drawn_projections(directions, projections, kind):
    seeds = [7, 8, 9]
    stack, trace, _ = traced("spectreg", kind, options={"directions": directions, "projections": projections})
    for generator, seed in zip(stack.streams, seeds, strict=True):
        generator.manual_seed(seed)
    penalty = stack.penalties(trace)[0]
    for cell, seed in enumerate(seeds):
        rows = 8 if directions == "sample" else 1
        stream = torch.Generator().manual_seed(seed)
        v = torch.randn(projections, rows, 3, generator=stream, dtype=torch.float64)
        if directions == "sample":
            v = 3**0.5 * v / v.square().sum(2, keepdim=True).sqrt()
        jacobians = row_jacobians(stack, trace, cell)
        squares = [
            (direction @ jacobian).square().sum()
            for one in v.expand(projections, 8, 3)
            for direction, jacobian in zip(one, jacobians, strict=True)
        ]
        assert penalty[cell].item() == pytest.approx(torch.stack(squares).mean().item(), rel=1e-10)


@oracle("spectreg")
@pytest.mark.parametrize(("directions", "projections"), FORMS)
def test_spectreg_has_the_mean_of_frobreg_and_the_variance_of_its_directions(directions, projections):
    values, jacobians = many_draws("spectreg", {"directions": directions, "projections": projections})
    grams = jacobians @ jacobians.mT  # (B, C, C)
    batch, classes = grams.shape[:2]
    frobenius = jacobians.square().sum((1, 2)).mean().item()
    if directions == "batch":  # vᵀAv, v ~ N(0, I): variance 2 ‖A‖_F², A the mean over rows of J Jᵀ
        variance = 2 * grams.mean(0).square().sum().item()
    else:  # the same on the sphere of radius √C: 2C/(C+2) (‖A‖_F² - (tr A)²/C), rows independent
        traces = grams.diagonal(dim1=1, dim2=2).sum(1)
        spread = grams.square().sum((1, 2)) - traces.square() / classes
        variance = 2 * classes / (classes + 2) * spread.sum().item() / batch**2
    variance /= projections
    assert values.mean().item() == pytest.approx(frobenius, abs=4 * (variance / DRAWS) ** 0.5)
    assert values.var().item() == pytest.approx(variance, rel=0.25)


@oracle("random_onehot")
def test_random_onehot_is_a_cth_of_frobreg_in_the_mean():
    values, jacobians = many_draws("random_onehot")
    batch, classes = jacobians.shape[:2]
    norms = jacobians.square().sum(2)  # (B, C)
    variance = norms.var(1, correction=0).sum().item() / batch**2
    frobenius = norms.sum(1).mean().item()
    assert values.mean().item() * classes == pytest.approx(frobenius, abs=4 * classes * (variance / DRAWS) ** 0.5)
    assert values.var().item() == pytest.approx(variance, rel=0.25)


@oracle("random_onehot")
def test_random_onehot_draws_every_class_equally_often_and_anew_for_each_row():
    # A linear network whose logit k has a gradient of squared norm 10^k: the sum over 8 rows has as its digits
    # how often each class was drawn.
    cells, batch, classes = 500, 8, 4
    stack, _, _ = double_stack("random_onehot", size=cells, network=MLP(classes, (), classes, ACTIVATIONS["relu"]))
    powers = torch.tensor([10.0**k for k in range(classes)], dtype=torch.float64)
    stack.parameters["weight0"] = torch.diag(powers.sqrt()).expand(cells, -1, -1).requires_grad_()
    x = torch.zeros(cells, batch, classes, dtype=torch.float64, requires_grad=True)
    trace = stack.forward(x, torch.zeros(cells, batch, dtype=torch.int64), training=True)
    sums = (stack.penalties(trace)[0].detach() * batch).round().long()
    counts = torch.stack([sums // 10**k % 10 for k in range(classes)], 1)  # (cells, classes)
    assert (counts.sum(1) == batch).all()
    assert chisquare(counts.sum(0).numpy()).pvalue > 1e-3
    share = 1 / classes
    assert counts.double().var(0).mean().item() == pytest.approx(batch * share * (1 - share), rel=0.15)


@pytest.mark.parametrize("kind", ["mlp", "lenet"])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("spectreg", {"directions": "batch", "projections": 2}),
        ("spectreg", {"directions": "sample"}),
        ("random_onehot", {}),
    ],
)
def test_what_a_cell_draws_does_not_depend_on_its_stack(name, options, kind):
    def penalties(seeds):
        """Of cells with these streams, all alike otherwise."""
        stack, trace, _ = traced(name, kind, size=1, options=options)
        stack.parameters = {
            key: value.detach().repeat(len(seeds), *[1] * (value.dim() - 1))
            for key, value in stack.parameters.items()
        }
        stack.streams = seeded_generators(seeds, CPU)
        x = trace.x.detach().repeat(len(seeds), 1, 1).requires_grad_()
        again = stack.forward(x, trace.y.repeat(len(seeds), 1), training=True)
        drawn = [stack.penalties(again)[0].tolist() for _ in range(2)]
        return dict(zip(seeds, zip(*drawn, strict=True), strict=True))

    together, apart = penalties([1, 2, 3]), penalties([3, 1])
    assert together[1] == pytest.approx(apart[1], rel=1e-12)
    assert together[3] == pytest.approx(apart[3], rel=1e-12)
    values = [value for pair in together.values() for value in pair]
    assert len(set(values)) == len(values)  # no two cells, and no two steps, draw the same
