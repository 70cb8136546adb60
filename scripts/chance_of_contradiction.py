"""How often a sentence "the best of six" is contradicted by chance alone.

    python scripts/chance_of_contradiction.py [--simulations 100000] [--seed 0]

Six methods that do not differ: in each seed, their means are independent draws from one normal distribution, the
same for all. One of them is claimed to be above its five rivals. As for the claims, the sentence is contradicted
where one signed-rank test by seeds has p ≤ 0.05 in the other direction, without a correction. The tests share the
praised method, so they are not independent: their chances do not add up, and are not that of five lone tests.

Prints the shares of contradicted sentences with their Monte Carlo standard errors.
"""

import argparse
import math
import sys
from collections.abc import Iterator

import numpy as np

from dreg_sweep.analysis.statistics.rank_tests import ALPHA
from dreg_sweep.analysis.statistics.wilcoxon import signed_rank
from dreg_sweep.arguments import OneLineParser
from dreg_sweep.errors import UserError

PROGRAM = "chance_of_contradiction"
RIVALS, SEEDS = 5, 5


def rejecting(side: str) -> np.ndarray:
    """(2**SEEDS,) of bool: whether the signs of the ranks, as bits (bit k: rank k + 1 is positive), contradict.

    Without ties the signed-rank test depends on these signs alone, so that it is run once for each of them.
    """
    found = np.zeros(2**SEEDS, dtype=bool)
    for signs in range(2**SEEDS):
        differences = [rank if signs >> (rank - 1) & 1 else -rank for rank in range(1, SEEDS + 1)]
        test = signed_rank(differences, alternative="less" if side == "one-sided" else "two-sided")
        found[signs] = test.p <= ALPHA and test.rank_biserial < 0
    return found


def chances(side: str, simulations: int, seed: int) -> tuple[float, float]:
    """The share of contradicted sentences: of all five rivals, and of one rival alone."""
    rng = np.random.default_rng(seed)
    contradicts = rejecting(side)
    scores = rng.normal(size=(simulations, RIVALS + 1, SEEDS))
    differences = scores[:, :1] - scores[:, 1:]
    ranks = np.abs(differences).argsort(axis=2).argsort(axis=2)
    signs = ((differences > 0).astype(np.int64) << ranks).sum(axis=2)
    # The mean must have the same sign as the ranks.
    fails = contradicts[signs] & (differences.mean(axis=2) < 0)
    return float(fails.any(axis=1).mean()), float(fails[:, 0].mean())


def table(simulations: int, seed: int) -> Iterator[str]:
    """One line a side, in Markdown."""
    yield f"| side | contradicted by one of {RIVALS} rivals | by one given rival |"
    yield "| :--- | ---: | ---: |"
    for side in ("one-sided", "two-sided"):
        shown = [
            f"{rate:.4f} ± {math.sqrt(rate * (1 - rate) / simulations):.4f}"
            for rate in chances(side, simulations, seed)
        ]
        yield f"| {side} | {' | '.join(shown)} |"


def main(argv: list[str] | None = None) -> int:
    """The command; 2 with one line on stderr for a mistake of the user."""
    options = OneLineParser(
        prog=PROGRAM, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--simulations", type=int, default=100_000)
    options.add_argument("--seed", type=int, default=0)
    try:
        asked = options.parse_args(argv)
        if asked.simulations < 1 or asked.seed < 0:
            raise UserError("--simulations takes a whole number from 1, --seed one from 0")
    except UserError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 2
    print(f"{asked.simulations:,} simulations, seed {asked.seed}, {SEEDS} seeds, p ≤ {ALPHA}, uncorrected\n")
    print("\n".join(table(asked.simulations, asked.seed)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
