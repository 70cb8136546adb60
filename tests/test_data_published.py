"""Published sets: raw files, prepared files, downloads; all made up, none needs the network."""

import gzip
import hashlib
import io
import re
import struct
import tarfile
import urllib.error
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dreg_sweep.data import ArrayData, DatasetSpec, TextData, is_at_hand, load_prepared
from dreg_sweep.data import texts as texts_module
from dreg_sweep.errors import UserError

Files = dict[str, Any]


def good_arrays() -> Files:
    rng = np.random.default_rng(0)
    return {
        "x_train": rng.integers(0, 256, (20, 4, 4), dtype=np.uint8),
        "y_train": np.arange(20) % 2,
        "x_test": rng.integers(0, 256, (6, 4, 4), dtype=np.uint8),
        "y_test": np.arange(6) % 2,
    }


def refused(load: Callable[[], object], *parts: str) -> None:
    """One line that holds each part (a file, what is wrong with it, what to do)."""
    with pytest.raises(UserError) as caught:
        load()
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message, message


def idx_gz(array: np.ndarray) -> bytes:
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return gzip.compress(header + array.astype(np.uint8).tobytes())


@pytest.fixture
def small_mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    """The four raw files of a made-up MNIST in tmp_path, their checksums known to torchvision's class."""
    from torchvision.datasets import MNIST

    arrays = good_arrays()
    names = {"train": "train", "test": "t10k"}
    resources = []
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part, prefix in names.items():
        for content, kind in ((arrays[f"x_{part}"], "images-idx3"), (arrays[f"y_{part}"], "labels-idx1")):
            file = raw / f"{prefix}-{kind}-ubyte.gz"
            file.write_bytes(idx_gz(content))
            resources.append((file.name, hashlib.md5(file.read_bytes()).hexdigest()))
    monkeypatch.setattr(MNIST, "resources", resources)
    return arrays


MNIST_SPEC = DatasetSpec("mnist", "mnist", "vision", "clean")


def test_raw_mnist_is_converted_once(tmp_path: Path, small_mnist: Files) -> None:
    assert not is_at_hand(MNIST_SPEC, tmp_path)
    first = load_prepared(MNIST_SPEC, tmp_path)
    assert is_at_hand(MNIST_SPEC, tmp_path)
    assert isinstance(first, ArrayData)
    np.testing.assert_array_equal(first.inputs["train"][..., 0], small_mnist["x_train"])
    assert first.labels["test"].tolist() == small_mnist["y_test"].tolist()
    for file in (tmp_path / "MNIST" / "raw").iterdir():
        file.unlink()
    second = load_prepared(MNIST_SPEC, tmp_path)
    assert second.fingerprint == first.fingerprint
    assert sorted(path.name for path in tmp_path.iterdir()) == ["MNIST", "prepared"]
    assert [path.name for path in (tmp_path / "prepared").iterdir()] == ["mnist.npz"]


@pytest.mark.usefixtures("small_mnist")
def test_a_folder_that_cannot_be_written_costs_only_time(tmp_path: Path) -> None:
    (tmp_path / "prepared").write_text("in the way")
    first, second = (load_prepared(MNIST_SPEC, tmp_path) for _ in range(2))
    assert first.fingerprint == second.fingerprint


@pytest.mark.usefixtures("small_mnist")
def test_a_truncated_raw_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "MNIST" / "raw" / "t10k-images-idx3-ubyte.gz"
    file.write_bytes(file.read_bytes()[:-5])
    refused(lambda: load_prepared(MNIST_SPEC, tmp_path), str(file), "not the published file", "delete it")
    assert not (tmp_path / "prepared").exists()


def test_a_truncated_unpacked_raw_file(tmp_path: Path, small_mnist: Files) -> None:
    raw = tmp_path / "MNIST" / "raw"
    for file in list(raw.iterdir()):
        file.with_suffix("").write_bytes(gzip.decompress(file.read_bytes()))
        file.unlink()
    first = load_prepared(MNIST_SPEC, tmp_path)
    assert first.n_train == len(small_mnist["y_train"])
    (tmp_path / "prepared" / "mnist.npz").unlink()
    file = raw / "train-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:-7])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        refused(lambda: load_prepared(MNIST_SPEC, tmp_path), str(raw), "cannot be read")


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every connection fails at once; the addresses that were tried."""
    tried: list[str] = []

    def refuse(request: Any, *_: object, **__: object) -> None:
        tried.append(getattr(request, "full_url", request))
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    return tried


@pytest.mark.parametrize("source", ["mnist", "cifar10", "svhn", "gtsrb", "sst2", "tweet_irony", "sms_spam"])
def test_missing_and_offline_fails_at_once(tmp_path: Path, offline: list[str], source: str) -> None:
    modality = "vision" if source in ("mnist", "cifar10", "svhn", "gtsrb") else "text"
    spec = DatasetSpec(source, source, modality, "clean")
    refused(
        lambda: load_prepared(spec, tmp_path),
        f"dataset={source} is not there",
        str(tmp_path / "prepared" / source),
        "could not be downloaded",
        "no route to host",
        "network access",
    )
    assert 1 <= len(offline) <= 2  # MNIST has two mirrors
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("source", ["mnist", "trec6"])
def test_no_download_into_a_folder_that_cannot_keep_it(tmp_path: Path, source: str) -> None:
    (tmp_path / "file").write_text("")
    spec = DatasetSpec(source, source, "vision" if source == "mnist" else "text", "clean")
    refused(lambda: load_prepared(spec, tmp_path / "file"), "cannot be written to", source, "choose another")


def write_raw(folder: Path, monkeypatch: pytest.MonkeyPatch, table: str, files: dict[str, bytes]) -> None:
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    md5s = {name: hashlib.md5(content).hexdigest() for name, content in files.items()}
    monkeypatch.setattr(texts_module, table, md5s)


@pytest.mark.usefixtures("offline")
def test_raw_text_formats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sst2 = {
        "stsa.binary.train": "1 a crème\n0 dull film\n".encode(),
        "stsa.binary.dev": b"0 bad\n",
        "stsa.binary.test": b"1 fine\n",
    }
    trec = {
        "train_5500.label": "HUM:ind Who is Zo\xeb ?\nNUM:dist How far ?\n".encode("latin-1"),
        "TREC_10.label": b"NUM:date When ?\n",
    }
    tweets = {
        f"{part}_{kind}.txt": content
        for part in ("train", "val", "test")
        for kind, content in (("text", "so\x85 fun \nwell\u2028 no \n".encode()), ("labels", b"0\n1\n"))
    }
    write_raw(tmp_path / "sst2", monkeypatch, "SST2_MD5", sst2)
    write_raw(tmp_path / "trec6", monkeypatch, "TREC_MD5", trec)
    write_raw(tmp_path / "tweet_irony", monkeypatch, "TWEET_MD5", tweets)
    monkeypatch.setattr(texts_module, "TWEET_MD5", {"irony": texts_module.TWEET_MD5})
    expected: dict[str, tuple[str, int, list[int]]] = {
        "sst2": ("a crème", 1, [1, 0]),
        "trec6": ("Who is Zoë ?", 0, [0, 1]),
        "tweet_irony": ("so\x85 fun", 1, [0, 1]),
    }
    for name, (text, first_validation, labels) in expected.items():
        spec = DatasetSpec(name, name, "text", "clean")
        for _ in range(2):  # from the raw files, then from the prepared file
            data = load_prepared(spec, tmp_path)
            assert isinstance(data, TextData)
            assert data.texts["train"][0] == text
            assert data.labels["train"].tolist() == labels
            assert ("validation" in data.labels) == bool(first_validation)
            assert is_at_hand(spec, tmp_path)
    file = tmp_path / "sst2" / "stsa.binary.dev"
    file.write_bytes(b"0 b")
    (tmp_path / "prepared" / "sst2.parquet").unlink()
    spec = DatasetSpec("sst2", "sst2", "text", "clean")
    refused(lambda: load_prepared(spec, tmp_path), str(file), "not the published file", "delete it")


def test_copies_of_a_message_stay_on_one_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [f"{'spam' if i % 5 == 0 else 'ham'}\tmessage {i}" for i in range(100)]
    content = "\n".join(lines * 2).encode() + b"\n"
    monkeypatch.setattr(texts_module, "SMS_MD5", hashlib.md5(content).hexdigest())
    (tmp_path / "sms_spam").mkdir()
    (tmp_path / "sms_spam" / "SMSSpamCollection").write_bytes(content)
    data = load_prepared(DatasetSpec("sms_spam", "sms_spam", "text", "messy"), tmp_path)
    assert isinstance(data, TextData)
    assert (data.n_train, data.n_test) == (160, 40)
    assert not set(data.texts["train"]) & set(data.texts["test"])
    assert np.bincount(data.labels["test"]).tolist() == [32, 8]


def test_a_download_is_checked_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = {"train_5500.label": b"A:x one two\nB:y three four\n", "TREC_10.label": b"A:x five\n"}
    fetched: list[str] = []

    def download_url(url: str, root: str, filename: str, md5: str) -> None:
        fetched.append(url)
        assert re.fullmatch("[0-9a-f]{32}", md5)
        (Path(root) / filename).write_bytes(contents[filename])

    monkeypatch.setattr("torchvision.datasets.utils.download_url", download_url)
    spec = DatasetSpec("trec6", "trec6", "text", "clean")
    refused(lambda: load_prepared(spec, tmp_path), "trec6", "is not the file that was published")
    assert list(tmp_path.iterdir()) == []
    md5s = {name: hashlib.md5(content).hexdigest() for name, content in contents.items()}
    monkeypatch.setattr(texts_module, "TREC_MD5", md5s)
    assert load_prepared(spec, tmp_path).n_train == 2
    assert fetched[-2:] == [f"https://cogcomp.seas.upenn.edu/Data/QA/QC/{name}" for name in contents]
    load_prepared(spec, tmp_path)
    assert len(fetched) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["prepared", "trec6"]


def test_raw_cifar10_and_svhn_and_gtsrb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made-up files in the published formats: pixel order, channel order, labels."""
    import pickle

    import scipy.io
    from PIL import Image
    from torchvision.datasets import CIFAR10, SVHN

    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    batch = pickle.dumps({"data": pixels.transpose(0, 3, 1, 2).reshape(4, -1), "labels": [0, 1, 0, 1]})
    meta = pickle.dumps({"label_names": ["a", "b"]})
    with tarfile.open(tmp_path / "cifar-10-python.tar.gz", "w:gz") as tar:
        for name, content in (("data_batch_1", batch), ("test_batch", batch), ("batches.meta", meta)):
            info = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    md5 = {content: hashlib.md5(content).hexdigest() for content in (batch, meta)}
    tgz = hashlib.md5((tmp_path / "cifar-10-python.tar.gz").read_bytes()).hexdigest()
    monkeypatch.setattr(CIFAR10, "tgz_md5", tgz)
    monkeypatch.setattr(CIFAR10, "train_list", [["data_batch_1", md5[batch]]])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", md5[batch]]])
    monkeypatch.setattr(CIFAR10, "meta", {"filename": "batches.meta", "key": "label_names", "md5": md5[meta]})

    (tmp_path / "svhn").mkdir()
    entries = {}
    for part in ("train", "test"):
        file = tmp_path / "svhn" / f"{part}_32x32.mat"
        scipy.io.savemat(
            file, {"X": pixels.transpose(1, 2, 3, 0), "y": np.array([[10], [1], [10], [1]], np.uint8)}
        )
        entries[part] = ["http://x", file.name, hashlib.md5(file.read_bytes()).hexdigest()]
    monkeypatch.setattr(SVHN, "split_list", entries)

    train, test = (tmp_path / "gtsrb" / "GTSRB" / part for part in ("Training", "Final_Test/Images"))
    for folder in (train / "00000", train / "00001", test):
        folder.mkdir(parents=True)
    for i in range(4):
        Image.fromarray(pixels[i]).save(train / f"0000{i % 2}" / f"{i}.ppm")
        Image.fromarray(pixels[i]).save(test / f"{i}.ppm")
    rows = "".join(f"{i}.ppm;32;32;0;0;31;31;{i % 2}\n" for i in range(4))
    header = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId\n"
    (tmp_path / "gtsrb" / "GT-final_test.csv").write_text(header + rows)

    for name in ("cifar10", "svhn", "gtsrb"):
        data = load_prepared(DatasetSpec(name, name, "vision", "messy"), tmp_path)
        assert isinstance(data, ArrayData)
        np.testing.assert_array_equal(data.inputs["test"], pixels)
        assert data.labels["test"].tolist() == [0, 1, 0, 1]
        assert data.input_shape == (3, 32, 32)


def test_a_prepared_file_put_there_by_hand_serves_and_is_checked(tmp_path: Path) -> None:
    (tmp_path / "prepared").mkdir()
    np.savez(tmp_path / "prepared" / "gtsrb.npz", **good_arrays())
    spec = DatasetSpec("gtsrb", "gtsrb", "vision", "messy")
    assert load_prepared(spec, tmp_path).n_train == 20
    np.savez(tmp_path / "prepared" / "gtsrb.npz", **{**good_arrays(), "y_test": np.arange(6)})
    refused(lambda: load_prepared(spec, tmp_path), "prepared/gtsrb.npz", "test has labels")
