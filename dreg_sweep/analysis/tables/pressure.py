"""Does the treatment press hardest on the layers where the activation's derivative is largest?

The history's last row of a cell has, for each hidden layer, the mean of σ'² and the squared Frobenius norm of the
layer's Jacobian, on a fixed probe of training rows. The pressure on a layer is how far the treatment brought that
norm below the baseline's in the same block: log(baseline / treatment).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dreg_sweep.analysis.grid import Grid
from dreg_sweep.analysis.marginal import marginal_column
from dreg_sweep.analysis.pairing import UNITS, primary_unit
from dreg_sweep.analysis.report.render import Column, Table
from dreg_sweep.analysis.statistics.wilcoxon import Alternative, SignedRank, signed_rank
from dreg_sweep.analysis.tables.joined import KEYS, done_cells
from dreg_sweep.analysis.tables.wording import about, count, sentences, text
from dreg_sweep.factors import BLOCK

if TYPE_CHECKING:
    import pandas as pd

NEEDED = ("slope_sq", "jacobian_sq")
_BLOCK = list(BLOCK)


@dataclass(frozen=True)
class Pressure:
    """layers: one row a block and hidden layer: dataset, activation, seed, layer (1 = first), slope (mean σ'² of
    the baseline), baseline and treatment (squared Jacobian norms), reduction (log ratio). agreement: one row a
    block: Kendall's τ_a, −1..1, between slope and reduction over its layers.
    """

    layers: "pd.DataFrame"
    agreement: "pd.DataFrame"


def pressure(
    grid: Grid, cells: "pd.DataFrame", history: "pd.DataFrame", treatment: Any, baseline: Any
) -> Pressure | None:
    """Layer by layer, over the blocks where both regularizers are done; None where the history cannot tell.

    That is: no such columns, fewer than two hidden layers, or no common block.
    """
    import pandas as pd

    if any(name not in history.columns for name in NEEDED) or baseline in (None, treatment):
        return None
    rows = history[[*KEYS, "epoch", *NEEDED]].merge(done_cells(grid, cells), on=list(KEYS))
    last = rows.loc[rows.groupby("cell", observed=True)["epoch"].idxmax()]
    last = last[last["slope_sq"].notna() & last["jacobian_sq"].notna()]
    columns = [*_BLOCK, "slope_sq", "jacobian_sq"]
    one = last.loc[last["regularizer"] == treatment, columns]
    other = last.loc[last["regularizer"] == baseline, columns]
    both = other.merge(one, on=_BLOCK, suffixes=("", "_treatment"))
    long: list[dict[str, Any]] = []
    agreement: list[dict[str, Any]] = []
    for row in both.to_dict("records"):
        slope, before = np.asarray(row["slope_sq"], float), np.asarray(row["jacobian_sq"], float)
        after = np.asarray(row["jacobian_sq_treatment"], float)
        if len(slope) < 2 or len(after) != len(before) or not (before > 0).all() or not (after > 0).all():
            continue
        block = {str(name): row[name] for name in _BLOCK}
        reduction = np.log(before / after)
        for layer in range(len(slope)):
            long.append(
                {
                    **block,
                    "layer": layer + 1,
                    "slope": slope[layer],
                    "baseline": before[layer],
                    "treatment": after[layer],
                    "reduction": reduction[layer],
                }
            )
        upper = np.triu_indices(len(slope), 1)
        signs = np.sign(np.subtract.outer(slope, slope)) * np.sign(np.subtract.outer(reduction, reduction))
        agreement.append({**block, "agreement": float(signs[upper].mean())})
    return Pressure(pd.DataFrame(long), pd.DataFrame(agreement)) if long else None


def agreement_test(found: Pressure, unit: str, alternative: Alternative) -> tuple[SignedRank, float, int]:
    """The signed-rank test that the agreement's means over a unit are above (below) 0; its mean; the pairs."""
    values = marginal_column(found.agreement, "agreement", UNITS[unit].factors).to_numpy(dtype=float)
    return (
        signed_rank(values, alternative),
        float(marginal_column(found.agreement, "agreement").iloc[0]),
        len(values),
    )


def table(grid: Grid, found: Pressure, treatment: Any, baseline: Any) -> Table:
    """Activation × layer: σ'², the squared Jacobian norms, and how far the treatment lowered them."""
    import pandas as pd

    groups = found.layers.groupby(["activation", "layer"], observed=True)
    measures = ("slope", "baseline", "treatment", "reduction")
    by = ("activation", "layer")
    frame = pd.DataFrame({name: marginal_column(found.layers, name, by) for name in measures}).reset_index()
    frame["blocks"] = groups.size().to_numpy()
    tau = marginal_column(found.agreement, "agreement", ("activation",))
    frame["agreement"] = frame["activation"].map(tau).astype(float)
    order = {level: place for place, level in enumerate(grid.levels["activation"])}
    frame = frame.sort_values(["activation", "layer"], key=lambda c: c.map(order) if c.name == "activation" else c)
    frame = frame.reset_index(drop=True)
    unit = UNITS[primary_unit(grid)]
    test, mean, n = agreement_test(found, unit.name, "greater")
    over = unit.label if n > 1 else unit.label.removesuffix("s")
    return Table(
        name="pressure",
        title=f"Where {treatment} presses: hidden layers by the slope of their activation",
        caption=sentences(
            f"At the end of training, means over datasets and seeds. σ'²: mean over units and a probe of training "
            f"rows, of {baseline}. ‖J‖²: squared Frobenius norm of the layer's Jacobian, mean over the probe. "
            f"Reduction: mean of log(‖J‖² of {baseline} / ‖J‖² of {treatment}) within blocks. Agreement: "
            "Kendall's τ between σ'² and reduction over the layers of a block; 1 means that the layer with the "
            f"larger slope is always pressed harder. Over {n} {over} it is {mean:.2f} (one-sided "
            f"signed-rank p = {test.p:.3g}, least possible {test.floor:.3g}).",
            about(grid),
        ),
        values=frame,
        columns=(
            text("activation"),
            count("layer"),
            count("blocks"),
            _plain("slope", "σ'²", ".3f"),
            _plain("baseline", f"‖J‖² {baseline}", ".3g"),
            _plain("treatment", f"‖J‖² {treatment}", ".3g"),
            _plain("reduction", "reduction", ".3f"),
            _plain("agreement", "agreement", ".2f"),
        ),
        block="activation",
    )


def _plain(name: str, header: str, form: str) -> Column:
    return Column(header, lambda row: format(row[name], form).replace("-", "−"), value=name)
