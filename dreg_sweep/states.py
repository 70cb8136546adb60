"""The state of a cell: what is asked for now against the row that is stored."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from dreg_sweep.flat import fields_of
from dreg_sweep.store import StoredCell
from dreg_sweep.versions import changes

STATES = ("done", "failed", "diverged", "running", "missing", "stale")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a cell's result depends on, as of now; a fingerprint that is not known is None."""

    config_hash: str
    data_fingerprint: str | None
    code_fingerprint: str | None


def state(wanted: Wanted, row: StoredCell | None) -> str:
    """missing, stale, or the status of the row: done, diverged, failed."""
    if row is None:
        return "missing"
    return "stale" if row.config_hash != wanted.config_hash or _moved(wanted, row) else row.status


def _moved(wanted: Wanted, row: StoredCell) -> list[str]:
    """What is known on both sides and differs of data and code: `data_fingerprint a1 → b2`, `engine 1 → 2`."""
    old, new = row.data_fingerprint, wanted.data_fingerprint
    data = [] if None in (old, new) or old == new else [f"data_fingerprint {old} → {new}"]
    return data + changes(row.code_fingerprint, wanted.code_fingerprint)


def differences(
    stale: Mapping[str, Wanted],
    rows: Mapping[str, StoredCell],
    configs: Callable[[Collection[str]], Mapping[str, str]],
) -> dict[str, str]:
    """What differs between these cells and their rows, in words: `epochs 10 → 20`, `regularizer.dreg 1 → 2`.

    configs: gives the configurations (JSON) that have some hashes, as far as they are known.
    """
    pairs = [(wanted.config_hash, rows[key].config_hash) for key, wanted in stale.items()]
    known = configs({one for pair in pairs if pair[0] != pair[1] for one in pair})
    words = {}
    for key, wanted in stale.items():
        row = rows[key]
        fields = []
        if row.config_hash != wanted.config_hash:
            by_hash = f"config_hash {row.config_hash} → {wanted.config_hash}"
            before, now = (fields_of(known.get(one)) for one in (row.config_hash, wanted.config_hash))
            fields += _changes(before, now) or [by_hash]
        words[key] = ", ".join([*fields, *_moved(wanted, row)])
    return words


def _changes(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> list[str]:
    """The fields that differ, none where either side is not known."""
    if old is None or new is None:
        return []
    keys = [key for key in sorted({*old, *new}) if old.get(key) != new.get(key)]
    return [f"{key} {old.get(key)} → {new.get(key)}" for key in keys]
