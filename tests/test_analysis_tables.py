"""Audit, filters and tables: values against plain pandas, incomplete grids, printing."""

import itertools
import json
import re
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

from dreg_sweep.analysis.audit import audit
from dreg_sweep.analysis.levels import ordered
from dreg_sweep.analysis.reading import load_cells
from dreg_sweep.analysis.render import best_two, csv, escape, latex, markdown, plain
from dreg_sweep.analysis.select import refuse_hidden_factors, where, with_configured_factors
from dreg_sweep.analysis.tables import by_factor, overall, p_text, seed_tests
from dreg_sweep.analysis.wilcoxon import signed_rank
from dreg_sweep.errors import UserError


def small(tmp_path, drop=(), **columns):
    """2 datasets x 2 activations x 3 regularizers x 3 seeds with round accuracies."""
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
        if f"{d}/{a}/{r}/s{s}" not in drop
    ]
    frame = pd.DataFrame(rows).assign(**columns)
    frame.to_parquet(tmp_path / "rows.parquet")
    return load_cells(tmp_path / "rows.parquet")


def at(frame, cell):
    dataset, activation, regularizer, seed = cell.split("/")
    return (
        (frame["dataset"] == dataset)
        & (frame["activation"] == activation)
        & (frame["regularizer"] == regularizer)
        & (frame["seed"] == int(seed[1:]))
    )


def test_complete_grid(tmp_path):
    state = audit(small(tmp_path))
    assert (state.expected, len(state.cells), len(state.complete)) == (36, 36, 36)
    assert state.metrics == ("clean", "noisy", "overall")
    assert state.left_out_sentence == ""
    assert state.lines() == ["36 of 36 cells done (2 datasets x 2 activations x 3 regularizers x 3 seeds)"]


def test_overall_by_hand(tmp_path):
    table = overall(audit(small(tmp_path)), "dreg")
    values = table.values.set_index("regularizer")
    # none: clean 0.70 / 0.80 by dataset, + 0.00, 0.01, 0.02 by seed; noisy 0.50 / 0.52 by activation
    assert values.loc["none", "clean_mean"] == pytest.approx(76.0, rel=1e-14)
    assert values.loc["none", "clean_sd"] == pytest.approx(1.0, rel=1e-12)
    assert values.loc["none", "noisy_mean"] == pytest.approx(51.0, rel=1e-14)
    assert values.loc["none", "noisy_sd"] == 0
    assert values.loc["none", "overall_mean"] == pytest.approx(63.5, rel=1e-14)
    assert values["clean_rank"].to_dict() == {"none": 2.5, "igpen": 2.5, "dreg": 1}
    assert values["overall_rank"].to_dict() == {"none": 3, "igpen": 1, "dreg": 2}
    assert values.loc["igpen", "overall_difference"] == pytest.approx(-1.0)
    assert list(values.loc["none", ["clean_p", "clean_floor", "clean_n"]]) == [0.125, 0.125, 3]
    assert values.loc["none", "clean_p_holm"] == 0.25
    # noisy accuracies of none and dreg are equal in every seed: zeros dropped, nothing left
    assert list(values.loc["none", ["noisy_p", "noisy_floor", "noisy_n"]]) == [1.0, 1.0, 0]
    assert values.loc["dreg"].isna().sum() == 3 * 5
    for part in (
        "averaged over activations",
        "dreg is higher",
        "one-sided",
        "n = 3 pairs of seed means",
        "zero differences are dropped",
        "no p can be below 0.125",
        "no Holm-adjusted p below 0.25",
    ):
        assert part in table.caption


def test_five_seeds_five_rivals_state_the_papers_floor(tmp_path):
    rows = [
        {
            "activation": "relu",
            "regularizer": r,
            "dataset": "mnist",
            "seed": s,
            "clean_accuracy": 0.9 + 0.001 * i * (s + 1),
        }
        for i, r in enumerate(["none", "weight_decay", "dropout", "spectral_norm", "igpen", "dreg"])
        for s in range(5)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "rows.csv", index=False)
    table = overall(audit(load_cells(tmp_path / "rows.csv")), "dreg")
    assert "With n = 5 no p can be below 0.03125, and no Holm-adjusted p below 0.156." in table.caption
    assert "Clean accuracy only" in table.caption
    assert "overall_mean" not in table.values
    assert table.values["clean_p"].dropna().tolist() == [0.03125] * 5
    assert table.values["clean_p_holm"].dropna().tolist() == [0.15625] * 5


def test_by_factor_equals_pandas_and_orders_levels(tmp_path):
    frame = small(tmp_path)
    frame["overall_accuracy"] = (frame["clean_accuracy"] + frame["noisy_accuracy"]) / 2
    for factor in ("activation", "dataset"):
        table = by_factor(audit(frame), factor)
        assert list(table.values.columns) == ["accuracy", factor, "none", "igpen", "dreg"]
        for metric in ("overall", "clean", "noisy"):
            expected = 100 * frame.pivot_table(f"{metric}_accuracy", factor, "regularizer")
            mine = table.values[table.values["accuracy"] == metric].set_index(factor)
            for level, regularizer in itertools.product(expected.index, expected.columns):
                assert mine.loc[level, regularizer] == pytest.approx(expected.loc[level, regularizer], rel=1e-12)
    assert ordered("regularizer", ["zeta", "dreg", "alpha", "none"]) == ["none", "dreg", "alpha", "zeta"]
    assert ordered("seed", [10, 9, 1]) == [1, 9, 10]


def test_counts_make_exact_ties(tmp_path):
    """A third is no decimal: with counts the seed means tie exactly, whatever the floats do."""
    rows = []
    counts = {"none": [1, 2, 3], "dreg": [2, 3, 1]}
    for regularizer, dataset_counts in counts.items():
        for dataset, count in zip("abc", dataset_counts, strict=True):
            rows += [
                {
                    "activation": "relu",
                    "regularizer": regularizer,
                    "dataset": dataset,
                    "seed": s,
                    "n_test": 7,
                    "clean_correct": count,
                    "clean_accuracy": count / 7,
                }
                for s in range(3)
            ]
    pd.DataFrame(rows).to_parquet(tmp_path / "rows.parquet")
    state = audit(load_cells(tmp_path / "rows.parquet"))
    assert state.exact
    assert set(state.cells["clean"]) == {Fraction(1, 7), Fraction(2, 7), Fraction(3, 7)}
    assert seed_tests(state, "clean", "dreg")["none"].n == 0
    pd.DataFrame(rows).drop(columns="clean_correct").to_parquet(tmp_path / "rows.parquet")
    state = audit(load_cells(tmp_path / "rows.parquet"))
    assert not state.exact
    assert seed_tests(state, "clean", "dreg")["none"].n == 0


def test_contradicting_counts_are_named(tmp_path):
    state = audit(small(tmp_path, n_test=100, clean_correct=1))
    assert "differs from clean_accuracy in 36 row(s)" in state.warnings[0]
    assert not state.exact


def test_missing_cell_leaves_its_block_out(tmp_path):
    frame = small(tmp_path, drop=["mnist/relu/igpen/s1"])
    state = audit(frame)
    assert state.missing == (("mnist", "relu", "igpen", 1),)
    assert state.left_out == {("mnist", "relu", 1): "a missing cell"}
    assert len(state.complete) == 33
    sentence = "1 of 12 blocks (dataset, activation, seed) left out"
    for table in (overall(state, "dreg"), by_factor(state, "activation"), by_factor(state, "dataset")):
        assert sentence in table.caption
        assert "1 with a missing cell" in table.caption
    kept = frame[~((frame["dataset"] == "mnist") & (frame["activation"] == "relu") & (frame["seed"] == 1))]
    expected = kept.groupby(["regularizer", "seed"])["clean_accuracy"].mean().groupby("regularizer")
    values = overall(state, "dreg").values.set_index("regularizer")
    assert values["clean_mean"].to_dict() == pytest.approx((100 * expected.mean()).to_dict())
    assert values["clean_sd"].to_dict() == pytest.approx((100 * expected.std()).to_dict())


def test_failed_diverged_and_duplicated(tmp_path):
    frame = small(tmp_path)
    frame.loc[at(frame, "mnist/relu/igpen/s0"), ["status", "clean_accuracy"]] = ["failed", np.nan]
    frame.loc[at(frame, "mnist/gelu/none/s0"), "status"] = "diverged"
    again = frame[at(frame, "sst2/relu/dreg/s2")].assign(clean_accuracy=0.5)
    same = frame[at(frame, "sst2/gelu/dreg/s2")]
    retried = frame[at(frame, "sst2/gelu/dreg/s1")].assign(status="failed", clean_accuracy=np.nan)
    state = audit(pd.concat([frame, again, same, retried], ignore_index=True))
    assert state.failed == (("mnist", "relu", "igpen", 0),)
    assert state.diverged == (("mnist", "gelu", "none", 0),)
    assert state.duplicated == (("sst2", "relu", "dreg", 2),)
    assert state.missing == ()
    assert state.left_out[("sst2", "relu", 2)] == "a duplicated cell"
    assert len(state.left_out) == 3
    assert "1 row(s) repeat" in state.warnings[0]
    text = "\n".join(state.lines())
    assert "failed: 1 (mnist/relu/igpen/s0)" in text
    assert "duplicated: 1 (sst2/relu/dreg/s2)" in text


def test_partly_missing_noisy_accuracy(tmp_path):
    frame = small(tmp_path)
    frame.loc[at(frame, "mnist/relu/igpen/s0"), "noisy_accuracy"] = np.nan
    state = audit(frame)
    assert state.no_noisy == (("mnist", "relu", "igpen", 0),)
    assert state.left_out == {("mnist", "relu", 0): "a cell without noisy accuracy"}


def test_nothing_complete_is_one_line(tmp_path):
    frame = small(tmp_path)
    frame.loc[frame["regularizer"] == "igpen", "status"] = "failed"
    with pytest.raises(UserError, match="regularizer=igpen lacks 12 of 12 \\(12 failed\\)") as caught:
        audit(frame)
    assert "\n" not in str(caught.value)
    assert len(audit(where(frame, ["regularizer=none,dreg"])).complete) == 24
    with pytest.raises(UserError, match="none of the 36 rows has status done"):
        audit(frame.assign(status="failed"))


def test_a_level_without_a_complete_block_is_named(tmp_path):
    frame = small(tmp_path)
    frame = frame[~((frame["dataset"] == "sst2") & (frame["regularizer"] == "none"))]
    table = by_factor(audit(frame), "dataset")
    assert "Without a complete block: sst2." in table.caption
    assert table.values["dataset"].unique().tolist() == ["mnist"]


def test_done_without_accuracy(tmp_path):
    frame = small(tmp_path)
    frame.loc[at(frame, "sst2/relu/dreg/s2"), "clean_accuracy"] = np.nan
    with pytest.raises(
        UserError, match=r"1 row\(s\) count as done but have no clean_accuracy, first sst2/relu/dreg/s2"
    ):
        audit(frame)


def test_hidden_factors_are_refused(tmp_path):
    frame = small(tmp_path)
    refuse_hidden_factors(frame)
    for factor, value in (("train_size", 500), ("strength", 0.1), ("model", "lenet")):
        other = frame.assign(**{factor: {"train_size": 2000, "strength": 0.01, "model": "mlp"}[factor]})
        both = pd.concat([other, frame.assign(**{factor: value})], ignore_index=True)
        with pytest.raises(UserError, match=f"--where {factor}=") as caught:
            refuse_hidden_factors(both)
        assert str(value) in str(caught.value)
        refuse_hidden_factors(where(both, [f"{factor}={value}"]))
    null_and_number = pd.concat([frame, frame.assign(train_size=500)], ignore_index=True)
    with pytest.raises(UserError, match=r"train_size has 2 levels .*\(500, all\)"):
        refuse_hidden_factors(null_and_number)
    assert len(where(null_and_number, ["train_size=all"])) == 36
    # a strength of its own for each regularizer, a size of its own for each dataset
    frame["strength"] = frame["regularizer"].map({"none": np.nan, "igpen": 1.0, "dreg": 0.003}).astype(float)
    frame["train_size"] = frame["dataset"].map({"mnist": 60000, "sst2": 6920}).astype("Int64")
    refuse_hidden_factors(frame)


def test_where(tmp_path):
    frame = small(tmp_path, strength=0.001)
    assert len(where(frame, [])) == 36
    assert len(where(frame, ["seed=0", "seed=2"])) == 24
    assert len(where(frame, ["seed=0,1", "dataset=mnist"])) == 12
    assert len(where(frame, ["strength=1e-3"])) == 36
    for condition, message in (
        ("seed", "not of the form factor=level"),
        ("seed=", "not of the form factor=level"),
        ("sede=1", "no such column; choose one of: activation"),
        ("seed=7", "seed=7 is unknown; choose one of: 0, 1, 2"),
        ("dataset=minst", "dataset=minst is unknown; choose one of: mnist, sst2"),
        ("seed=zero", "seed=zero is unknown"),
    ):
        with pytest.raises(UserError, match=message):
            where(frame, [condition])
    with pytest.raises(UserError, match="no row meets all of --where seed=0 dataset=sst2"):
        where(frame[~((frame["seed"] == 0) & (frame["dataset"] == "sst2"))], ["seed=0", "dataset=sst2"])


def test_one_regularizer_has_no_tests(tmp_path):
    table = overall(audit(where(small(tmp_path), ["regularizer=dreg"])), "dreg")
    assert "No other regularizer" in table.caption
    assert not [column.header for column in table.columns if column.header.startswith("p ")]
    assert table.marks == {}


def test_marks_go_by_printed_values():
    assert best_two(["1.00", "3.00", "2.00"]) == [None, "best", "second"]
    assert best_two(["3.00", "3.00", "2.00", "2.00", "1.00"]) == ["best", "best", "second", "second", None]
    assert best_two(["9.50", "10.50"]) == ["second", "best"]
    assert best_two(["3.00", "–", "3.00"]) == ["best", None, "best"]
    assert best_two(["3.00"]) == [None]


def test_latex_structure(tmp_path):
    frame = small(tmp_path)
    frame["regularizer"] = frame["regularizer"].replace({"igpen": "a_b&c%$#{}~^\\"})
    state = audit(frame)
    for table in (overall(state, "dreg"), by_factor(state, "activation"), by_factor(state, "dataset")):
        text = latex(table)
        assert text.count("\\toprule") == text.count("\\bottomrule") == 1
        assert text.count("\\begin{") == text.count("\\end{") == 2
        body = text[text.index("\\toprule") : text.index("\\bottomrule")]
        rows = [line for line in body.splitlines() if line.endswith("\\\\")]
        assert len(rows) == len(table.values) + 1
        widths = {len(re.findall(r"(?<!\\)&", line)) + 1 for line in rows}
        letters = re.search(r"\\begin\{tabular\}\{([lr]+)\}", text)
        assert letters is not None
        assert widths == {len(letters[1])}
        assert body.count("\\midrule") == (3 if table.block else 1)
        stripped = text.replace("\\{", "").replace("\\}", "")
        assert stripped.count("{") == stripped.count("}")
        assert not re.search(r"(?<!\\)[_%#$^~]", text.replace("% needs", "", 1))
        assert "\\textbf{" in text
        assert "\\underline{" in text
        assert text.isascii()
    assert escape("a_b&c%$#{}~^\\") == (r"a\_b\&c\%\$\#\{\}\textasciitilde{}\textasciicircum{}\textbackslash{}")


def test_markdown_csv_and_plain(tmp_path):
    table = by_factor(audit(small(tmp_path)), "dataset")
    lines = markdown(table).splitlines()
    assert lines[2] == "| accuracy | dataset | none | igpen | dreg |"
    assert lines[4] == "| overall | mnist | 61.00 | **63.00** | <u>62.00</u> |"
    assert lines[6] == "| clean | mnist | <u>71.00</u> | <u>71.00</u> | **73.00** |"
    assert csv(table).splitlines()[0] == "accuracy,dataset,none,igpen,dreg"
    assert len(csv(table).splitlines()) == 7
    assert plain(table).splitlines()[1].split() == ["overall", "mnist", "61.00", "63.00", "62.00"]
    assert "<u>" not in plain(table)


def test_p_text():
    assert [p_text(p) for p in (0.03125, 0.0004, 1.0, 0.0005)] == ["0.031", "<0.001", "1.000", "0.001"]


def test_seed_tests_pair_by_seed(tmp_path):
    frame = small(tmp_path)
    frame["clean_accuracy"] += np.random.default_rng(0).integers(-40, 40, len(frame)) / 1000
    means = frame.pivot_table("clean_accuracy", "seed", "regularizer")
    tests = seed_tests(audit(frame), "clean", "dreg")
    for rival in ("none", "igpen"):
        assert tests[rival].p == signed_rank(means["dreg"] - means[rival], "greater").p


def test_a_setting_that_varies_in_the_configuration_is_named_and_can_be_picked():
    rows = [
        {"regularizer": name, "activation": "relu", "dataset": "digits", "seed": seed, "clean_accuracy": 0.5}
        | {"config": json.dumps({"seed": seed, "model": {"name": "mlp", "widths": widths}, "epochs": 3})}
        for name in ("none", "dreg")
        for seed in (0, 1)
        for widths in ([8], [16])
    ]
    plain = pd.DataFrame(rows)
    frame, configured = with_configured_factors(plain.assign(strength=None, train_size=None, model="mlp"))
    assert configured == ["model.widths"]
    with pytest.raises(
        UserError, match=r"model.widths has 2 levels for dataset=digits .*--where model.widths=\[8\]"
    ):
        refuse_hidden_factors(frame, configured)
    picked = where(frame, ["model.widths=[8]"])
    assert len(picked) == 4
    refuse_hidden_factors(picked, configured)
