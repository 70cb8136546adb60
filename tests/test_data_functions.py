"""Points of known functions: closed forms, noise, grids, places between training points, draws."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from dreg_sweep.config import conf_dir
from dreg_sweep.data import DatasetSpec, NoiseLadder, load_prepared, make_split
from dreg_sweep.data.functions import FUNCTIONS, FunctionData, midpoints, regular_grid
from dreg_sweep.data.split import RegressionSplit
from dreg_sweep.errors import UserError

LADDER = NoiseLadder((0.25, 2.0), (0.1, 0.4))
SINE = DatasetSpec("sine", "function", "tabular", "clean", options={"function": "sine"})
BOWL = DatasetSpec("squared_norm", "function", "tabular", "clean", options={"function": "squared_norm"})
TRUE = {"sine": lambda x: np.sin(5 * x), "squared_norm": lambda x: x[:, :1] ** 2 + x[:, 1:] ** 2}


def data(spec: DatasetSpec = SINE, **options: Any) -> FunctionData:
    prepared = load_prepared(replace(spec, options={**spec.options, **options}), Path("nowhere"))
    assert isinstance(prepared, FunctionData)
    return prepared


def split(
    prepared: FunctionData, train_size: int | None = 100, seed: int = 0, on: str = "test"
) -> RegressionSplit:
    found = make_split(prepared, train_size, seed, on, LADDER, None)
    assert isinstance(found, RegressionSplit)
    return found


def test_functions_at_points_known_by_hand() -> None:
    x = np.array([[0.0], [np.pi / 10], [-np.pi / 30]], np.float32)
    np.testing.assert_allclose(FUNCTIONS["sine"](x), [[0.0], [1.0], [-0.5]], atol=1e-7)
    x = np.array([[0.0, 0.0], [0.6, -0.8], [-1.0, 1.0]], np.float32)
    np.testing.assert_allclose(FUNCTIONS["squared_norm"](x), [[0.0], [1.0], [2.0]], atol=1e-6)


@pytest.mark.parametrize("spec", [SINE, BOWL], ids=lambda spec: spec.name)
def test_training_points_are_uniform_and_their_noise_is_as_told(spec: DatasetSpec) -> None:
    """Each within four standard errors of n = 20,000 draws."""
    n, sigma = 20_000, 0.25
    prepared = data(spec, n_pool=n, noise=sigma)
    x, y = prepared.inputs["train"], prepared.targets["train"]
    assert np.abs(x).max() <= 1
    assert np.abs(x.mean(axis=0)).max() < 4 * np.sqrt(1 / 3 / n)
    assert np.abs((x.astype(float) ** 2).mean(axis=0) - 1 / 3).max() < 4 * np.sqrt(4 / 45 / n)
    residuals = y - TRUE[spec.name](x.astype(float))
    assert abs(residuals.mean()) < 4 * sigma / np.sqrt(n)
    assert abs(residuals.std() - sigma) < 4 * sigma / np.sqrt(2 * n)
    assert np.abs([np.corrcoef(residuals[:, 0], column)[0, 1] for column in x.T]).max() < 4 / np.sqrt(n)


@pytest.mark.parametrize(("spec", "points"), [(SINE, 401), (BOWL, 41 * 41)], ids=lambda value: str(value)[:20])
def test_the_test_set_is_a_regular_grid_without_noise(spec: DatasetSpec, points: int) -> None:
    found = split(data(spec))
    x = found.eval_rows(None, 0, 10_000)
    assert x.shape == (points, *found.input_shape)
    assert found.y_eval.shape == (points, 1)
    np.testing.assert_allclose(found.y_eval, TRUE[spec.name](x.astype(float)), atol=1e-6)
    np.testing.assert_array_equal(
        np.concatenate([found.eval_rows(None, a, a + 150) for a in range(0, 1700, 150)]), x
    )


def test_grids_by_hand() -> None:
    np.testing.assert_array_equal(regular_grid(1, 5), np.array([[-1, -0.5, 0, 0.5, 1]]).T)
    np.testing.assert_array_equal(regular_grid(2, 3), [[a, b] for a in (-1, 0, 1) for b in (-1, 0, 1)])
    assert len(data(n_grid=7).targets["test"]) == 7
    assert len(data(BOWL, n_grid=7).targets["test"]) == 49


def test_training_rows_are_the_raw_points_and_targets_of_the_pool() -> None:
    prepared = data(BOWL)
    rows = prepared.train_rows(30, 3, "test")
    found = split(prepared, 30, 3)
    np.testing.assert_array_equal(found.x_train, prepared.inputs["train"][rows])
    np.testing.assert_array_equal(found.y_train, prepared.targets["train"][rows])
    assert found.x_train.dtype == found.y_train.dtype == found.y_eval.dtype == np.float32
    assert found.x_train.flags["C_CONTIGUOUS"]
    assert (found.x_train.shape, found.y_train.shape) == ((30, 2), (30, 1))
    assert (found.task, found.n_outputs, found.input_shape) == ("regression", 1, (2,))


def test_no_corruption_whatever_the_ladder_says() -> None:
    found = split(data())
    assert (found.severities, found.corruption) == ((), "none")
    assert found.identity == make_split(data(), 100, 0, "test", NoiseLadder(), None).identity
    with pytest.raises(IndexError, match="severity 0"):
        found.eval_rows(0, 0, 10)


def test_evaluation_rows_are_fresh() -> None:
    found = split(data())
    found.eval_rows(None, 0, 401)[:] = 7
    assert found.eval_rows(None, 0, 401).max() == 1


def test_seeds_draw_from_one_pool_and_repeat_exactly() -> None:
    first, again, other = split(data(), seed=0), split(data(), seed=0), split(data(), seed=1)
    np.testing.assert_array_equal(first.x_train, again.x_train)
    assert first.identity == again.identity != other.identity
    drawn = [set(found.x_train[:, 0].tolist()) for found in (first, other)]
    assert [len(points) for points in drawn] == [100, 100]
    assert len(drawn[0] & drawn[1]) < 30  # 5 expected, of 2,000
    assert (np.diff(first.x_train[:, 0]) < 0).any()
    sizes = data().train_rows(100, 0, "test"), data().train_rows(101, 0, "test")
    assert set(sizes[0].tolist()) != set(sizes[1].tolist()[:100])


def test_all_rows_are_the_pool_in_its_order_for_every_seed() -> None:
    first, second = split(data(), None, 0), split(data(), None, 1)
    assert first.identity == second.identity
    np.testing.assert_array_equal(first.x_train, data().inputs["train"])
    assert len(np.unique(first.x_train)) == 2000


def test_a_tenth_of_the_pool_validates_and_is_never_trained_on() -> None:
    prepared = data()
    part, rows = prepared.eval_part("validation")
    assert part == "train"
    assert len(rows) == len(set(rows.tolist())) == 200
    assert (np.diff(rows) > 0).all()
    kept = prepared.train_rows(None, 5, "validation")
    assert sorted([*kept, *rows]) == list(range(2000))
    assert not set(prepared.train_rows(1800, 1, "validation")) & set(rows)
    found = split(prepared, on="validation")
    np.testing.assert_array_equal(found.y_eval, prepared.targets["train"][rows])
    np.testing.assert_array_equal(found.eval_rows(None, 0, 500), prepared.inputs["train"][rows])
    assert len(found.places()["test"][0]) == 401


def test_places_in_one_dimension() -> None:
    found = split(data(noise=0.3), 50)
    places = found.places()
    assert list(places) == ["train", "between", "test"]
    np.testing.assert_array_equal(places["train"][0], found.x_train)
    np.testing.assert_array_equal(places["train"][1], found.y_train)
    assert np.abs(places["train"][1] - np.sin(5 * found.x_train.astype(float))).mean() > 0.1  # σ √(2/π) = 0.24
    ordered = sorted(found.x_train[:, 0].tolist())
    expected = [(a + b) / 2 for a, b in pairwise(ordered)]
    np.testing.assert_allclose(places["between"][0][:, 0], expected, atol=1e-7)
    np.testing.assert_array_equal(places["test"][0], regular_grid(1, 401))
    for name in ("between", "test"):
        x, y = places[name]
        np.testing.assert_allclose(y, np.sin(5 * x.astype(float)), atol=1e-6)
        assert (x.dtype, y.dtype, y.shape) == (np.float32, np.float32, (len(x), 1))


def test_places_between_in_two_dimensions_by_brute_force() -> None:
    found = split(data(BOWL), 60)
    x = found.x_train.astype(float)
    expected = []
    for i, point in enumerate(x):
        distances = [np.inf if j == i else ((point - other) ** 2).sum() for j, other in enumerate(x)]
        expected.append((point + x[np.argmin(distances)]) / 2)
    between, y = found.places()["between"]
    np.testing.assert_allclose(between, expected, atol=1e-7)
    np.testing.assert_allclose(y[:, 0], (between.astype(float) ** 2).sum(axis=1), atol=1e-6)


def test_points_that_coincide_have_nothing_between_them() -> None:
    line = np.array([[0.5], [-1.0], [0.5], [0.0]], np.float32)
    np.testing.assert_array_equal(midpoints(line), [[-0.5], [0.25]])
    plane = np.array([[1, 1], [0, 0], [1, 1], [0, 0.5]], np.float32)
    np.testing.assert_array_equal(midpoints(plane), [[0.5, 0.75], [0, 0.25], [0, 0.25]])


def test_the_fingerprint_is_of_the_content() -> None:
    first = data()
    assert data(noise=0.1, n_pool=2000, n_grid=401, seed=0).fingerprint == first.fingerprint
    renamed = load_prepared(replace(SINE, name="wave"), Path("nowhere"))
    assert renamed.fingerprint == first.fingerprint
    others = [data(noise=0.2), data(n_pool=1999), data(n_grid=400), data(seed=1), data(function="squared_norm")]
    assert len({first.fingerprint, *(other.fingerprint for other in others)}) == 6


def test_pools_are_nested_and_do_not_depend_on_the_noise() -> None:
    small, large = data(n_pool=50), data(n_pool=2000)
    np.testing.assert_array_equal(small.inputs["train"], large.inputs["train"][:50])
    np.testing.assert_array_equal(small.targets["train"], large.targets["train"][:50])
    clean, noisy = data(noise=0), data(noise=0.5)
    np.testing.assert_array_equal(clean.inputs["train"], noisy.inputs["train"])
    np.testing.assert_allclose(clean.targets["train"], np.sin(5 * clean.inputs["train"].astype(float)), atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"function": "cosine"}, "dataset.options.function=cosine is unknown; choose one of: sine, squared_norm"),
        ({"function": ["sine"]}, r"dataset.options.function=\['sine'\] is unknown"),
        ({"sigma": 0.1}, "dataset.options.sigma is unknown to source function; its options are: function, n_grid"),
        ({"noise": -0.1}, "dataset.options.noise=-0.1 of sine must be a finite number of at least 0"),
        ({"noise": float("inf")}, "dataset.options.noise=inf"),
        ({"noise": float("nan")}, "dataset.options.noise=nan"),
        ({"noise": "much"}, "dataset.options.noise='much'"),
        ({"noise": True}, "dataset.options.noise=True"),
        ({"n_pool": 9}, "dataset.options.n_pool=9 of sine must be a whole number of at least 10"),
        ({"n_grid": 1}, "dataset.options.n_grid=1 of sine must be a whole number of at least 2"),
        ({"n_grid": 41.0}, "dataset.options.n_grid=41.0"),
        (
            {"n_grid": 1001, "function": "squared_norm"},
            "dataset.options.n_grid=1001 of sine makes more than 1,000,000",
        ),
        ({"seed": -1}, "dataset.options.seed=-1"),
    ],
)
def test_mistakes_in_the_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        data(**options)
    assert "\n" not in str(caught.value)


def test_a_function_is_neither_vision_nor_text() -> None:
    with pytest.raises(UserError, match="modality=vision does not fit source function"):
        load_prepared(replace(SINE, modality="vision"), Path("nowhere"))


@pytest.mark.parametrize(
    ("train_size", "evaluate_on", "message"),
    [
        (2001, "test", "train_size=2001 is more than the 2000 training rows of sine; choose at most 2000"),
        (1801, "validation", "train_size=1801 is more than the 1800"),
        (1, "test", "train_size=1 is less than two neighbours of sine; choose at least 2"),
        (0, "test", "train_size=0 must be a whole number"),
        (None, "train", "evaluate_on=train is unknown; choose one of: test, validation"),
    ],
)
def test_impossible_splits(train_size: int | None, evaluate_on: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        data().check(train_size, evaluate_on)


def test_the_smallest_of_everything() -> None:
    prepared = data(n_pool=10, n_grid=2)
    assert [len(rows) for rows in prepared._carved] == [9, 1]
    found = split(prepared, 2, on="validation")
    assert [len(x) for x, _ in found.places().values()] == [2, 1, 2]


@pytest.mark.parametrize(("level", "shape"), [("sine", (1,)), ("squared_norm", (2,))])
def test_levels_in_conf(level: str, shape: tuple[int, ...]) -> None:
    """Each level spells out every option, with the value that the source has without it."""
    spec = DatasetSpec(**yaml.safe_load((conf_dir() / "dataset" / f"{level}.yaml").read_text()))
    prepared = load_prepared(spec, Path("nowhere"))
    assert (prepared.input_shape, prepared.n_train, prepared.n_outputs) == (shape, 2000, 1)
    assert prepared.fingerprint == data(SINE if level == "sine" else BOWL).fingerprint
