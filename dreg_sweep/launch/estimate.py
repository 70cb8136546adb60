"""How long a plan will take and how much memory, from a pilot of a few steps."""

from collections.abc import Sequence

from dreg_sweep.cells import Cell
from dreg_sweep.config import SweepSettings
from dreg_sweep.launch.dispatch import default_slots
from dreg_sweep.launch.messages import Pilot, Piloted
from dreg_sweep.launch.slots import Slot


def estimate(stacks: Sequence[Sequence[Cell]], settings: SweepSettings, device: str, slot: Slot) -> str:
    """In words, for example `about 6 min on 2 slots, up to 0.9 GiB a slot`.

    A few steps of one stack per (dataset, training size, model, regularizer) are trained and thrown away;
    activations are taken as equally fast.
    """
    if not stacks:
        return "nothing to train"
    seconds: dict[tuple[str, ...], float] = {}
    memory = 0
    total = 0.0
    for stack in stacks:
        kind = _kind(stack)
        if kind not in seconds:
            answer = slot.ask(Pilot(stack, settings.data_dir, device))
            assert isinstance(answer, Piloted)
            seconds[kind] = answer.seconds
            memory = max(memory, answer.peak_bytes)
        total += seconds[kind]
    slots = min(settings.slots or default_slots(device), len(stacks))
    return f"about {_duration(total / slots)} on {slots} slots, up to {memory / 2**30:.1f} GiB a slot"


def _kind(stack: Sequence[Cell]) -> tuple[str, ...]:
    cell = stack[0]
    parts = (cell.dataset, cell.train_size, cell.model, cell.regularizer.name, cell.recipe, len(stack))
    return tuple(map(repr, parts))


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
