"""Several methods in one cell: from files and keys to specs, to the objective, to the command line."""

from dataclasses import replace

import pandas as pd
import pytest
import torch
from torch.nn.functional import cross_entropy

from dreg_sweep.activations import ACTIVATIONS
from dreg_sweep.cells import OptimizerSpec
from dreg_sweep.compose import compose_grid
from dreg_sweep.config import conf_dir
from dreg_sweep.errors import UserError
from dreg_sweep.launch.messages import Inputs
from dreg_sweep.launch.worker import check_cell
from dreg_sweep.models.mlp import MLP
from dreg_sweep.regularizers import dropout, get_regularizer
from dreg_sweep.stack import batch_order
from dreg_sweep.train import Methods, _Training
from tests.commands import NO_NETWORK, cells, run
from tests.composing import loader_and_master
from tests.engine import cell_plan, double_stack, small_recipe
from tests.regularizer_oracles import lenet, row_function, row_masks

LEVELS = sorted(path.stem for path in (conf_dir() / "regularizer").glob("*.yaml"))
IMAGES = Inputs((1, 8, 8), 10, "classification")
CURVE = Inputs((1,), 1, "regression")


def cells_of(*jobs):
    """The cells of a grid, one list of overrides each."""
    loader, master = loader_and_master()
    return compose_grid(loader, master, jobs).cells


def one_cell(*overrides):
    """The cell of a command without -m."""
    return cells_of(list(overrides))[0]


def methods_of(spec):
    """(name, strength) of all methods of a cell."""
    return [(spec.name, spec.strength), *((other.name, other.strength) for other in spec.others)]


def test_a_level_has_the_name_of_its_file():
    assert {"double_backprop+confidence_penalty", "spectreg+confidence_penalty"} <= set(LEVELS)
    for level, cell in zip(LEVELS, cells_of(*([f"regularizer={level}"] for level in LEVELS)), strict=True):
        assert cell.regularizer.level == level
        assert cell.key == f"digits/relu/{level}/s0"
        check_cell(cell, IMAGES)


def test_methods_and_strengths_come_from_level_experiment_and_command_line():
    composite = "regularizer=double_backprop+confidence_penalty"
    for overrides, expected in [
        ([composite], [("double_backprop", 50.0), ("confidence_penalty", 0.5)]),
        (["regularizer=spectreg", "+always.dropout=0.3"], [("spectreg", 0.03), ("dropout", 0.3)]),
        (
            ["regularizer=none", "+always.dropout.strength=0.3"],
            [("none", 0.0), ("dropout", 0.3)],
        ),
        (["regularizer=dropout", "+always.dropout=0.3"], [("dropout", 0.5)]),
        ([composite, "+always.confidence_penalty=9"], [("double_backprop", 50.0), ("confidence_penalty", 0.5)]),
        ([composite, "regularizer.also.confidence_penalty=null"], [("double_backprop", 50.0)]),
        (
            [composite, "regularizer.also.confidence_penalty=0.1", "regularizer.strength=2"],
            [("double_backprop", 2.0), ("confidence_penalty", 0.1)],
        ),
        (
            [composite, "+strengths.double_backprop=3", "+strengths.confidence_penalty=4"],
            [("double_backprop", 3.0), ("confidence_penalty", 4.0)],
        ),
        (["regularizer=dreg", "+strengths.dreg=3"], [("dreg", 3.0)]),
        (["regularizer=dreg", "+strengths.dreg=3", "regularizer.strength=5"], [("dreg", 5.0)]),
        (["regularizer=dreg", "+strengths.igpen=3"], [("dreg", 10**-2.5)]),
        (
            ["experiment=gradreg_cifar", "regularizer=spectreg+confidence_penalty"],
            [("spectreg", 0.003), ("confidence_penalty", 0.384), ("weight_decay_l2", 0.003)],
        ),
        (
            ["experiment=gradreg_cifar", "regularizer=spectreg", "regularizer.strength=0.5"],
            [("spectreg", 0.5), ("weight_decay_l2", 0.003)],
        ),
        (
            ["experiment=gradreg_mnist", "regularizer=weight_decay_l2", "regularizer.strength=0.1"],
            [("weight_decay_l2", 0.1), ("dropout", 0.5)],
        ),
        (["experiment=gradreg_mnist", "always.dropout=null"], [("none", 0.0), ("weight_decay_l2", 5e-4)]),
    ]:
        assert methods_of(one_cell(*overrides).regularizer) == expected, overrides


def test_options_of_added_methods_reach_them():
    cell = one_cell("regularizer=none", "+always.spectreg={strength: 0.1, directions: sample}")
    (spec,) = cell.regularizer.always
    assert (spec.name, spec.strength, spec.options) == ("spectreg", 0.1, {"directions": "sample"})
    check_cell(cell, IMAGES)


@pytest.mark.parametrize(
    ("overrides", "inputs", "message"),
    [
        (
            ["regularizer=spectral_norm", "+always.spectral_penalty=0.1"],
            IMAGES,
            "spectral_norm and spectral_penalty both follow the singular values",
        ),
        (["regularizer=jacreg"], CURVE, "jacreg is about classes, and digits is a regression"),
        (["regularizer=dreg", "+always.confidence_penalty=1"], CURVE, "confidence_penalty is about classes"),
        (["regularizer=spectreg+confidence_penalty"], CURVE, "confidence_penalty is about classes"),
        (
            ["regularizer=dreg", "regularizer.form=cumulative", "model=lenet"],
            replace(IMAGES, shape=(1, 28, 28)),
            "form=cumulative of dreg needs model=mlp, and this is model=lenet",
        ),
        (["+always.droput=0.5"], IMAGES, "droput is unknown; choose one of: confidence_penalty"),
        (["+always.dropout=-1"], IMAGES, "always.dropout.strength=-1 must not be negative"),
        (["+always.dropout=true"], IMAGES, "always.dropout.strength=True must be a finite number"),
        (["+always.dreg={form: local}"], IMAGES, "always.dreg has no strength"),
        (["always=dropout"], IMAGES, "always=dropout must be methods with strengths"),
        (["regularizer=dreg", "+regularizer.also.dreg=1"], IMAGES, "regularizer.also.dreg adds dreg to itself"),
    ],
)
def test_what_cannot_be_combined_is_refused_in_one_line(overrides, inputs, message):
    with pytest.raises(UserError) as caught:
        check_cell(one_cell(*overrides), inputs)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


# (initialization, batches, penalty) of digits/relu/<level>/s4 before methods could be combined. dreg draws
# nothing in training, and its last number goes with its options.
PAIRED = (4749132659965046256, 6635741530361897455)
PINNED = {
    "none": (*PAIRED, 8391453979364722357),
    "weight_decay": (*PAIRED, 4369263372068031698),
    "dropout": (*PAIRED, 3569711383630109025),
    "spectral_norm": (*PAIRED, 7271625126003776300),
    "igpen": (*PAIRED, 6062257960201028241),
    "dreg": PAIRED,
}


@pytest.mark.parametrize("level", PINNED)
def test_the_streams_of_a_plain_cell_are_what_they_were(level):
    streams = one_cell(f"regularizer={level}", "seed=4").streams
    expected = PINNED[level]
    assert (streams.initialization, streams.batches, streams.penalty)[: len(expected)] == expected


def test_each_combination_draws_from_a_stream_of_its_own_on_the_same_batches():
    levels = ["spectreg", "spectreg+confidence_penalty", "dropout"]
    more = ["regularizer=spectreg+confidence_penalty", "regularizer.also.confidence_penalty=0.1"]
    streams = [one_cell(f"regularizer={level}").streams for level in levels] + [one_cell(*more).streams]
    assert len({s.penalty for s in streams}) == 4
    assert len({(s.initialization, s.batches, s.augmentation) for s in streams}) == 1
    shared = one_cell("regularizer=spectreg", "+always.dropout=0.5").streams
    assert shared == streams[0]  # what all cells have besides tells none apart


def objective_written_out(logits, x, y, weights):
    """mean (CE + 2 ‖∂CE/∂x‖² + 0.5 Σ p log p) + 0.1 · ½ Σ ‖W‖² of one cell, row by row; logits: row, x → (C,)."""
    terms = []
    for row, (sample, label) in enumerate(zip(x, y, strict=True)):
        alone = sample.detach().requires_grad_()
        g = logits(row, alone)
        loss = cross_entropy(g, label)
        (gradient,) = torch.autograd.grad(loss, alone, create_graph=True)
        p = g.softmax(0)
        terms.append(loss + 2.0 * gradient.square().sum() + 0.5 * (p * p.log()).sum())
    squares = [weight.square().sum() for weight in weights]
    return torch.stack(terms).mean() + 0.1 * 0.5 * torch.stack(squares).sum()


OTHERS = [("confidence_penalty", 0.5), ("dropout", 0.3), ("weight_decay_l2", 0.1)]


@pytest.mark.parametrize("network", [None, lenet("gelu")], ids=["mlp", "lenet"])
def test_the_objective_is_the_sum_of_what_is_combined(network):
    shape = (4,) if network is None else network.input_shape
    stack, x, y = double_stack("double_backprop", strength=2.0, others=OTHERS, shape=shape, network=network)
    trace = stack.forward(x, y, training=True)
    penalties = stack.penalties(trace)
    assert [penalty is None for penalty in penalties] == [False, False, True, False]
    ours = trace.losses.mean(1)
    for method, penalty in zip(stack.methods, penalties, strict=True):
        ours = ours if penalty is None else ours + method.strength * penalty
    names = list(stack.parameters)
    expected = []
    for cell in range(stack.size):
        function, masks = row_function(stack, trace, cell), row_masks(trace, cell)
        expected.append(
            objective_written_out(
                lambda row, one, function=function, masks=masks: function(
                    one, {i: m[row] for i, m in masks.items()}
                ),
                x[cell],
                y[cell],
                [stack.parameters[name][cell] for name in names if name.startswith("weight")],
            )
        )
    torch.testing.assert_close(ours, torch.stack(expected), rtol=1e-10, atol=0)
    gradients = [
        torch.autograd.grad(sum(objectives), stack.parameters.values()) for objectives in (ours, expected)
    ]
    for our, their in zip(*gradients, strict=True):
        torch.testing.assert_close(our, their, rtol=1e-9, atol=1e-12)


def test_a_step_descends_the_sum_of_what_is_combined():
    plans = [cell_plan(seed, 2.0) for seed in range(3)]
    network = MLP(7, (6, 5), 3, ACTIVATIONS["tanh"])
    methods = Methods(
        get_regularizer("double_backprop", 2.0, {}),
        [(get_regularizer(name, strength, {}), strength) for name, strength in OTHERS],
    )
    plain = OptimizerSpec("sgd", 1.0, {"momentum": 0.0, "nesterov": False})
    recipe = small_recipe(plain, steps=1, schedule="constant")
    training = _Training(network, methods, recipe, plans, torch.device("cpu"))
    before = {name: value.detach().clone() for name, value in training.stack.parameters.items()}
    training.run_until(1)
    for cell, plan in enumerate(plans):
        (rows,) = batch_order(plan.streams.batches, 60, 1, 16)
        stream = torch.Generator().manual_seed(plan.streams.penalty)
        masks = [dropout((1, 16, units), torch.tensor([0.3]), [stream])[0].double() for units in (6, 5)]
        own = {name: value[cell].double().requires_grad_() for name, value in before.items()}

        def logits(row, h, own=own, masks=masks):
            for i, mask in enumerate(masks):
                h = torch.tanh(h @ own[f"weight{i}"] + own[f"bias{i}"]) * mask[row]
            return h @ own["weight2"] + own["bias2"]

        x, y = torch.from_numpy(plan.split.x_train[rows]).double(), torch.from_numpy(plan.split.y_train[rows])
        objective = objective_written_out(logits, x, y, [own[f"weight{i}"] for i in range(3)])
        for name, gradient in zip(own, torch.autograd.grad(objective, list(own.values())), strict=True):
            step = before[name][cell] - training.stack.parameters[name].detach()[cell]
            torch.testing.assert_close(step.double(), gradient, rtol=1e-4, atol=1e-5)


TINY = ("train_size=40", "batch_size=20", "steps=3", "noise=none", "slots=1")


def test_combinations_on_a_lenet_through_the_command_line(tmp_path):
    grid = ["dataset=digits", "model=lenet", "model.padding=2", "regularizer=none,spectreg+confidence_penalty"]
    process = run("dreg-sweep", "-m", *grid, *TINY, cwd=tmp_path, **NO_NETWORK)
    assert process.returncode == 0, process.stderr
    rows = cells(tmp_path / "results" / "adhoc")
    assert rows["regularizer"].tolist() == ["none", "spectreg+confidence_penalty"]
    assert rows["strength"].tolist() == [0.0, 0.03]
    assert set(rows["status"]) == {"done"}
    assert set(rows["model"]) == {"lenet"}
    assert rows["clean_accuracy"].notna().all()


def test_a_regression_has_a_loss_and_fits_instead_of_accuracies(tmp_path):
    process = run("dreg-sweep", "dataset=sine", "regularizer=frobreg", *TINY, cwd=tmp_path, **NO_NETWORK)
    assert process.returncode == 0, process.stderr
    folder = tmp_path / "results" / "adhoc"
    (row,) = cells(folder).to_dict("records")
    assert row["status"] == "done"
    assert row["test_loss"] > 0
    assert all(
        pd.isna(row[name]) for name in ("clean_correct", "clean_accuracy", "noisy_accuracy", "train_accuracy")
    )
    fits = pd.read_parquet(folder / "fits").set_index("place")
    assert set(fits.index) == {"train", "between", "test"}
    on_grid = fits.loc["test"]
    errors = on_grid["prediction"] - on_grid["target"]
    assert errors.shape == on_grid["gradient_norm"].shape == (401,)
    assert row["test_loss"] == pytest.approx((errors**2).mean(), rel=1e-5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["dataset=sine", "regularizer=jacreg"], ["jacreg is about classes", "sine", "frobreg"]),
        (["dataset=toy_text", "model=lenet"], ["needs images", "choose model=mlp"]),
    ],
)
def test_what_does_not_fit_ends_before_training_in_one_line(arguments, words, tmp_path):
    process = run("dreg-sweep", *arguments, *TINY, cwd=tmp_path, **NO_NETWORK)
    assert process.returncode == 2, process.stderr
    (line,) = process.stderr.strip().splitlines()
    assert line.startswith("dreg-sweep: ")
    assert all(word in line for word in words), line
    assert not list(tmp_path.rglob("cells/*.parquet"))
