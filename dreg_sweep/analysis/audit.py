"""What a grid lacks, and the complete blocks that the comparisons may use.

A block is one (dataset, activation, seed): within it the regularizers were trained on the same split, from
the same initial weights and on the same batches, so it compares them fairly only where all are present.
"""

from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from typing import TYPE_CHECKING, Any

from dreg_sweep.analysis.levels import ordered
from dreg_sweep.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

FACTORS = ("dataset", "activation", "regularizer", "seed")
BLOCK = ("dataset", "activation", "seed")
# Counts and the accuracy made from them agree to float32 round-off; a wider gap is a contradiction.
AGREEMENT = 1e-6

Key = tuple[Any, ...]


@dataclass(frozen=True)
class Audit:
    """The state of the full cross of the observed levels.

    levels: factor -> its levels in display order. cells: done cells that count, one row each, with the
    exact accuracies of `exact_accuracies`. missing, failed, diverged, duplicated, no_noisy: the cells
    (dataset, activation, regularizer, seed) in that state, in display order; a cell with a done row and a
    failed one is done. left_out: block -> why it is not complete. complete: the rows of `cells` in complete
    blocks. metrics: the accuracies the rows have: ("clean", "noisy", "overall") or ("clean",).
    exact: every accuracy comes from integer counts. warnings: one line each.
    """

    levels: dict[str, list[Any]]
    cells: "pd.DataFrame"
    missing: tuple[Key, ...]
    failed: tuple[Key, ...]
    diverged: tuple[Key, ...]
    duplicated: tuple[Key, ...]
    no_noisy: tuple[Key, ...]
    left_out: dict[Key, str]
    complete: "pd.DataFrame"
    metrics: tuple[str, ...]
    exact: bool
    warnings: tuple[str, ...]

    @property
    def expected(self) -> int:
        """Cells in the full cross."""
        return len(list(product(*(self.levels[factor] for factor in FACTORS))))

    @property
    def blocks(self) -> int:
        """Blocks in the full cross."""
        return len(list(product(*(self.levels[factor] for factor in BLOCK))))

    @property
    def left_out_sentence(self) -> str:
        """What a caption says about incomplete blocks; empty when none was left out."""
        if not self.left_out:
            return ""
        reasons = Counter(self.left_out.values())
        causes = ", ".join(f"{count} with {reason}" for reason, count in sorted(reasons.items()))
        out, rest = len(self.left_out), self.blocks - len(self.left_out)
        return (
            f"{out} of {self.blocks} blocks (dataset, activation, seed) left out because not every "
            f"regularizer has a result there: {causes}; means over the other {rest}."
        )

    def lines(self) -> list[str]:
        """The audit as text: one line on the whole, one on each kind of trouble."""
        counts = " x ".join(f"{len(self.levels[factor])} {factor}s" for factor in FACTORS)
        lines = [f"{len(self.cells)} of {self.expected} cells done ({counts})"]
        for kind in ("failed", "diverged", "missing", "duplicated", "no_noisy"):
            keys = getattr(self, kind)
            if keys:
                names = ", ".join(cell_name(key) for key in keys[:4])
                title = "without noisy accuracy" if kind == "no_noisy" else kind
                lines.append(f"{title}: {len(keys)} ({names}{', ...' if len(keys) > 4 else ''})")
        if self.left_out:
            lines.append(self.left_out_sentence)
        return lines


def cell_name(key: Key) -> str:
    """`mnist/relu/dreg/s0`, as everywhere in the project."""
    dataset, activation, regularizer, seed = key
    return f"{dataset}/{activation}/{regularizer}/s{seed}"


def audit(frame: "pd.DataFrame") -> Audit:
    """Check a frame of `load_cells` against the full cross of its observed levels.

    Only rows with status done count; a null status (hand-made data) is done. Rows of one cell that agree in
    both accuracies count once; other duplicates are left out with their block. Where some rows have a noisy
    accuracy, a row without one is incomplete.

    Raises UserError for a done row without clean accuracy and when no complete block remains.
    """
    status = frame["status"].fillna("done")
    done = frame[status == "done"].reset_index(drop=True)
    levels = {factor: ordered(factor, frame[factor]) for factor in FACTORS}
    if done.empty:
        raise UserError(f"none of the {len(frame)} rows has status done, so there is nothing to compare")
    empty = done[done["clean_accuracy"].isna()]
    if len(empty):
        name = cell_name(tuple(empty.iloc[0][list(FACTORS)]))
        raise UserError(
            f"{len(empty)} row(s) count as done but have no clean_accuracy, first {name}; "
            "give the value, or set their status to failed"
        )
    has_noisy = bool(done["noisy_accuracy"].notna().any())
    metrics = ("clean", "noisy", "overall") if has_noisy else ("clean",)

    warnings: list[str] = []
    factors = list(FACTORS)
    # Sorted with the counts, so that which of several equal rows stays does not depend on their order.
    done = done.sort_values([*factors, "clean_correct", "n_test", "noisy_correct", "n_noisy"], ignore_index=True)
    distinct = done.drop_duplicates([*factors, "clean_accuracy", "noisy_accuracy"])
    if len(distinct) < len(done):
        repeats = len(done) - len(distinct)
        warnings.append(f"{repeats} row(s) repeat another row's cell and accuracies; counted once")
    twice = distinct.duplicated(factors, keep=False)
    rows, exact = exact_accuracies(distinct[~twice].sort_values(factors, ignore_index=True), warnings)

    duplicated = set(_keys(distinct[twice]))
    no_noisy = set(_keys(rows[rows["noisy_accuracy"].isna()])) if has_noisy else set()
    present = set(_keys(rows))
    states = {key: str(state) for state in ("failed", "diverged") for key in _keys(frame[status == state])}

    trouble: dict[Key, str] = {}
    for key in product(*(levels[factor] for factor in FACTORS)):
        if key in duplicated:
            trouble[key] = "duplicated"
        elif key in no_noisy:
            trouble[key] = "no_noisy"
        elif key not in present:
            trouble[key] = states.get(key, "missing")
    reasons: dict[Key, set[str]] = {}
    for (dataset, activation, _, seed), kind in trouble.items():
        reasons.setdefault((dataset, activation, seed), set()).add(kind)
    left_out = {block: _reason(kinds) for block, kinds in reasons.items()}
    complete = rows[[block not in left_out for block in _keys(rows, BLOCK)]].reset_index(drop=True)

    def having(kind: str) -> tuple[Key, ...]:
        return tuple(key for key, state in trouble.items() if state == kind)

    result = Audit(
        levels=levels,
        cells=rows,
        missing=having("missing"),
        failed=having("failed"),
        diverged=having("diverged"),
        duplicated=having("duplicated"),
        no_noisy=having("no_noisy"),
        left_out=left_out,
        complete=complete,
        metrics=metrics,
        exact=exact,
        warnings=tuple(warnings),
    )
    if complete.empty:
        raise UserError(_nothing_complete(result, trouble))
    return result


def exact_accuracies(frame: "pd.DataFrame", warnings: list[str]) -> tuple["pd.DataFrame", bool]:
    """The frame with the columns clean, noisy, overall (Fractions or None), and whether all are from counts.

    clean = clean_correct / n_test and noisy = noisy_correct / n_noisy where the counts are there and agree
    with the accuracy beside them, else the accuracy as the decimal it prints as. overall is their mean.
    A disagreement adds a warning.
    """
    import pandas as pd

    frame = frame.copy()
    exact = True
    for metric, total in (("clean", "n_test"), ("noisy", "n_noisy")):
        values: list[Fraction | None] = []
        disagree = 0
        for accuracy, correct, of in zip(
            frame[f"{metric}_accuracy"].tolist(),
            frame[f"{metric}_correct"].astype(object).where(frame[f"{metric}_correct"].notna(), None),
            frame[total].astype(object).where(frame[total].notna(), None),
            strict=True,
        ):
            if accuracy != accuracy:
                values.append(None)
                continue
            counted = Fraction(int(correct), int(of)) if correct is not None and of else None
            if counted is not None and abs(counted - Fraction(accuracy)) <= AGREEMENT:
                values.append(counted)
                continue
            disagree += counted is not None
            exact = False
            values.append(Fraction(repr(float(accuracy))))
        frame[metric] = pd.Series(values, index=frame.index, dtype=object)
        if disagree:
            warnings.append(
                f"{metric}_correct / {total} differs from {metric}_accuracy in {disagree} row(s); "
                f"{metric}_accuracy is used there"
            )
    overall: list[Fraction | None] = [
        (clean + noisy) / 2 if clean is not None and noisy is not None else None
        for clean, noisy in zip(frame["clean"], frame["noisy"], strict=True)
    ]
    frame["overall"] = pd.Series(overall, index=frame.index, dtype=object)
    return frame, exact


def _keys(frame: "pd.DataFrame", factors: tuple[str, ...] = FACTORS) -> list[Key]:
    return list(zip(*(frame[factor].tolist() for factor in factors), strict=True))


def _reason(kinds: set[str]) -> str:
    names = {
        "failed": "a failed cell",
        "diverged": "a diverged cell",
        "missing": "a missing cell",
        "duplicated": "a duplicated cell",
        "no_noisy": "a cell without noisy accuracy",
    }
    return " and ".join(name for kind, name in names.items() if kind in kinds)


def _nothing_complete(result: Audit, trouble: dict[Key, str]) -> str:
    """One line: no block has every regularizer, and which regularizer spoils most of them."""
    blamed = Counter(key[2] for key in trouble)
    worst = max(result.levels["regularizer"], key=lambda level: blamed[level])
    kinds = Counter(kind for key, kind in trouble.items() if key[2] == worst)
    words = {"no_noisy": "without noisy accuracy"}
    states = ", ".join(f"{count} {words.get(kind, kind)}" for kind, count in sorted(kinds.items()))
    return (
        f"no block (dataset, activation, seed) has a result of every regularizer; regularizer={worst} lacks "
        f"{blamed[worst]} of {result.blocks} ({states}): keep the others with --where regularizer=a,b,... or "
        "run more cells"
    )
