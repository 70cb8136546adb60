"""What a claim comes to, as values. Sentences are made from them, and nothing reads a sentence back."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    """What the tests say of a claim."""

    REPRODUCED = "reproduced"
    CONTRADICTED = "contradicted"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Observed:
    """What the plain means show of a claim.

    holds: whether they are as claimed; None where the data cannot speak about the claim.
    text: the same in words, with the reason where they cannot.
    place, of: of a claim about an order, the place of its method among so many; None for other claims.
    exceptions: the rivals for which the claim does not hold.
    """

    holds: bool | None
    text: str
    place: int | None = None
    of: int | None = None
    exceptions: tuple[Any, ...] = ()

    @property
    def columns(self) -> dict[str, Any]:
        """The columns of a verdict that say this."""
        return {
            "observed": self.text,
            "holds": self.holds,
            "place": self.place,
            "of": self.of,
            "exceptions": ", ".join(map(str, self.exceptions)),
        }


def place_among(place: int, of: int, exceptions: Sequence[Any]) -> Observed:
    """`holds: place 1 of 6`, or `does not hold: place 3 of 6; not so against none`."""
    text = f"{'does not hold' if exceptions else 'holds'}: place {place} of {of}"
    if exceptions:
        text += f"; not so against {', '.join(map(str, exceptions))}"
    return Observed(not exceptions, text, place, of, tuple(exceptions))


def told(holds: bool, what: str) -> Observed:
    """`holds: …` or `does not hold: …`."""
    return Observed(holds, f"{'holds' if holds else 'does not hold'}: {what}")


def outcome(*, fails: bool, holds: bool) -> Outcome:
    """Contradicted where a test fails, reproduced where all hold, undecided otherwise."""
    if fails:
        return Outcome.CONTRADICTED
    return Outcome.REPRODUCED if holds else Outcome.UNDECIDED
