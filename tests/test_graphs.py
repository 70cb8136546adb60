"""Steps that are recorded and replayed: the same numbers as steps that are taken, on the CPU by a stand-in."""

import contextlib
from dataclasses import replace

import pytest
import torch

from dreg_sweep import graphs
from dreg_sweep.activations import ACTIVATIONS
from dreg_sweep.cells import AugmentationSpec
from dreg_sweep.graphs import WARM_UP, CudaGraphs, Steps
from dreg_sweep.models import build_network
from dreg_sweep.precision import get_arithmetic
from dreg_sweep.regularizers import REGULARIZERS, get_regularizer
from dreg_sweep.train import Methods, _Training, predict_seconds
from tests.engine import ADAMW, SGD, cell_plan, small_recipe, train
from tests.networks import OPTIONS, SHAPE, image_cell, train_images
from tests.recording import Recording
from tests.test_train import STRENGTH, comparable

pytestmark = pytest.mark.usefixtures("single_thread")
CPU = torch.device("cpu")


@pytest.fixture
def recordings(monkeypatch):
    """Those that stacks are trained with from now on."""
    made = []

    def recorder_of(device):
        made.append(Recording())
        return made[-1]

    monkeypatch.setattr("dreg_sweep.train.recorder_of", recorder_of)
    return made


@pytest.fixture
def said(monkeypatch):
    """What say_once is told."""
    lines: list[str] = []
    monkeypatch.setattr("dreg_sweep.train.say_once", lines.append)
    return lines


@pytest.mark.parametrize("optimizer", [ADAMW, SGD], ids=["adamw", "sgd"])
@pytest.mark.parametrize("regularizer", REGULARIZERS)
def test_replayed_steps_are_the_steps(regularizer, optimizer, said, request):
    options = {"regularizer": regularizer, "optimizer": optimizer, "widths": (33, 20), "activation": "silu"}
    cells = [cell_plan(seed, STRENGTH[regularizer]) for seed in range(3)]
    taken = train(cells, **options)
    recordings = request.getfixturevalue("recordings")
    assert list(map(comparable, train(cells, **options))) == list(map(comparable, taken))
    assert said == []
    assert [(made.aside_steps, made.replays) for made in recordings] == [(WARM_UP, 12 - WARM_UP)]


@pytest.mark.parametrize("model", ["lenet", "resnet"])
@pytest.mark.parametrize("regularizer", ["dropout", "spectral_norm", "dreg", "igpen", "spectreg"])
def test_replayed_steps_on_images_are_the_steps(model, regularizer, said, request):
    cells = [image_cell(seed, STRENGTH[regularizer]) for seed in range(2)]
    options = {"activation": "cubic" if model == "lenet" else "relu", "steps": 8}
    taken = train_images(cells, model, regularizer, **options)
    recordings = request.getfixturevalue("recordings")
    assert repr(train_images(cells, model, regularizer, **options)) == repr(taken)
    assert said == []
    assert {made.replays for made in recordings} == {8 - WARM_UP}


def training(regularizer="none", recipe=None, model="mlp"):
    cells = [image_cell(seed, STRENGTH[regularizer]) for seed in range(2)]
    network = build_network(model, SHAPE, 3, ACTIVATIONS["gelu"], OPTIONS[model])
    methods = Methods(get_regularizer(regularizer, cells[0].strength, {}))
    return _Training(network, methods, recipe or small_recipe(steps=9), cells, CPU)


def weights(course):
    return torch.cat([weight.detach().flatten() for weight in course.stack.weights])


def test_augmentation_goes_on_from_replay_to_replay(request):
    recipe = replace(small_recipe(steps=9), augmentation=AugmentationSpec("crop_flip", {"pad": 1, "flip": True}))
    taken, plain = training(recipe=recipe), training()
    request.getfixturevalue("recordings")
    replayed = training(recipe=recipe)
    for course in (taken, plain, replayed):
        course.run_until(9)
    assert torch.equal(weights(replayed), weights(taken))
    assert not torch.equal(weights(plain), weights(taken))
    ours, theirs = ([s.get_state() for s in course.augmentation_streams] for course in (replayed, taken))
    assert all(map(torch.equal, ours, theirs))


@pytest.mark.parametrize("regularizer", REGULARIZERS)
def test_bfloat16_products_leave_float32_parameters_and_near_losses(regularizer, request):
    exact, taken = training(regularizer), training(regularizer)
    request.getfixturevalue("recordings")
    replayed = training(regularizer)
    for course in (taken, replayed):
        course.arithmetic = get_arithmetic("bf16", "cpu")
    for course in (exact, taken, replayed):
        course.run_until(9)
    assert torch.equal(weights(replayed), weights(taken))
    assert {value.dtype for value in taken.stack.parameters.values()} == {torch.float32}
    assert {vector.dtype for pair in taken.stack.singular.values() for vector in pair} <= {torch.float32}
    assert taken.loss_sum.dtype == torch.float32
    assert not torch.equal(taken.loss_sum, exact.loss_sum)
    torch.testing.assert_close(taken.loss_sum, exact.loss_sum, rtol=0.03, atol=0)
    torch.testing.assert_close(taken.penalty_sum, exact.penalty_sum, rtol=0.1, atol=0.02)


def test_a_step_that_cannot_be_recorded_is_taken_and_the_reason_told(monkeypatch, capsys):
    class Refusing(Recording):
        def record(self, step, streams):
            try:
                raise RuntimeError("operation not permitted\nand much more")
            except RuntimeError:
                raise RuntimeError("the recording was invalidated") from None

    cells = [cell_plan(seed) for seed in range(2)]
    taken = train(cells)
    graphs.say_once.cache_clear()
    monkeypatch.setattr("dreg_sweep.train.recorder_of", lambda device: Refusing())
    for _ in range(2):  # told once
        assert list(map(comparable, train(cells))) == list(map(comparable, taken))
    told = "steps are taken without a CUDA graph: RuntimeError: operation not permitted\n"
    assert capsys.readouterr().err == told


def test_the_stand_in_refuses_what_waits_for_a_device():
    for waits in (lambda: torch.ones(1).item(), lambda: torch.ones(2).tolist(), lambda: bool(torch.ones(()))):
        lines: list[str] = []
        steps = Steps(Recording(), [], lines.append)
        for _ in range(WARM_UP + 1):
            steps.take(waits)
        assert lines == [
            "steps are taken without a CUDA graph: RuntimeError: operation not permitted when stream is capturing"
        ]


def test_what_is_rebound_in_a_step_is_not_repeated():
    """The stand-in is one: a step that keeps no state in place comes out wrong."""
    state = {"sum": torch.zeros(())}

    def step():
        state["sum"] = state["sum"] + 1

    steps = Steps(Recording(), [], pytest.fail)
    for _ in range(WARM_UP + 3):
        steps.take(step)
    assert state["sum"] == WARM_UP + 1


def test_switched_off_nothing_is_recorded(recordings):
    training_off = _Training(
        build_network("mlp", SHAPE, 3, ACTIVATIONS["gelu"], OPTIONS["mlp"]),
        Methods(get_regularizer("none", 0.0, {})),
        small_recipe(),
        [image_cell(0, 0.0)] * 2,
        CPU,
        cuda_graphs=False,
    )
    training_off.run_until(12)
    assert recordings == []


def test_a_prediction_times_replays(recordings):
    network = build_network("mlp", SHAPE, 3, ACTIVATIONS["gelu"], OPTIONS["mlp"])
    predict_seconds(network, Methods(get_regularizer("none", 0.0, {})), small_recipe(), [image_cell(0, 0.0)], CPU)
    assert [made.replays for made in recordings] == [1 + 3]


class Stream:
    """A CUDA stream, or generator, that notes what is asked of it."""

    def __init__(self, notes, name):
        self.notes, self.name = notes, name

    def wait_stream(self, other):
        self.notes.append(f"{self.name} waits for {other.name}")

    def clone_state(self):
        return f"state of {self.name}"

    def graphsafe_set_state(self, state):
        self.notes.append(f"{self.name} gets {state}")


@pytest.fixture
def cuda(monkeypatch):
    """torch.cuda as a list of what is asked of it; `fail` among the notes makes a recording fail at its end."""
    notes: list[str] = []

    @contextlib.contextmanager
    def current(stream):
        notes.append(f"on {stream.name}")
        yield
        notes.append(f"off {stream.name}")

    class Graph:
        def register_generator_state(self, stream):
            notes.append(f"{stream.name} is registered")

        def replay(self):
            notes.append("replay")

    @contextlib.contextmanager
    def recording(graph, stream):
        notes.append(f"records {stream.name}")
        try:
            yield
        finally:
            if "fail" in notes:
                raise RuntimeError("invalidated")

    graphs._side_stream.cache_clear()
    names = iter(("side", "another"))
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: Stream(notes, next(names)))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream(notes, "main"))
    monkeypatch.setattr(torch.cuda, "stream", current)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", recording)
    yield notes
    graphs._side_stream.cache_clear()


def test_a_gpu_records_where_it_warmed_up_and_registers_every_stream(cuda):
    draws = [Stream(cuda, "draw1"), Stream(cuda, "draw2")]
    for _ in range(2):  # the second stack of a process finds the stream of the first
        steps = Steps(CudaGraphs(torch.device("cuda:0")), draws, pytest.fail)
        cuda.clear()
        for _ in range(WARM_UP + 2):
            steps.take(lambda: cuda.append("step"))
        aside = ["side waits for main", "on side", "step", "off side", "main waits for side"]
        recorded = ["draw1 is registered", "draw2 is registered", "on main", "records side", "step", "off main"]
        assert cuda == [*aside * WARM_UP, *recorded, "replay", "replay"]


def test_after_a_failed_recording_the_streams_are_as_before(cuda):
    lines: list[str] = []
    draws = [Stream(cuda, "draw")]
    steps = Steps(CudaGraphs(torch.device("cuda:0")), draws, lines.append)
    for _ in range(WARM_UP):
        steps.take(lambda: None)
    cuda[:] = ["fail"]
    steps.take(lambda: cuda.append("step"))
    assert lines == ["steps are taken without a CUDA graph: RuntimeError: invalidated"]
    assert cuda[-2:] == ["draw gets state of draw", "step"]
    assert "replay" not in cuda
