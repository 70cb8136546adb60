"""From cells and their outcomes to the rows of the store."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dreg_sweep.cells import Cell
from dreg_sweep.data import Split
from dreg_sweep.factors import FACTORS, IDENTITY
from dreg_sweep.states import Wanted
from dreg_sweep.store import StackRows

if TYPE_CHECKING:  # the runner writes rows of failed cells and does without torch
    from dreg_sweep.fits import Fit
    from dreg_sweep.train import Outcome


def identity(cell: Cell) -> dict[str, Any]:
    """The columns that say which cell a row is about."""
    return {column.name: column.value(cell) for column in (*IDENTITY, *FACTORS)}


def grid_columns(cells: Sequence[Cell], wanted: Mapping[str, Wanted]) -> dict[str, list[Any]]:
    """The declared cells as columns, for `Store.declare`; `wanted`: cell key → the fingerprints as of now."""
    columns = {column.name: [column.value(cell) for cell in cells] for column in (*IDENTITY, *FACTORS)}
    return {
        **columns,
        "data_fingerprint": [wanted[cell.key].data_fingerprint for cell in cells],
        "code_fingerprint": [wanted[cell.key].code_fingerprint for cell in cells],
    }


def failed_rows(cells: Sequence[Cell], error: str, provenance: Mapping[str, Any]) -> StackRows:
    """Rows of cells that ended without a result."""
    rows = [{**identity(cell), **provenance, "status": "failed", "error": error} for cell in cells]
    return StackRows(rows)


def trained_rows(
    cells: Sequence[Cell],
    outcomes: Sequence["Outcome"],
    splits: Sequence[Split],
    provenance: Mapping[str, Any],
) -> StackRows:
    """Rows of a trained stack; what a diverged cell does not have stays null."""
    rows = StackRows([])
    for cell, outcome, split in zip(cells, outcomes, splits, strict=True):
        owner = {"cell": cell.key, "config_hash": cell.config_hash}
        rows.cells.append({**identity(cell), **provenance, **_result_columns(outcome)})
        for severity, correct in zip(split.severities, outcome.noisy_correct, strict=False):
            rows.noise.append(
                {
                    **owner,
                    "corruption": split.corruption,
                    "severity": severity,
                    "n_test": outcome.n_eval,
                    "correct": correct,
                    "accuracy": correct / outcome.n_eval,
                }
            )
        for measures in outcome.history:
            rows.history.append({**owner, **_with_layers_listed(measures)})
        rows.fits.extend({**owner, **_fit_columns(fit)} for fit in outcome.fits)
    return rows


_BY_LAYER = ("slope_sq", "jacobian_sq")


def _with_layers_listed(measures: Mapping[str, float]) -> dict[str, Any]:
    """The measures of one step; those with one value a layer (`slope_sq_1`, `slope_sq_2`, …) as lists."""
    columns: dict[str, Any] = {name: [] for name in _BY_LAYER}
    for name, value in measures.items():
        head, _, layer = name.rpartition("_")
        if head in _BY_LAYER and layer.isdigit():
            columns[head].append(value)
        else:
            columns[name] = value
    return columns


def _fit_columns(fit: "Fit") -> dict[str, Any]:
    """Points as lists; the second coordinate is null where there is one."""
    inputs = {f"x{number}": column.tolist() for number, column in enumerate(fit.inputs.T[:2], start=1)}
    return {
        "place": fit.place,
        "x2": None,
        **inputs,
        "target": fit.target.tolist(),
        "prediction": fit.prediction.tolist(),
        "gradient_norm": fit.gradient_norm.tolist(),
    }


def _result_columns(outcome: "Outcome") -> dict[str, Any]:
    columns: dict[str, Any] = {
        "status": outcome.status,
        "steps": outcome.steps,
        "seconds": outcome.seconds,
        "n_test": outcome.n_eval,
        "error": f"loss not finite at step {outcome.steps}" if outcome.status == "diverged" else None,
    }
    if outcome.status == "done":
        columns["test_loss"] = outcome.test_loss
    if outcome.clean_correct is not None:
        columns |= {
            "clean_correct": outcome.clean_correct,
            "clean_accuracy": outcome.clean_correct / outcome.n_eval,
            "train_accuracy": outcome.train_accuracy,
        }
    if outcome.noisy_correct:
        n_noisy = outcome.n_eval * len(outcome.noisy_correct)
        columns |= {
            "n_noisy": n_noisy,
            "noisy_correct": sum(outcome.noisy_correct),
            "noisy_accuracy": sum(outcome.noisy_correct) / n_noisy,
        }
    return columns
