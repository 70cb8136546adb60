"""Prepared data kept between runs, where they can be."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from dreg_sweep.atomic import whole_file

log = logging.getLogger(__name__)


def keep(path: Path, write: Callable[[IO[bytes]], Any]) -> bool:
    """Lets `write` fill the file at `path`; False, with a logged line, where the folder cannot be written to.

    What the file would have held is in memory anyway, so a read-only folder costs time, not the run.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as file:
            write(file)
    except OSError as error:
        log.warning("%s cannot be written (%s); it will be made again next time", path, error.strerror)
        return False
    return True
