"""The user's own files and their defects, mistakes in the specification, the shipped levels."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from dreg_sweep.data import SOURCES, ArrayData, DatasetSpec, NoiseLadder, TextData, load_prepared
from dreg_sweep.errors import UserError

CONF = Path(__file__).parent.parent / "conf"
ARRAYS = DatasetSpec("arrays", "arrays", "vision", "clean")
TABLE = DatasetSpec("text_table", "text_table", "text", "clean")
Files = dict[str, Any]


def good_arrays() -> Files:
    rng = np.random.default_rng(0)
    return {
        "x_train": rng.integers(0, 256, (20, 4, 4), dtype=np.uint8),
        "y_train": np.arange(20) % 2,
        "x_test": rng.integers(0, 256, (6, 4, 4), dtype=np.uint8),
        "y_test": np.arange(6) % 2,
    }


def load_npz(tmp_path: Path, arrays: Files, spec: DatasetSpec = ARRAYS) -> ArrayData:
    np.savez(tmp_path / "own.npz", **arrays)
    prepared = load_prepared(replace(spec, path=str(tmp_path / "own.npz")), tmp_path)
    assert isinstance(prepared, ArrayData)
    return prepared


def refused(load: Callable[[], object], *parts: str) -> None:
    """One line that holds each part (a file, what is wrong with it, what to do)."""
    with pytest.raises(UserError) as caught:
        load()
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message, message


def test_own_arrays_map_labels_and_keep_pixels(tmp_path: Path) -> None:
    arrays = good_arrays()
    arrays["y_train"], arrays["y_test"] = arrays["y_train"] * 7 + 3, arrays["y_test"] * 7 + 3
    data = load_npz(tmp_path, arrays)
    assert data.labels["test"].tolist() == [0, 1, 0, 1, 0, 1]
    assert data.labels["train"].dtype == np.int64
    assert (data.n_classes, data.input_shape) == (2, (1, 4, 4))
    np.testing.assert_array_equal(data.inputs["test"][..., 0], arrays["x_test"])


@pytest.mark.parametrize(
    ("shape", "dtype", "expected"),
    [
        ((5, 6), np.uint8, (1, 5, 6)),
        ((5, 6, 3), np.float64, (3, 5, 6)),
        ((9,), np.int32, (9,)),
        ((9,), np.uint8, (9,)),
    ],
)
def test_shapes_of_own_arrays(tmp_path: Path, shape: tuple[int, ...], dtype: type, expected: object) -> None:
    arrays = good_arrays()
    arrays["x_train"], arrays["x_test"] = np.ones((20, *shape), dtype), np.ones((6, *shape), dtype)
    assert load_npz(tmp_path, arrays).input_shape == expected


def change(key: str, value: object) -> Callable[[Files], None]:
    return lambda arrays: arrays.update({key: value})


BAD_ARRAYS: dict[str, tuple[Callable[[Files], Any], str]] = {
    "missing array": (lambda a: a.pop("y_test"), "lacks y_test"),
    "half a validation set": (change("x_val", np.ones((2, 4, 4))), "only one of x_val and y_val"),
    "lengths": (change("y_test", np.zeros(5, int)), "x_test has 6 rows but y_test has 5"),
    "empty train": (
        lambda a: a.update(x_train=np.ones((0, 4, 4)), y_train=np.ones(0, int)),
        "x_train is empty",
    ),
    "empty test": (lambda a: a.update(x_test=np.ones((0, 4, 4)), y_test=np.ones(0, int)), "x_test is empty"),
    "nan": (change("x_test", np.full((6, 4, 4), np.nan)), "x_test holds NaN or infinite"),
    "inf": (change("x_train", np.full((20, 4, 4), np.inf)), "x_train holds NaN or infinite"),
    "beyond float32": (change("x_train", np.full((20, 4, 4), 1e300)), "x_train holds NaN or infinite"),
    "one dimension": (change("x_train", np.ones(20)), "x_train has 1 dimensions"),
    "five dimensions": (change("x_train", np.ones((20, 1, 4, 4, 1))), "x_train has 5 dimensions"),
    "channels first": (change("x_train", np.ones((20, 3, 8, 8))), "channels come last"),
    "other shape": (change("x_test", np.ones((6, 4, 5), np.uint8)), "rows of shape (4, 5)"),
    "other type": (change("x_test", np.ones((6, 4, 4))), "x_test is float64, but x_train uint8"),
    "strings": (change("x_train", np.full((20, 4, 4), "a")), "numbers are needed"),
    "float labels": (change("y_train", np.arange(20) / 2), "labels must be integers"),
    "negative labels": (change("y_train", np.arange(20) % 2 - 1), "negative label -1"),
    "labels in columns": (change("y_train", np.ones((20, 2), int)), "y_train has 2 dimensions"),
    "one class": (change("y_train", np.zeros(20, int)), "all of class 0"),
    "strange test label": (change("y_test", np.arange(6)), "no training row has: 2, 3, 4, 5"),
}


@pytest.mark.parametrize("defect", BAD_ARRAYS)
def test_defective_arrays(tmp_path: Path, defect: str) -> None:
    spoil, message = BAD_ARRAYS[defect]
    arrays = good_arrays()
    spoil(arrays)
    refused(lambda: load_npz(tmp_path, arrays), "own.npz", message)


def test_unreadable_arrays(tmp_path: Path) -> None:
    path = tmp_path / "own.npz"
    spec = replace(ARRAYS, path=str(path))
    refused(lambda: load_prepared(spec, tmp_path), "own.npz", "no such file")
    np.savez(path, **good_arrays())
    whole = path.read_bytes()
    middle = len(whole) // 3
    for content in (
        b"",
        b"not an archive",
        whole[: len(whole) // 2],
        whole[:middle] + bytes(b ^ 255 for b in whole[middle : middle + 40]) + whole[middle + 40 :],
    ):
        path.write_bytes(content)
        refused(lambda: load_prepared(spec, tmp_path), "own.npz", "cannot be read")
    np.savez(path, **{**good_arrays(), "x_train": np.array([{}] * 20)})
    refused(lambda: load_prepared(spec, tmp_path), "own.npz", "cannot be read")
    with open(path, "wb") as file:
        np.save(file, np.ones(3))
    refused(lambda: load_prepared(spec, tmp_path), "own.npz", "single array")
    refused(lambda: load_prepared(ARRAYS, tmp_path), "needs dataset.path")


def good_table() -> Files:
    return {
        "text": ["good film", "bad film", "good", "bad", "null", "12"],
        "label": ["pos", "neg", "pos", "neg", "pos", "neg"],
        "split": ["train"] * 4 + ["test"] * 2,
    }


def load_table(tmp_path: Path, table: Files) -> TextData:
    pq.write_table(pa.table(table), tmp_path / "own.parquet")
    data = load_prepared(replace(TABLE, path=str(tmp_path / "own.parquet")), tmp_path)
    assert isinstance(data, TextData)
    return data


def test_own_table_as_parquet_and_csv(tmp_path: Path) -> None:
    table = good_table()
    first = load_table(tmp_path, table)
    rows = zip(table["text"], table["label"], table["split"], strict=True)
    csv = tmp_path / "own.csv"
    csv.write_text("text,label,split\n" + "".join(",".join(row) + "\n" for row in rows))
    second = load_prepared(replace(TABLE, path=str(csv)), tmp_path)
    assert isinstance(second, TextData)
    assert first.texts == second.texts
    assert first.fingerprint == second.fingerprint
    assert first.labels["train"].tolist() == [1, 0, 1, 0]
    assert (first.n_train, first.n_test, first.input_shape) == (4, 2, (256,))


def test_integer_and_boolean_labels_in_csv(tmp_path: Path) -> None:
    for labels in (("10", "2"), ("true", "false")):
        (tmp_path / "own.csv").write_text(
            f'text,label,split\n"a, b",{labels[0]},train\nc d,{labels[1]},train\ne,{labels[1]},test\n'
        )
        data = load_prepared(replace(TABLE, path=str(tmp_path / "own.csv")), tmp_path)
        assert isinstance(data, TextData)
        assert data.labels["train"].tolist() == [1, 0]  # 2 before 10, false before true
        assert data.texts["train"][0] == "a, b"


BAD_TABLES: dict[str, tuple[str, object, str]] = {
    "null text": ("text", ["a", None, "b", "c", "d", "e"], "row 2 has no text"),
    "number as text": ("text", [1, 2, 3, 4, 5, 6], "row 1 has no text (found 1)"),
    "empty texts": ("text", ["", " ", "", "", "a", "b"], "no training text holds a word"),
    "null label": ("label", ["a", "b", None, "a", "b", "a"], "row 3 has no label"),
    "float label": ("label", [0.0, 1.0, 0.0, 1.0, 0.0, 1.0], "use strings or integers"),
    "negative label": ("label", [0, -1, 0, 1, 0, 1], "negative label -1"),
    "one class": ("label", ["a"] * 6, "all of class a"),
    "strange test label": ("label", ["a", "b", "a", "b", "a", "z"], "no training row has: z"),
    "unknown split": ("split", ["train"] * 4 + ["test", "dev"], "split is 'dev'"),
    "null split": ("split", ["train"] * 4 + ["test", None], "row 6 has no split"),
    "no test rows": ("split", ["train"] * 6, "no row has split test"),
    "no train rows": ("split", ["test"] * 6, "no row has split train"),
}


@pytest.mark.parametrize("defect", BAD_TABLES)
def test_defective_tables(tmp_path: Path, defect: str) -> None:
    column, values, message = BAD_TABLES[defect]
    refused(lambda: load_table(tmp_path, {**good_table(), column: values}), "own.parquet", message)


def test_unreadable_tables(tmp_path: Path) -> None:
    refused(lambda: load_prepared(TABLE, tmp_path), "needs dataset.path")
    for name in ("own.parquet", "own.csv"):
        path = tmp_path / name
        spec = replace(TABLE, path=str(path))
        refused(lambda spec=spec: load_prepared(spec, tmp_path), name, "no such file")  # type: ignore[misc]
        path.write_bytes(b"")
        refused(lambda spec=spec: load_prepared(spec, tmp_path), name, "cannot be read")  # type: ignore[misc]
    (tmp_path / "own.csv").write_text("text,label\na,b\n")
    spec = replace(TABLE, path=str(tmp_path / "own.csv"))
    refused(lambda: load_prepared(spec, tmp_path), "own.csv", "lacks the column split")
    (tmp_path / "own.csv").write_text("text,label,split\n")
    refused(lambda: load_prepared(spec, tmp_path), "own.csv", "has no rows")
    (tmp_path / "own.csv").write_text("text,label,split\na,b\n")
    refused(lambda: load_prepared(spec, tmp_path), "own.csv", "cannot be read")
    load_table(tmp_path, good_table())
    whole = (tmp_path / "own.parquet").read_bytes()
    (tmp_path / "own.parquet").write_bytes(whole[: len(whole) // 2])
    spec = replace(TABLE, path=str(tmp_path / "own.parquet"))
    refused(lambda: load_prepared(spec, tmp_path), "own.parquet", "cannot be read")
    (tmp_path / "own.txt").write_text("")
    refused(lambda: load_prepared(replace(TABLE, path=str(tmp_path / "own.txt")), tmp_path), "neither")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source": "imagenet"}, "dataset.source=imagenet is unknown; choose one of: arrays, cifar10"),
        ({"source": "mnist", "path": "x.npz"}, "dataset.path=x.npz does nothing for source mnist"),
        ({"source": "digits", "options": {"size": 3}}, "dataset.options.size is unknown to source digits"),
        ({"source": "toy_text"}, "dataset.modality=vision does not fit source toy_text"),
        (
            {"source": "sst2", "modality": "text", "options": {"n_component": 3}},
            "its options are: n_components",
        ),
        ({"source": "toy_text", "modality": "text", "options": {"n_components": 0}}, "n_components=0"),
        ({"source": "toy_text", "modality": "text", "options": {"difficulty": 1.0}}, "difficulty=1.0"),
        ({"modality": "audio"}, "dataset.modality=audio is unknown; choose one of: tabular, text, vision"),
        ({"source": "mnist", "modality": "tabular"}, "dataset.modality=tabular does not fit source mnist"),
        ({"source": "toy_text", "modality": "tabular"}, "dataset.modality=tabular does not fit source toy_text"),
        ({"regime": "dirty"}, "dataset.regime=dirty is unknown; choose one of: clean, messy"),
        ({"name": "a/b"}, "dataset.name='a/b' cannot be a level name"),
    ],
)
def test_mistakes_in_the_specification(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    if changes.get("source") == "sst2":
        pq_path = tmp_path / "prepared" / "sst2.parquet"
        pq_path.parent.mkdir()
        pq.write_table(pa.table(good_table()), pq_path)
    refused(lambda: load_prepared(replace(ARRAYS, **changes), tmp_path), message)


@pytest.mark.parametrize("values", [{"pixel_sigma": (0.0,)}, {"text_rate": (1.5,)}, {"text_rate": (0.0,)}])
def test_mistakes_in_the_ladder(values: dict[str, tuple[float, ...]]) -> None:
    refused(lambda: NoiseLadder(**values), f"noise.{next(iter(values))}")


def test_the_fingerprint_is_of_the_content(tmp_path: Path) -> None:
    arrays = good_arrays()
    first = load_npz(tmp_path, arrays)
    assert re.fullmatch("[0-9a-f]{16}", first.fingerprint)
    np.savez_compressed(tmp_path / "packed.npz", **dict(reversed(arrays.items())))
    packed = load_prepared(replace(ARRAYS, path=str(tmp_path / "packed.npz")), tmp_path)
    assert packed.fingerprint == first.fingerprint
    arrays["x_test"][0, 0, 0] ^= 1
    assert load_npz(tmp_path, arrays).fingerprint != first.fingerprint


def test_every_level_has_a_source_and_every_source_a_level() -> None:
    levels = {path.stem: yaml.safe_load(path.read_text()) for path in (CONF / "dataset").glob("*.yaml")}
    for stem, level in levels.items():
        assert list(level) == ["name", "source", "modality", "regime", "path", "options"]
        assert level["name"] == stem
        DatasetSpec(**level)
        assert (CONF / "dataset" / f"{stem}.yaml").read_text().startswith("# ")
    assert {level["source"] for level in levels.values()} == set(SOURCES)


def test_noise_levels_are_ladders() -> None:
    for path in (CONF / "noise").glob("*.yaml"):
        ladder = NoiseLadder(**{key: tuple(value) for key, value in yaml.safe_load(path.read_text()).items()})
        assert len(ladder.pixel_sigma) == len(ladder.text_rate)
