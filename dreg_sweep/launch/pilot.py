"""Pilots: a few steps of one stack of each kind, thrown away, tell how long a sweep takes and how to pack it."""

from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.context import ForkServerContext

from dreg_sweep.cells import Cell
from dreg_sweep.config import SweepSettings
from dreg_sweep.launch.messages import Device, Measure, Pilot, Piloted
from dreg_sweep.launch.slots import Pauses, Slot, messages
from dreg_sweep.plan import graph_of, in_pieces

# Cells trained together: the candidates among which the pilots choose, first the one that served well elsewhere.
# On one CPU core the gain levels off between 2 and 5: ten MLPs (2,000 MNIST rows, 10 epochs) took 5.2, 3.5, 2.9,
# 3.3 s at 64-64 and 11.3, 6.6, 7.0, 7.0 s at 256-256 in stacks of 1, 2, 5, 10 (means of two runs; a lone cell is
# trained beside a copy). A GPU wants more work a step.
_SIZES = {"cpu": (5, 2), "cuda": (20, 1, 5, 80)}
_PATIENCE = 600.0  # seconds that one pilot may take
_MOST = 64  # kinds that get a pilot; what more there are is judged by its work

Family = tuple[object, ...]
Kind = tuple[Family, str]


def kind_of(cell: Cell) -> Kind:
    """Cells of one kind cost the same, a unit of work.

    The first part is the family: kinds that differ in the method only share the size of their stacks.
    """
    method, recipe = cell.regularizer, cell.recipe
    family = (
        repr(cell.dataset), cell.train_size, repr(cell.model), recipe.batch_size, recipe.optimizer.name,
        recipe.precision,
    )  # fmt: skip
    return family, repr(replace(method, strength=0.0))


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
        return cls(stack_size or _SIZES[device][0], work)

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


@dataclass(frozen=True)
class Candidates:
    """The largest group of cells of a kind that may be one stack, and the stack sizes to choose from."""

    cells: Sequence[Cell]
    sizes: Sequence[int]  # first the one by which kinds are compared

    def pilot(self, sizes: Sequence[int], settings: SweepSettings, device: str) -> Pilot:
        """Of some of the sizes."""
        cells = in_pieces(self.cells[: max(sizes)])
        return Pilot(cells, sizes, settings.data_dir, device, settings.cuda_graphs)


def pilots_for(
    cells: Sequence[Cell],
    work: Mapping[str, float],
    stack_size: int | None,
    device: str,
    sliceable: Collection[str] = (),
) -> dict[Kind, Candidates]:
    """What to try for each kind, those with most work first."""
    groups: dict[Kind, dict[str, list[Cell]]] = {}
    total: dict[Kind, float] = {}
    for cell in cells:
        kind = kind_of(cell)
        groups.setdefault(kind, {}).setdefault(graph_of(cell, sliceable), []).append(cell)
        total[kind] = total.get(kind, 0.0) + work[cell.key]
    pilots: dict[Kind, Candidates] = {}
    for kind in sorted(total, key=total.__getitem__, reverse=True)[:_MOST]:
        largest = max(groups[kind].values(), key=len)
        sizes = [stack_size] if stack_size else _SIZES[device]
        pilots[kind] = Candidates(largest, list(dict.fromkeys(min(size, len(largest)) for size in sizes)))
    return pilots


def run_pilots(
    pilots: Mapping[Kind, Candidates],
    work: Mapping[str, float],
    settings: SweepSettings,
    slots: list[Slot],
    context: ForkServerContext,
    beat: Callable[[], None],
) -> Forecast:
    """Have pilots flown by the slots, and conclude from them on every kind that they can speak for.

    One family is flown kind by kind, the largest: it tells what the methods cost against each other. In the others
    the costliest method, of those whose price is then known, stands for all; it is the one that tries the sizes,
    in every family, one after the other on one slot. `beat` is called every now and then meanwhile.
    """
    forecast = Forecast.without_pilots(Device(slots[0].device).kind, settings.stack_size, work)
    families: dict[Family, list[Kind]] = {}
    for kind in pilots:
        families.setdefault(kind[0], []).append(kind)
    if not families:
        return forecast
    measured = max(families, key=lambda family: len(families[family]))
    known = {method for _, method in families[measured]}
    flown = _Flown({kind: [] for kind in pilots}, measured)

    def fly(flights: Mapping[Kind, Sequence[int]]) -> None:
        _fly(flights, pilots, flown, settings, slots, context, beat)

    fly({kind: pilots[kind].sizes[:1] for kind in pilots if kind[0] == measured or kind[1] not in known})
    models = {family: model for family, kinds in families.items() if (model := flown.costliest(kinds)) is not None}
    fly({kind: sizes for kind in models.values() if (sizes := flown.to_try(kind, pilots[kind].sizes))})
    chosen: dict[Kind, tuple[Measure, float]] = {}
    for family, model in models.items():
        for kind in families[family]:
            if (measure := flown.conclude(kind, model, len(pilots[model].cells))) is not None:
                chosen[kind] = (measure, work[pilots[kind].cells[0].key])
    return replace(forecast, chosen=chosen)


def _fly(
    flights: Mapping[Kind, Sequence[int]],
    pilots: Mapping[Kind, Candidates],
    flown: "_Flown",
    settings: SweepSettings,
    slots: list[Slot],
    context: ForkServerContext,
    beat: Callable[[], None],
) -> None:
    """Pilots of these kinds at these sizes; a slot that dies or hangs is replaced, and that pilot is lost."""
    waiting = deque(flights.items())
    busy: dict[Slot, Kind] = {}
    pauses = Pauses()
    while waiting or busy:
        pauses.forgive(slots)
        for slot in slots:
            if slot not in busy and waiting:
                busy[slot], sizes = waiting.popleft()
                slot.give(pilots[busy[slot]].pilot(sizes, settings, slot.device))
        beat()
        for slot, answer in messages(list(busy), timeout=0.25):
            kind = busy.pop(slot)
            if isinstance(answer, Piloted):
                flown.measures[kind] += answer.measures
            else:
                slots[slots.index(slot)] = Slot.start(context, slot.device)
        for slot in [slot for slot in busy if slot.silence > (settings.timeout or _PATIENCE)]:
            del busy[slot]
            slot.stop()
            slots[slots.index(slot)] = Slot.start(context, slot.device)


@dataclass(frozen=True)
class _Flown:
    """What pilots measured so far, of each kind. measured: the family that was flown kind by kind."""

    measures: Mapping[Kind, list[Measure]]
    measured: Family

    def price(self, method: str) -> Measure | None:
        """What a method costs in the family that tells what methods cost."""
        return next(iter(self.measures.get((self.measured, method), ())), None)

    def costliest(self, family: Sequence[Kind]) -> Kind | None:
        """The kind to try the sizes with; None where no pilot speaks for any."""
        prices = {kind: price for kind in family if (price := self.price(kind[1])) is not None}
        prices = prices or {kind: self.measures[kind][0] for kind in family if self.measures[kind]}
        return max(prices, key=lambda kind: _seconds_a_cell(prices[kind]), default=None)

    def to_try(self, kind: Kind, sizes: Sequence[int]) -> Sequence[int]:
        """Of its sizes; none where there is no choice, or the first has shown that the network does not stack."""
        flown = self.measures[kind]
        if not flown:
            return sizes
        return sizes if len(sizes) > 1 and flown[0].size == sizes[0] else []

    def conclude(self, kind: Kind, model: Kind, cells: int) -> Measure | None:
        """The measure of a kind at the size that is the fastest for so many cells of the model of its family.

        Where it was not tried at that size, it changes with the size as the model does; where it was not flown at
        all, it costs as much more or less than the model as in the measured family. None where nothing is known.
        """
        if not self.measures[model]:
            return None
        # Of a size that was flown twice the later time: only then was the machine as busy as for the other sizes.
        tried = {measure.size: measure for measure in self.measures[model]}.values()
        best = min(tried, key=lambda measure: _seconds_of(measure, cells))
        flown = bool(self.measures[kind])
        own = self.measures[kind][0] if flown else self.price(kind[1])
        against = self.measures[model][0] if flown else self.price(model[1])
        if own is None or against is None:
            return None
        seconds = best.seconds * _seconds_a_cell(own) / _seconds_a_cell(against)
        return Measure(best.size, seconds, round(best.peak_bytes * own.peak_bytes / against.peak_bytes))


def _seconds_of(measure: Measure, cells: int) -> float:
    """Of so many cells in stacks of that size; the last may be smaller, and a lone cell has a copy beside it."""
    whole, rest = divmod(cells, measure.size)
    last = max(rest, 2) / max(measure.size, 2) if rest else 0.0
    return measure.seconds * (whole + last)


def _seconds_a_cell(measure: Measure) -> float:
    return measure.seconds / measure.size
