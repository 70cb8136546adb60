"""Pilots: a few steps of one stack of each kind, thrown away, tell how long a sweep takes and how to pack it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.context import ForkServerContext

from dreg_sweep.cells import Cell
from dreg_sweep.config import SweepSettings
from dreg_sweep.launch.messages import Device, Measure, Pilot, Piloted
from dreg_sweep.launch.slots import Pauses, Slot, messages

# Cells trained together: the candidates among which the pilots choose. On one CPU core the gain levels off between
# 2 and 5: ten MLPs (2,000 MNIST rows, 10 epochs) took 5.2, 3.5, 2.9, 3.3 s at 64-64 and 11.3, 6.6, 7.0, 7.0 s at
# 256-256 in stacks of 1, 2, 5, 10 (means of two runs; a lone cell is trained beside a copy). A GPU wants more work
# a step.
_SIZES = {"cpu": (2, 5), "cuda": (5, 20, 80)}
_DEFAULT_SIZE = {"cpu": 5, "cuda": 20}
_PATIENCE = 600.0  # seconds that one pilot may take
_MOST = 64  # kinds that get a pilot; what more there are is judged by its work

Kind = tuple[object, ...]


def kind_of(cell: Cell) -> Kind:
    """Cells of one kind cost the same, a unit of work."""
    method, recipe = cell.regularizer, cell.recipe
    return (
        repr(cell.dataset), cell.train_size, repr(cell.model), repr(replace(method, strength=0.0)),
        recipe.batch_size, recipe.optimizer.name,
    )  # fmt: skip


@dataclass(frozen=True)
class Forecast:
    """What the pilots found, by kind; a kind whose pilot failed, or that had none, is not there.

    work: cell key → work in arbitrary units. default_size: cells a stack where no pilot speaks.
    chosen: a measure, and the work of one cell that it was taken with.
    """

    default_size: int
    work: Mapping[str, float]
    chosen: Mapping[Kind, tuple[Measure, float]] = field(default_factory=dict)

    @classmethod
    def without_pilots(cls, device: str, stack_size: int | None, work: Mapping[str, float]) -> "Forecast":
        """What is known before: a stack size that served well elsewhere."""
        return cls(stack_size or _DEFAULT_SIZE[device], work)

    def size_of(self, cell: Cell) -> int:
        """Cells a stack."""
        found = self.chosen.get(kind_of(cell))
        return found[0].size if found else self.default_size

    def seconds(self, stack: Sequence[Cell]) -> float | None:
        """Predicted for one slot; None where no pilot speaks for such a stack."""
        found = self.chosen.get(kind_of(stack[0]))
        if found is None:
            return None
        measure, work = found  # a lone cell is trained beside a copy
        return measure.seconds * (max(len(stack), 2) * self.work[stack[0].key]) / (max(measure.size, 2) * work)

    @property
    def peak_bytes(self) -> int:
        """The most that a slot will need."""
        return max((measure.peak_bytes for measure, _ in self.chosen.values()), default=0)

    def costs(self, stacks: Sequence[Sequence[Cell]]) -> list[float]:
        """Predicted seconds of each stack, by its work where no pilot speaks for it; work alone without any."""
        work = [sum(self.work[cell.key] for cell in stack) for stack in stacks]
        seconds = [self.seconds(stack) for stack in stacks]
        known = [(s, w) for s, w in zip(seconds, work, strict=True) if s is not None]
        rate = sum(s for s, _ in known) / sum(w for _, w in known) if known else 1.0
        return [s if s is not None else rate * w for s, w in zip(seconds, work, strict=True)]


def pilots_for(
    cells: Sequence[Cell], work: Mapping[str, float], stack_size: int | None, device: str
) -> dict[Kind, tuple[Sequence[Cell], Sequence[int]]]:
    """For each kind, those with most work first, the largest group that stacks, and the stack sizes to try."""
    groups: dict[Kind, dict[str, list[Cell]]] = {}
    total: dict[Kind, float] = {}
    for cell in cells:
        kind = kind_of(cell)
        groups.setdefault(kind, {}).setdefault(cell.stack_key, []).append(cell)
        total[kind] = total.get(kind, 0.0) + work[cell.key]
    pilots: dict[Kind, tuple[Sequence[Cell], Sequence[int]]] = {}
    for kind in sorted(total, key=total.__getitem__, reverse=True)[:_MOST]:
        largest = max(groups[kind].values(), key=len)
        sizes = sorted({min(size, len(largest)) for size in ([stack_size] if stack_size else _SIZES[device])})
        pilots[kind] = (largest[: sizes[-1]], sizes)
    return pilots


def run_pilots(
    pilots: Mapping[Kind, tuple[Sequence[Cell], Sequence[int]]],
    work: Mapping[str, float],
    settings: SweepSettings,
    slots: list[Slot],
    context: ForkServerContext,
    beat: Callable[[], None],
) -> Forecast:
    """Have all pilots flown by the slots; one that dies or hangs is replaced, its kind stays unknown.

    `beat` is called every now and then meanwhile.
    """
    forecast = Forecast.without_pilots(Device(slots[0].device).kind, settings.stack_size, work)
    chosen: dict[Kind, tuple[Measure, float]] = {}
    waiting = list(pilots.items())
    busy: dict[Slot, Kind] = {}
    pauses = Pauses()
    while waiting or busy:
        pauses.forgive(slots)
        for slot in slots:
            if slot not in busy and waiting:
                busy[slot], (cells, sizes) = waiting.pop(0)
                slot.give(Pilot(cells, sizes, settings.data_dir, slot.device))
        beat()
        for slot, answer in messages(list(busy), timeout=0.25):
            kind = busy.pop(slot)
            if not isinstance(answer, Piloted):
                slots[slots.index(slot)] = Slot.start(context, slot.device)
            elif answer.measures:
                best = min(answer.measures, key=lambda measure: measure.seconds / measure.size)
                chosen[kind] = (best, work[pilots[kind][0][0].key])
        for slot in [slot for slot in busy if slot.silence > (settings.timeout or _PATIENCE)]:
            del busy[slot]
            slot.stop()
            slots[slots.index(slot)] = Slot.start(context, slot.device)
    return replace(forecast, chosen=chosen)
