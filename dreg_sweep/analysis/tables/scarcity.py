"""Does the treatment's advantage grow as training data get scarce? By training size, with a trend test."""

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from dreg_sweep.analysis.grid import BLOCK, Grid, State
from dreg_sweep.analysis.pairing import UNITS, Unit, pairs, primary_unit, why_primary
from dreg_sweep.analysis.report.render import NOTHING, Column, Table
from dreg_sweep.analysis.rows.levels import ordered
from dreg_sweep.analysis.rows.select import ALL, WHOLE, size_name
from dreg_sweep.analysis.scores import Metric
from dreg_sweep.analysis.statistics.bootstrap import clustered_interval
from dreg_sweep.analysis.statistics.trend import page
from dreg_sweep.analysis.statistics.wilcoxon import signed_rank
from dreg_sweep.analysis.tables.wording import about, count, p_text, p_values, plural, sentences, signed, text

if TYPE_CHECKING:
    import pandas as pd

Grids = dict[float, Grid]  # by training size, ascending; `WHOLE` is the whole training set


def crossed(grids: Grids) -> tuple[Grids, str]:
    """The sizes that are compared, and a sentence about the whole training set where it is not among them.

    It is left out where only some of the datasets that have all other sizes were trained on it, since they alone
    would be left.
    """
    numbered = {size: grid for size, grid in grids.items() if size != WHOLE}
    if len(numbered) < 2 or len(numbered) == len(grids) or not _datasets(numbered) - _datasets(grids):
        return grids, ""
    names = ", ".join(map(str, ordered("dataset", _datasets({WHOLE: grids[WHOLE]}))))
    return numbered, f"The whole training set (train_size={ALL}) is left out, since only {names} had it."


def _datasets(grids: Grids) -> set[Any]:
    """Those with a result at every size."""
    found = []
    for grid in grids.values():
        done = np.asarray(grid.done.any(axis=(0, 2, 3))).tolist()
        found.append({level for level, some in zip(grid.levels["dataset"], done, strict=True) if some})
    return set.intersection(*found) if found else set()


def lacking(grids: Grids, treatment: Any) -> str:
    """A sentence on why the sizes cannot be compared; empty where they can."""
    grids, _ = crossed(grids)
    if len(grids) < 2:
        return "Only one training size has a result, so that sizes cannot be compared yet."
    without = [size_name(size) for size, grid in grids.items() if treatment not in grid.compared]
    if without:
        return f"At train_size={', '.join(without)} {treatment} has no result, so sizes cannot be compared yet."
    if not any(paired_blocks(grids, treatment, rival).any() for rival in _rivals(grids, treatment)):
        sizes = ", ".join(map(size_name, grids))
        return (
            f"No block (dataset, activation, seed) has {treatment} and a rival at every training size ({sizes}), "
            "so sizes cannot be compared: a difference between them would be one between datasets or seeds."
        )
    return ""


def advantages(grids: Grids, metric: Metric, treatment: Any) -> "pd.DataFrame":
    """Rival × training size: mean gain over the primary unit in the printed unit, with its bootstrap interval.

    Columns rival, train_size (`all` for the whole set), datasets (or seeds, where that is the primary unit),
    blocks, difference, low, high. Only blocks with a pair at every size count, so that the curve compares sizes
    and not datasets.
    """
    import pandas as pd

    rows = []
    unit = unit_of(grids)
    for rival in _rivals(grids, treatment):
        blocks = int(paired_blocks(grids, treatment, rival).sum())
        table = by_size(grids, metric, treatment, rival, unit)
        for place, size in enumerate(grids):
            values = [metric.scale * float(row[place]) for row in table.values()]
            row: dict[str, Any] = {
                "rival": rival,
                "train_size": ALL if size == WHOLE else size,
                unit.short: len(values),
                "blocks": blocks,
            }
            if len(values) > 1:
                found = clustered_interval(values)
                row |= {"difference": found.estimate, "low": found.low, "high": found.high}
            elif values:
                row["difference"] = values[0]
            rows.append(row)
    names = ["rival", "train_size", unit.short, "blocks", "difference", "low", "high"]
    return pd.DataFrame(rows, columns=names).astype(dict.fromkeys(names[4:], "float64"))


def unit_of(grids: Grids) -> Unit:
    """The primary unit: by dataset, or by seed where all sizes have one and the same dataset."""
    datasets = {level for grid in grids.values() for level in grid.levels["dataset"]}
    return UNITS["dataset" if len(datasets) > 1 else primary_unit(next(iter(grids.values())))]


def paired_blocks(grids: Grids, treatment: Any, rival: Any) -> np.ndarray:
    """(D, A, S) of bool over `blocks_of`: where both have a result at every size."""
    levels = blocks_of(grids)
    both = np.ones(tuple(len(levels[name]) for name in BLOCK), dtype=bool)
    for grid in grids.values():
        here = np.zeros(both.shape, dtype=bool)
        here[places_of(levels, grid)] = _paired(grid, treatment, rival)
        both &= here
    return both


def blocks_of(grids: Grids) -> dict[str, list[Any]]:
    """The levels of datasets, activations and seeds that some size has."""
    return {
        name: ordered(name, [level for grid in grids.values() for level in grid.levels[name]]) for name in BLOCK
    }


def places_of(levels: dict[str, list[Any]], grid: Grid) -> tuple[np.ndarray, ...]:
    """Where the grid's blocks stand among all."""
    places = []
    for name in BLOCK:
        place = {level: number for number, level in enumerate(levels[name])}
        places.append([place[level] for level in grid.levels[name]])
    return np.ix_(*places)


def _paired(grid: Grid, treatment: Any, rival: Any) -> np.ndarray:
    if treatment not in grid.compared or rival not in grid.compared:
        return np.zeros(grid.state.shape[1:], dtype=bool)
    done = grid.done
    return np.asarray(done[grid.place("regularizer", treatment)] & done[grid.place("regularizer", rival)])


def by_size(
    grids: Grids, metric: Metric, treatment: Any, rival: Any, unit: Unit
) -> dict[tuple[Any, ...], list[Fraction]]:
    """Pair → its difference at every size, each over the same blocks: those that are paired at every size."""
    levels = blocks_of(grids)
    everywhere = paired_blocks(grids, treatment, rival)
    if not everywhere.any():
        return {}
    found = []
    for grid in grids.values():
        state = np.where(everywhere[places_of(levels, grid)], grid.state, State.MISSING)
        paired = pairs(replace(grid, state=state), metric, treatment, rival, unit)
        found.append(dict(zip(paired.labels, paired.values, strict=True)))
    return {label: [other[label] for other in found] for label in found[0]}


def taking_part(grids: Grids, treatment: Any) -> str:
    """Sentences for captions: which blocks take part, what is left out, and what the sizes lack."""
    levels = blocks_of(grids)
    known = np.zeros(tuple(len(levels[name]) for name in BLOCK), dtype=bool)
    for grid in grids.values():
        known[places_of(levels, grid)] |= (grid.state != State.OUTSIDE).any(axis=0)
    masks = {str(rival): paired_blocks(grids, treatment, rival) for rival in _rivals(grids, treatment)}
    counted = _shared({rival: f"{int(mask.sum())} of {int(known.sum())}" for rival, mask in masks.items()})
    left = _shared({rival: _by_dataset(levels, known & ~mask) for rival, mask in masks.items()})
    gaps = [
        f"{int((~grid.complete).sum())} of {grid.complete.size} blocks at train_size={size_name(size)}"
        for size, grid in grids.items()
        if grid.unbalanced
    ]
    compared = {str(treatment), *masks}
    everyone = ordered("regularizer", [level for grid in grids.values() for level in grid.levels["regularizer"]])
    absent = ", ".join(str(level) for level in everyone if str(level) not in compared)
    return sentences(
        f"Blocks (dataset, activation, seed) with a pair at every size take part: {counted}.",
        f"Left out: {left}." if left else "",
        f"Unbalanced: not every regularizer has a result in {', '.join(gaps)}." if gaps else "",
        f"Without a result at some size: {absent}." if absent else "",
    )


def _shared(texts: dict[str, str]) -> str:
    """`18 of 30`, or `15 of 30 against igpen; 18 of 30 against none, dropout` where rivals differ."""
    rivals: dict[str, list[str]] = {}
    for rival, said in texts.items():
        rivals.setdefault(said, []).append(rival)
    if len(rivals) == 1:
        return next(iter(rivals))
    return "; ".join(f"{said} against {', '.join(names)}" for said, names in rivals.items() if said)


def _by_dataset(levels: dict[str, list[Any]], out: np.ndarray) -> str:
    """`3 blocks each of sst2, trec6`: how many blocks of which datasets are marked."""
    datasets: dict[int, list[str]] = {}
    for level, amount in zip(levels["dataset"], out.sum(axis=(1, 2)).tolist(), strict=True):
        if amount:
            datasets.setdefault(amount, []).append(str(level))
    return ", ".join(
        f"{amount} {plural(amount, 'block')}{' each' if len(names) > 1 else ''} of {', '.join(names)}"
        for amount, names in datasets.items()
    )


def trend(grids: Grids, metric: Metric, treatment: Any) -> "pd.DataFrame":
    """Rival × unit: Page's trend test that the advantage grows as the training size falls, and the reverse.

    Columns: rival, unit, blocks, sizes, statistic (Page's L), p (falls with size), p_reverse (grows with size),
    floor, slope (mean change of the gain per doubling of the training size, least squares in log₂ size), p_slope
    (two-sided signed-rank test of the blocks' slopes), curvature and p_curvature (of a parabola in log₂ size likewise,
    its coefficient of the square; above 0 where gains are U-shaped), smallest (mean gain at the smallest size),
    largest_at (the size where the mean gain is largest), shape (of the mean gains, see `shape`). The whole training
    set, whose rows are not counted here, has a place in the order and in the shape, and none in the fits.
    """
    import pandas as pd

    log_sizes = [math.log2(size) for size in grids if size != WHOLE]
    names_of_sizes = [ALL if size == WHOLE else size for size in grids]
    rows = []
    for rival in _rivals(grids, treatment):
        for unit in UNITS.values():
            table = by_size(grids, metric, treatment, rival, unit)
            row: dict[str, Any] = {"rival": rival, "unit": unit.name, "blocks": len(table), "sizes": len(grids)}
            row |= {"largest_at": NOTHING, "shape": NOTHING}
            if len(table) > 0:
                values = list(table.values())
                falling = page([list(reversed(line)) for line in values])
                rising = page(values)
                slopes = _coefficients(values, metric, log_sizes, 1)
                curvatures = _coefficients(values, metric, log_sizes, 2)
                means = [metric.scale * float(sum(column) / len(column)) for column in zip(*values, strict=True)]
                row |= {
                    "statistic": falling.statistic,
                    "p": falling.p,
                    "p_reverse": rising.p,
                    "floor": falling.floor,
                    "slope": sum(slopes) / len(slopes) if slopes else None,
                    "p_slope": signed_rank(slopes).p if slopes else None,
                    "curvature": sum(curvatures) / len(curvatures) if curvatures else None,
                    "p_curvature": signed_rank(curvatures).p if curvatures else None,
                    "smallest": means[0],
                    "largest_at": str(names_of_sizes[means.index(max(means))]),
                    "shape": shape(means),
                }
            rows.append(row)
    names = ("statistic", "p", "p_reverse", "floor", "slope", "p_slope", "curvature", "p_curvature", "smallest")
    frame = pd.DataFrame(rows, columns=["rival", "unit", "blocks", "sizes", *names, "largest_at", "shape"])
    return frame.astype(dict.fromkeys(names, "float64"))


def shape(means: Sequence[float]) -> str:
    """How means go from the smallest size to the largest.

    Returns:
        `falls` or `rises` (at every step), `U` (falls, then rises), `inverted U`, else `neither`.
    """
    steps = np.sign(np.diff(means))
    turns = int((steps[1:] != steps[:-1]).sum())
    if not steps.size or not steps.all() or turns > 1:
        return "neither"
    if turns:
        return "U" if steps[0] < 0 else "inverted U"
    return "falls" if steps[0] < 0 else "rises"


def _coefficients(values: list[list[Fraction]], metric: Metric, log_sizes: list[float], power: int) -> list[float]:
    """Each block's coefficient of (log₂ size)^power, by least squares of a polynomial of that degree.

    Of the gains in the printed unit at the sizes that are numbers; empty where those are too few.
    """
    if len(log_sizes) <= power:
        return []
    weights = np.linalg.pinv(np.vander(log_sizes, power + 1, increasing=True))[power]
    numbered = np.array([[float(v) for v in line[: len(log_sizes)]] for line in values])
    return (metric.scale * (numbered @ weights)).tolist()


def _rivals(grids: Grids, treatment: Any) -> list[Any]:
    everywhere = [set(grid.compared) for grid in grids.values()]
    first = next(iter(grids.values()))
    return [level for level in first.compared if level != treatment and all(level in some for some in everywhere)]


def as_number(row: Any) -> float:
    """The training size of a table's row, by which it is sorted."""
    return WHOLE if row["train_size"] == ALL else float(row["train_size"])


def tables(grids: Grids, metric: Metric, treatment: Any) -> tuple["pd.DataFrame", "pd.DataFrame", list[Table]]:
    """The frames of `advantages` and `trend` over the sizes of `crossed`, and both as tables."""
    grids, without_whole = crossed(grids)
    curve, tests = advantages(grids, metric, treatment), trend(grids, metric, treatment)
    last = next(reversed(grids.values()))
    # As if nothing were missing: `taking_part` says what is, at every size.
    measures = about(replace(last, state=np.full_like(last.state, State.DONE)))
    left_out = sentences(taking_part(grids, treatment), without_whole)
    sizes = ", ".join(map(size_name, grids))
    unit, paired = metric.difference_unit, unit_of(grids)
    why = why_primary(last) if paired.name != "dataset" else paired.label

    def interval(row: Any) -> str:
        return (
            NOTHING
            if row["low"] != row["low"]
            else f"[{signed(row['low'], metric)}, {signed(row['high'], metric)}]"
        )

    advantage = Table(
        name="scarcity",
        title=f"Advantage of {treatment} over each rival by training size: {metric.label}",
        caption=sentences(
            f"Mean gain{f' in {unit}' if unit else ''} over {paired.short}, at every size over the same blocks, "
            f"with the 95 % interval of a bootstrap over {paired.short}.",
            f"Primary: {why}." if paired.name != "dataset" else "",
            left_out,
            measures,
        ),
        values=curve,
        columns=(
            text("rival"),
            Column("training size", lambda row: str(row["train_size"]), value=as_number),
            count(paired.short),
            count("blocks"),
            Column("mean difference", lambda row: signed(row["difference"], metric), value="difference"),
            Column("95 % interval", interval),
        ),
        block="rival",
    )
    trends = Table(
        name="scarcity_trend",
        title=f"Does the advantage of {treatment} grow as data get scarce? {metric.label.capitalize()}",
        caption=sentences(
            f"Page's trend test over the sizes {sizes} (midranks for ties), one-sided: p that the advantage falls "
            "as the training size grows, and the reverse. Slope: change of the gain for each doubling of the "
            "training size, least squares, with a two-sided signed-rank test of the blocks' slopes. Curvature: the "
            "coefficient of the square of a parabola in log₂ size, likewise; above 0 where gains are U-shaped. Shape: "
            "of the mean gains from the smallest size to the largest. Uncorrected. "
            f"Primary: {why}.",
            f"{ALL} stands for the whole training set: the last in the order, and not part of the slope."
            if WHOLE in grids
            else "",
            left_out,
            measures,
        ),
        values=tests,
        columns=(
            text("rival"),
            Column("blocks are", lambda row: UNITS[row["unit"]].short, numeric=False),
            count("blocks"),
            p_values("p", "p falls"),
            p_values("p_reverse", "p grows"),
            Column("least p", lambda row: p_text(row["floor"]), value="floor"),
            Column("slope", lambda row: signed(row["slope"], metric), value="slope"),
            p_values("p_slope", "p slope"),
            Column("curvature", lambda row: signed(row["curvature"], metric), value="curvature"),
            p_values("p_curvature", "p curvature"),
            text("shape"),
            text("largest_at", "largest at"),
        ),
        block="rival",
    )
    return curve, tests, [advantage, trends]
