"""Files fetched once: one attempt, checked, and a single line about what to do when it fails."""

import contextlib
import hashlib
import os
import socket
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from dreg_sweep.errors import UserError

SOCKET_SECONDS = 20.0  # silence after which a connection counts as dead; torchvision itself would wait for ever


def md5_of(path: Path) -> str:
    """32 hex digits; what the published checksums are in, no protection against malice."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def check_md5(path: Path, md5: str) -> None:
    """`UserError` if the file is not the published one, byte for byte."""
    found = md5_of(path)
    if found != md5:
        raise UserError(
            f"{path}: is not the published file (md5 {found}, expected {md5}); it is truncated or changed: "
            "delete it and run again, or replace it"
        )


@contextlib.contextmanager
def staging(data_dir: Path) -> Iterator[Path]:
    """A temporary folder inside data_dir, so that moving a file from it is a rename; elsewhere if read-only.

    Whatever a failed download or unpacking leaves behind vanishes with it.
    """
    home: Path | None = data_dir
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        if not os.access(data_dir, os.W_OK):
            home = None
    except OSError:
        home = None
    with tempfile.TemporaryDirectory(prefix=".staging-", dir=home, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@contextlib.contextmanager
def explained(name: str, looked: list[Path], missing: bool) -> Iterator[None]:
    """Turns what torchvision and the file formats raise into a `UserError`; a dead host costs seconds.

    looked: the prepared file and the raw files or folder. missing: whether raw files had to be downloaded, so
    that the failure is most likely the network's and not the files'.
    """
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SOCKET_SECONDS)
    try:
        yield
    # URLError is an OSError; torchvision raises RuntimeError for a wrong checksum, and AssertionError or
    # ValueError for a malformed file
    except (OSError, RuntimeError, EOFError, ValueError, AssertionError, zipfile.BadZipFile) as error:
        line = (" ".join(str(error).split()) or type(error).__name__)[:300]
        if missing:
            message = (
                f"dataset={name} is not there (looked for {' and '.join(map(str, looked))}) and could not be "
                f"downloaded ({line}); put either in place, or run once with network access"
            )
        else:
            message = f"{looked[-1]}: the raw files of {name} cannot be read ({line}); delete them and run again"
        raise UserError(message) from error
    finally:
        socket.setdefaulttimeout(before)


def check_can_keep(data_dir: Path, stage: Path, name: str) -> None:
    """`UserError` before a download into a data_dir that could not keep it: every process would repeat it."""
    if stage.parent != data_dir:
        raise UserError(
            f"data_dir={data_dir} cannot be written to and lacks files of dataset={name}; choose another"
        )
