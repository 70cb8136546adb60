"""From cells and their outcomes to the rows of the store."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dreg_sweep.cells import Cell
from dreg_sweep.data import Split
from dreg_sweep.states import Wanted
from dreg_sweep.store import StackRows

if TYPE_CHECKING:  # the runner writes rows of failed cells and does without torch
    from dreg_sweep.fits import Fit
    from dreg_sweep.train import Outcome


def factor_columns(cell: Cell) -> dict[str, Any]:
    """The columns that name a cell."""
    return {
        "cell": cell.key,
        "config_hash": cell.config_hash,
        "activation": cell.activation,
        "regularizer": cell.regularizer.level,
        "strength": cell.regularizer.strength,
        "dataset": cell.dataset.name,
        "modality": cell.dataset.modality,
        "regime": cell.dataset.regime,
        "seed": cell.seed,
        "model": cell.model.name,
        "train_size": cell.train_size,
        "evaluated_on": cell.evaluate_on,
        "precision": cell.recipe.precision,
        "config": cell.config_json,
    }


def grid_columns(cells: Sequence[Cell], wanted: Mapping[str, Wanted]) -> dict[str, list[Any]]:
    """The declared cells as columns, for `Store.declare`; `wanted`: cell key → the fingerprints as of now."""
    return {
        "cell": [cell.key for cell in cells],
        "config_hash": [cell.config_hash for cell in cells],
        "activation": [cell.activation for cell in cells],
        "regularizer": [cell.regularizer.level for cell in cells],
        "strength": [cell.regularizer.strength for cell in cells],
        "dataset": [cell.dataset.name for cell in cells],
        "seed": [cell.seed for cell in cells],
        "model": [cell.model.name for cell in cells],
        "train_size": [cell.train_size for cell in cells],
        "data_fingerprint": [wanted[cell.key].data_fingerprint for cell in cells],
        "code_fingerprint": [wanted[cell.key].code_fingerprint for cell in cells],
        "config": [cell.config_json for cell in cells],
    }


def failed_rows(cells: Sequence[Cell], error: str, provenance: Mapping[str, Any]) -> StackRows:
    """Rows of cells that ended without a result."""
    rows = [{**factor_columns(cell), **provenance, "status": "failed", "error": error} for cell in cells]
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
        factors = factor_columns(cell)
        rows.cells.append({**factors, **provenance, **_result_columns(outcome)})
        for severity, correct in zip(split.severities, outcome.noisy_correct, strict=False):
            rows.noise.append(
                {
                    **factors,
                    "corruption": split.corruption,
                    "severity": severity,
                    "n_test": outcome.n_eval,
                    "correct": correct,
                    "accuracy": correct / outcome.n_eval,
                }
            )
        for measures in outcome.history:
            layers = {
                column: [value for name, value in measures.items() if name.startswith(f"{column}_")]
                for column in ("slope_sq", "jacobian_sq")
            }
            rows.history.append({**factors, **measures, **layers})
        rows.fits.extend({**factors, **_fit_columns(fit)} for fit in outcome.fits)
    return rows


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
