"""The statistics of one results folder, gathered in the order in which the report tells them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dreg_sweep.analysis import figures
from dreg_sweep.analysis.audit import coverage, trouble_table
from dreg_sweep.analysis.claims.reading import Study, built_in
from dreg_sweep.analysis.claims.verdicts import Evidence, judge
from dreg_sweep.analysis.grid import State
from dreg_sweep.analysis.pairing import UNITS, Family, comparisons
from dreg_sweep.analysis.report.render import Table
from dreg_sweep.analysis.study import Data
from dreg_sweep.analysis.tables import across, noise, pressure, scarcity
from dreg_sweep.analysis.tables.factors import by_factor, by_group, gains
from dreg_sweep.analysis.tables.fragility import fragility, intervals
from dreg_sweep.analysis.tables.overall import mean_ranks, overall, ranks_table
from dreg_sweep.analysis.tables.pairwise import pairwise
from dreg_sweep.analysis.tables.wording import count, heading, sentences, text

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
    # Claims are corrected one metric at a time, so tests of a family across metrics are no use to them.
    shared = None if family.across_metrics else tests
    evidence = Evidence(grid, data.sizes, pressed, family.rivals, treatment, shared)
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
        forest = forest_frame(data, treatment)
        drawings.append(
            Drawing(
                "forest",
                f"Gain of {treatment} over each rival, by dataset",
                f"{heading(first).capitalize()}. A dataset's interval is the Hodges-Lehmann interval of its seed "
                "means (five seeds reach 93.75 %); the last row is the mean over datasets with the 95 % bootstrap "
                "interval over datasets.",
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


def forest_frame(data: Data, treatment: Any) -> "pd.DataFrame":
    """Rival × dataset: mean difference with an interval over seeds, and one summary row a rival."""
    import pandas as pd

    from dreg_sweep.analysis.pairing import pair_test, pairs

    grid = data.grid
    metric = grid.metrics[0]
    summary = intervals(grid, treatment)
    assert summary is not None
    overall_rows = summary.values[summary.values["metric"] == metric.name].set_index("rival")
    rows: list[dict[str, Any]] = []
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
    return pd.DataFrame(rows, columns=names).astype(dict.fromkeys(names[2:5], "float64"))


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
                f"{metric.label.capitalize()}, {blocks} dataset means. Regularizers joined by a bar do not differ "
                "at 0.05.",
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
    if frame.empty:
        return None
    curves = Drawing(
        "noise",
        "Accuracy along the noise ladder",
        "Means over datasets, activations and seeds; severity 0 is the clean test set.",
        lambda: figures.noise_curves(frame, title="Accuracy along the noise ladder"),
    )
    return Chapter("Noise", (), tuple(noise.tables(data.grid, frame)), (curves,))


def _scarcity(data: Data, treatment: Any) -> Chapter | None:
    if len(data.sizes) < 2 or not all(treatment in grid.compared for grid in data.sizes.values()):
        return None
    metric = data.grid.metrics[0]
    curve, _, tables = scarcity.tables(data.sizes, metric, treatment)
    unit = metric.difference_unit
    drawing = Drawing(
        "scarcity",
        f"Advantage of {treatment} by training size",
        "Mean over the datasets that have every size, with the 95 % bootstrap interval over datasets.",
        lambda: figures.scarcity_curves(
            curve,
            treatment=str(treatment),
            title=f"Advantage of {treatment}: {metric.label}",
            ylabel=f"difference{f' in {unit}' if unit else ''}",
        ),
    )
    return Chapter("Data scarcity", (), tuple(tables), (drawing,))


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
    tables = [intervals(grid, treatment), *(fragility(grid, metric, treatment) for metric in grid.metrics[:1])]
    kept = tuple(table for table in tables if table is not None)
    return Chapter("How much hangs on single levels", (), kept, ()) if kept else None


def _audit(data: Data) -> Chapter:
    grid = data.grid
    counted = coverage(grid)
    frame = counted.rename_axis("regularizer").reset_index()
    blocks = len(grid.levels["activation"]) * len(grid.levels["seed"])
    table = Table(
        name="coverage",
        title="Results by regularizer and dataset",
        caption=f"Blocks (activation, seed) with a result, out of {blocks}.",
        values=frame,
        columns=(text("regularizer"), *(count(str(name)) for name in counted.columns)),
    )
    tables = [table]
    trouble = trouble_table(data.audit)
    if len(trouble):
        tables.append(
            Table(
                name="not_done",
                title="Cells without a usable result",
                caption="missing: asked for, or needed for a full cross, and never run. duplicated: rows of one "
                "cell that disagree. incomplete: done, without one of the measures.",
                values=trouble,
                columns=tuple(text(str(name)) for name in trouble.columns),
                block="state",
            )
        )
    return Chapter("Audit", tuple(data.audit.lines()), tuple(tables), ())


def _remarks(data: Data, tests: "pd.DataFrame") -> list[str]:
    """What a partial sweep cannot tell yet."""
    grid = data.grid
    lines = []
    waiting = data.audit.count(State.MISSING)
    if waiting:
        lines.append(
            f"partial: {waiting} of {data.audit.expected} cells are missing; what follows is about the rest"
        )
    if not grid.complete.any():
        lines.append("no block has every regularizer yet, so nothing is ranked; tests use the pairs there are")
    here = tests[tests["primary"] & (tests["alternative"] == "two-sided") & (tests["zeros"] == "wilcox")]
    here = here[here["metric"] == grid.metrics[0].name]
    datasets = len(grid.levels["dataset"])
    for rival, pairs in zip(here["rival"].tolist(), here["pairs"].tolist(), strict=True):
        if pairs < datasets:
            lines.append(f"against {rival}: {pairs} of {datasets} datasets have a pair")
    stuck = here[~here["can_reach"].astype(bool)]
    if len(stuck):
        needed = int(stuck["pairs_needed"].max())
        rivals: Sequence[str] = [str(rival) for rival in stuck["rival"]]
        lines.append(
            f"by {UNITS['dataset'].label} no test against {', '.join(rivals)} can reach 0.05 after correction; "
            f"{needed} datasets could"
        )
    return [sentences(line) for line in lines]
