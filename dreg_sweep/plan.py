"""The plan: which cells of a grid still have to train, and their stacks in order."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from dreg_sweep.cells import Cell
from dreg_sweep.environment import alike, tell_apart
from dreg_sweep.factors import FACTORS, Factor, level_text
from dreg_sweep.states import Wanted, differences, state
from dreg_sweep.store import StoredCell


@dataclass(frozen=True)
class Stale:
    """A cell whose stored row was made under another configuration, by other code or from other data."""

    cell: Cell
    differs: str  # for example "epochs 10 → 20"


@dataclass(frozen=True)
class Plan:
    """A grid against its store. Every cell is in exactly one of done, failed, stale and missing."""

    cells: Sequence[Cell]
    done: Sequence[Cell]  # done or diverged, under the configuration, code and data asked for
    failed: Sequence[Cell]
    stale: Sequence[Stale]
    missing: Sequence[Cell]
    pending: Sequence[Cell]  # what this run trains
    environments: Mapping[str, str | None] = field(default_factory=dict)  # of the rows of done cells, by key


def make_plan(
    cells: Sequence[Cell],
    wanted: Mapping[str, Wanted],
    stored: Mapping[str, StoredCell],
    stored_configs: Callable[[Collection[str]], Mapping[str, str]],
    rerun: str,
) -> Plan:
    """Compare the grid with the store. `wanted`: cell key → what its result depends on, as of now.

    stored_configs: gives the configurations (JSON) that have some hashes, as far as they are known.
    `rerun`: what is trained beside the missing cells: failed ones, stale ones too, all, or none.
    """
    groups: dict[str, list[Cell]] = {name: [] for name in ("done", "failed", "stale", "missing")}
    for cell in cells:
        found = state(wanted[cell.key], stored.get(cell.key))
        groups["done" if found == "diverged" else found].append(cell)
    done, failed, stale, missing = groups.values()
    by_key = {cell.key: cell for cell in stale}
    asked = {cell.config_hash: cell.config_json for cell in stale}
    words = differences(
        {key: wanted[key] for key in by_key}, stored, lambda hashes: {**stored_configs(hashes), **asked}
    )
    chosen = {
        "none": missing,
        "failed": [*missing, *failed],
        "mixed": [*missing, *failed],  # and the minority of the done, see `with_minority`
        "stale": [*missing, *failed, *stale],
        "all": cells,
    }[rerun]
    keys = {cell.key for cell in chosen}
    return Plan(
        cells,
        done,
        failed,
        [Stale(cell, words[cell.key]) for cell in stale],
        missing,
        [cell for cell in cells if cell.key in keys],
        {cell.key: stored[cell.key].environment for cell in done},
    )


def with_minority(plan: Plan, present: str | None) -> tuple[Plan, str]:
    """The plan that also trains again the done cells of other environments than most.

    Args:
        plan: what the store has and lacks.
        present: the environment in which this run trains, as `told_by` gives it.

    Returns:
        That plan, and why it is the same as before where most cells are of another environment than the present
        one; empty where it is not.
    """
    same = tell_apart(plan.environments.values())
    counts = Counter(same[environment] for environment in plan.environments.values())
    if len(counts) < 2:
        return plan, ""
    most = counts.most_common(1)[0][0]
    if not alike(most, present):
        return (
            plan,
            f"rerun=mixed trains nothing again here: most rows are of another environment ({most}); run it there",
        )
    minority = {key for key, environment in plan.environments.items() if same[environment] != most}
    again = minority | {cell.key for cell in plan.pending}
    kept = [cell for cell in plan.done if cell.key not in minority]
    return replace(plan, done=kept, pending=[cell for cell in plan.cells if cell.key in again]), ""


def graph_of(cell: Cell, sliceable: Collection[str] = ()) -> str:
    """Equal for cells that may be one stack: one computation graph, but for activations of `sliceable`."""
    return cell.stack_key_of_any_activation if cell.activation in sliceable else cell.stack_key


def group_into_stacks(
    cells: Sequence[Cell], size_of: Callable[[Cell], int], sliceable: Collection[str] = ()
) -> list[list[Cell]]:
    """Cells of one `graph_of` together, at most `size_of` one of them at a time, each activation in one piece.

    Ordered by the seeds a stack begins with, and within those so that what is compared comes together (the
    methods on one dataset, activation, model and training size): complete paired blocks arrive first, however
    the axes of the grid were ordered.
    """
    groups: dict[str, list[Cell]] = {}
    block: dict[tuple[object, ...], int] = {}
    position = {}
    for i, cell in enumerate(cells):
        groups.setdefault(graph_of(cell, sliceable), []).append(cell)
        compared = (cell.dataset.name, cell.activation, cell.model.name, cell.train_size)
        position[cell.key] = (block.setdefault(compared, i), i)
    stacks = []
    for group in groups.values():
        size = size_of(group[0])
        stacks += [in_pieces(group[start : start + size]) for start in range(0, len(group), size)]
    return sorted(stacks, key=lambda stack: (stack[0].seed, position[stack[0].key]))


def in_pieces(stack: Sequence[Cell]) -> list[Cell]:
    """The cells with those of one activation beside each other, otherwise in their order."""
    places = {activation: i for i, activation in enumerate(dict.fromkeys(cell.activation for cell in stack))}
    return sorted(stack, key=lambda cell: places[cell.activation])


def levels_per_factor(cells: Sequence[Cell]) -> dict[str, list[str]]:
    """The levels of each factor that occur, in order of appearance: activations, regularizers, datasets, seeds, others.

    A factor whose several levels follow from the regularizer, as default strengths do, is left out: the grid is not
    crossed over it.
    """

    def text(factor: Factor, cell: Cell) -> str:
        value = factor.value(cell)
        return factor.null if value is None else level_text(value)

    order = sorted(FACTORS, key=lambda factor: (not factor.crossed, factor.name in ("dataset", "seed")))
    levels: dict[str, list[str]] = {}
    for factor in order:
        pairs = {(cell.regularizer.level, text(factor, cell)) for cell in cells}
        found = list(dict.fromkeys(text(factor, cell) for cell in cells))
        follows = not factor.crossed and len(found) > 1 and len(pairs) == len({name for name, _ in pairs})
        if not follows:
            levels[factor.name] = found
    return levels
