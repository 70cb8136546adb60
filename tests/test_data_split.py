"""Splits: stratification, leaks, seeds, noise, chunks."""

from pathlib import Path

import numpy as np
import pytest

from dreg_sweep.data import DatasetSpec, NoiseLadder, embedded, load_prepared, make_split
from dreg_sweep.data.arrays import array_data
from dreg_sweep.data.prepared import Prepared
from dreg_sweep.data.stratify import allocate, draw, hold_out
from dreg_sweep.data.text_rows import TextRows, text_data
from dreg_sweep.errors import UserError

LADDER = NoiseLadder((0.25, 2.0), (0.1, 0.4))
IMAGES = DatasetSpec("made_up", "arrays", "vision", "clean")
TEXTS = DatasetSpec("made_up_texts", "text_table", "text", "clean", options={"n_components": 8})


def image_arrays(n_train: int = 90, n_test: int = 600) -> dict[str, np.ndarray]:
    """3×4 RGB images of three classes in the proportions 6 : 3 : 1."""
    rng = np.random.default_rng(0)
    labels = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1, 2])
    return {
        "x_train": rng.integers(0, 256, (n_train, 3, 4, 3), dtype=np.uint8),
        "y_train": np.resize(labels, n_train),
        "x_test": rng.integers(0, 256, (n_test, 3, 4, 3), dtype=np.uint8),
        "y_test": np.resize(labels, n_test),
    }


def text_rows() -> TextRows:
    rng = np.random.default_rng(0)
    words = ["red", "green", "blue", "one", "two", "three", "up", "down"]
    texts = [" ".join(rng.choice(words, 6)) for _ in range(80)]
    return TextRows(texts, [i % 2 for i in range(80)], ["train"] * 40 + ["test"] * 40)


def images(**changed: np.ndarray) -> Prepared:
    return array_data(IMAGES, {**image_arrays(), **changed}, "made up")


@pytest.mark.parametrize(
    ("counts", "size", "expected"),
    [
        ([60, 30, 10], 10, [6, 3, 1]),
        ([50, 30, 20], 7, [4, 2, 1]),  # exact shares 3.5, 2.1, 1.4: the largest remainder is the first
        ([98, 1, 1], 3, [1, 1, 1]),
        ([98, 1, 1], 10, [8, 1, 1]),
        ([2, 2, 2], 4, [2, 1, 1]),  # a tie goes to the lower class
        ([5, 5], 10, [5, 5]),
    ],
)
def test_allocate_hand_computed(counts: list[int], size: int, expected: list[int]) -> None:
    n = np.array(counts)
    assert allocate(n, size, np.ones_like(n), n).tolist() == expected


def test_draw_is_stratified_distinct_and_shuffled() -> None:
    labels = np.repeat([0, 1, 2], [600, 300, 100])
    rows = draw(labels, 50, np.random.default_rng(1))
    assert len(set(rows.tolist())) == 50
    assert np.bincount(labels[rows]).tolist() == [30, 15, 5]
    assert (np.diff(labels[rows]) < 0).any()


def test_hold_out_partitions_and_leaves_every_class_in_training() -> None:
    labels = np.repeat([0, 1, 2], [80, 19, 1])
    kept, held = hold_out(labels, 0.1, np.random.default_rng(0))
    assert sorted([*kept, *held]) == list(range(100))
    assert np.bincount(labels[held], minlength=3).tolist() == [8, 2, 0]
    assert set(labels[kept]) == {0, 1, 2}


def test_train_size_none_is_file_order_for_every_seed() -> None:
    data = images()
    first, second = (make_split(data, None, seed, "test", LADDER, None) for seed in (0, 1))
    assert first.identity == second.identity
    assert first.y_train.tolist() == image_arrays()["y_train"].tolist()
    np.testing.assert_array_equal(first.x_train, second.x_train)


def test_seeds_draw_different_rows_and_repeat_exactly() -> None:
    data = images()
    first, again, other = (make_split(data, 30, seed, "test", LADDER, None) for seed in (0, 0, 1))
    assert first.identity == again.identity != other.identity
    np.testing.assert_array_equal(first.x_train, again.x_train)
    assert not np.array_equal(first.x_train, other.x_train)
    assert np.bincount(first.y_train).tolist() == np.bincount(other.y_train).tolist() == [18, 9, 3]


def test_images_are_standardized_by_their_own_training_rows() -> None:
    data = images()
    rows = data.train_rows(30, 4, "test")
    split = make_split(data, 30, 4, "test", LADDER, None)
    raw = image_arrays()
    x = raw["x_train"][rows].astype(np.float64)
    mean, std = x.mean(axis=(0, 1, 2)), x.std(axis=(0, 1, 2))
    expected = ((x - mean) / std).transpose(0, 3, 1, 2).reshape(30, -1)
    np.testing.assert_allclose(split.x_train, expected, atol=1e-6)
    held = ((raw["x_test"] - mean) / std).transpose(0, 3, 1, 2).reshape(600, -1)
    np.testing.assert_allclose(split.eval_rows(None, 0, 600), held, atol=1e-6)
    assert split.input_shape == (3, 3, 4)
    assert split.x_train.dtype == np.float32
    assert split.x_train.flags["C_CONTIGUOUS"]


def test_a_row_of_images_unfolds_into_channels_height_and_width() -> None:
    """What a convolution relies on, and that features unfold into nothing but themselves."""
    x = np.zeros((90, 4, 6, 3), np.uint8)
    x[7, 2, 5, 1] = 255
    arrays = {**image_arrays(90, 20), "x_train": x, "x_test": x[:20]}
    split = make_split(array_data(IMAGES, arrays, "made up"), None, 0, "test", LADDER, None)
    assert split.input_shape == (3, 4, 6)
    brightest = split.x_train.reshape(90, *split.input_shape).argmax()
    assert np.unravel_index(brightest, (90, 3, 4, 6)) == (7, 1, 2, 5)
    features = {**arrays, "x_train": x.reshape(90, -1), "x_test": x[:20].reshape(20, -1)}
    split = make_split(array_data(IMAGES, features, "made up"), None, 0, "test", LADDER, None)
    assert split.input_shape == (72,)
    assert np.unravel_index(split.x_train.argmax(), (90, 72)) == (7, (2 * 6 + 5) * 3 + 1)
    assert split.task == "classification"
    assert split.n_outputs == 3


def test_a_constant_channel_is_centred_and_divided_by_one() -> None:
    x = image_arrays()["x_train"].copy()
    x[..., 1] = 7
    split = make_split(images(x_train=x), None, 0, "test", LADDER, None)
    assert (split.x_train.reshape(-1, 3, 12)[:, 1] == 0).all()
    assert np.isfinite(split.eval_rows(1, 0, 600)).all()


def test_features_are_standardized_one_by_one() -> None:
    rng = np.random.default_rng(0)
    arrays = image_arrays(90, 20)
    arrays["x_train"] = rng.normal([5, -100, 0], [1, 10, 0], (90, 3))
    arrays["x_test"] = rng.normal([5, -100, 0], [1, 10, 0], (20, 3))
    split = make_split(array_data(IMAGES, arrays, "made up"), None, 0, "test", LADDER, None)
    assert split.input_shape == (3,)
    np.testing.assert_allclose(split.x_train.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(split.x_train.std(axis=0), [1, 1, 0], atol=1e-5)


def test_test_rows_leave_no_trace_in_training_images() -> None:
    other = (255 - image_arrays()["x_test"].astype(int)).astype(np.uint8)
    first, second = (make_split(data, 30, 0, "test", LADDER, None) for data in (images(), images(x_test=other)))
    np.testing.assert_array_equal(first.x_train, second.x_train)
    assert first.identity != second.identity


def test_test_rows_leave_no_trace_in_training_texts() -> None:
    rows = text_rows()
    other = TextRows(rows.text[:40] + ["purple seven"] * 40, rows.label, rows.split)
    first, second = (
        make_split(text_data(TEXTS, table, "made up"), 20, 0, "test", LADDER, None) for table in (rows, other)
    )
    np.testing.assert_array_equal(first.x_train, second.x_train)


def test_other_training_rows_leave_no_trace_in_a_subset() -> None:
    """A text outside the drawn subset must not reach the vocabulary, the weights or the statistics."""
    rows = text_rows()
    data = text_data(TEXTS, rows, "made up")
    outside = set(range(40)) - set(data.train_rows(20, 0, "test").tolist())
    changed = ["new words" if i in outside else text for i, text in enumerate(rows.text)]
    other = text_data(TEXTS, TextRows(changed, rows.label, rows.split), "made up")
    first, second = (make_split(d, 20, 0, "test", LADDER, None) for d in (data, other))
    np.testing.assert_array_equal(first.x_train, second.x_train)
    np.testing.assert_array_equal(first.eval_rows(1, 0, 40), second.eval_rows(1, 0, 40))


def test_noise_is_sigma_times_one_field_for_every_cell() -> None:
    data = images()
    fields = []
    for size, seed in ((None, 0), (30, 0), (30, 1)):
        split = make_split(data, size, seed, "test", LADDER, None)
        clean = split.eval_rows(None, 0, 600)
        fields += [(split.eval_rows(k, 0, 600) - clean) / sigma for k, sigma in enumerate(LADDER.pixel_sigma)]
    for field in fields[1:]:
        np.testing.assert_allclose(field, fields[0], atol=2e-5)
    assert abs(fields[0].mean()) < 0.03  # 21,600 draws: three standard errors are 0.02
    assert abs(fields[0].std() - 1) < 0.03
    assert abs(np.corrcoef(fields[0][0], fields[0][256])[0, 1]) < 0.9  # blocks differ


def test_noise_differs_between_datasets_and_evaluation_sets() -> None:
    data = images()
    other = array_data(DatasetSpec("other", "arrays", "vision", "clean"), image_arrays(), "made up")

    def noise(prepared: Prepared, evaluate_on: str) -> np.ndarray:
        split = make_split(prepared, None, 0, evaluate_on, LADDER, None)
        return split.eval_rows(1, 0, 5) - split.eval_rows(None, 0, 5)

    assert not np.allclose(noise(data, "test"), noise(other, "test"), atol=0.1)
    assert not np.allclose(noise(data, "test"), noise(data, "validation"), atol=0.1)


@pytest.mark.parametrize("severity", [None, 0, 1])
@pytest.mark.parametrize("chunk", [1, 100, 256, 1000])
def test_rows_do_not_depend_on_their_chunk(severity: int | None, chunk: int) -> None:
    for data in (images(), text_data(TEXTS, text_rows(), "made up")):
        split = make_split(data, 20, 0, "test", LADDER, None)
        n = len(split.y_eval)
        whole = split.eval_rows(severity, 0, n)
        pieces = [split.eval_rows(severity, a, a + chunk) for a in range(0, n, chunk)]
        np.testing.assert_array_equal(np.concatenate(pieces), whole)
        assert whole.dtype == np.float32
        assert whole.flags["WRITEABLE"]


def test_an_empty_ladder_works_for_both_kinds() -> None:
    for data in (images(), text_data(TEXTS, text_rows(), "made up")):
        split = make_split(data, 20, 0, "test", NoiseLadder(), None)
        assert split.severities == ()
        assert len(split.eval_rows(None, 0, 10)) == 10


def test_validation_rows_are_carved_out_once_and_never_trained_on() -> None:
    data = images()
    part, rows = data.eval_part("validation")
    assert part == "train"
    assert len(rows) == 9
    for seed in range(3):
        assert not set(data.train_rows(None, seed, "validation")) & set(rows)
        assert not set(data.train_rows(81, seed, "validation")) & set(rows)
    split = make_split(data, None, 0, "validation", LADDER, None)
    assert split.y_eval.tolist() == image_arrays()["y_train"][rows].tolist()
    assert len(split.y_train) == 81


def test_an_official_validation_split_is_used_and_never_trained_on() -> None:
    rows = text_rows()
    rows.split[70:] = ["validation"] * 10
    data = text_data(TEXTS, rows, "made up")
    split = make_split(data, None, 0, "validation", LADDER, None)
    assert (len(split.y_train), len(split.y_eval)) == (40, 10)
    split = make_split(data, None, 0, "test", LADDER, None)
    assert (len(split.y_train), len(split.y_eval)) == (40, 30)


@pytest.mark.parametrize(
    ("train_size", "evaluate_on", "message"),
    [
        (91, "test", "train_size=91 is more than the 90 training rows of made_up"),
        (82, "validation", "train_size=82 is more than the 81"),
        (2, "test", "train_size=2 is less than one row for each of the 3 classes"),
        (0, "test", "train_size=0 must be a whole number"),
        (None, "train", "evaluate_on=train is unknown; choose one of: test, validation"),
    ],
)
def test_impossible_splits(train_size: int | None, evaluate_on: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        images().check(train_size, evaluate_on)
    with pytest.raises(UserError, match=message):
        make_split(images(), train_size, 0, evaluate_on, LADDER, None)


def test_embedded_sets(tmp_path: Path) -> None:
    digits = load_prepared(DatasetSpec("digits", "digits", "vision", "clean"), tmp_path)
    assert (digits.n_train, digits.n_test, digits.n_classes) == (1438, 359, 10)
    assert np.abs(np.bincount(digits.labels["test"]) - np.bincount(digits.labels["train"]) / 4).max() <= 1
    toy = DatasetSpec("toy_text", "toy_text", "text", "messy")
    first, again = (load_prepared(toy, tmp_path) for _ in range(2))
    assert (first.n_train, first.n_test, first.n_classes) == (1200, 400, 4)
    assert first.fingerprint == again.fingerprint != digits.fingerprint
    assert list(tmp_path.iterdir()) == []


def test_toy_text_can_be_learned_and_noise_hurts(tmp_path: Path) -> None:
    from sklearn.linear_model import LogisticRegression

    toy = load_prepared(DatasetSpec("toy_text", "toy_text", "text", "messy"), tmp_path)
    split = make_split(toy, None, 0, "test", NoiseLadder((), (0.4,)), None)
    model = LogisticRegression(C=0.05).fit(split.x_train, split.y_train)
    clean, noisy = (
        float((model.predict(split.eval_rows(severity, 0, 400)) == split.y_eval).mean()) for severity in (None, 0)
    )
    assert 0.78 < clean < 0.92
    assert noisy < clean - 0.05


def test_the_package_imports_neither_torch_nor_sklearn() -> None:
    import subprocess
    import sys

    code = "import sys, dreg_sweep.data; print({'torch', 'sklearn', 'hydra', 'omegaconf'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


@pytest.mark.parametrize("found", [True, False])
def test_the_digits_are_those_of_scikit_learn(found, monkeypatch):
    """Whether their file lies where it is looked for or not."""
    from sklearn.datasets import load_digits

    if not found:
        monkeypatch.setattr(embedded, "find_spec", lambda name: None)
    images, labels = embedded._scans()
    theirs = load_digits()
    np.testing.assert_array_equal(images, theirs.images)
    np.testing.assert_array_equal(labels, theirs.target)
    assert (images.dtype, labels.dtype) == (np.uint8, np.int64)
