"""The images that real trainings are measured on: MNIST, or grey images of the user's own."""

import argparse
from dataclasses import dataclass
from pathlib import Path

from dreg_sweep.data import DatasetSpec, load_prepared
from dreg_sweep.data.images import prepared_file
from dreg_sweep.errors import UserError


@dataclass(frozen=True)
class Images:
    """A file of arrays, and the overrides under which this project's cells are trained on it."""

    file: Path
    overrides: tuple[str, ...]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Where the images are."""
    parser.add_argument(
        "--data-dir", type=Path, default=Path("data"), help="that has MNIST or gets it; by default %(default)s"
    )
    parser.add_argument(
        "--data", type=Path, metavar="FILE", help="grey images in place of MNIST: an .npz as dataset=arrays has it"
    )


def images(options: argparse.Namespace) -> Images:
    """The images that were asked for, at hand and as many as asked for; `UserError` otherwise."""
    if options.data is None:
        spec = DatasetSpec(name="mnist", source="mnist", modality="vision", regime="clean")
        load_prepared(spec, options.data_dir).check(options.train_size, "test")
        folder = options.data_dir.absolute()
        file = prepared_file(folder, "mnist")
        if not file.exists():
            raise UserError(f"--data-dir={options.data_dir}: cannot be written to, and lacks {file.name}")
        return Images(file, ("dataset=mnist", f"data_dir={folder}"))
    file = options.data.absolute()
    spec = DatasetSpec(name="arrays", source="arrays", modality="vision", regime="clean", path=str(file))
    prepared = load_prepared(spec, options.data_dir)
    prepared.check(options.train_size, "test")
    shape = prepared.input_shape
    if len(shape) != 3 or shape[0] != 1:
        raise UserError(f"--data={options.data}: has inputs of shape {shape}; grey images are N×H×W")
    return Images(file, ("dataset=arrays", f"dataset.path={file}"))
