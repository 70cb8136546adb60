"""The analysis stage: reads result rows and writes tables and figures; needs neither torch nor Hydra.

The four public names are loaded on first use, so importing this package (or asking a command for its help)
does not import pandas, scipy or matplotlib.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dreg_sweep.analysis.rank_tests import friedman, holm
    from dreg_sweep.analysis.reading import load_cells
    from dreg_sweep.analysis.wilcoxon import signed_rank

__all__ = ["friedman", "holm", "load_cells", "signed_rank"]

# No module may carry a public name: importing the submodule would bind it here and hide the function.
_HOME = {"friedman": "rank_tests", "holm": "rank_tests", "load_cells": "reading", "signed_rank": "wilcoxon"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
