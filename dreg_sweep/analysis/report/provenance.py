"""What made the rows: code, versions, devices, data and settings, as a table for the report."""

import json
from importlib import metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

_SINGLE = {
    "code_version": "code version (`.dirty`: uncommitted changes)",
    "torch_version": "torch",
    "device": "device",
    "precision": "precision",
    "evaluated_on": "evaluated on",
}
_SETTINGS = ("epochs", "steps", "batch_size", "optimizer", "schedule", "model", "noise", "evaluate_on")
_SHOWN = 6  # values that one entry lists


def provenance(cells: "pd.DataFrame") -> "pd.DataFrame":
    """Rows `what`, `value`, `cells` (how many of the done rows): everything the rows say about their making.

    Several values of one thing are several rows; a column that no row fills has none.
    """
    import pandas as pd

    done = cells[cells["status"] == "done"]
    rows: list[tuple[str, str, int]] = []
    for column, label in _SINGLE.items():
        if column in done.columns:
            rows += _counted(done[column], label)
    if "code_fingerprint" in done.columns:
        rows += _code(done["code_fingerprint"])
    for pair, label in (
        (("dataset", "data_fingerprint"), "data fingerprint of"),
        (("dataset", "train_size"), "training rows of"),
        (("dataset", "n_test"), "test rows of"),
        (("regularizer", "strength"), "strength of"),
    ):
        rows += _paired(done, *pair, label)
    rows += _settings(done)
    if "seconds" in done.columns and done["seconds"].notna().any():
        rows.append(("training time of all cells", f"{done['seconds'].sum() / 3600:.2f} h", len(done)))
    for package in ("dreg-sweep", "scipy", "pandas", "numpy"):
        rows.append((f"analysed with {package}", metadata.version(package), len(done)))
    return pd.DataFrame(rows, columns=["what", "value", "cells"])


def _counted(column: "pd.Series[Any]", label: str) -> list[tuple[str, str, int]]:
    counts = column.dropna().astype(str).value_counts()
    shown = [(label, str(value), int(count)) for value, count in sorted(counts.items())]
    if len(shown) > _SHOWN:
        rest = shown[_SHOWN:]
        return [*shown[:_SHOWN], (label, f"and {len(rest)} others", sum(count for *_, count in rest))]
    return shown


def _code(fingerprints: "pd.Series[Any]") -> list[tuple[str, str, int]]:
    """The versions of all parts of the code that some rows name, and the digests that older rows have instead."""
    known = fingerprints.dropna().astype(str)
    of_parts = known.str.contains("=")
    parts = sorted({part for text in known[of_parts].unique() for part in text.split()})
    versions = [("versions of the code", " ".join(parts), int(of_parts.sum()))] if parts else []
    return [*versions, *_counted(known[~of_parts], "code fingerprint")]


def _paired(done: "pd.DataFrame", factor: str, column: str, label: str) -> list[tuple[str, str, int]]:
    from dreg_sweep.analysis.rows.levels import ordered

    known = done[[factor, column]].dropna()
    rows = []
    for level in ordered(factor, known[factor].unique()):
        rows += _counted(known.loc[known[factor] == level, column].map(_short), f"{label} {level}")
    return rows


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)


def _settings(done: "pd.DataFrame") -> list[tuple[str, str, int]]:
    """The recipe, read from one row of each dataset's resolved configuration."""
    sample = done.loc[done["config"].notna()].drop_duplicates("dataset")["config"]
    found: dict[str, set[str]] = {}
    for text in sample:
        try:
            config = json.loads(text)
        except ValueError:
            continue
        for name in _SETTINGS:
            if isinstance(config, dict) and config.get(name) is not None:
                found.setdefault(name, set()).add(json.dumps(config[name], sort_keys=True))
    return [(f"setting {name}", value, len(done)) for name in found for value in sorted(found[name])]
