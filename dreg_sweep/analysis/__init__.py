"""The analysis stage: result rows in; tables, figures, claims and a report out. Needs neither torch nor Hydra.

What is listed here is the library. Its names are loaded on first use, so importing this package (or asking a
command for its help) does not import pandas, scipy or matplotlib.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dreg_sweep.analysis.contrasts import compare
    from dreg_sweep.analysis.rows.reading import load_cells, load_fits, load_history, load_noise
    from dreg_sweep.analysis.statistics.anova import repeated_measures, two_way
    from dreg_sweep.analysis.statistics.bootstrap import chance_of_first, clustered_interval
    from dreg_sweep.analysis.statistics.equivalence import equivalence
    from dreg_sweep.analysis.statistics.rank_tests import friedman, holm, nemenyi
    from dreg_sweep.analysis.statistics.trend import page
    from dreg_sweep.analysis.statistics.wilcoxon import pairs_needed, signed_rank

__all__ = [
    "chance_of_first",
    "clustered_interval",
    "compare",
    "equivalence",
    "friedman",
    "holm",
    "load_cells",
    "load_fits",
    "load_history",
    "load_noise",
    "nemenyi",
    "page",
    "pairs_needed",
    "repeated_measures",
    "signed_rank",
    "two_way",
]

# No module here may carry a public name: importing the submodule would bind it and hide the function.
_HOME = {
    "contrasts": ("compare",),
    "rows.reading": ("load_cells", "load_fits", "load_history", "load_noise"),
    "statistics.anova": ("repeated_measures", "two_way"),
    "statistics.bootstrap": ("chance_of_first", "clustered_interval"),
    "statistics.equivalence": ("equivalence",),
    "statistics.rank_tests": ("friedman", "holm", "nemenyi"),
    "statistics.trend": ("page",),
    "statistics.wilcoxon": ("pairs_needed", "signed_rank"),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOME.items():
        if name in names:
            value = getattr(import_module(f"{__name__}.{module}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
