"""What a regression learned: its predictions and their slopes, at and between the training points."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from dreg_sweep.data import RegressionSplit, Split
from dreg_sweep.stack import Stack


@dataclass(frozen=True)
class Fit:
    """At the m points of one place (see `RegressionSplit.places`): all arrays float64.

    inputs: (m, D). target, prediction: (m,). gradient_norm: ‖∂prediction/∂x‖, (m,).
    """

    place: str
    inputs: np.ndarray
    target: np.ndarray
    prediction: np.ndarray
    gradient_norm: np.ndarray


def fits(stack: Stack, splits: Sequence[Split]) -> list[list[Fit]]:
    """One list a cell, a fit for each place; empty lists for other tasks than regression."""
    regressions = [split for split in splits if isinstance(split, RegressionSplit)]
    found: list[list[Fit]] = [[] for _ in splits]
    if not regressions:
        return found
    places = [split.places() for split in regressions]
    for name in places[0]:
        inputs, targets = (np.stack([place[name][part] for place in places]) for part in (0, 1))
        x = torch.from_numpy(inputs).to(stack.device).requires_grad_()
        y = torch.from_numpy(targets).to(stack.device)
        trace = stack.forward(x, y, training=False)
        (gradients,) = torch.autograd.grad(trace.logits.sum(), x)
        norms = gradients.square().sum(2).sqrt()
        predictions = trace.logits.detach()
        for cell, rows in enumerate(found):
            rows.append(
                Fit(
                    name,
                    inputs[cell].astype(np.float64),
                    targets[cell, :, 0].astype(np.float64),
                    predictions[cell, :, 0].double().cpu().numpy(),
                    norms[cell].double().cpu().numpy(),
                )
            )
    return found
