"""Exact scores, the audit, and means and pairs over a grid with holes: against plain pandas and by hand."""

import itertools
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

from dreg_sweep.analysis.audit import audit, cell_name, left_out
from dreg_sweep.analysis.grid import BLOCK, State, paired_differences
from dreg_sweep.analysis.rows.reading import load_cells
from dreg_sweep.analysis.scores import Metric, choose_metrics, exact_values
from dreg_sweep.errors import UserError
from tests.grids import marginal

CLEAN = Metric("clean")
KEYS = ["dataset", "activation", "regularizer", "seed"]


def small(tmp_path, **columns):
    """2 datasets × 2 activations × 3 regularizers × 3 seeds with round accuracies."""
    grid = itertools.product(["mnist", "sst2"], ["relu", "gelu"], ["none", "igpen", "dreg"], range(3))
    rows = [
        {
            "dataset": d,
            "activation": a,
            "regularizer": r,
            "seed": s,
            "clean_accuracy": round(0.70 + 0.1 * (d == "sst2") + 0.02 * (r == "dreg") + 0.01 * s, 4),
            "noisy_accuracy": round(0.50 + 0.04 * (r == "igpen") + 0.02 * (a == "gelu"), 4),
            "status": "done",
        }
        for d, a, r, s in grid
    ]
    pd.DataFrame(rows).assign(**columns).to_parquet(tmp_path / "rows.parquet")
    return load_cells(tmp_path / "rows.parquet")


def at(frame, cell):
    dataset, activation, regularizer, seed = cell.split("/")
    return (
        (frame["dataset"] == dataset)
        & (frame["activation"] == activation)
        & (frame["regularizer"] == regularizer)
        & (frame["seed"] == int(seed[1:]))
    )


def counted(correct, of, **columns):
    """Rows of one dataset with these counts, one a seed."""
    return pd.DataFrame(
        {
            "clean_correct": pd.array(correct, dtype="Int64"),
            "n_test": pd.array(of, dtype="Int64"),
            "clean_accuracy": np.array(correct) / np.array(of),
            "noisy_accuracy": np.nan,
            **columns,
        }
    )


def fractions(exact, name):
    return [Fraction(int(value), exact.denominator) for value in exact.numerators[name]]


def test_counts_are_exact_fractions():
    exact = exact_values(counted([1, 2, 3], [7, 7, 11]), [CLEAN])
    assert fractions(exact, "clean") == [Fraction(1, 7), Fraction(2, 7), Fraction(3, 11)]
    assert not exact.round_off


def test_decimals_are_what_they_print_as():
    frame = pd.DataFrame({"clean_accuracy": [0.1, 0.29, 0.3], "noisy_accuracy": [0.2, 0.5, 0.1]})
    frame = frame.assign(clean_correct=None, n_test=None, noisy_correct=None, n_noisy=None)
    exact = exact_values(frame, choose_metrics(frame, None))
    assert fractions(exact, "clean") == [Fraction(1, 10), Fraction(29, 100), Fraction(3, 10)]
    assert fractions(exact, "overall") == [Fraction(15, 100), Fraction(79, 200), Fraction(1, 5)]
    assert not exact.round_off


def test_quotients_printed_in_full_are_settled():
    frame = pd.DataFrame({"clean_accuracy": [1 / 3, 2 / 3], "noisy_accuracy": np.nan})
    frame = frame.assign(clean_correct=None, n_test=None)
    exact = exact_values(frame, [CLEAN])
    assert exact.round_off["clean"].tolist() == [-10, -10]
    assert fractions(exact, "clean")[0] == pytest.approx(1 / 3, abs=1e-12)


def test_counts_that_contradict_the_accuracy_are_named_and_not_used():
    frame = counted([1, 2], [10, 10]).assign(clean_accuracy=[0.9, 0.2])
    exact = exact_values(frame, [CLEAN])
    assert fractions(exact, "clean") == [Fraction(9, 10), Fraction(1, 5)]
    assert exact.warnings == (
        "clean_correct / n_test differs from clean_accuracy in 1 row(s); clean_accuracy is used there",
    )


def test_numerators_that_no_machine_word_holds():
    sizes = [10007, 10009, 10037, 10039, 10061]  # primes: their product has 67 bits
    exact = exact_values(counted([size // 2 for size in sizes], sizes), [CLEAN])
    assert exact.numerators["clean"].dtype == object
    assert fractions(exact, "clean") == [Fraction(size // 2, size) for size in sizes]


def test_any_column_of_numbers_is_a_metric():
    frame = counted([1], [2]).assign(test_loss=[0.25], my_score=[3.5], seed=1, note="x")
    assert choose_metrics(frame, None) == (CLEAN,)
    assert choose_metrics(frame, "clean_accuracy") == (CLEAN,)
    (loss,) = choose_metrics(frame, "test_loss")
    assert (loss.sign, loss.scale, loss.unit) == (-1, 1, "")
    assert choose_metrics(frame, "my_score")[0].higher_is_better
    assert not choose_metrics(frame, "my_score", lower_is_better=True)[0].higher_is_better
    with pytest.raises(UserError, match=r"metric noisy is not in the data; .*: clean, test_loss, my_score$"):
        choose_metrics(frame, "noisy")
    with pytest.raises(UserError, match="does not fit clean accuracy"):
        choose_metrics(frame, "clean", lower_is_better=True)


def test_a_column_that_is_no_measure_is_said_to_be_none():
    frame = counted([1, 2], [2, 2]).assign(seed=1, note=["x", "2"], gain=np.nan, right=True, score=[1, 2])
    frame["model.width"] = 64
    for name, said in {
        "seed": "is a factor, not a measure",
        "n_test": "is a count, not a measure",
        "note": "is no column of numbers: it has 'x'",
        "gain": "is empty in all 2 rows",
        "right": "is true or false, not a number",
        "model.width": "is a setting, not a measure",
        "n_noisy": "is not in the data",
    }.items():
        with pytest.raises(UserError) as raised:
            choose_metrics(frame, name)
        assert str(raised.value) == f"metric {name} {said}; choose one with --metric: clean, score"


def test_a_metric_has_a_name_that_files_can_have():
    names = ["clean", "test_loss", "top-1/top 5", 'a<b>:"c"|?*\\', "λ=0.5", "../../up", "é" * 300]
    slugs = [Metric(name).slug for name in names]
    assert slugs == ["clean", "test_loss", "top-1_top_5", "a_b_c_", "λ=0.5", ".._.._up", "é" * 48]


def test_an_infinite_value_is_named_with_its_cell(tmp_path):
    frame = small(tmp_path).assign(gain=1.5)
    frame.loc[at(frame, "sst2/gelu/none/s1") | at(frame, "sst2/gelu/dreg/s0"), "gain"] = -np.inf
    metrics = choose_metrics(frame, "gain")
    expected = (
        "gain is infinite in 2 row(s) that count as done, first -inf of sst2/gelu/none/s1; give a finite value"
    )
    with pytest.raises(UserError) as raised:
        audit(frame, metrics)
    assert str(raised.value).startswith(expected)
    frame.loc[np.isinf(frame["gain"]), "status"] = "diverged"
    assert audit(frame, metrics).count(State.DIVERGED) == 2


def test_a_complete_grid(tmp_path):
    state = audit(small(tmp_path))
    assert (state.expected, state.count(State.DONE)) == (36, 36)
    assert [metric.name for metric in state.grid.metrics] == ["overall", "clean", "noisy"]
    assert state.lines() == ["36 of 36 cells done (2 datasets × 2 activations × 3 regularizers × 3 seeds)"]
    assert not state.grid.unbalanced


def test_means_equal_pandas_with_and_without_holes(tmp_path):
    frame = small(tmp_path)
    frame["clean_accuracy"] += np.random.default_rng(0).integers(-40, 40, len(frame)) / 1000
    for kept in (frame, frame[~at(frame, "mnist/relu/igpen/s1")]):
        grid = audit(kept).grid
        blocks = kept.groupby(["dataset", "activation", "seed"])["regularizer"].transform("size") == 3
        rows = kept[blocks].assign(overall=lambda rows: (rows["clean_accuracy"] + rows["noisy_accuracy"]) / 2)
        for factors in (("regularizer",), ("seed", "regularizer"), ("regularizer", "dataset", "activation")):
            expected = marginal(rows, "overall", factors)
            found = grid.means("overall", factors)
            assert {key: float(value) for key, value in found.items()} == pytest.approx(
                {key if isinstance(key, tuple) else (key,): value for key, value in expected.items()}, rel=1e-12
            )


def test_the_state_of_every_cell_has_a_name(tmp_path):
    frame = small(tmp_path)
    frame.loc[at(frame, "mnist/relu/igpen/s0"), ["status", "clean_accuracy"]] = ["failed", np.nan]
    frame.loc[at(frame, "mnist/gelu/none/s0"), "status"] = "diverged"
    frame.loc[at(frame, "sst2/gelu/none/s0"), "noisy_accuracy"] = np.nan
    again = frame[at(frame, "sst2/relu/dreg/s2")].assign(clean_accuracy=0.5)
    same = frame[at(frame, "sst2/gelu/dreg/s2")]
    retried = frame[at(frame, "sst2/gelu/dreg/s1")].assign(status="failed", clean_accuracy=np.nan)
    frame = frame[~at(frame, "mnist/relu/dreg/s2")]
    state = audit(pd.concat([frame, again, same, retried], ignore_index=True))
    named = {kind: [cell_name(key) for key in state.cells(kind)] for kind in State if kind != State.DONE}
    assert named == {
        State.OUTSIDE: [],
        State.MISSING: ["mnist/relu/dreg/s2"],
        State.FAILED: ["mnist/relu/igpen/s0"],
        State.DIVERGED: ["mnist/gelu/none/s0"],
        State.DUPLICATED: ["sst2/relu/dreg/s2"],
        State.INCOMPLETE: ["sst2/gelu/none/s0"],
    }
    assert state.warnings == (
        "1 row(s) repeat another row's cell and values; counted once",
        "1 failed or diverged row(s) stand beside a done row of their cell, which counts",
    )
    assert int(state.grid.complete.sum()) == 12 - 5
    sentence = left_out(state.grid)
    assert sentence.startswith("Unbalanced: 5 of 12 blocks (dataset, activation, seed) left out")
    for cause in ("failed", "diverged", "missing", "duplicated", "incomplete"):
        assert f"1 with a cell {cause}" in sentence
    assert sentence in state.lines()


def test_an_unknown_status_is_refused(tmp_path):
    frame = small(tmp_path)
    frame.loc[frame["seed"] == 0, "status"] = "DONE"
    frame.loc[at(frame, "sst2/gelu/none/s1"), "status"] = "running"
    frame.loc[frame["seed"] == 2, "status"] = None
    with pytest.raises(UserError) as raised:
        audit(frame)
    assert str(raised.value) == (
        "unknown status: 'DONE' in 12 row(s), 'running' in 1 row(s); a row is done, failed or diverged, empty "
        "means done, and missing is a cell that was asked for and has no result"
    )


def test_a_regularizer_without_a_result_is_compared_with_nothing(tmp_path):
    frame = small(tmp_path)
    frame.loc[frame["regularizer"] == "igpen", "status"] = "failed"
    state = audit(frame)
    assert state.compared == ["none", "dreg"]
    assert not state.grid.unbalanced
    assert "no result yet, so compared with nothing: igpen" in state.lines()


def test_declared_cells_tell_missing_from_never_asked_for(tmp_path):
    frame = small(tmp_path)
    waiting = frame[at(frame, "sst2/gelu/dreg/s2")].assign(status="missing", clean_accuracy=np.nan)
    frame = frame[~at(frame, "sst2/gelu/dreg/s2") & ~at(frame, "sst2/gelu/dreg/s1")]
    state = audit(pd.concat([frame, waiting], ignore_index=True))
    assert [cell_name(key) for key in state.cells(State.MISSING)] == ["sst2/gelu/dreg/s2"]
    assert [cell_name(key) for key in state.cells(State.OUTSIDE)] == ["sst2/gelu/dreg/s1"]
    assert state.expected == 35


def test_nothing_done_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"none of the 36 rows has status done \(36 failed\)"):
        audit(small(tmp_path).assign(status="failed"))
    frame = small(tmp_path)
    frame.loc[at(frame, "sst2/relu/dreg/s2"), "clean_accuracy"] = np.nan
    with pytest.raises(
        UserError, match=r"1 row\(s\) count as done but have no clean_accuracy, first sst2/relu/dreg/s2"
    ):
        audit(frame)


@pytest.mark.parametrize("factors", [("dataset",), ("seed",), ("dataset", "activation"), BLOCK])
def test_pairs_are_means_over_the_blocks_both_have(tmp_path, factors):
    frame = small(tmp_path)
    frame["clean_accuracy"] += np.random.default_rng(1).integers(-40, 40, len(frame)) / 1000
    frame = frame[~at(frame, "mnist/relu/igpen/s1") & ~at(frame, "sst2/gelu/dreg/s0")]
    grid = audit(frame).grid
    wide = frame.pivot(index=list(BLOCK), columns="regularizer", values="clean_accuracy")
    for rival in ("none", "igpen"):
        gains = (wide["dreg"] - wide[rival]).dropna().rename("gain").reset_index()
        expected = marginal(gains, "gain", factors)
        found = paired_differences(grid, CLEAN, "dreg", rival, factors)
        assert dict(zip(found.labels, map(float, found.values), strict=True)) == pytest.approx(
            {key if isinstance(key, tuple) else (key,): value for key, value in expected.items()}, abs=1e-12
        )
        assert float(found.mean) == pytest.approx(marginal(gains, "gain"), abs=1e-12)
        counts = (wide["dreg"] - wide[rival]).dropna().groupby(level=list(factors)).size()
        assert found.balanced == (counts.nunique() == 1)


def test_a_cost_is_a_gain_where_it_is_lower(tmp_path):
    frame = small(tmp_path).assign(
        test_loss=lambda rows: 1.0 + 0.5 * (rows["regularizer"] == "none").astype(float)
    )
    metrics = choose_metrics(frame, "test_loss")
    grid = audit(frame, metrics).grid
    found = paired_differences(grid, metrics[0], "dreg", "none", ("seed",))
    assert found.values == [Fraction(1, 2)] * 3


def test_equal_means_tie_whatever_the_floats_do(tmp_path):
    """A third is no decimal, and its sums in binary depend on their order: counts and rounding keep the ties."""
    rows = [
        {"activation": "relu", "regularizer": regularizer, "dataset": dataset, "seed": seed, "n_test": 7,
         "clean_correct": count, "clean_accuracy": count / 7}
        for regularizer, counts in {"none": [1, 2, 3], "dreg": [2, 3, 1]}.items()
        for dataset, count in zip("abc", counts, strict=True)
        for seed in range(3)
    ]  # fmt: skip
    for dropped in ([], ["clean_correct"]):
        pd.DataFrame(rows).drop(columns=dropped).to_parquet(tmp_path / "rows.parquet")
        grid = audit(load_cells(tmp_path / "rows.parquet")).grid
        assert paired_differences(grid, CLEAN, "dreg", "none", ("seed",)).values == [0, 0, 0]


def test_restricted_is_the_audit_of_the_rows_kept(tmp_path):
    frame = small(tmp_path)
    whole = audit(frame).grid.restricted({"activation": ["gelu"], "seed": [0, 2]})
    kept = audit(frame[(frame["activation"] == "gelu") & (frame["seed"] != 1)]).grid
    assert whole.levels == kept.levels
    assert whole.means("overall", ("regularizer", "dataset")) == kept.means("overall", ("regularizer", "dataset"))


def exploded(values):
    """Rows of two methods on datasets d0, d1, …, one seed each, with these losses of none; dreg's are 0.01 less."""
    rows = [
        {
            "activation": "relu",
            "regularizer": r,
            "dataset": f"d{i}",
            "seed": 0,
            "loss": value - 0.01 * (r == "dreg"),
        }
        for i, value in enumerate(values)
        for r in ("none", "dreg")
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize("one", [3.1e11, 1e16, 1e160, 1.7e308])
def test_one_exploded_value_takes_no_pair_from_the_others(one, tmp_path):
    frame = exploded([0.1, 0.2, 0.15, 0.12, 0.3, 0.11, 0.17])
    more = exploded([0.5]).assign(dataset="d9", loss=[one, 0.49])
    pd.concat([frame, more]).to_csv(tmp_path / "rows.csv", index=False)
    rows = load_cells(tmp_path / "rows.csv", measure="loss")
    state = audit(rows, (Metric("loss", 1, "", higher_is_better=False),))
    found = paired_differences(state.grid, state.grid.metrics[0], "dreg", "none", ("dataset",))
    assert len(found) == 8
    assert [float(value) for value in found.values[:7]] == pytest.approx([0.01] * 7, rel=1e-9)
    assert len(set(found.values[:7])) == 1  # 0.3 - 0.29 ties with 0.1 - 0.09
    (line,) = state.warnings
    for word in ("loss", f"{one:g}", "dataset=d9", "regularizer=none"):
        assert word in line


def test_losses_of_any_magnitude_rank_as_they_are(tmp_path):
    sizes = [10.0**power for power in range(-320, 300, 31)]
    frame = exploded(sizes).assign(loss=[value for size in sizes for value in (size, size / 2)])
    frame.to_csv(tmp_path / "rows.csv", index=False)
    rows = load_cells(tmp_path / "rows.csv", measure="loss")
    grid = audit(rows, (Metric("loss", 1, "", higher_is_better=False),)).grid
    found = paired_differences(grid, grid.metrics[0], "dreg", "none", ("dataset",))
    order = dict(zip([label for (label,) in found.labels], found.values, strict=True))
    gains = [order[f"d{i}"] for i in range(len(sizes))]
    assert gains == sorted(gains)
    assert len(set(gains)) == len(gains)
    assert all(gain > 0 for gain in gains)
