"""One run has one mean: in random unbalanced grids every table, figure and claim agrees with plain pandas."""

import numpy as np
import pandas as pd
import pytest

from dreg_sweep.analysis.audit import audit
from dreg_sweep.analysis.claims.reading import built_in
from dreg_sweep.analysis.claims.verdicts import Evidence, judge
from dreg_sweep.analysis.grid import Grid
from dreg_sweep.analysis.marginal import marginal_column, marginal_mean, marginal_means
from dreg_sweep.analysis.pairing import UNITS, Family, comparisons
from dreg_sweep.analysis.tables.factors import by_factor, gains
from dreg_sweep.analysis.tables.fragility import intervals
from dreg_sweep.analysis.tables.overall import by_metric
from dreg_sweep.factors import BLOCK
from tests.grids import loaded, made_up, marginal

METHODS = ("none", "dropout", "dreg")


def unbalanced(seed, tmp_path, methods=METHODS):
    """Rows of three datasets, two activations and three seeds, of which a random part is missing."""
    rng = np.random.default_rng(seed)
    rows = made_up(
        {"dreg": lambda *_: int(rng.integers(-30, 60)), "dropout": lambda *_: int(rng.integers(-30, 60))},
        datasets=("mnist", "sst2", "trec6"), activations=("relu", "gelu"), seeds=range(3), regularizers=methods,
        noise=40,
    )  # fmt: skip
    rows["overall_accuracy"] = (rows["clean_accuracy"] + rows["noisy_accuracy"]) / 2
    kept = rows[rng.random(len(rows)) > rng.uniform(0, 0.35)]
    return loaded(kept.drop(columns="overall_accuracy"), tmp_path), kept


def complete(rows, methods):
    """The rows of the blocks in which every method has one."""
    there = rows.groupby(list(BLOCK))["regularizer"].transform("nunique")
    return rows[there == len(methods)]


@pytest.mark.parametrize("seed", range(12))
def test_tables_figures_claims_and_tests_agree(seed, tmp_path):
    cells, rows = unbalanced(seed, tmp_path)
    grid: Grid = audit(cells).grid
    if not grid.complete.any() or len(grid.compared) < len(METHODS):
        pytest.skip("this draw has no complete block")
    whole = complete(rows, METHODS)
    family = Family(("none", "dropout"))
    tests = comparisons(grid, "dreg", family)
    overall = by_metric(grid, tests).set_index(["metric", "regularizer"])
    for metric in ("overall", "clean", "noisy"):
        expected = 100 * marginal(whole, f"{metric}_accuracy", ("regularizer",))
        assert overall.loc[metric]["mean"].to_dict() == pytest.approx(expected.to_dict(), rel=1e-12)
        for factor in ("dataset", "activation"):
            table = by_factor(grid, factor).values
            for _, row in table[table["metric"] == metric].iterrows():
                part = whole[whole[factor] == row[factor]]
                here = 100 * marginal(part, f"{metric}_accuracy", ("regularizer",))
                assert [row[name] for name in METHODS] == pytest.approx(
                    [here[name] for name in METHODS], rel=1e-12
                )
                if factor == "dataset":  # of which the means are made
                    heat = gains(grid, grid.metrics[0], "none") if metric == "overall" else None
                    if heat is not None:
                        assert heat.loc[row[factor], "dreg"] == pytest.approx(
                            here["dreg"] - here["none"], abs=1e-9
                        )
        if metric == "overall":
            table = by_factor(grid, "dataset").values
            there = table[table["metric"] == metric]
            assert there["dreg"].mean() == pytest.approx(expected["dreg"], rel=1e-12)  # each dataset counts once
    # Differences are over the blocks that two methods share, in every table the same number.
    for rival in ("none", "dropout"):
        pair = complete(rows[rows["regularizer"].isin(["dreg", rival])], ("dreg", rival))
        for metric in ("overall", "clean", "noisy"):
            both = marginal(pair, f"{metric}_accuracy", ("regularizer",))
            difference = 100 * (both["dreg"] - both[rival])
            units = tests[(tests["metric"] == metric) & (tests["rival"] == rival)]["mean_difference"]
            assert units.tolist() == pytest.approx([difference] * len(units), abs=1e-9)
            assert overall.loc[(metric, rival), "difference"] == pytest.approx(difference, abs=1e-9)
            table = intervals(grid, "dreg")
            if table is not None:
                shown = table.values[(table.values["metric"] == metric) & (table.values["rival"] == rival)]
                assert shown["mean_difference"].tolist() == pytest.approx([difference] * len(shown), abs=1e-9)
    evidence = Evidence(grid, {}, family, "dreg", tests, cells)
    study = built_in("no study's", "none", ["overall", "clean"])
    claims = [claim.__class__(**{**claim.__dict__, "method": "dreg"}) for claim in study.claims]
    verdicts = judge(study.__class__(study.title, "", tuple(claims)), evidence)
    for row in verdicts[verdicts["claim"] == "1a"].itertuples():
        for part in row.evidence.split("; "):
            rival, amount, *_ = part.split(" ")
            shown = overall.loc[("overall", rival), "difference"]
            assert float(amount.replace("−", "-")) == pytest.approx(shown, abs=0.0051)


@pytest.mark.parametrize("seed", range(6))
def test_spread_is_shown_where_all_seeds_cover_the_same_blocks_only(seed, tmp_path):
    cells, rows = unbalanced(seed, tmp_path)
    grid = audit(cells).grid
    if not grid.complete.any() or len(grid.compared) < len(METHODS):
        pytest.skip("this draw has no complete block")
    blocks = (
        complete(rows, METHODS)
        .groupby("seed")[["dataset", "activation"]]
        .apply(lambda part: frozenset(map(tuple, part.to_numpy().tolist())))
    )
    alike = blocks.nunique() == 1
    frame = by_metric(grid, comparisons(grid, "dreg", Family(("none", "dropout"))))
    assert frame["sd"].notna().all() == (alike and len(blocks) > 1)
    assert frame["sd"].isna().all() or alike


@pytest.mark.parametrize("seed", range(8))
def test_the_cube_the_frame_and_the_list_have_one_mean(seed):
    rng = np.random.default_rng(seed)
    values = rng.integers(-100, 100, (3, 2, 4))
    there = rng.random(values.shape) > 0.4
    there[0, 0, 0] = True
    places = np.argwhere(there)
    frame = pd.DataFrame(places, columns=list(BLOCK)).assign(value=values[there].astype(float))
    for unit in (*UNITS.values(), None):
        by = unit.factors if unit else ()
        averaged = [name for name in BLOCK if name not in by]
        means, known, denominator = marginal_means(values, there, averaged)
        expected = marginal_column(frame, "value", by)
        exact = (means[known] / denominator).tolist() if by else [float(means) / denominator]
        assert exact == pytest.approx(expected.tolist(), rel=1e-12, abs=1e-12)
        floats, *_ = marginal_means(values.astype(float), there, averaged)
        assert np.atleast_1d(floats[known]).tolist() == pytest.approx(expected.tolist(), rel=1e-12, abs=1e-12)
        assert expected.tolist() == pytest.approx(np.atleast_1d(marginal(frame, "value", by)).tolist(), rel=1e-12)
    listed = [(tuple(block), int(values[tuple(block)])) for block in places.tolist()]
    assert float(marginal_mean(listed)) == pytest.approx(marginal(frame, "value"), rel=1e-12, abs=1e-12)
    with pytest.raises(ZeroDivisionError):
        marginal_mean([])
