"""The tables: regularizers overall, by activation and by dataset.

All means run over complete blocks and are taken as exact fractions, so they do not depend on the row order
and equal accuracies stay equal; they become floats, in percent, when they enter a table.
"""

import math
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

from dreg_sweep.analysis.audit import Audit
from dreg_sweep.analysis.exact import doubled_midranks
from dreg_sweep.analysis.levels import ordered
from dreg_sweep.analysis.rank_tests import holm
from dreg_sweep.analysis.render import NOTHING, Column, Mark, Table, best_two
from dreg_sweep.analysis.wilcoxon import SignedRank, signed_rank

# Means of accuracies read as decimals tie when they agree to this many places: 0.333... is not a third.
PLACES = 10


def mean(values: Iterable[Fraction]) -> Fraction:
    """The exact arithmetic mean."""
    listed = list(values)
    return sum(listed, Fraction(0)) / len(listed)


def group_means(audit: Audit, metric: str, factors: tuple[str, ...]) -> dict[tuple[Any, ...], Fraction]:
    """Mean accuracy (0..1) of the complete blocks for each observed combination of the factors."""
    groups: dict[tuple[Any, ...], list[Fraction]] = {}
    columns = [audit.complete[factor].tolist() for factor in factors]
    for *key, value in zip(*columns, audit.complete[metric].tolist(), strict=True):
        groups.setdefault(tuple(key), []).append(value)
    return {key: _settled(mean(values), audit) for key, values in groups.items()}


def seed_tests(audit: Audit, metric: str, treatment: str) -> dict[str, SignedRank]:
    """The one-sided ("greater") exact test of the treatment against each rival, paired by seed.

    One pair a seed: the difference of the two seed means, each over all complete blocks of that seed.
    """
    means = group_means(audit, metric, ("regularizer", "seed"))
    seeds = ordered("seed", audit.complete["seed"])
    rivals = [level for level in audit.levels["regularizer"] if level != treatment]

    def differences(rival: str) -> list[Fraction]:
        return [_settled(means[treatment, seed] - means[rival, seed], audit) for seed in seeds]

    return {rival: signed_rank(differences(rival), alternative="greater") for rival in rivals}


def overall(audit: Audit, treatment: str) -> Table:
    """Regularizer x accuracies: mean and sd over seeds, rank, and the treatment's test against each rival.

    Columns of the values, for m = clean, noisy, overall (in %): m_mean, m_sd (n - 1 in the denominator, null
    for one seed), m_rank (1 = best, midranks), m_difference (treatment minus this one, in points), m_p,
    m_p_holm (over the rivals, one family for each accuracy), m_n, m_floor.
    """
    import pandas as pd

    regularizers = audit.levels["regularizer"]
    seeds = ordered("seed", audit.complete["seed"])
    values: dict[str, list[Any]] = {"regularizer": regularizers}
    tests = {metric: seed_tests(audit, metric, treatment) for metric in audit.metrics}
    for metric in audit.metrics:
        by_seed = group_means(audit, metric, ("regularizer", "seed"))
        runs = {level: [by_seed[level, seed] for seed in seeds] for level in regularizers}
        means = {level: _settled(mean(runs[level]), audit) for level in regularizers}
        rivals = list(tests[metric])
        gains = {rival: _percent(means[treatment] - means[rival]) for rival in rivals}
        adjusted = dict(zip(rivals, holm([tests[metric][rival].p for rival in rivals]).tolist(), strict=True))
        values[f"{metric}_mean"] = [_percent(means[level]) for level in regularizers]
        values[f"{metric}_sd"] = [_sd(runs[level]) for level in regularizers]
        values[f"{metric}_rank"] = [
            rank / 2 for rank in doubled_midranks([-means[level] for level in regularizers])
        ]
        values[f"{metric}_difference"] = [gains.get(level) for level in regularizers]
        values[f"{metric}_p"] = [_field(tests[metric].get(level), "p") for level in regularizers]
        values[f"{metric}_p_holm"] = [adjusted.get(level) for level in regularizers]
        values[f"{metric}_n"] = [_field(tests[metric].get(level), "n") for level in regularizers]
        values[f"{metric}_floor"] = [_field(tests[metric].get(level), "floor") for level in regularizers]
    frame = pd.DataFrame(values)
    for name in frame.columns[1:]:
        frame[name] = frame[name].astype("Int64" if name.endswith("_n") else "float64")

    columns = [Column("regularizer", lambda row: str(row["regularizer"]), numeric=False)]
    marks: dict[tuple[int, str], Mark] = {}
    for metric in audit.metrics:
        columns += [Column(metric, _mean_sd(metric)), Column(f"{metric} rank", _rank(metric))]
        printed = best_two([f"{value:.2f}" for value in frame[f"{metric}_mean"]])
        marks |= {(row, metric): mark for row, mark in enumerate(printed) if mark}
    if len(regularizers) > 1:
        columns += [Column(f"p {metric} (Holm)", _p(metric)) for metric in audit.metrics]
    return Table(
        name="overall",
        title="Regularizers: accuracy in %",
        caption=_sentences(
            f"Mean ± standard deviation over {len(seeds)} {_plural(len(seeds), 'seed')}: accuracies are "
            "first averaged over activations and datasets within a seed.",
            "Rank 1 is best; bold marks the best printed mean, underline the second.",
            _metric_sentence(audit),
            _test_sentence(tests, treatment, len(seeds)),
            _left_out(audit),
        ),
        values=frame,
        columns=tuple(columns),
        marks=marks,
    )


def by_factor(audit: Audit, factor: str) -> Table:
    """Mean accuracy in %: (accuracy, level of the factor) x regularizer, over the complete blocks.

    factor: "activation" or "dataset". Values: the columns accuracy (overall, clean, noisy), the factor, and
    one column a regularizer. Levels without a complete block have no row; the caption names them.
    """
    import pandas as pd

    regularizers = audit.levels["regularizer"]
    present = set(audit.complete[factor])
    rows = []
    for metric in sorted(audit.metrics, key=("overall", "clean", "noisy").index):
        means = group_means(audit, metric, (factor, "regularizer"))
        for level in audit.levels[factor]:
            if level in present:
                rows.append([metric, level, *(_percent(means[level, name]) for name in regularizers)])
    frame = pd.DataFrame(rows, columns=["accuracy", factor, *regularizers])
    columns = [
        Column("accuracy", lambda row: str(row["accuracy"]), numeric=False),
        Column(factor, lambda row: str(row[factor]), numeric=False),
        *(Column(name, _two_places(name)) for name in regularizers),
    ]
    marks: dict[tuple[int, str], Mark] = {}
    for number, row in enumerate(frame[regularizers].to_numpy()):
        for name, mark in zip(regularizers, best_two([f"{value:.2f}" for value in row]), strict=True):
            if mark:
                marks[number, name] = mark
    other = "datasets" if factor == "activation" else "activations"
    absent = [str(level) for level in audit.levels[factor] if level not in present]
    return Table(
        name=f"{factor}_by_regularizer",
        title=f"{factor.capitalize()} by regularizer: accuracy in %",
        caption=_sentences(
            f"Mean over {other} and seeds. In each row bold marks the best and underline the second best "
            "printed value; all ties are marked.",
            _metric_sentence(audit),
            _left_out(audit),
            f"Without a complete block: {', '.join(absent)}." if absent else "",
        ),
        values=frame,
        columns=tuple(columns),
        marks=marks,
        block="accuracy",
    )


def _settled(value: Fraction, audit: Audit) -> Fraction:
    """Exact where counts made it; else rounded, so that round-off of the accuracies read breaks no tie."""
    return value if audit.exact else round(value, PLACES)


def _field(test: SignedRank | None, name: str) -> Any:
    return None if test is None else getattr(test, name)


def _percent(value: Fraction) -> float:
    return float(100 * value)


def _sd(values: list[Fraction]) -> float | None:
    if len(values) < 2:
        return None
    centre = mean(values)
    return 100 * math.sqrt(sum((value - centre) ** 2 for value in values) / (len(values) - 1))


def _mean_sd(metric: str) -> Any:
    def show(row: Mapping[str, Any]) -> str:
        centre, spread = row[f"{metric}_mean"], row[f"{metric}_sd"]
        return f"{centre:.2f}" if spread != spread else f"{centre:.2f} ± {spread:.2f}"

    return show


def _rank(metric: str) -> Any:
    return lambda row: f"{row[f'{metric}_rank']:g}"


def _two_places(name: str) -> Any:
    return lambda row: f"{row[name]:.2f}"


def _p(metric: str) -> Any:
    def show(row: Mapping[str, Any]) -> str:
        raw, adjusted = row[f"{metric}_p"], row[f"{metric}_p_holm"]
        return NOTHING if raw != raw else f"{p_text(raw)} ({p_text(adjusted)})"

    return show


def p_text(p: float) -> str:
    """Three places, as papers print p-values."""
    return "<0.001" if p < 0.0005 else f"{p:.3f}"


def _metric_sentence(audit: Audit) -> str:
    if "noisy" in audit.metrics:
        return "Overall is the mean of clean and noisy accuracy."
    return "Clean accuracy only: no row has a noisy accuracy."


def _test_sentence(tests: Mapping[str, Mapping[str, SignedRank]], treatment: str, seeds: int) -> str:
    """Pairing unit, side, n, zero rule, and the smallest p-values that this n allows."""
    results = [test for by_rival in tests.values() for test in by_rival.values()]
    if not results:
        return "No other regularizer to test against."
    rivals = len(next(iter(tests.values())))
    floor = 0.5**seeds
    text = (
        f"p: exact one-sided Wilcoxon signed-rank test that {treatment} is higher, paired by seed "
        f"(n = {seeds} {_plural(seeds, 'pair')} of seed means; zero differences are dropped, ties get "
        f"midranks); in parentheses Holm-adjusted over the {rivals} {_plural(rivals, 'rival')}, for each "
        f"accuracy by itself. With n = {seeds} no p can be below {floor:.5g}"
    )
    text += f", and no Holm-adjusted p below {min(1.0, floor * rivals):.3g}." if rivals > 1 else "."
    dropped = sum(test.n < seeds for test in results)
    if dropped:
        text += f" In {dropped} of {len(results)} tests zeros were dropped, which raises the floor there."
    return text


def _left_out(audit: Audit) -> str:
    if not audit.left_out:
        return ""
    return audit.left_out_sentence + " The seeds then need not share the same blocks; pairs within a seed do."


def _sentences(*sentences: str) -> str:
    return " ".join(sentence for sentence in sentences if sentence)


def _plural(count: int, noun: str) -> str:
    return noun if count == 1 else f"{noun}s"
