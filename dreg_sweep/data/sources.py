"""Where a dataset comes from: source key → the function that loads it."""

from collections.abc import Callable
from pathlib import Path

from dreg_sweep.data import embedded, functions, images, texts
from dreg_sweep.data.arrays import Arrays, array_data, keep_npz, read_npz
from dreg_sweep.data.mapped import map_npz
from dreg_sweep.data.prepared import ArrayData, Prepared, TextData
from dreg_sweep.data.spec import DatasetSpec, check_options
from dreg_sweep.data.text_rows import TextRows, keep_table, read_table, text_data
from dreg_sweep.errors import UserError, unknown_level
from dreg_sweep.paths import expanded

Source = Callable[[DatasetSpec, Path], Prepared]
OWN_FILE = ("arrays", "text_table")


def load_prepared(spec: DatasetSpec, data_dir: Path) -> Prepared:
    """The dataset in memory, downloaded and converted where that has not happened yet.

    data_dir/prepared/<source>.npz or .parquet is used when it is there, whoever put it there, and written
    otherwise. `UserError` for an unknown source, a missing or defective file, or a failed download.
    """
    if spec.source not in SOURCES:
        raise unknown_level("dataset.source", spec.source, SOURCES)
    if spec.path is not None and spec.source not in OWN_FILE:
        raise UserError(
            f"dataset.path={spec.path} does nothing for source {spec.source}; "
            f"choose dataset={' or dataset='.join(OWN_FILE)}, or drop it"
        )
    return SOURCES[spec.source](spec, data_dir)


def is_at_hand(spec: DatasetSpec, data_dir: Path) -> bool:
    """Whether `load_prepared` need neither download nor convert; also true where it will raise at once."""
    if spec.source in PUBLISHED_IMAGES:
        return images.prepared_file(data_dir, spec.source).exists()
    return spec.source not in PUBLISHED_TEXTS or prepared_table(data_dir, spec.source).exists()


def published_images(convert: Callable[[Path], Arrays]) -> Source:
    """A source that `convert` reads from raw files, once; afterwards from prepared/<source>.npz."""

    def load(spec: DatasetSpec, data_dir: Path) -> ArrayData:
        check_options(spec, {})
        if spec.modality != "vision":
            raise UserError(f"dataset.modality={spec.modality} does not fit source {spec.source}; choose vision")
        path = images.prepared_file(data_dir, spec.source)
        if path.exists():
            return array_data(spec, map_npz(path), str(path))
        arrays = convert(data_dir)
        keep_npz(path, arrays)
        return array_data(spec, arrays, str(path))

    return load


def published_texts(read: Callable[[Path], TextRows]) -> Source:
    """A source that `read` reads from raw files, once; afterwards from prepared/<source>.parquet."""

    def load(spec: DatasetSpec, data_dir: Path) -> TextData:
        path = prepared_table(data_dir, spec.source)
        if path.exists():
            return text_data(spec, read_table(path), str(path))
        rows = read(data_dir)
        keep_table(path, rows)
        return text_data(spec, rows, str(path))

    return load


def prepared_table(data_dir: Path, name: str) -> Path:
    """Where the rows of a published text set are kept."""
    return data_dir / "prepared" / f"{name}.parquet"


def own_arrays(spec: DatasetSpec, _: Path) -> ArrayData:
    """The user's .npz: x_train, y_train, x_test, y_test and maybe x_val, y_val; see `array_data`."""
    check_options(spec, {})
    path = _own_path(spec, ".npz with x_train, y_train, x_test, y_test")
    return array_data(spec, read_npz(path), str(path))


def own_texts(spec: DatasetSpec, _: Path) -> TextData:
    """The user's .parquet or .csv with the columns text, label and split; see `text_data`."""
    path = _own_path(spec, ".parquet or .csv with the columns text, label, split")
    return text_data(spec, read_table(path), str(path))


def _own_path(spec: DatasetSpec, wanted: str) -> Path:
    if spec.path is None:
        raise UserError(f"dataset={spec.source} needs dataset.path=<a {wanted}>")
    return expanded(spec.path, "dataset.path")


PUBLISHED_IMAGES: dict[str, Callable[[Path], Arrays]] = {
    "mnist": images.mnist_like("mnist", "MNIST"),
    "fashion_mnist": images.mnist_like("fashion_mnist", "FashionMNIST"),
    "kmnist": images.mnist_like("kmnist", "KMNIST"),
    "cifar10": images.cifar10,
    "svhn": images.svhn,
    "gtsrb": images.gtsrb,
}
PUBLISHED_TEXTS: dict[str, Callable[[Path], TextRows]] = {
    "sst2": texts.sst2,
    "trec6": texts.trec6,
    "tweet_emotion": texts.tweet("emotion"),
    "tweet_offensive": texts.tweet("offensive"),
    "tweet_irony": texts.tweet("irony"),
    "sms_spam": texts.sms_spam,
}
SOURCES: dict[str, Source] = {
    **{name: published_images(convert) for name, convert in PUBLISHED_IMAGES.items()},
    **{name: published_texts(read) for name, read in PUBLISHED_TEXTS.items()},
    "digits": lambda spec, _: embedded.digits(spec),
    "toy_text": lambda spec, _: embedded.toy_text(spec),
    "function": lambda spec, _: functions.function(spec),
    "arrays": own_arrays,
    "text_table": own_texts,
}
