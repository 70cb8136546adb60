"""Running the console commands as a user does: whole processes in a folder of their own."""

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd

_BIN = Path(sys.executable).parent
NO_NETWORK = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")


def run(command, *arguments, cwd, file_size=None, **environment):
    """The finished process of e.g. run("dreg-sweep", "seed=1", cwd=tmp_path).

    `file_size`: bytes beyond which no file of the process and its children can grow.
    """

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))

    return subprocess.run(
        [str(_BIN / command), *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "COLUMNS": "200", **environment},
        check=False,
        preexec_fn=limit if file_size else None,
    )


def cells(folder):
    """The rows of a results folder, by cell key."""
    return pd.read_parquet(folder / "cells").set_index("cell").sort_index()


def start(command, *arguments, cwd):
    """A running process of a command, its standard error readable."""
    return subprocess.Popen(
        [str(_BIN / command), *arguments], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_until(condition, seconds=60):
    """Poll until the condition holds; an assertion fails where it never does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
