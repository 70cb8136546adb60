"""What a cell is trained for: the loss of a row, and whether there are right answers."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import cross_entropy


@dataclass(frozen=True)
class Task:
    """losses: outputs (S, B, C), truths → (S, B). correct: likewise → bool; None without right answers."""

    losses: Callable[[Tensor, Tensor], Tensor]
    correct: Callable[[Tensor, Tensor], Tensor] | None


def _cross_entropies(logits: Tensor, labels: Tensor) -> Tensor:
    """In nats; labels (S, B)."""
    return cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view(labels.shape)


def _right(logits: Tensor, labels: Tensor) -> Tensor:
    return logits.argmax(2) == labels


def _squared_errors(predictions: Tensor, targets: Tensor) -> Tensor:
    """Mean over the numbers of a target; targets (S, B, T)."""
    return (predictions - targets).square().mean(2)


TASKS: dict[str, Task] = {
    "classification": Task(_cross_entropies, _right),
    "regression": Task(_squared_errors, None),
}
