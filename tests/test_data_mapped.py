"""Prepared arrays are mapped where they lie plainly in their file, and read where they do not."""

import mmap

import numpy as np
import pytest

from dreg_sweep.data import DatasetSpec, load_prepared
from dreg_sweep.data.arrays import read_npz
from dreg_sweep.data.mapped import map_npz
from dreg_sweep.errors import UserError

ARRAYS = {
    "x_train": np.arange(2 * 40 * 8 * 8, dtype=np.uint8).reshape(80, 8, 8),
    "y_train": np.arange(80) % 3,
    "x_test": np.arange(20 * 8 * 8, dtype=np.uint8).reshape(20, 8, 8)[:, ::-1].copy(),
    "y_test": np.arange(20) % 3,
    "transposed": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    "none": np.zeros((0, 3), np.float32),
    "number": np.array(5),
}


def is_mapped(array):
    """Whether its memory is that of a file."""
    while isinstance(array, np.ndarray):
        array = array.base
    return isinstance(array.obj if isinstance(array, memoryview) else array, mmap.mmap)


@pytest.fixture
def stored(tmp_path):
    """`ARRAYS` as they are kept."""
    np.savez(tmp_path / "mnist.npz", **ARRAYS)
    return tmp_path / "mnist.npz"


def equal(left, right):
    """Names, types, shapes and values."""
    assert list(left) == list(right)
    for name in left:
        assert left[name].dtype == right[name].dtype
        np.testing.assert_array_equal(left[name], right[name], strict=True)


def test_what_is_mapped_is_what_would_be_read(stored):
    mapped = map_npz(stored)
    equal(mapped, ARRAYS)
    equal(mapped, read_npz(stored))
    assert all(is_mapped(array) for array in mapped.values())
    assert not any(is_mapped(array) for array in read_npz(stored).values())
    with pytest.raises(ValueError, match="read-only"):
        mapped["x_train"][0] = 1


def test_a_compressed_file_is_read(stored):
    np.savez_compressed(stored, **ARRAYS)
    arrays = map_npz(stored)
    equal(arrays, ARRAYS)
    assert not any(is_mapped(array) for array in arrays.values())


@pytest.mark.parametrize("place", [0.1, 0.3, 0.5, 0.9])
def test_a_changed_byte_is_found(stored, place):
    content = bytearray(stored.read_bytes())
    content[int(place * len(content))] ^= 0xFF
    stored.write_bytes(content)
    try:
        arrays = map_npz(stored)
    except UserError:
        return
    equal(arrays, ARRAYS)  # a byte that nobody needs, such as a file's date


def test_a_changed_value_is_refused(stored):
    content = stored.read_bytes()
    values = ARRAYS["x_train"].tobytes()
    assert content.count(values) == 1
    stored.write_bytes(content.replace(values, values[:-1] + bytes([values[-1] ^ 1])))
    with pytest.raises(UserError, match="cannot be read"):
        map_npz(stored)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no archive at all"])
def test_what_is_no_archive_is_refused_as_when_read(stored, content):
    stored.write_bytes(content)
    messages = []
    for reader in (map_npz, read_npz):
        with pytest.raises(UserError) as caught:
            reader(stored)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    stored.unlink()
    with pytest.raises(UserError, match="there is no such file"):
        map_npz(stored)


def test_images_stay_mapped_in_a_prepared_set(tmp_path):
    (tmp_path / "prepared").mkdir()
    np.savez(tmp_path / "prepared" / "mnist.npz", **ARRAYS)
    prepared = load_prepared(DatasetSpec("mnist", "mnist", "vision", "clean"), tmp_path)
    assert all(is_mapped(images) for images in prepared.inputs.values())
