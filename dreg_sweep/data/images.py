"""Published image sets, read or downloaded by torchvision's own classes with their checksums."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from dreg_sweep.data.arrays import Arrays
from dreg_sweep.data.download import check_can_keep, check_md5, explained, staging
from dreg_sweep.errors import UserError

GTSRB_SIDE = 32  # pixels; the photos are 15 to 250 pixels wide and high

# torchvision reads from a staging folder where data_dir's raw files are linked, so that it can unpack beside
# them although data_dir is read-only, and so that a broken download leaves nothing behind.


def mnist_like(source: str, class_name: str) -> Callable[[Path], Arrays]:
    """MNIST, FashionMNIST or KMNIST; raw files <class_name>/raw/*.gz (or already unpacked) in data_dir."""

    def convert(data_dir: Path) -> Arrays:
        from torchvision import datasets

        cls = getattr(datasets, class_name)
        raw = Path(class_name) / "raw"
        links: dict[Path, str | None] = {}
        for name, md5 in cls.resources:
            unpacked = (raw / name).with_suffix("")
            as_published = (data_dir / raw / name).exists() or not (data_dir / unpacked).exists()
            links.update({raw / name: md5} if as_published else {unpacked: None})
        return _convert(
            source,
            data_dir,
            links,
            lambda root, train: cls(root, train=train, download=True),
            lambda data: (data.data.numpy(), data.targets.numpy()),
        )

    return convert


def cifar10(data_dir: Path) -> Arrays:
    """Raw file cifar-10-python.tar.gz, or its folder cifar-10-batches-py, in data_dir."""
    from torchvision.datasets import CIFAR10

    folder = Path(CIFAR10.base_folder)
    batches = [*CIFAR10.train_list, *CIFAR10.test_list, [CIFAR10.meta["filename"], CIFAR10.meta["md5"]]]
    links: dict[Path, str | None] = {Path(CIFAR10.filename): CIFAR10.tgz_md5}
    if not (data_dir / CIFAR10.filename).exists() and (data_dir / folder).exists():
        links = {folder / name: md5 for name, md5 in batches}
        missing = [str(data_dir / path) for path in links if not (data_dir / path).exists()]
        if missing:
            raise UserError(f"{missing[0]}: is missing from an unpacked CIFAR-10; delete {data_dir / folder}")
    return _convert(
        "cifar10",
        data_dir,
        links,
        lambda root, train: CIFAR10(root, train=train, download=True),
        lambda data: (data.data, np.array(data.targets)),
    )


def svhn(data_dir: Path) -> Arrays:
    """Raw files svhn/train_32x32.mat and svhn/test_32x32.mat in data_dir."""
    from torchvision.datasets import SVHN

    files = [SVHN.split_list[split] for split in ("train", "test")]
    return _convert(
        "svhn",
        data_dir,
        {Path("svhn") / name: md5 for _, name, md5 in files},
        lambda root, train: SVHN(root / "svhn", split="train" if train else "test", download=True),
        lambda data: (data.data.transpose(0, 2, 3, 1), data.labels),
    )


def gtsrb(data_dir: Path) -> Arrays:
    """Unpacked folders gtsrb/GTSRB/* with gtsrb/GT-final_test.csv in data_dir; photos resized to 32×32."""
    from torchvision.datasets import GTSRB

    return _convert(
        "gtsrb",
        data_dir,
        dict.fromkeys(
            [
                Path("gtsrb/GTSRB/Training"),
                Path("gtsrb/GTSRB/Final_Test"),
                Path("gtsrb/GT-final_test.csv"),
            ]
        ),
        lambda root, train: GTSRB(root, split="train" if train else "test", download=True),
        _resized,
    )


def _resized(photos: Iterable[tuple[Any, int]]) -> tuple[Any, Any]:
    """PIL's bilinear filter, which averages over all source pixels when it shrinks."""
    from PIL import Image

    images, labels = [], []
    for photo, label in photos:
        images.append(np.asarray(photo.resize((GTSRB_SIDE, GTSRB_SIDE), Image.Resampling.BILINEAR)))
        labels.append(label)
    return np.stack(images), np.array(labels)


def _convert(
    name: str,
    data_dir: Path,
    links: dict[Path, str | None],
    open_set: Callable[[Path, bool], Any],
    to_arrays: Callable[[Any], tuple[Any, Any]],
) -> Arrays:
    """links: raw path in data_dir → md5 (None: unknown). Both splits as uint8 images, int64 labels."""
    present = [path for path in links if (data_dir / path).exists()]
    for path in present:
        md5 = links[path]
        if md5 is not None:
            check_md5(data_dir / path, md5)
    raw = data_dir / next(iter(links))
    looked = [prepared_file(data_dir, name), raw if raw.parent == data_dir else raw.parent]
    missing = len(present) < len(links)
    with staging(data_dir) as stage, explained(name, looked, missing):
        if missing:
            check_can_keep(data_dir, stage, name)
        for path in present:
            (stage / path).parent.mkdir(parents=True, exist_ok=True)
            (stage / path).symlink_to((data_dir / path).resolve())
        (x_train, y_train), (x_test, y_test) = (to_arrays(open_set(stage, train)) for train in (True, False))
    return {
        "x_train": np.ascontiguousarray(x_train, dtype=np.uint8),
        "y_train": y_train.astype(np.int64),
        "x_test": np.ascontiguousarray(x_test, dtype=np.uint8),
        "y_test": y_test.astype(np.int64),
    }


def prepared_file(data_dir: Path, name: str) -> Path:
    """Where the converted arrays of a published image set are kept."""
    return data_dir / "prepared" / f"{name}.npz"
