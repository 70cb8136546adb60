"""The noise ladder: accuracy at each severity, and the fraction of the clean accuracy that is left."""

from fractions import Fraction
from typing import TYPE_CHECKING, Any

from dreg_sweep.analysis.grid import BLOCK, Grid
from dreg_sweep.analysis.marginal import marginal_mean
from dreg_sweep.analysis.report.render import NOTHING, Column, Mark, Table
from dreg_sweep.analysis.rows.levels import ordered
from dreg_sweep.analysis.scores import Metric, exact_values
from dreg_sweep.analysis.tables.factors import WIDEST, apart, spread_names
from dreg_sweep.analysis.tables.wording import MARKS, about, best_in, mean_sd, percent, sd, sentences, text

if TYPE_CHECKING:
    import pandas as pd

_ACCURACY = Metric("noisy")


def ladder(grid: Grid, cells: "pd.DataFrame", noise: "pd.DataFrame") -> "pd.DataFrame":
    """Panel × severity × regularizer: accuracy and sd in %, and retained, the fraction of the clean accuracy.

    cells, noise: rows of `load_cells` and `load_noise`. A panel is a modality with its corruption; severity 0 is
    the clean test set. accuracy: the marginal mean over the panel's blocks, made from counts where the rows have
    them; sd: over seeds (n − 1; null for one, and where seeds have different blocks); retained: a ratio of two such
    means over the same blocks. A severity is about the complete blocks in which every compared regularizer has its
    row, severity 0 about those that some severity has. blocks: how many these are; left_out: which of the panel's
    complete blocks are not among them, in words. Without any block the numbers are null.
    """
    import pandas as pd

    rows = _measured(grid, cells, noise)
    modality = grid.groups.get("modality", {})
    rows["panel"] = [
        f"{modality[dataset]}: {corruption}" if dataset in modality else str(corruption)
        for dataset, corruption in zip(rows["dataset"], rows["corruption"], strict=True)
    ]
    where = ["panel", *BLOCK]
    there = rows.groupby([*where, "severity"], observed=True)["regularizer"].transform("nunique")
    rows["whole"] = there == len(grid.compared)
    some = rows[rows["whole"] & (rows["severity"] > 0)].set_index(where).index
    clean = rows["severity"] == 0
    rows.loc[clean, "whole"] &= rows.set_index(where).index.isin(some)[clean.to_numpy()]
    denominator = int(rows.attrs["denominator"])
    lines: list[dict[str, Any]] = []
    for panel, part in rows.groupby("panel", observed=True):
        start = part[(part["severity"] == 0)].set_index(list(BLOCK))
        for severity, step in part.groupby("severity"):
            kept = step[step["whole"]]
            blocks = kept[list(BLOCK)].drop_duplicates()
            same = start.loc[start.index.isin(pd.MultiIndex.from_frame(blocks))].reset_index()
            told = {"blocks": len(blocks), "left_out": _left_out(start, blocks)}
            for method in grid.compared:
                own, before = kept[kept["regularizer"] == method], same[same["regularizer"] == method]
                line = {"panel": panel, "severity": severity, "method": method, **told}
                if len(own):
                    mean, first = _mean(own), _mean(before)
                    seeds = [_mean(runs) / denominator for _, runs in own.groupby("seed")]
                    alike = own.groupby("seed").size().nunique() == 1
                    line |= {
                        "accuracy": percent(mean / denominator, _ACCURACY),
                        "sd": sd(seeds, _ACCURACY) if alike else None,
                        "retained": float(mean / first) if first else None,
                    }
                lines.append(line)
    names = ["panel", "severity", "method", "accuracy", "sd", "retained", "blocks", "left_out"]
    return pd.DataFrame(lines, columns=names).astype(dict.fromkeys(names[3:6], "float64"))


def _mean(rows: "pd.DataFrame") -> Fraction:
    """The marginal mean of the numerators of some rows, one a block."""
    blocks = rows[list(BLOCK)].itertuples(index=False, name=None)
    return marginal_mean(zip(blocks, rows["value"].tolist(), strict=True))


def _left_out(start: "pd.DataFrame", blocks: "pd.DataFrame") -> str:
    """`10 of 40 blocks (cifar10: 5, gtsrb: 5)`; empty where all of the panel's blocks are there."""
    every = start.index.drop_duplicates().to_frame(index=False)
    gone = every.merge(blocks, how="left", on=list(BLOCK), indicator=True)
    gone = gone[gone["_merge"] == "left_only"]
    if gone.empty:
        return ""
    counts = gone["dataset"].value_counts()
    named = ", ".join(f"{dataset}: {counts[dataset]}" for dataset in ordered("dataset", counts.index))
    return f"{len(gone)} of {len(every)} blocks ({named})"


def _measured(grid: Grid, cells: "pd.DataFrame", noise: "pd.DataFrame") -> "pd.DataFrame":
    """The rows of complete blocks with an accuracy: factors, corruption, severity, and value, a whole number.

    value / attrs["denominator"] is the accuracy. The clean one, severity 0, stands once with each corruption that
    its dataset has.
    """
    import pandas as pd

    keys = ["cell", "config_hash"]
    kept = _complete_cells(grid, cells).drop_duplicates(keys)
    counts = {"accuracy": "noisy_accuracy", "correct": "noisy_correct", "n_test": "n_noisy"}
    rows = kept[[*keys, "regularizer", *BLOCK]].merge(
        noise[[*keys, "corruption", "severity", *(name for name in counts if name in noise.columns)]], on=keys
    )
    clean = kept[["regularizer", *BLOCK]].assign(
        accuracy=kept["clean_accuracy"], correct=kept["clean_correct"], n_test=kept["n_test"], severity=0.0
    )
    clean = clean.merge(rows[["dataset", "corruption"]].drop_duplicates(), on="dataset")
    rows = pd.concat([rows.drop(columns=keys), clean], ignore_index=True)
    exact = exact_values(rows.rename(columns=counts), (_ACCURACY,))
    rows["value"] = exact.numerators["noisy"]
    rows = rows[exact.present["noisy"]].drop_duplicates().reset_index(drop=True)
    rows.attrs["denominator"] = exact.denominator
    return rows


def _complete_cells(grid: Grid, cells: "pd.DataFrame") -> "pd.DataFrame":
    """The done rows that stand in complete blocks of the grid."""
    import numpy as np
    import pandas as pd

    complete = grid.complete
    places = np.argwhere(complete)
    blocks = pd.DataFrame(
        {name: np.array(grid.levels[name], dtype=object)[places[:, axis]] for axis, name in enumerate(BLOCK)}
    ).astype({"dataset": "string", "activation": "string", "seed": "Int64"})
    rows = cells[cells["status"] == "done"]
    rows = rows[rows["regularizer"].isin(grid.compared)]
    rows = rows.astype({"dataset": "string", "activation": "string", "regularizer": "string"})
    return rows.merge(blocks, on=list(BLOCK))


def left_out(frame: "pd.DataFrame") -> str:
    """Sentences for captions, from the frame of `ladder`: the severities that lack rows of some regularizer."""
    gaps = frame[frame["left_out"] != ""].drop_duplicates(["panel", "severity"])
    if gaps.empty:
        return ""
    named = "; ".join(
        f"{row.left_out} at {'severity 0' if row.severity == 0 else f'severity {row.severity:g}'} of {row.panel}"
        for row in gaps.itertuples()
    )
    return (
        f"Unbalanced: not every regularizer has a noise row everywhere; left out: {named}. Severities with "
        "different blocks left out are not comparable; retained fractions compare equal blocks."
    )


def tables(grid: Grid, frame: "pd.DataFrame") -> list[Table]:
    """The tables `noise_ladder` (accuracy in %) and `noise_retained` (fraction), from the frame of `ladder`.

    Values: panel, severity and one column a regularizer; in the first also `<regularizer>_sd` behind them. With
    more than `WIDEST` regularizers these are the rows and the severities the columns.
    """
    seeds = len(grid.levels["seed"])
    return [
        _wide(
            grid,
            frame,
            "accuracy",
            name="noise_ladder",
            title="Noise ladder: accuracy in %",
            caption=sentences(
                "Accuracy at each severity of the corruption of the test inputs; severity 0 is the clean set.",
                "Mean over datasets, activations and seeds ± standard deviation over seeds (n − 1)."
                if seeds > 1
                else "Mean over datasets and activations of one seed.",
            ),
        ),
        _wide(
            grid,
            frame[frame["severity"] > 0],
            "retained",
            name="noise_retained",
            title="Noise ladder: retained fraction of the clean accuracy",
            caption="Accuracy at the severity divided by the clean accuracy of the same regularizer on the same "
            "blocks. Means over datasets, activations and seeds.",
        ),
    ]


def _wide(grid: Grid, frame: "pd.DataFrame", column: str, *, name: str, title: str, caption: str) -> Table:
    import pandas as pd

    methods = [str(method) for method in grid.compared if method in set(frame["method"])]
    severities = sorted(frame["severity"].unique().tolist())
    caption = sentences(caption, left_out(frame), MARKS, about(grid))
    tall = len(methods) > WIDEST
    if tall:
        severities = [f"{severity:g}" for severity in severities]
        frame = frame.assign(severity=[f"{severity:g}" for severity in frame["severity"]])
    down, across = ("method", "severity") if tall else ("severity", "method")
    names, order = (severities, methods) if tall else (methods, severities)
    spreads = spread_names(names) if column == "accuracy" else []
    keys = apart(("panel", "regularizer" if tall else "severity"), [*names, *spreads])
    parts = [frame.pivot(index=["panel", down], columns=across, values=column)[names]]
    if spreads:
        spread = frame.pivot(index=["panel", down], columns=across, values="sd")[names]
        parts.append(spread.set_axis(spreads, axis=1))
    wide = pd.concat(parts, axis=1).rename_axis(columns=None)
    panels = wide.index.unique("panel")
    wide = wide.reindex([line for panel in panels for level in order if (line := (panel, level)) in wide.index])
    wide.index.names = keys
    wide = wide.reset_index()
    if tall:
        inside = [wide.index[wide[keys[0]] == panel].tolist() for panel in panels]
        rivals = [[(row, head) for row in rows] for rows in inside for head in names]
    else:
        rivals = [[(row, head) for head in names] for row in wide.index.tolist()]
    marks: dict[tuple[int, str], Mark] = {}
    for places in rivals:
        row = [wide[head].iloc[line] for line, head in places]
        found = best_in(row if spreads else [round(value, 3) * 100 for value in row], _ACCURACY)
        marks |= {place: mark for place, mark in zip(places, found, strict=True) if mark}

    def fraction(method: str) -> Column:
        return Column(
            method, lambda row: NOTHING if row[method] != row[method] else f"{row[method]:.3f}", value=method
        )

    return Table(
        name=name,
        title=title,
        caption=caption,
        values=wide,
        columns=(
            text(keys[0], "modality: corruption"),
            text(keys[1]) if tall else Column(keys[1], lambda row: f"{row[keys[1]]:g}", value=keys[1]),
            *(
                (
                    mean_sd(method, spread, _ACCURACY, method)
                    for method, spread in zip(methods, spreads, strict=True)
                )
                if spreads
                else (fraction(method) for method in methods)
            ),
        ),
        marks=marks,
        block=keys[0],
    )
