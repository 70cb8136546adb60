"""What made a result: the version of this code, with commit and dirty flag where it runs from a checkout."""

import subprocess
from functools import cache
from pathlib import Path

from dreg_sweep import __version__


@cache
def code_version() -> str:
    """`0.1.0+g1a2b3c4` from a git checkout, with `.dirty` where tracked files differ; else the bare version."""
    root = Path(__file__).parent.parent
    if not (root / ".git").exists():
        return __version__
    try:
        command = ["git", "-C", str(root), "describe", "--always", "--abbrev=10", "--dirty", "--exclude=*"]
        described = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout
    except (OSError, subprocess.SubprocessError):
        return __version__
    commit, _, dirty = described.strip().partition("-")
    return f"{__version__}+g{commit}" + (f".{dirty}" if dirty else "")
