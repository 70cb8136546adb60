"""Which rows an analysis is about: partial sweeps, several training sizes, hidden factors; through the command."""

import json

import pandas as pd
import pytest

from dreg_sweep.analysis.audit import DECLARED
from dreg_sweep.analysis.command import main
from dreg_sweep.analysis.grid import State
from dreg_sweep.analysis.rows.reading import load_cells
from dreg_sweep.analysis.rows.select import WHOLE, refuse_hidden_factors, with_configured_factors
from dreg_sweep.analysis.study import has_sizes, read, with_declared
from dreg_sweep.errors import UserError
from tests.grids import made_up

SMALL = {"datasets": ("mnist", "sst2"), "activations": ("relu", "gelu"), "regularizers": ("none", "igpen", "dreg")}
SIZES = (100, 200, 400)


def sized(sizes=SIZES, **arguments):
    """A sweep of 2 datasets × 2 activations × 3 regularizers × 3 seeds at each size; None is the whole set."""
    rows = made_up({"dreg": 9}, noise=20, **(SMALL | {"seeds": range(3)} | arguments))
    parts = [rows.assign(train_size=size, cell=rows["cell"] + f"/train_size={size}") for size in sizes]
    return pd.concat(parts, ignore_index=True).astype({"train_size": "Int64"})


def cells(rows, **levels):
    """Which rows have these levels."""
    found = pd.Series(True, index=rows.index)
    for name, level in levels.items():
        found &= rows[name] == level
    return found


def folder(tmp_path, rows, declared=None):
    """A results folder with these rows, in which `declared` was asked for."""
    (tmp_path / "sweep" / "cells").mkdir(parents=True)
    rows.to_parquet(tmp_path / "sweep" / "cells" / "00000001-a.parquet")
    if declared is not None:
        declared.to_parquet(tmp_path / "sweep" / "grid.parquet")
    return tmp_path / "sweep"


def file(tmp_path, rows):
    rows.to_parquet(tmp_path / "rows.parquet")
    return tmp_path / "rows.parquet"


def table(out, name):
    return pd.read_csv(out / "tables" / f"{name}.csv", keep_default_na=False, na_values=[""])


def configured(rows):
    """With a configuration in which every combination has a text of its own, as the store writes them."""
    options = {"mnist": None, "sst2": {"level": "phrase"}}

    def text(row):
        dataset = {"name": row.dataset, "options": options[row.dataset]}
        config = {"activation": row.activation, "dataset": dataset, "regularizer": {"name": row.regularizer}}
        return json.dumps(config | {"seed": row.seed, "epochs": None}, separators=(",", ":"))

    return rows.assign(config=[text(row) for row in rows.itertuples()])


GRID = ["cell", "config_hash", "activation", "regularizer", "strength", "dataset", "seed", "train_size", "model"]


def declaration(rows):
    return rows.assign(strength=None, train_size=None, model=None, **rows[["config"]])[[*GRID, "config"]]


def test_a_combination_without_any_row_is_missing(tmp_path, capsys):
    rows = configured(made_up({"dreg": 9}, noise=20, **SMALL))
    gone = cells(rows, dataset="sst2", activation="gelu", regularizer="igpen")
    path = folder(tmp_path, rows[~gone], declaration(rows))
    data = read(path)
    assert data.audit.count(State.MISSING) == 5
    waiting = data.cells[data.cells["status"] == DECLARED]
    assert waiting["config"].notna().all()
    assert set(waiting["dataset.options"].dropna()) <= {'{"level": "phrase"}'}
    assert main([str(path)]) == 0
    assert "55 of 60 cells done" in capsys.readouterr().out


@pytest.mark.parametrize("brief", [True, False])
def test_declared_texts_survive_whatever_type_they_have(tmp_path, brief):
    rows = configured(made_up(**SMALL))
    path = folder(tmp_path, rows[rows["regularizer"] != "igpen"])
    declared = load_cells(file(tmp_path, rows), brief=brief)
    both = with_declared(load_cells(path, brief=brief), declared)
    assert len(both) == 60
    assert both["config"].notna().all()
    assert (both["status"] == DECLARED).sum() == 20


def test_rows_without_result_and_configuration_are_no_level(tmp_path):
    rows = configured(made_up(**SMALL)).assign(strength=None)
    rows["config"] = rows["config"].str.replace('"epochs":null', '"epochs":10')
    rows.loc[rows["activation"] == "gelu", "config"] = rows["config"].str.replace('"epochs":10', '"epochs":20')
    rows.loc[cells(rows, dataset="sst2"), "status"] = "failed"
    lost = cells(rows, dataset="sst2", regularizer="dreg")
    rows.loc[lost, "config"] = None
    frame, names = with_configured_factors(load_cells(file(tmp_path, rows), brief=True))
    assert "epochs" in names
    relu = frame[frame["activation"] == "relu"]
    refuse_hidden_factors(relu, names)
    done = relu.assign(status="done")  # a result under an unknown configuration could be anything
    with pytest.raises(UserError, match=r"epochs has 2 levels for dataset=sst2 \(10, null\)"):
        refuse_hidden_factors(done, ["epochs"])


def test_every_size_is_audited(tmp_path, capsys):
    rows = sized()
    rows.loc[cells(rows, train_size=100, dataset="sst2", regularizer="igpen"), "status"] = "failed"
    gone = cells(rows, train_size=200, seed=0, regularizer="none")
    out = tmp_path / "out"
    assert main([str(file(tmp_path, rows[~gone])), "--out", str(out)]) == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert lines[0] == "98 of 108 cells done at 3 training sizes (100, 200, 400)"
    assert "train_size=100: failed: 6 (sst2/relu/igpen/s0, " in said.out
    assert "train_size=200: missing: 4 (mnist/relu/none/s0, " in said.out
    assert "train_size=400: 36 of 36 cells done" in said.out
    assert "partial: 4 of 108 cells are missing" in said.err
    troubles = table(out, "not_done")
    assert troubles.groupby(["train_size", "state"]).size().to_dict() == {(100, "failed"): 6, (200, "missing"): 4}
    coverage = table(out, "coverage").set_index(["train_size", "regularizer"])
    assert coverage.loc[(100, "igpen")].tolist() == [6, 0]
    assert coverage.loc[(200, "none")].tolist() == [4, 4]
    for name in ("scarcity", "scarcity_trend"):
        text = (out / "tables" / f"{name}.md").read_text()
        assert (
            "Unbalanced: not every regularizer has a result in 6 of 12 blocks at train_size=100, 4 of 12" in text
        )


def test_a_size_without_any_result_is_counted(tmp_path, capsys):
    rows = sized()
    declared = rows.assign(strength=None, model=None, config=None)[[*GRID, "config"]]
    path = folder(tmp_path, rows[rows["train_size"] != 100], declared)
    assert main([str(path)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("72 of 108 cells done at 3 training sizes")
    assert "train_size=100: 0 of 36 cells done (36 missing)" in said
    assert len(table(path / "analysis", "not_done")) == 36
    assert "Nothing is known yet about train_size=100" in (path / "analysis" / "report.html").read_text()


def test_the_warning_names_the_sizes_that_are_analysed(tmp_path):
    rows = sized((100, 200))
    other = sized((100, None), datasets=("trec6",))
    data = read(file(tmp_path, pd.concat([rows, other], ignore_index=True)))
    assert "the largest of each dataset (200 for mnist, sst2; all for trec6) unless" in data.warnings[0]
    assert list(data.sizes) == [100, 200, WHOLE]
    assert "the largest of each dataset (200) unless" in read(file(tmp_path, rows)).warnings[0]


def test_a_gap_in_crossed_sizes_is_analysed_as_unbalanced(tmp_path, capsys):
    rows = sized()
    gap = cells(rows, train_size=100, dataset="sst2", regularizer="igpen")
    assert main([str(file(tmp_path, rows[~gap]))]) == 0
    said = capsys.readouterr().out
    assert "train_size=100: missing: 6 (sst2/relu/igpen/s0" in said
    assert "train_size=100: Unbalanced: 6 of 12 blocks" in said
    caption = (tmp_path / "analysis" / "tables" / "scarcity.md").read_text()
    assert "12 of 12 against none; 6 of 12 against igpen. Left out: 6 blocks of sst2 against igpen." in caption


def test_warnings_of_every_size_name_it(tmp_path):
    rows = sized()
    again = rows[cells(rows, train_size=100, seed=0, regularizer="none")]
    data = read(file(tmp_path, pd.concat([rows, again], ignore_index=True)))
    assert data.warnings[1:] == ("train_size=100: 4 row(s) repeat another row's cell and values; counted once",)


def test_sizes_that_no_cell_shares_are_refused_by_the_right_name(tmp_path):
    rows = sized((200, 400))
    crossed = rows[~(cells(rows, dataset="sst2") & ((rows["seed"] == 0) == (rows["train_size"] == 200)))]
    with pytest.raises(UserError, match=r"train_size has 2 levels for dataset=sst2 \(200, 400\)"):
        read(file(tmp_path, crossed))
    assert has_sizes(rows[rows["dataset"] == "mnist"])
    assert not has_sizes(rows[rows["train_size"] == 200])


def test_a_regularizer_without_the_largest_size_is_refused(tmp_path):
    rows = sized()
    few = rows[(rows["regularizer"] != "igpen") | (rows["train_size"] == 100)]
    with pytest.raises(UserError, match=r"^igpen has no row at the largest training size .* \(400\), only at 100"):
        read(file(tmp_path, few))


def test_a_column_that_tells_duplicates_apart_is_named(tmp_path, capsys):
    rows = made_up({"dreg": 9}, noise=20, **SMALL)
    better = rows.assign(clean_correct=rows["clean_correct"] + 1, noisy_correct=rows["noisy_correct"] + 1)
    better["clean_accuracy"], better["noisy_accuracy"] = (
        better["clean_correct"] / 1000,
        better["noisy_correct"] / 3000,
    )
    both = pd.concat([rows.assign(lr=0.01), better.assign(lr=0.1)], ignore_index=True).assign(note="same")
    path = file(tmp_path, both.assign(started=range(len(both))))
    assert main([str(path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert (
        "60 cells (dataset, activation, regularizer, seed) have several rows that lr tells apart (0.01, 0.1)"
        in line
    )
    assert line.endswith("pick one with --where lr=0.1")
    assert main([str(path), "--where", "lr=0.1"]) == 0
    assert capsys.readouterr().out.startswith("60 of 60 cells done")
    assert main([str(file(tmp_path, both.drop(columns="lr")))]) == 2
    assert "60 cells have several rows that disagree, no column tells these apart" in capsys.readouterr().err


def test_one_repeated_cell_is_no_hidden_factor(tmp_path, capsys):
    rows = made_up({"dreg": 9}, noise=20, **SMALL).assign(host="a")
    again = rows[:1].assign(host="b", clean_correct=1, clean_accuracy=0.001)
    assert main([str(file(tmp_path, pd.concat([rows, again], ignore_index=True)))]) == 0
    assert "duplicated: 1 (mnist/relu/none/s0)" in capsys.readouterr().out


def test_a_treatment_without_a_result_is_said_to_have_none(tmp_path, capsys):
    rows = made_up(noise=20, **SMALL)
    rows.loc[rows["regularizer"] == "dreg", "status"] = "failed"
    assert main([str(file(tmp_path, rows))]) == 0
    said = capsys.readouterr().err
    assert "dreg has no result yet, so it is compared with nothing" in said
    assert "can reach 0.05" not in said


CLASHES = ("metric", "group", "dataset", "activation", "regularizer", "severity", "none_sd", "metric_sd")


@pytest.mark.parametrize("name", CLASHES)
def test_a_regularizer_may_be_called_like_a_column(tmp_path, name):
    shape = {"datasets": ("mnist", "cifar10", "sst2"), "activations": ("relu", "gelu"), "seeds": range(3)}
    out = tmp_path / "out"

    def written(third):
        rows = made_up({"dreg": 9, third: 4}, noise=20, regularizers=("none", "dreg", third), **shape)
        assert main([str(file(tmp_path, rows)), "--out", str(out)]) == 0
        return {
            kind: table(out, kind)
            for kind in (
                "activation_by_regularizer",
                "dataset_by_regularizer",
                "activation_by_regularizer_by_group",
            )
        }

    plain, clash = written("zeta"), written(name)
    for kind, values in plain.items():
        keys = [key for key in values if key in ("metric", "activation", "dataset", "group")]
        named = [f"key_{key}" if key == name else key for key in keys]
        spread = "none_sd_" if name == "none_sd" else "none_sd"
        columns = [*named, "none", "dreg", name, spread, "dreg_sd", f"{name}_sd"]
        assert clash[kind].columns.tolist() == columns
        pd.testing.assert_frame_equal(clash[kind].set_axis(values.columns, axis=1), values)
    assert f"| {name} |" in (out / "tables" / "activation_by_regularizer.md").read_text()


def test_entries_by_level_carry_their_sd_over_seeds(tmp_path):
    rows = made_up({"dreg": lambda d, a, s: 3 * s}, noise=25)
    rows["overall_accuracy"] = (rows["clean_accuracy"] + rows["noisy_accuracy"]) / 2
    rows["group"] = rows["regime"] + " " + rows["modality"]
    out = tmp_path / "out"
    assert main([str(file(tmp_path, rows)), "--out", str(out)]) == 0
    for name, keys in (
        ("activation_by_regularizer", ["activation"]),
        ("dataset_by_regularizer", ["dataset"]),
        ("activation_by_regularizer_by_group", ["group", "activation"]),
    ):
        found = table(out, name)
        methods = rows["regularizer"].unique().tolist()
        assert found.columns.tolist() == ["metric", *keys, *methods, *(f"{method}_sd" for method in methods)]
        for metric in ("overall", "clean", "noisy"):
            mine = found[found["metric"] == metric].set_index(keys)
            seeds = 100 * rows.groupby([*keys, "regularizer", "seed"])[f"{metric}_accuracy"].mean()
            spread = seeds.groupby(level=[*keys, "regularizer"]).std().unstack()
            for method in methods:
                expected = spread[method].reindex(mine.index).dropna()
                assert mine.loc[expected.index, f"{method}_sd"].to_dict() == pytest.approx(expected.to_dict())
        if "group" in keys:
            seeds = 100 * rows.groupby(["group", "regularizer", "seed"])["noisy_accuracy"].mean()
            everything = mine.xs("all", level="activation")["dreg_sd"]
            assert everything.to_dict() == pytest.approx(
                seeds.xs("dreg", level="regularizer").groupby("group").std().to_dict()
            )
        text = (out / "tables" / f"{name}.md").read_text()
        assert "± standard deviation (n − 1) over 5 seeds" in text
        first = found.iloc[0]
        assert f"{first['dreg']:.2f} ± {first['dreg_sd']:.2f}" in text


def test_one_seed_has_no_sd(tmp_path):
    rows = made_up({"dreg": 9}, seeds=[0], **SMALL)
    out = tmp_path / "out"
    assert main([str(file(tmp_path, rows)), "--out", str(out)]) == 0
    text = (out / "tables" / "dataset_by_regularizer.md").read_text()
    assert "±" not in text
    assert table(out, "dataset_by_regularizer")["dreg_sd"].isna().all()
