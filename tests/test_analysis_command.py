"""`dreg-analyze` from end to end on made-up grids, and the package's independence of torch and Hydra."""

import hashlib
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from dreg_sweep.analysis.command import main
from tests.grids import made_up

SHAPE = {
    "effects": {"dreg": 20, "igpen": 9},
    "noisy_effects": {"dreg": 150, "igpen": 60},
    "datasets": ("mnist", "cifar10", "sst2"),
    "noise": 20,
}


@pytest.fixture
def parquet(tmp_path):
    path = tmp_path / "rows.parquet"
    made_up(**SHAPE).to_parquet(path)
    return path


def digest(folder):
    files = sorted(path for path in (folder / "tables").iterdir())
    return [(path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in files]


def table(folder, name):
    return pd.read_csv(folder / "tables" / f"{name}.csv", keep_default_na=False, na_values=[""])


def test_everything_the_design_names_is_written(tmp_path, parquet, capsys):
    assert main([str(parquet)]) == 0
    out = tmp_path / "analysis"
    assert {path.name for path in out.iterdir()} == {"tables", "figures", "claims.csv", "report.html"}
    for path in (out / "tables").glob("*.md"):
        assert path.with_suffix(".csv").exists()
        assert path.with_suffix(".tex").exists()
    names = {path.stem for path in (out / "tables").glob("*.csv")}
    assert {
        "overall",
        "tests",
        "pairwise_clean",
        "rank_tests",
        "variance",
        "standing",
        "bootstrap",
        "claims",
    } <= names
    for path in (out / "figures").glob("*.png"):
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
    drawn = {path.stem for path in (out / "figures").iterdir()}
    assert drawn == {"clean_vs_noisy", "forest", "seeds", "critical_difference", "heatmap"}
    printed = capsys.readouterr().out
    assert "360 of 360 cells done" in printed
    assert "weight_decay" in printed
    assert "A1: Of the six regularizers, DREG has the highest overall accuracy." in printed
    assert f"open {out / 'report.html'}" in printed


def test_claims_csv_has_every_reading_of_every_sentence(tmp_path, parquet):
    assert main([str(parquet)]) == 0
    claims = pd.read_csv(tmp_path / "analysis" / "claims.csv")
    assert claims.groupby("claim")["primary"].sum().to_dict() == dict.fromkeys(claims["claim"], 1)
    order = claims[claims["claim"] == "A1"]
    assert len(order) == 4 * 2 * 2
    assert set(claims["verdict"]) <= {"reproduced", "contradicted", "undecided"}
    second = order[(order["unit"] == "seed") & (order["side"] == "one-sided") & (order["correction"] == "none")]
    assert second["floor"].tolist() == [1 / 32]


def test_row_order_and_source_do_not_matter(tmp_path, parquet):
    rows = made_up(**SHAPE)
    outs = [tmp_path / name for name in ("a", "b", "c", "d")]
    assert main([str(parquet), "--out", str(outs[0])]) == 0
    rows.sample(frac=1, random_state=1).to_parquet(tmp_path / "shuffled.parquet")
    assert main([str(tmp_path / "shuffled.parquet"), "--out", str(outs[1])]) == 0
    rows.sample(frac=1, random_state=2).to_csv(tmp_path / "rows.csv", index=False)
    assert main([str(tmp_path / "rows.csv"), "--out", str(outs[2])]) == 0
    cells = tmp_path / "results" / "cells"
    cells.mkdir(parents=True)
    for number, (_, part) in enumerate(rows.groupby("dataset")):
        part.to_parquet(cells / f"{number:08d}-{number:06x}.parquet")
    assert main([str(tmp_path / "results")]) == 0
    outs[3] = tmp_path / "results" / "analysis"
    assert all(digest(out) == digest(outs[0]) for out in outs[1:])


def test_minimal_csv(tmp_path):
    columns = ["activation", "regularizer", "dataset", "seed", "clean_accuracy"]
    made_up(**SHAPE)[columns].to_csv(tmp_path / "mine.csv", index=False)
    figures = tmp_path / "analysis" / "figures"
    figures.mkdir(parents=True)
    (figures / "clean_vs_noisy.png").write_bytes(b"from an earlier run")
    (figures / "mine.png").write_bytes(b"not ours")
    assert main([str(tmp_path / "mine.csv")]) == 0
    assert not (figures / "clean_vs_noisy.png").exists()
    assert (figures / "mine.png").exists()
    overall = table(tmp_path / "analysis", "overall")
    assert [name for name in overall if name.endswith("_mean")] == ["clean_mean"]
    for name in ("overall", "activation_by_regularizer", "dataset_by_regularizer"):
        assert "Clean accuracy only" in (tmp_path / "analysis" / "tables" / f"{name}.md").read_text()


def test_unbalanced_grid(tmp_path, capsys):
    rows = made_up(**SHAPE)
    rows = rows[rows["cell"] != "mnist/relu/igpen/s0"]
    failed = rows["cell"] == "sst2/tanh/dreg/s4"
    rows.loc[failed, ["status", "error"]] = ["failed", "out of memory"]
    rows.loc[failed, ["clean_accuracy", "noisy_accuracy", "clean_correct", "noisy_correct"]] = np.nan
    rows.to_parquet(tmp_path / "rows.parquet")
    assert main([str(tmp_path / "rows.parquet")]) == 0
    captured = capsys.readouterr()
    assert "358 of 360 cells done" in captured.out
    assert "failed: 1 (sst2/tanh/dreg/s4)" in captured.out
    assert "missing: 1 (mnist/relu/igpen/s0)" in captured.out
    assert "partial: 1 of 360 cells are missing" in captured.err
    out = tmp_path / "analysis"
    for path in (out / "tables").glob("*.md"):
        if path.stem not in ("claims", "coverage", "not_done"):
            assert "Unbalanced: 2 of " in path.read_text(), path
    assert table(out, "not_done")["cell"].tolist() == ["sst2/tanh/dreg/s4", "mnist/relu/igpen/s0"]
    assert "sst2/tanh/dreg/s4" in (out / "report.html").read_text()


def test_a_sweep_that_has_hardly_begun_is_analysed_and_says_what_it_cannot_tell(tmp_path, capsys):
    rows = made_up(**SHAPE)
    rows.loc[rows["regularizer"] == "igpen", "status"] = "failed"
    rows = rows[(rows["dataset"] != "sst2") | (rows["regularizer"] == "none")]
    rows.to_parquet(tmp_path / "rows.parquet")
    assert main([str(tmp_path / "rows.parquet")]) == 0
    captured = capsys.readouterr()
    assert "no result yet, so compared with nothing: igpen" in captured.out
    assert "against none, weight_decay, dropout, spectral_norm: 2 of 3 datasets have a pair" in captured.err
    assert "can reach 0.05 after correction; 8 datasets could" in captured.err
    claims = pd.read_csv(tmp_path / "analysis" / "claims.csv")
    assert claims.loc[claims["claim"] == "A3", "observed"].unique().tolist() == ["no result of igpen"]


def test_where_treatment_and_baseline(tmp_path, parquet):
    out = tmp_path / "out"
    arguments = [str(parquet), "--out", str(out), "--treatment", "dropout", "--baseline", "igpen"]
    assert main([*arguments, "--where", "dataset=mnist,sst2", "--where", "activation=gelu"]) == 0
    rows = made_up(**SHAPE).query("activation == 'gelu' and dataset != 'cifar10'")
    overall = table(out, "overall").set_index("regularizer")
    means = 100 * rows.groupby("regularizer")["clean_accuracy"].mean()
    assert overall["clean_mean"].to_dict() == pytest.approx(means.to_dict())
    assert np.isnan(overall.loc["dropout", "clean_p"])
    assert overall["clean_p"].notna().sum() == 5
    assert table(out, "activation_by_regularizer")["activation"].unique().tolist() == ["gelu"]
    claims = pd.read_csv(out / "claims.csv")
    assert "dropout is significantly better than igpen in overall." in set(claims["sentence"])
    # without `none` the heat map has no baseline, which is no error
    assert main([str(parquet), "--out", str(out), "--where", "regularizer=igpen,dreg"]) == 0


def test_other_names_and_another_metric(tmp_path):
    rng = np.random.default_rng(4)
    rows = pd.DataFrame(
        [
            {"optimizer": o, "method": m, "task": t, "fold": f, "rmse": float(rng.normal(3 - (m == "ours"), 0.1))}
            for o in ("adam", "sgd")
            for m in ("ours", "theirs", "plain")
            for t in ("a", "b", "c", "d", "e", "f", "g")
            for f in range(2)
        ]
    )
    rows.to_csv(tmp_path / "mine.csv", index=False)
    columns = {"regularizer": "method", "activation": "optimizer", "dataset": "task", "seed": "fold"}
    arguments = [argument for pair in columns.items() for argument in ("--column", "=".join(pair))]
    arguments += ["--column", "clean_accuracy=rmse"]
    assert main([str(tmp_path / "mine.csv"), *arguments, "--treatment", "ours"]) == 2  # 3.1 is no accuracy
    arguments = [
        *arguments[:-2],
        "--treatment",
        "ours",
        "--metric",
        "rmse",
        "--lower-is-better",
        "--family",
        "plain",
    ]
    assert main([str(tmp_path / "mine.csv"), *arguments]) == 0
    tests = table(tmp_path / "analysis", "tests")
    chosen = tests[
        (tests["unit"] == "dataset") & (tests["alternative"] == "two-sided") & (tests["zeros"] == "wilcox")
    ]
    chosen = chosen.set_index("rival")
    assert chosen["p"].to_dict() == {"plain": 2 / 128, "theirs": 2 / 128}
    assert chosen["p_holm"].dropna().to_dict() == {"plain": 2 / 128}
    assert (chosen["mean_difference"] > 0.8).all()  # a gain, though lower is better


def test_two_sweeps_side_by_side(tmp_path, capsys):
    first = made_up({"dreg": 8})
    second = made_up({"dreg": lambda d, a, s: -8 if d in ("mnist", "sst2") else 8})
    for name, rows in (("one", first), ("two", second[second["cell"] != "mnist/relu/none/s0"])):
        (tmp_path / name).mkdir()
        rows.to_parquet(tmp_path / name / "rows.parquet")
    assert main([str(tmp_path / "one"), str(tmp_path / "two")]) == 0
    out = tmp_path / "one" / "comparison"
    changes = table(out, "changes").set_index(["metric", "regularizer"])
    assert changes.at[("clean", "dreg"), "changed"] == 2 * 4 * 5
    assert changes.at[("clean", "dreg"), "change"] == pytest.approx(-1.6 / 4)
    assert changes.at[("clean", "none"), "shared"] == 159
    assert changes.at[("clean", "none"), "only_first"] == 1
    assert changes.at[("clean", "none"), "changed"] == 0
    conclusions = table(out, "conclusions").set_index(["metric", "rival"])
    assert conclusions.at[("clean", "none"), "one: conclusion"] == "better"
    assert conclusions.at[("clean", "none"), "two: conclusion"] == "undecided"
    assert conclusions.at[("clean", "none"), "flipped"]
    assert not conclusions.at[("noisy", "none"), "flipped"]
    claims = table(out, "claims_compared").set_index("claim")
    assert claims.loc["A2", ["one", "two", "flipped"]].tolist() == ["reproduced", "undecided", True]
    assert set(pd.read_csv(out / "claims.csv")["results"]) == {"one", "two"}
    assert "Claims:" in capsys.readouterr().out
    assert (out / "report.html").stat().st_size > 50_000


def test_sweeps_are_compared_only_in_what_both_tested(tmp_path):
    rows = made_up({"dreg": 8}, {"dreg": 8}, train_size=500)
    clean = made_up({"dreg": 8}, train_size=2000).drop(columns=["noisy_accuracy", "noisy_correct", "n_noisy"])
    rows.to_parquet(tmp_path / "full.parquet")
    clean.to_parquet(tmp_path / "clean.parquet")
    out = tmp_path / "out"
    assert main([str(tmp_path / "full.parquet"), str(tmp_path / "clean.parquet"), "--out", str(out)]) == 0
    conclusions = table(out, "conclusions")
    assert conclusions.loc[conclusions["metric"] == "clean", "flipped"].tolist() == [False] * 5
    assert conclusions.loc[conclusions["metric"] != "clean", "flipped"].isna().all()
    claims = table(out, "claims_compared")
    assert claims["flipped"].tolist() == [False] * len(claims)
    differing = table(out, "differing").set_index("what")
    assert differing.loc["training rows of mnist"].astype(str).tolist() == ["500", "2000"]


@pytest.mark.parametrize("levels", [("none", "dreg"), ("dreg",), ("none", "dreg", "a_very_long_name_of_a_method")])
def test_odd_grids(tmp_path, levels):
    rows = [
        {"activation": "relu", "regularizer": r, "dataset": "mnist", "seed": 0, "clean_accuracy": 0.9,
         "noisy_accuracy": 0.9}
        for r in levels
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(tmp_path / "rows.csv", index=False)
    assert main([str(tmp_path / "rows.csv")]) == 0
    assert table(tmp_path / "analysis", "overall")["clean_sd"].isna().all()
    assert (tmp_path / "analysis" / "report.html").exists()


def unpaired(rows):
    return rows.assign(seed=rows["seed"] + 10 * (rows["regularizer"] == "dreg"))


def bad_nan(rows):
    rows.loc[3, "clean_accuracy"] = np.nan
    return rows


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        (None, ["--treatment", "dregg"], "treatment dregg is not in the data; choose one with --treatment"),
        (None, ["--baseline", "nil"], "baseline nil is not in the data; choose one with --baseline: none"),
        (None, ["--where", "regularizer=none"], "treatment dreg is not in the data"),
        (None, ["--where", "dataset=emnist"], "dataset=emnist is unknown; choose one of: cifar10, mnist"),
        (None, ["--where", "dataset"], "not of the form factor=level"),
        (None, ["--bogus"], "unrecognized arguments: --bogus"),
        (None, ["--metric", "f1"], "metric f1 is not in the data; choose one with --metric: overall, clean"),
        (None, ["--family", "none,dregg"], "no rival called dregg; choose from: rivals, all, none"),
        (None, ["--baseline", "dreg"], "treatment and baseline are both dreg"),
        (None, ["--column", "seed"], "not of the form ours=yours"),
        (None, ["--column", "seed=fold"], "fold"),
        (None, ["--claims", "nowhere.yaml"], "--claims nowhere.yaml cannot be read: No such file"),
        (bad_nan, [], "1 row(s) count as done but have no clean_accuracy"),
        (lambda rows: rows.assign(clean_accuracy=91.2), [], "lies outside 0..1"),
        (lambda rows: rows.assign(status="failed"), [], "none of the 360 rows has status done"),
        (lambda rows: rows.drop(columns="seed"), [], "lacks the column(s) seed"),
        (lambda rows: rows.iloc[:0], [], "has no rows"),
        (lambda rows: rows.assign(train_size=[500, 2000] * 180), [], "train_size has 2 levels for dataset="),
        (lambda rows: rows.assign(strength=[0.1, 0.2] * 180), [], "strength has 2 levels for regularizer="),
        (unpaired, [], "dreg shares no block (dataset, activation, seed) with none"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line(tmp_path, capsys, change, arguments, message):
    rows = made_up(**SHAPE)
    (change(rows) if change else rows).to_parquet(tmp_path / "rows.parquet")
    assert main([str(tmp_path / "rows.parquet"), *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("dreg-analyze: ")
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert not (tmp_path / "analysis").exists()


def test_bad_paths(tmp_path, parquet, capsys):
    assert main([str(tmp_path / "nowhere")]) == 2
    assert "does not exist" in capsys.readouterr().err
    assert main([]) == 2
    assert "RESULTS_DIR" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert main([str(parquet), "--out", str(tmp_path / "file")]) == 2
    assert capsys.readouterr().err.startswith(f"dreg-analyze: cannot write to {tmp_path / 'file'}")


def run_python(code, *arguments):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_needs_neither_torch_nor_hydra(parquet):
    code = (
        "import json, sys; from dreg_sweep.analysis.command import main; "
        "from dreg_sweep.analysis import friedman, holm, load_cells, signed_rank; "
        "assert main([sys.argv[1]]) == 0; "
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    loaded = run_python(code, parquet)
    assert "pandas" in loaded
    assert not {"torch", "torchvision", "hydra", "omegaconf", "sklearn"} & set(loaded)


def test_help_is_light():
    code = (
        "import json, sys, dreg_sweep.analysis\n"
        "from dreg_sweep.analysis.command import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as stop: assert stop.code == 0\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    assert not {"numpy", "pandas", "scipy", "matplotlib", "pyarrow", "torch"} & set(run_python(code))
