"""The statistics of one results folder, gathered in the order in which the report tells them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dreg_sweep.analysis import figures
from dreg_sweep.analysis.claims.reading import Study, built_in
from dreg_sweep.analysis.claims.verdicts import Evidence, judge
from dreg_sweep.analysis.grid import State
from dreg_sweep.analysis.pairing import UNITS, Family, comparisons, pair_test, pairs, primary
from dreg_sweep.analysis.report.render import Table
from dreg_sweep.analysis.rows.select import ALL, size_name
from dreg_sweep.analysis.study import Data
from dreg_sweep.analysis.tables import across, audited, noise, pressure, scarcity
from dreg_sweep.analysis.tables.factors import by_factor, by_group, gains
from dreg_sweep.analysis.tables.fragility import fragility, intervals
from dreg_sweep.analysis.tables.overall import mean_ranks, overall, ranks_table
from dreg_sweep.analysis.tables.pairwise import pairwise
from dreg_sweep.analysis.tables.wording import heading, sentences

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Drawing:
    """A figure to be drawn: its file name, title and caption, and the function that draws it."""

    name: str
    title: str
    caption: str
    draw: Callable[[], "Figure"]


@dataclass(frozen=True)
class Chapter:
    """A part of the report."""

    title: str
    text: tuple[str, ...]
    tables: tuple[Table, ...]
    drawings: tuple[Drawing, ...]


@dataclass(frozen=True)
class Results:
    """Everything that was computed from one set of rows.

    tests: the frame of `comparisons`. verdicts: the frame of `judge`. chapters: in order. remarks: what the data
    cannot tell yet, one line each.
    """

    data: Data
    treatment: Any
    baseline: Any | None
    family: Family
    study: Study
    tests: "pd.DataFrame"
    verdicts: "pd.DataFrame"
    chapters: tuple[Chapter, ...]
    remarks: tuple[str, ...]

    @property
    def tables(self) -> list[Table]:
        """All tables, in order."""
        return [table for chapter in self.chapters for table in chapter.tables]


def compute(
    data: Data, treatment: Any, baseline: Any | None, family: Family, study: Study | None = None
) -> Results:
    """All tables and figures that the data allow. study: the claims to judge, by default the built-in ones."""
    grid = data.grid
    tests = comparisons(grid, treatment, family)
    names = [metric.name for metric in grid.metrics]
    study = study or built_in(treatment, baseline, names)
    pressed = None
    if data.history is not None:
        pressed = pressure.pressure(grid, data.main, data.history, treatment, baseline)
    evidence = Evidence(grid, data.sizes, family, treatment, tests, data.main, data.history)
    chapters: list[Chapter | None] = [
        _headline(data, treatment, family, tests),
        _all_at_once(data),
        _by_level(data, baseline),
        _noise(data),
        _scarcity(data, treatment),
        _pressure(data, treatment, baseline, pressed),
        _robustness(data, treatment),
        _audit(data),
    ]
    return Results(
        data=data,
        treatment=treatment,
        baseline=baseline,
        family=family,
        study=study,
        tests=tests,
        verdicts=judge(study, evidence),
        chapters=tuple(chapter for chapter in chapters if chapter is not None),
        remarks=tuple(_remarks(data, tests)),
    )


def _headline(data: Data, treatment: Any, family: Family, tests: "pd.DataFrame") -> Chapter:
    grid = data.grid
    first = grid.metrics[0]
    tables: list[Table] = []
    drawings: list[Drawing] = []
    ranked = bool(grid.complete.any())
    if ranked:
        table = overall(grid, treatment, tests, family)
        tables.append(table)
        if len(grid.metrics) > 1:
            tables.append(ranks_table(grid, treatment, tests, family))
        if {"clean", "noisy"} <= {metric.name for metric in grid.metrics}:
            frame = table.values.set_index("regularizer")[["clean_mean", "clean_sd", "noisy_mean", "noisy_sd"]]
            frame.columns = ["clean", "clean_sd", "noisy", "noisy_sd"]
            drawings.append(
                Drawing(
                    "clean_vs_noisy",
                    "Clean against noisy accuracy",
                    "Means over the complete blocks; bars are one standard deviation over seeds.",
                    lambda: figures.clean_vs_noisy(frame, title="Mean accuracy of each regularizer"),
                )
            )
    if len(grid.compared) > 1 and treatment in grid.compared:
        tables += [pairwise(grid, tests, metric, treatment, family) for metric in grid.metrics]
        forest, reached = forest_frame(data, treatment)
        drawings.append(
            Drawing(
                "forest",
                f"Gain of {treatment} over each rival, by dataset",
                f"{heading(first).capitalize()}. A dataset's interval is the Hodges-Lehmann interval of its seed "
                f"means ({reached}); the last row is the mean over datasets with the 95 % bootstrap interval over "
                "datasets.",
                lambda: figures.forest(
                    forest,
                    treatment=str(treatment),
                    title=f"{treatment} against each rival: {first.label}",
                    xlabel=f"difference{f' in {first.difference_unit}' if first.difference_unit else ''}",
                    note="",
                ),
            )
        )
    if ranked:
        drawings.append(_seed_strip(data))
    return Chapter("Overall", (), tuple(tables), tuple(drawings))


def forest_frame(data: Data, treatment: Any) -> tuple["pd.DataFrame", str]:
    """Rival × dataset: mean difference with an interval over seeds, and one summary row a rival.

    Also the confidence that the intervals over seeds reach, in words.
    """
    import pandas as pd

    grid = data.grid
    metric = grid.metrics[0]
    summary = intervals(grid, treatment)
    assert summary is not None
    overall_rows = summary.values[summary.values["metric"] == metric.name].set_index("rival")
    rows: list[dict[str, Any]] = []
    reached: set[str] = set()
    for rival in grid.compared:
        if rival == treatment:
            continue
        for dataset in grid.levels["dataset"]:
            seeds = pairs(grid.restricted({"dataset": [dataset]}), metric, treatment, rival, UNITS["seed"])
            row: dict[str, Any] = {"rival": rival, "dataset": str(dataset), "summary": False}
            if len(seeds):
                row["difference"] = float(seeds.mean * metric.scale)
            if len(seeds) > 1:
                interval = pair_test(seeds, "two-sided").interval
                reached.add(f"{100 * interval.confidence:g} %")
                row |= {"low": interval.low * metric.scale, "high": interval.high * metric.scale}
            rows.append(row)
        whole = overall_rows.loc[rival]
        rows.append(
            {
                "rival": rival,
                "dataset": "all datasets",
                "summary": True,
                "difference": whole["mean_difference"],
                "low": whole["low"],
                "high": whole["high"],
            }
        )
    names = ["rival", "dataset", "difference", "low", "high", "summary"]
    frame = pd.DataFrame(rows, columns=names).astype(dict.fromkeys(names[2:5], "float64"))
    return frame, f"confidence {' or '.join(sorted(reached))}" if reached else "none with one seed"


def _seed_strip(data: Data) -> Drawing:
    import pandas as pd

    grid = data.grid
    metric = grid.metrics[0]
    means = grid.means(metric.name, ("regularizer", "seed"))
    rows = [(method, seed, float(metric.scale * value)) for (method, seed), value in means.items()]
    frame = pd.DataFrame(rows, columns=["method", "seed", "value"])
    return Drawing(
        "seeds",
        "Each seed's mean",
        "One dot a seed: the mean over datasets and activations; bars are the means over seeds.",
        lambda: figures.seed_strip(frame, title=f"Each seed: {metric.label}", xlabel=heading(metric)),
    )


def _all_at_once(data: Data) -> Chapter | None:
    grid = data.grid
    tests = across.by_unit(grid)
    found = (across.standing(grid, tests), across.rank_tests(grid, tests), across.variance(grid))
    tables = [table for table in found if table is not None]
    if not tables or not grid.complete.any():
        return None
    metric = grid.metrics[0]
    drawings = []
    means, blocks = mean_ranks(grid, metric, ("dataset",))
    by_dataset = tests.get((metric.name, "dataset"))
    if by_dataset is not None:
        import pandas as pd

        critical = by_dataset.critical_difference
        drawings.append(
            Drawing(
                "critical_difference",
                "Mean ranks and Nemenyi's critical difference",
                f"{metric.label.capitalize()}, {blocks} dataset means. Regularizers joined by a bar are not "
                "shown to differ at 0.05.",
                lambda: figures.critical_difference(
                    pd.Series(means), critical, blocks=blocks, title=f"Mean ranks: {metric.label}"
                ),
            )
        )
    return Chapter("All regularizers at once", (), tuple(tables), tuple(drawings))


def _by_level(data: Data, baseline: Any | None) -> Chapter | None:
    grid = data.grid
    if not grid.complete.any():
        return None
    metric = grid.metrics[0]
    against = baseline if baseline in grid.compared else None
    points = gains(grid, metric, against)
    what = f"minus {against}" if against is not None else "minus the mean of all regularizers"
    unit = metric.difference_unit
    heatmap = Drawing(
        "heatmap",
        f"{metric.label.capitalize()} {what}, by dataset",
        f"Gains{f' in {unit}' if unit else ''}, means over activations and seeds; blue is better.",
        lambda: figures.heatmap(points, title=f"{metric.label.capitalize()} {what}", label=unit or metric.name),
    )
    tables = [by_factor(grid, "activation"), by_group(grid), by_factor(grid, "dataset")]
    return Chapter(
        "By activation and dataset", (), tuple(table for table in tables if table is not None), (heatmap,)
    )


def _noise(data: Data) -> Chapter | None:
    if data.noise is None or not data.grid.complete.any():
        return None
    frame = noise.ladder(data.grid, data.main, data.noise)
    if not frame["accuracy"].notna().any():
        return None
    curves = Drawing(
        "noise",
        "Accuracy along the noise ladder",
        sentences(
            "Means over datasets, activations and seeds; severity 0 is the clean test set.", noise.left_out(frame)
        ),
        lambda: figures.noise_curves(frame, title="Accuracy along the noise ladder"),
    )
    return Chapter("Noise", (), tuple(noise.tables(data.grid, frame)), (curves,))


def _scarcity(data: Data, treatment: Any) -> Chapter | None:
    if not data.audit.by_size:
        return None
    lacking = scarcity.lacking(data.sizes, treatment)
    if lacking:
        return Chapter("Data scarcity", (lacking,), (), ())
    idle = ", ".join(size_name(size) for size in data.audit.by_size if size not in data.sizes)
    waiting = (f"Nothing is known yet about train_size={idle}, which has no result.",) if idle else ()
    metric = data.grid.metrics[0]
    curve, _, tables = scarcity.tables(data.sizes, metric, treatment)
    numbered = curve[curve["train_size"] != ALL].astype({"train_size": "float64"})
    beside = f" The table has the whole training set ({ALL}) as well." if len(numbered) < len(curve) else ""
    unit = metric.difference_unit
    drawing = Drawing(
        "scarcity",
        f"Advantage of {treatment} by training size",
        "Mean over datasets, at every size over the same blocks, with the 95 % bootstrap interval over datasets."
        f"{beside}",
        lambda: figures.scarcity_curves(
            numbered,
            treatment=str(treatment),
            title=f"Advantage of {treatment}: {metric.label}",
            ylabel=f"difference{f' in {unit}' if unit else ''}",
        ),
    )
    return Chapter("Data scarcity", waiting, tuple(tables), (drawing,))


def _pressure(data: Data, treatment: Any, baseline: Any, found: pressure.Pressure | None) -> Chapter | None:
    if found is None:
        return None
    table = pressure.table(data.grid, found, treatment, baseline)
    drawing = Drawing(
        "pressure",
        f"Where {treatment} presses",
        f"One point a hidden layer and activation: σ'² of {baseline} against how far {treatment} lowered the "
        "layer's squared Jacobian norm (log ratio); means over datasets and seeds.",
        lambda: figures.pressure(
            table.values,
            title=f"Pressure of {treatment} on each hidden layer",
            xlabel=f"mean σ'² of {baseline}",
            ylabel=f"log(‖J‖² {baseline} / ‖J‖² {treatment})",
        ),
    )
    return Chapter("Pressure on the layers", (), (table,), (drawing,))


def _robustness(data: Data, treatment: Any) -> Chapter | None:
    grid = data.grid
    tables = (intervals(grid, treatment), fragility(grid, grid.metrics[0], treatment))
    kept = tuple(table for table in tables if table is not None)
    return Chapter("How much hangs on single levels", (), kept, ()) if kept else None


def _audit(data: Data) -> Chapter:
    tables = (audited.covered(data.audit), audited.not_done(data.audit))
    return Chapter("Audit", tuple(data.audit.lines()), tuple(table for table in tables if table is not None), ())


def _remarks(data: Data, tests: "pd.DataFrame") -> list[str]:
    """What a partial sweep cannot tell yet."""
    grid = data.grid
    lines = []
    waiting = data.audit.total(State.MISSING)
    if waiting:
        lines.append(
            f"partial: {waiting} of {data.audit.total_expected} cells are missing; what follows is about the rest"
        )
    if not grid.complete.any():
        lines.append("no block has every regularizer yet, so nothing is ranked; tests use the pairs there are")
    here = primary(tests, grid.metrics[0].name)
    treatment = here["treatment"].iloc[0] if len(here) else None
    if treatment is not None and treatment not in grid.compared:
        lines.append(f"{treatment} has no result yet, so it is compared with nothing")
        here = here[:0]
    elif treatment is not None and data.audit.by_size:
        found = (scarcity.lacking(data.sizes, treatment), scarcity.crossed(data.sizes)[1])
        lines += [sentence[:1].lower() + sentence[1:].removesuffix(".") for sentence in found]
    datasets = len(grid.levels["dataset"])
    for rival, paired in zip(here["rival"].tolist(), here["pairs"].tolist(), strict=True):
        if paired < datasets:
            lines.append(f"against {rival}: {paired} of {datasets} datasets have a pair")
    stuck = here[~here["can_reach"].astype(bool)]
    if len(stuck):
        needed = int(stuck["pairs_needed"].max())
        rivals: Sequence[str] = [str(rival) for rival in stuck["rival"]]
        lines.append(
            f"by {UNITS['dataset'].label} no test against {', '.join(rivals)} can reach 0.05 after correction; "
            f"{needed} datasets could"
        )
    return [line for line in lines if line]
