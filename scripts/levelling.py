r"""Whether the unregularized cells of a sweep have levelled off: other lengths of training beside it.

    dreg-sweep -m experiment=paper_cpu regularizer=none activation=relu,gelu epochs=15,30,60 \
        results_dir=runs/epochs
    python scripts/levelling.py runs/epochs results/paper_cpu/levelling

The learning rate falls to zero in every training, so a flat end of one training proves little; the second half of
the answer is what trainings of half and twice the length reach. Writes OUT.csv, OUT.png and OUT.pdf, with a row a
dataset and length: final training loss and its ratio to that two thirds through, training and test accuracy in %,
and the test accuracy's difference to the length in the middle in points, with its standard error over seeds.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from bench.options import file_to_write
from matplotlib.figure import Figure

from dreg_sweep.analysis import load_cells
from dreg_sweep.analysis.figures.style import GRID, TWO_COLUMNS, bare, canvas, drawn, save, styles
from dreg_sweep.analysis.rows.levels import ordered
from dreg_sweep.analysis.rows.reading import load_history
from dreg_sweep.arguments import OneLineParser
from dreg_sweep.errors import UserError

PROGRAM = "levelling"
UNITS = {"epochs": "epoch", "steps": "step"}  # of a length, in the configuration → in the history


def with_lengths(cells: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The cells that are done with `length` and `twin`, equal where nothing but the length differs; and its unit.

    Lengths are those of the configurations, in epochs, or in steps where these replace them. Raises UserError
    unless there are three or more, each with the same cells, done or not.
    """
    configs = [json.loads(text) if isinstance(text, str) else {} for text in cells["config"]]
    unit = "steps" if any(config.get("steps") for config in configs) else "epochs"
    for cell, config in zip(cells["cell"], configs, strict=True):
        if not config.get(unit):
            raise UserError(f"{cell} has no {unit} in its configuration")
    cells = cells.assign(
        length=[int(config[unit]) for config in configs],
        twin=[
            json.dumps({name: value for name, value in config.items() if name not in UNITS}, sort_keys=True)
            for config in configs
        ],
    )
    lengths = sorted(set(cells["length"]))
    for _, twins in cells.groupby("twin", sort=False):
        if missing := sorted({*lengths} - {*twins["length"]}):
            raise UserError(
                f"needs the same cells at every length; {twins['cell'].iloc[0]} is there with "
                f"{_listed(sorted(twins['length']))} {unit}, not with {_listed(missing)}"
            )
    done = cells[cells["status"] == "done"]
    if done["length"].nunique() < 3:
        lengths = sorted(set(done["length"]))
        raise UserError(f"needs three lengths of training or more; there are only {_listed(lengths)} {unit}")
    return done, unit


def _listed(lengths: Sequence[int]) -> str:
    return ", ".join(map(str, lengths))


def levelling(cells: pd.DataFrame, history: pd.DataFrame, unit: str) -> pd.DataFrame:
    """Dataset × length: loss, loss_ratio, train_accuracy, test_accuracy, difference, standard_error.

    cells, unit: of `with_lengths`. difference: over the cells whose twin of the middle length is done as well.
    """
    lengths = sorted(set(cells["length"]))
    middle = lengths[len(lengths) // 2]
    ends, earlier = _losses(cells, history, unit)
    standard = cells[cells["length"] == middle].set_index("twin")["clean_accuracy"]
    cells = cells.assign(
        loss=cells["cell"].map(ends),
        earlier=cells["cell"].map(earlier),
        difference=cells["clean_accuracy"] - cells["twin"].map(standard),
    )
    rows = []
    for dataset in ordered("dataset", cells["dataset"]):
        for length in lengths:
            group = cells[(cells["dataset"] == dataset) & (cells["length"] == length)]
            by_seed = 100 * group.groupby("seed")["difference"].mean()
            rows.append(
                {
                    "dataset": dataset,
                    unit: length,
                    "cells": len(group),
                    "loss": group["loss"].mean(),
                    "loss_ratio": group["loss"].mean() / group["earlier"].mean(),
                    "train_accuracy": 100 * group["train_accuracy"].mean(),
                    "test_accuracy": 100 * group["clean_accuracy"].mean(),
                    "difference": by_seed.mean(),
                    "standard_error": by_seed.sem(),  # of the seeds that have a difference
                }
            )
    return pd.DataFrame(rows)


def _losses(
    cells: pd.DataFrame, history: pd.DataFrame, unit: str
) -> tuple["pd.Series[float]", "pd.Series[float]"]:
    """Training loss by cell: at its end, and as last recorded before two thirds of its length were over."""
    at = history[UNITS[unit]]
    length = history["cell"].map(cells.set_index("cell")["length"])
    course = history.assign(at=at, early=3 * at <= 2 * length).sort_values("at")
    return course.groupby("cell")["loss"].last(), course[course["early"]].groupby("cell")["loss"].last()


@drawn
def curves(table: pd.DataFrame, cells: pd.DataFrame, history: pd.DataFrame, unit: str) -> Figure:
    """Left: training loss in the course of the middle length; right: test accuracy by length."""
    figure = canvas()
    figure.set_size_inches(TWO_COLUMNS, 3.2)
    figure.set_layout_engine("constrained")
    loss, accuracy = figure.subplots(1, 2)
    lengths = sorted(table[unit].unique())
    middle = lengths[len(lengths) // 2]
    known = history.merge(cells.loc[cells["length"] == middle, ["cell", "dataset"]], on="cell", suffixes=("_", ""))
    names = list(dict.fromkeys(table["dataset"]))
    look = styles(names, "dataset")
    for name in names:
        style = {"color": look[name].colour, "linestyle": look[name].dashes, "linewidth": 1.1}
        course = known[known["dataset"] == name].groupby(UNITS[unit])["loss"].mean()
        loss.plot(course.index, course, **style)
        ends = table[table["dataset"] == name]
        accuracy.errorbar(
            ends[unit], ends["difference"], ends["standard_error"], capsize=2, label=name,
            marker=look[name].marker, markersize=4, **style,
        )  # fmt: skip
    loss.set(yscale="log", xlabel=UNITS[unit], ylabel="training loss, mean of cells", title=f"{middle} {unit}")
    loss.yaxis.set_major_formatter("{x:g}")
    accuracy.axhline(0, color="0.3", linewidth=0.7)
    accuracy.set(xscale="log", xlabel=f"{unit} of a training", title="Other lengths")
    accuracy.set_ylabel(f"test accuracy, points over {middle} {unit}")
    accuracy.set_xticks(lengths, [str(length) for length in lengths])
    accuracy.minorticks_off()
    for axes in (loss, accuracy):
        axes.grid(axis="y", color=GRID, linewidth=0.7)
        bare(axes, "left", "bottom")
    figure.legend(*accuracy.get_legend_handles_labels(), loc="outside right center", frameon=False)
    return figure


def write(table: pd.DataFrame, figure: Figure, out: Path) -> None:
    """OUT.csv, OUT.png and OUT.pdf. Errors: `UserError` where a file cannot be written."""
    try:
        table.round(4).to_csv(out.with_name(f"{out.name}.csv"), index=False)
        save(figure, out)
    except OSError as error:
        raise UserError(f"{out} cannot be written ({error.strerror or error})") from None


def main(argv: Sequence[str] | None = None) -> int:
    """Write the table and the figure; 2 with one line on stderr for a mistake of the user."""
    options = OneLineParser(prog=PROGRAM, description=__doc__.partition("\n")[0])
    options.add_argument("results", type=Path, help="results folder with several lengths of training")
    options.add_argument("out", type=file_to_write, help="where to write, without the file's ending")
    try:
        asked = options.parse_args(argv)
        (cells, unit), history = with_lengths(load_cells(asked.results)), load_history(asked.results)
        if history is None:
            raise UserError(f"{asked.results} has no history/")
        table = levelling(cells, history, unit)
        write(table, curves(table, cells, history, unit), asked.out)
    except UserError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 2
    print(table.round(3).to_string(index=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
