"""The stacked engine: against a plain torch training loop, and the guarantees of identity and pairing."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.autograd.functional import jacobian

from dreg_sweep.activations import ACTIVATIONS
from dreg_sweep.cells import Recipe, ScheduleSpec
from dreg_sweep.probe import Probe, Rows
from dreg_sweep.regularizers import REGULARIZERS
from dreg_sweep.schedules import get_schedule
from dreg_sweep.stack import batch_order
from dreg_sweep.train import Methods, epoch_ends, predict_seconds, step_count
from tests.engine import ADAMW, SGD, cell_plan, double_stack, random_split, small_recipe, train

pytestmark = pytest.mark.usefixtures("single_thread")

STRENGTH = dict.fromkeys(REGULARIZERS, 0.01) | {
    "none": 0.0,
    "weight_decay": 0.1,
    "dropout": 0.3,
    "spectral_norm": 1.0,
    "igpen": 0.1,
    "double_backprop": 0.1,
    "jacreg": 0.1,
    "confidence_penalty": 0.1,
}


def comparable(outcome):
    """An outcome without its wall time; exact, and with NaN equal to itself."""
    return repr(replace(outcome, seconds=0.0))


@pytest.mark.parametrize("optimizer", [ADAMW, SGD], ids=["adamw", "sgd"])
def test_a_stack_trains_as_a_plain_torch_loop_does(optimizer):
    cells = [cell_plan(seed) for seed in (0, 1, 2)]
    outcomes = train(cells, activation="gelu", widths=(16, 8), optimizer=optimizer, steps=40)
    for cell, outcome in zip(cells, outcomes, strict=True):
        split = cell.split
        rng = np.random.Generator(np.random.PCG64(cell.streams.initialization))
        sizes = (7, 16, 8, 3)
        layers = [torch.nn.Linear(a, b) for a, b in itertools.pairwise(sizes)]
        for linear in layers:
            bound = 1 / math.sqrt(linear.in_features)
            shape = (linear.in_features, linear.out_features)
            weight = torch.from_numpy(rng.uniform(-bound, bound, shape).astype(np.float32))
            linear.weight.data = weight.mT.contiguous()
            bias = rng.uniform(-bound, bound, shape[1:]).astype(np.float32)
            linear.bias.data = torch.from_numpy(bias)
        network = torch.nn.Sequential(layers[0], torch.nn.GELU(), layers[1], torch.nn.GELU(), layers[2])
        if optimizer is ADAMW:
            plain = torch.optim.AdamW(network.parameters(), lr=1e-2, weight_decay=0.0)
        else:
            plain = torch.optim.SGD(network.parameters(), lr=5e-2, momentum=0.9, nesterov=True)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(plain, 40)
        losses = []
        for rows in batch_order(cell.streams.batches, len(split.y_train), 40, 16):
            loss = torch.nn.functional.cross_entropy(
                network(torch.from_numpy(split.x_train[rows])), torch.from_numpy(split.y_train[rows])
            )
            plain.zero_grad()
            loss.backward()
            plain.step()
            schedule.step()
            losses.append(loss.item())
        with torch.no_grad():
            logits = network(torch.from_numpy(split.x_eval))
            shifted = network(torch.from_numpy(split.x_eval) + 1.0)
        y = torch.from_numpy(split.y_eval)
        assert outcome.clean_correct == (logits.argmax(1) == y).sum().item()
        assert outcome.noisy_correct[1] == (shifted.argmax(1) == y).sum().item()
        assert outcome.test_loss == pytest.approx(torch.nn.functional.cross_entropy(logits, y).item(), rel=1e-4)
        assert outcome.history[-1]["loss"] == pytest.approx(np.mean(losses[38:]), rel=1e-4)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("regularizer", REGULARIZERS)
@pytest.mark.parametrize("widths", [(6, 5), (33, 20)], ids=str)
def test_a_cell_is_bit_identical_alone_in_a_stack_and_in_a_shuffled_stack(regularizer, activation, widths):
    options = {"regularizer": regularizer, "activation": activation, "widths": widths}
    cells = [cell_plan(seed, STRENGTH[regularizer]) for seed in range(5)]
    together = [comparable(outcome) for outcome in train(cells, **options)]
    shuffled = [4, 2, 0, 3, 1]
    again = [comparable(outcome) for outcome in train([cells[i] for i in shuffled], **options)]
    assert [again[shuffled.index(i)] for i in range(5)] == together
    assert comparable(train(cells[3:4], **options)[0]) == together[3]
    assert [comparable(outcome) for outcome in train(cells[1:3], **options)] == together[1:3]


@pytest.mark.parametrize("regularizer", ["none", "dropout", "spectral_norm"])
def test_bit_identity_holds_for_sgd_and_for_shapes_of_no_vector_width(regularizer):
    options = {"regularizer": regularizer, "optimizer": SGD, "widths": (50, 13), "batch_size": 7}
    cells = [cell_plan(seed, STRENGTH[regularizer], features=29, n_classes=5) for seed in range(4)]
    together = [comparable(outcome) for outcome in train(cells, **options)]
    assert comparable(train(cells[2:3], **options)[0]) == together[2]
    assert [comparable(outcome) for outcome in train(cells[::-1], **options)] == together[::-1]


@pytest.mark.parametrize("regularizer", ["none", "dropout", "spectral_norm", "igpen", "dreg", "frobreg"])
@pytest.mark.parametrize("batch_size", [32, 30], ids=["whole registers", "odd"])
def test_bit_identity_holds_for_products_of_the_size_of_images(regularizer, batch_size):
    """Large ones take another way than those of the cells above (see models/products.py)."""
    cells = [cell_plan(seed, strength=0.01, n=70, features=301) for seed in range(5)]
    recipe = {"widths": (97, 40), "steps": 4, "batch_size": batch_size}
    together = [comparable(outcome) for outcome in train(cells, regularizer, "silu", **recipe)]
    for chosen in ([2], [4, 1]):
        part = train([cells[i] for i in chosen], regularizer, "silu", **recipe)
        assert [comparable(outcome) for outcome in part] == [together[i] for i in chosen]


def test_strengths_may_differ_within_a_stack():
    for regularizer in ("weight_decay", "dropout", "igpen", "dreg"):
        cells = [cell_plan(0, strength) for strength in (0.0, 0.05, 0.5)]
        together = train(cells, regularizer)
        apart = [train([cell], regularizer)[0] for cell in cells]
        assert list(map(comparable, together)) == list(map(comparable, apart))
        assert together[0].test_loss != together[2].test_loss
        baseline = train([cell_plan(0, 0.0)])[0]
        assert together[0].test_loss == pytest.approx(baseline.test_loss, rel=1e-4)


def test_regularizers_of_one_seed_share_initialization_and_batches():
    # One step at a learning rate of zero: the loss of the first batch at the first weights.
    still = replace(ADAMW, lr=1e-30)
    losses = {
        regularizer: train([cell_plan(3, STRENGTH[regularizer])], regularizer, optimizer=still, steps=4)[
            0
        ].history[0]["loss"]
        for regularizer in ("none", "weight_decay", "igpen", "dreg")
    }
    assert len(set(losses.values())) == 1
    other = train([cell_plan(4)], optimizer=still, steps=4)[0].history[0]["loss"]
    assert other not in losses.values()


def test_a_diverging_cell_is_reported_with_its_step_and_leaves_its_stack_alone():
    healthy = [cell_plan(seed, 0.01) for seed in (0, 2)]
    sick = cell_plan(1, 1e38)
    options = {"regularizer": "dreg", "optimizer": SGD, "steps": 12, "batch_size": 16}
    first, broken, second = train([healthy[0], sick, healthy[1]], **options)
    assert [comparable(first), comparable(second)] == list(map(comparable, train(healthy, **options)))
    assert broken.status == "diverged"
    assert 1 <= broken.steps <= 12
    assert broken.clean_correct is None
    assert broken.test_loss is None
    assert broken.noisy_correct == ()
    assert all(row["step"] < broken.steps for row in broken.history)


def test_weights_broken_by_the_last_step_count_as_diverged():
    outcome = train([cell_plan(0)], optimizer=replace(SGD, lr=1e38), steps=1, schedule="constant")[0]
    assert outcome.status == "diverged"
    assert outcome.steps == 1


def test_history_has_a_row_an_epoch_with_what_the_probe_saw():
    n = 60
    cells = [cell_plan(seed, n=n) for seed in range(2)]
    outcome = train(cells, "dreg", "relu", steps=12, batch_size=16)[0]
    assert [row["step"] for row in outcome.history] == [4, 8, 12]
    assert [row["epoch"] for row in outcome.history] == [1, 2, 3]
    last = outcome.history[-1]
    assert last["tail_ratio"] == pytest.approx(last["input_gradient_p99"] / last["input_gradient_mean"])
    assert 0 <= last["slope_sq_1"] <= 1  # relu: the share of active units
    assert last["train_accuracy"] == outcome.train_accuracy  # all 60 rows are in the probe
    assert last["penalty"] > 0


def test_the_probe_measures_the_jacobian_norm_of_each_layer():
    stack, x, y = double_stack("dropout", "tanh", size=2)
    x = x.detach()
    measured = Probe(*[Rows(x, y)] * 3).measure(stack)
    for cell in range(2):
        rows = x[cell]
        for number, layer in enumerate(stack.forward(x, y, training=False).layers[:-1], start=1):
            weight = layer.weight[cell]
            bias = (layer.preactivation[cell] - rows @ weight)[0]
            jacobians = [jacobian(lambda row, w=weight, b=bias: torch.tanh(row @ w + b), row) for row in rows]
            expected = torch.stack(jacobians).square().sum((1, 2)).mean()
            assert measured[f"jacobian_sq_{number}"][cell].item() == pytest.approx(expected.item(), rel=1e-12)
            rows = torch.tanh(layer.preactivation[cell])


def test_every_row_is_seen_equally_often():
    order = batch_order(seed=5, n=10, steps=7, batch_size=4)
    assert order.shape == (7, 4)
    assert order.dtype == np.int32
    assert not order.flags.writeable  # it is kept for the next cell of this seed
    counts = np.bincount(order.ravel(), minlength=10)
    assert counts.max() - counts.min() <= 1
    for epoch in range(2):
        assert sorted(order.ravel()[10 * epoch : 10 * (epoch + 1)]) == list(range(10))


@pytest.mark.parametrize(
    ("epochs", "steps", "batch", "n", "expected"),
    [(3, None, 4, 10, 8), (1, None, 128, 50, 1), (5, 7, 4, 10, 7), (10, None, 128, 60000, 4688)],
)
def test_step_count(epochs, steps, batch, n, expected):
    recipe = Recipe(epochs, steps, batch, ADAMW, ScheduleSpec("constant", {}))
    assert step_count(recipe, n) == expected


def test_epoch_ends():
    assert epoch_ends(n=10, batch_size=4, steps=8) == [3, 5, 8]
    assert epoch_ends(n=10, batch_size=10, steps=3) == [1, 2, 3]
    assert epoch_ends(n=100, batch_size=4, steps=7) == [7]


def test_schedules():
    piecewise = get_schedule("piecewise", {"milestones": [0.5, 0.75], "factors": [0.1, 0.01]})
    assert [piecewise(step, 100) for step in (0, 49, 50, 74, 75, 99)] == [1.0, 1.0, 0.1, 0.1, 0.01, 0.01]
    cosine = get_schedule("cosine", {})
    assert [cosine(step, 4) for step in range(4)] == pytest.approx(
        [1.0, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2]
    )
    assert get_schedule("constant", {})(3, 4) == 1.0


def test_prediction_grows_with_the_work():
    from dreg_sweep.models.mlp import MLP
    from dreg_sweep.regularizers import get_regularizer

    split = random_split(0)
    network = MLP(7, (6, 5), split.n_outputs, ACTIVATIONS["relu"])
    methods = Methods(get_regularizer("none", 0.0, {}))
    arguments = ([cell_plan(0)], torch.device("cpu"))
    short = predict_seconds(network, methods, small_recipe(steps=10), *arguments)
    long = predict_seconds(network, methods, small_recipe(steps=100_000), *arguments)
    assert long > 100 * short > 0
