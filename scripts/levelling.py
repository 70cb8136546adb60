r"""Whether the unregularized cells of a sweep have levelled off: other lengths of training beside it.

    dreg-sweep -m experiment=paper_cpu regularizer=none activation=relu,gelu epochs=15,30,60 \
        results_dir=runs/epochs
    python scripts/levelling.py runs/epochs results/paper_cpu/levelling

The learning rate falls to zero in every training, so a flat end of one training proves little; the second half of
the answer is what trainings of half and twice the length reach. Writes OUT.csv, OUT.png and OUT.pdf, with a row a
dataset and length: final training loss and its ratio to that two thirds through, training and test accuracy in %,
and the test accuracy's difference to the length in the middle in points, with its standard error over seeds.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from dreg_sweep.analysis import load_cells
from dreg_sweep.analysis.figures.style import GRID, TWO_COLUMNS, bare, canvas, drawn, save, styles
from dreg_sweep.analysis.rows.levels import ordered
from dreg_sweep.analysis.rows.reading import load_history
from dreg_sweep.arguments import OneLineParser
from dreg_sweep.errors import UserError

PROGRAM = "levelling"


def levelling(cells: pd.DataFrame, history: pd.DataFrame) -> pd.DataFrame:
    """Dataset × epochs: loss, loss_ratio, train_accuracy, test_accuracy, difference, standard_error.

    Raises UserError unless every dataset has the same three lengths or more, each with the same cells.
    """
    cells = cells.assign(
        epochs=history.groupby("cell")["epoch"].max().reindex(cells["cell"]).to_numpy(),
        loss=history.sort_values("epoch").groupby("cell")["loss"].last().reindex(cells["cell"]).to_numpy(),
        earlier=_at_two_thirds(history).reindex(cells["cell"]).to_numpy(),
    )
    counts = cells.groupby(["dataset", "epochs"], observed=True).size().unstack()
    if counts.shape[1] < 3 or counts.isna().any(axis=None) or (counts.nunique(axis=1) > 1).any():
        raise UserError(f"needs three lengths or more with the same cells on every dataset; there are\n{counts}")
    middle = counts.columns[counts.shape[1] // 2]
    rows = []
    for dataset in ordered("dataset", cells["dataset"]):
        part = cells[cells["dataset"] == dataset]
        by_seed = 100 * part.groupby(["epochs", "seed"])["clean_accuracy"].mean().unstack()
        for epochs, group in part.groupby("epochs"):
            differences = by_seed.loc[epochs] - by_seed.loc[middle]
            rows.append(
                {
                    "dataset": dataset,
                    "epochs": int(epochs),
                    "cells": len(group),
                    "loss": group["loss"].mean(),
                    "loss_ratio": group["loss"].mean() / group["earlier"].mean(),
                    "train_accuracy": 100 * group["train_accuracy"].mean(),
                    "test_accuracy": 100 * group["clean_accuracy"].mean(),
                    "difference": differences.mean(),
                    "standard_error": differences.std(ddof=1) / len(differences) ** 0.5,
                }
            )
    return pd.DataFrame(rows)


def _at_two_thirds(history: pd.DataFrame) -> "pd.Series[float]":
    last = history.groupby("cell")["epoch"].transform("max")
    until = history[history["epoch"] <= 2 * last / 3].sort_values("epoch")
    return until.groupby("cell")["loss"].last()


@drawn
def curves(table: pd.DataFrame, cells: pd.DataFrame, history: pd.DataFrame) -> Figure:
    """Left: training loss over the epochs of the middle length; right: test accuracy by length."""
    figure = canvas()
    figure.set_size_inches(TWO_COLUMNS, 3.2)
    figure.set_layout_engine("constrained")
    loss, accuracy = figure.subplots(1, 2)
    lengths = sorted(table["epochs"].unique())
    middle = lengths[len(lengths) // 2]
    known = history.merge(cells[["cell", "dataset"]], on="cell", suffixes=("_", ""))
    known = known[known.groupby("cell")["epoch"].transform("max") == middle]
    names = list(dict.fromkeys(table["dataset"]))
    look = styles(names, "dataset")
    for name in names:
        style = {"color": look[name].colour, "linestyle": look[name].dashes, "linewidth": 1.1}
        course = known[known["dataset"] == name].groupby("epoch")["loss"].mean()
        loss.plot(course.index, course, **style)
        ends = table[table["dataset"] == name]
        accuracy.errorbar(
            ends["epochs"], ends["difference"], ends["standard_error"], capsize=2, label=name,
            marker=look[name].marker, markersize=4, **style,
        )  # fmt: skip
    loss.set(yscale="log", xlabel="epoch", ylabel="training loss, mean of cells", title=f"{middle} epochs")
    loss.yaxis.set_major_formatter("{x:g}")
    accuracy.axhline(0, color="0.3", linewidth=0.7)
    accuracy.set(xscale="log", xlabel="epochs of a training", title="Other lengths")
    accuracy.set_ylabel(f"test accuracy, points over {middle} epochs")
    accuracy.set_xticks(lengths, [str(length) for length in lengths])
    accuracy.minorticks_off()
    for axes in (loss, accuracy):
        axes.grid(axis="y", color=GRID, linewidth=0.7)
        bare(axes, "left", "bottom")
    figure.legend(*accuracy.get_legend_handles_labels(), loc="outside right center", frameon=False)
    return figure


def main(argv: Sequence[str] | None = None) -> int:
    """Write the table and the figure; 2 with one line on stderr for a mistake of the user."""
    options = OneLineParser(prog=PROGRAM, description=__doc__.partition("\n")[0])
    options.add_argument("results", type=Path, help="results folder with several lengths of training")
    options.add_argument("out", type=Path, help="where to write, without the file's ending")
    try:
        asked = options.parse_args(argv)
        cells, history = load_cells(asked.results), load_history(asked.results)
        if history is None:
            raise UserError(f"{asked.results} has no history/")
        table = levelling(cells, history)
        table.round(4).to_csv(asked.out.with_suffix(".csv"), index=False)
        save(curves(table, cells, history), asked.out)
    except (UserError, argparse.ArgumentError) as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 2
    print(table.round(3).to_string(index=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
