"""Files that are whole or absent: written under another name, then renamed."""

import contextlib
import logging
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

log = logging.getLogger(__name__)


def write_atomically(path: Path, write: Callable[[IO[bytes]], Any]) -> bool:
    """Lets `write` fill the file at `path`; False, with a logged line, where the folder cannot be written to.

    What the file would have held is in memory anyway, so a read-only folder costs time, not the run.
    """
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(draft, "wb") as file:
            write(file)
        os.replace(draft, path)
    except OSError as error:
        log.warning("%s cannot be written (%s); it will be made again next time", path, error.strerror)
        return False
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
    return True
