"""The noise ladder: accuracy at each severity, and the fraction of the clean accuracy that is left."""

from typing import TYPE_CHECKING, Any

from dreg_sweep.analysis.grid import Grid
from dreg_sweep.analysis.report.render import Column, Mark, Table
from dreg_sweep.analysis.scores import Metric
from dreg_sweep.analysis.tables.wording import MARKS, about, best_in, number, sentences, text

if TYPE_CHECKING:
    import pandas as pd

_ACCURACY = Metric("noisy")


def ladder(grid: Grid, cells: "pd.DataFrame", noise: "pd.DataFrame") -> "pd.DataFrame":
    """Panel × severity × regularizer: accuracy and sd in %, and retained, the fraction of the clean accuracy.

    cells, noise: rows of `load_cells` and `load_noise`; those of complete blocks count. A panel is a modality
    with its corruption; severity 0 is the clean test set. accuracy: the mean over the panel's datasets,
    activations and seeds; sd: over seeds (n − 1, null for one); retained: a ratio of two such means.
    """
    import pandas as pd

    factors = ["dataset", "activation", "regularizer", "seed"]
    kept = _complete_cells(grid, cells)
    rows = noise.merge(kept[["cell", "config_hash"]], on=["cell", "config_hash"])
    kinds = rows[["dataset", "corruption"]].drop_duplicates()
    clean = kept[[*factors, "clean_accuracy"]].rename(columns={"clean_accuracy": "accuracy"}).assign(severity=0.0)
    clean = clean.merge(kinds, on="dataset")
    rows = pd.concat([rows[[*factors, "corruption", "severity", "accuracy"]], clean], ignore_index=True)
    modality = grid.groups.get("modality", {})
    rows["panel"] = [
        f"{modality[dataset]}: {corruption}" if dataset in modality else str(corruption)
        for dataset, corruption in zip(rows["dataset"], rows["corruption"], strict=True)
    ]
    by_seed = rows.groupby(["panel", "severity", "regularizer", "seed"], observed=True)["accuracy"].mean()
    groups = by_seed.groupby(level=["panel", "severity", "regularizer"], observed=True)
    # Rounded below what accuracies resolve, so that 84.325 prints as in the tables made from exact fractions.
    frame = pd.DataFrame({"accuracy": (100 * groups.mean()).round(10), "sd": 100 * groups.std()}).reset_index()
    start = frame[frame["severity"] == 0].set_index(["panel", "regularizer"])["accuracy"]
    keys = pd.MultiIndex.from_frame(frame[["panel", "regularizer"]])
    frame["retained"] = frame["accuracy"].to_numpy() / start.reindex(keys).to_numpy()
    place = {level: number for number, level in enumerate(grid.levels["regularizer"])}
    frame["_place"] = frame["regularizer"].map(place).astype(int)
    frame = frame.sort_values(["panel", "severity", "_place"], ignore_index=True).drop(columns="_place")
    return frame.rename(columns={"regularizer": "method"})


def _complete_cells(grid: Grid, cells: "pd.DataFrame") -> "pd.DataFrame":
    """The done rows that stand in complete blocks of the grid."""
    import numpy as np
    import pandas as pd

    complete = grid.complete
    places = np.argwhere(complete)
    blocks = pd.DataFrame(
        {
            name: np.array(grid.levels[name], dtype=object)[places[:, axis]]
            for axis, name in enumerate(("dataset", "activation", "seed"))
        }
    ).astype({"dataset": "string", "activation": "string", "seed": "Int64"})
    rows = cells[cells["status"].fillna("done") == "done"]
    rows = rows[rows["regularizer"].isin(grid.compared)]
    rows = rows.astype({"dataset": "string", "activation": "string", "regularizer": "string"})
    return rows.merge(blocks, on=["dataset", "activation", "seed"])


def tables(grid: Grid, frame: "pd.DataFrame") -> list[Table]:
    """The tables `noise_ladder` (accuracy in %) and `noise_retained` (fraction), from the frame of `ladder`."""
    return [
        _wide(
            grid,
            frame,
            "accuracy",
            name="noise_ladder",
            title="Noise ladder: accuracy in %",
            caption="Accuracy at each severity of the corruption of the test inputs; severity 0 is the clean set.",
            show=lambda value: number(value, _ACCURACY),
        ),
        _wide(
            grid,
            frame[frame["severity"] > 0],
            "retained",
            name="noise_retained",
            title="Noise ladder: retained fraction of the clean accuracy",
            caption="Accuracy at the severity divided by the clean accuracy of the same regularizer.",
            show=lambda value: f"{value:.3f}",
        ),
    ]


def _wide(
    grid: Grid, frame: "pd.DataFrame", column: str, *, name: str, title: str, caption: str, show: Any
) -> Table:
    methods = [method for method in grid.compared if method in set(frame["method"])]
    wide = frame.pivot(index=["panel", "severity"], columns="method", values=column).reindex(columns=methods)
    wide = wide.reset_index().rename_axis(columns=None)
    marks: dict[tuple[int, str], Mark] = {}
    for place, row in enumerate(wide[methods].to_numpy().tolist()):
        scaled = row if column == "accuracy" else [round(value, 3) * 100 for value in row]
        found = best_in(scaled, _ACCURACY)
        marks |= {(place, str(method)): mark for method, mark in zip(methods, found, strict=True) if mark}

    def entry(method: Any) -> Column:
        return Column(str(method), lambda row: show(row[str(method)]), value=str(method))

    return Table(
        name=name,
        title=title,
        caption=sentences(caption, "Means over datasets, activations and seeds.", MARKS, about(grid)),
        values=wide,
        columns=(
            text("panel", "modality: corruption"),
            Column("severity", lambda row: f"{row['severity']:g}", value="severity"),
            *(entry(method) for method in methods),
        ),
        marks=marks,
        block="panel",
    )
