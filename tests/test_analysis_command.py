"""`dreg-analyze` from end to end on made-up grids, and the package's independence of torch and Hydra."""

import hashlib
import itertools
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from dreg_sweep.analysis.command import main

ACTIVATIONS = ["relu", "gelu", "silu", "tanh"]
REGULARIZERS = ["none", "weight_decay", "dropout", "spectral_norm", "igpen", "dreg"]
DATASETS = ["mnist", "cifar10", "sst2"]
TABLES = ("overall", "activation_by_regularizer", "dataset_by_regularizer")


def made_up():
    """4 x 6 x 3 x 5 cells with integer counts, in the full format of the store."""
    rng = np.random.default_rng(0)
    rows = []
    for a, r, d, s in itertools.product(ACTIVATIONS, REGULARIZERS, DATASETS, range(5)):
        clean = int(700 + 60 * DATASETS.index(d) + 3 * REGULARIZERS.index(r) + rng.integers(-20, 20))
        noisy = int(1500 + 90 * DATASETS.index(d) + 40 * REGULARIZERS.index(r) + rng.integers(-60, 60))
        rows.append(
            {
                "cell": f"{d}/{a}/{r}/s{s}",
                "activation": a,
                "regularizer": r,
                "strength": 10**-2.5 if r == "dreg" else 0.1,
                "dataset": d,
                "seed": s,
                "model": "mlp",
                "train_size": None,
                "status": "done",
                "n_test": 1000,
                "clean_correct": clean,
                "clean_accuracy": clean / 1000,
                "n_noisy": 3000,
                "noisy_correct": noisy,
                "noisy_accuracy": noisy / 3000,
                "error": None,
                "config": "{}",
            }
        )
    return pd.DataFrame(rows)


@pytest.fixture
def parquet(tmp_path):
    path = tmp_path / "rows.parquet"
    made_up().to_parquet(path)
    return path


def digest(folder):
    files = sorted(path for path in (folder / "tables").iterdir())
    return [(path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in files]


def table(folder, name):
    return pd.read_csv(folder / "tables" / f"{name}.csv", keep_default_na=False, na_values=[""])


def test_values_equal_pandas(tmp_path, parquet, capsys):
    assert main([str(parquet)]) == 0
    out = tmp_path / "analysis"
    rows = made_up()
    rows["overall_accuracy"] = (rows["clean_accuracy"] + rows["noisy_accuracy"]) / 2
    overall = table(out, "overall").set_index("regularizer")
    assert overall.index.tolist() == REGULARIZERS
    for metric in ("clean", "noisy", "overall"):
        seeds = 100 * rows.groupby(["regularizer", "seed"])[f"{metric}_accuracy"].mean().unstack("seed")
        assert overall[f"{metric}_mean"].to_dict() == pytest.approx(seeds.mean(axis=1).to_dict(), rel=1e-12)
        assert overall[f"{metric}_sd"].to_dict() == pytest.approx(seeds.std(axis=1).to_dict(), rel=1e-9)
        ranks = seeds.mean(axis=1).rank(ascending=False).to_dict()
        assert overall[f"{metric}_rank"].to_dict() == ranks
        for factor in ("activation", "dataset"):
            expected = 100 * rows.pivot_table(f"{metric}_accuracy", factor, "regularizer")
            mine = table(out, f"{factor}_by_regularizer")
            mine = mine[mine["accuracy"] == metric].drop(columns="accuracy").set_index(factor)
            assert mine.columns.tolist() == REGULARIZERS
            pd.testing.assert_frame_equal(
                mine, expected.loc[mine.index, REGULARIZERS], rtol=1e-12, check_names=False
            )
    activations = table(out, "activation_by_regularizer")
    assert activations["accuracy"].unique().tolist() == ["overall", "clean", "noisy"]
    assert activations["activation"][:4].tolist() == ACTIVATIONS

    # One-sided p by counting sign patterns: noisy differences of 40 a step are all positive, so p = 1/32.
    assert overall["noisy_p"].dropna().tolist() == [0.03125] * 5
    assert overall["noisy_p_holm"].dropna().tolist() == [0.15625] * 5
    assert overall.loc["dreg", ["noisy_p", "noisy_p_holm", "noisy_n", "noisy_floor"]].isna().all()
    printed = capsys.readouterr().out
    assert "360 of 360 cells done" in printed
    assert "weight_decay" in printed
    for name, ending in itertools.product(TABLES, ("csv", "md", "tex")):
        assert f"wrote {out / 'tables' / f'{name}.{ending}'}" in printed
    for name in ("heatmap", "clean_vs_noisy"):
        image = (out / "figures" / f"{name}.png").read_bytes()
        assert image.startswith(b"\x89PNG")
        assert len(image) > 10_000


def test_row_order_and_source_do_not_matter(tmp_path, parquet):
    rows = made_up()
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
    assert len(digest(outs[0])) == 9


def test_minimal_csv(tmp_path, capsys):
    columns = ["activation", "regularizer", "dataset", "seed", "clean_accuracy"]
    made_up()[columns].to_csv(tmp_path / "mine.csv", index=False)
    figures = tmp_path / "analysis" / "figures"
    figures.mkdir(parents=True)
    (figures / "clean_vs_noisy.png").write_bytes(b"from an earlier run")
    assert main([str(tmp_path / "mine.csv")]) == 0
    assert [path.name for path in figures.iterdir()] == ["heatmap.png"]
    assert "no clean_vs_noisy figure" in capsys.readouterr().out
    overall = table(tmp_path / "analysis", "overall")
    assert [name for name in overall if name.endswith("_mean")] == ["clean_mean"]
    for name in TABLES:
        assert "Clean accuracy only" in (tmp_path / "analysis" / "tables" / f"{name}.md").read_text()


def test_unbalanced_grid(tmp_path, capsys):
    rows = made_up()
    rows = rows[rows["cell"] != "mnist/relu/igpen/s0"]
    failed = rows["cell"] == "sst2/tanh/dreg/s4"
    rows.loc[failed, ["status", "error"]] = ["failed", "out of memory"]
    rows.loc[failed, ["clean_accuracy", "noisy_accuracy", "clean_correct", "noisy_correct"]] = np.nan
    rows.to_parquet(tmp_path / "rows.parquet")
    assert main([str(tmp_path / "rows.parquet")]) == 0
    printed = capsys.readouterr().out
    assert "358 of 360 cells done" in printed
    assert "failed: 1 (sst2/tanh/dreg/s4)" in printed
    assert "missing: 1 (mnist/relu/igpen/s0)" in printed
    left_out = [("mnist", "relu", 0), ("sst2", "tanh", 4)]
    kept = rows[
        [key not in left_out for key in zip(rows["dataset"], rows["activation"], rows["seed"], strict=True)]
    ]
    seeds = 100 * kept.groupby(["regularizer", "seed"])["clean_accuracy"].mean().unstack("seed")
    overall = table(tmp_path / "analysis", "overall").set_index("regularizer")
    assert overall["clean_mean"].to_dict() == pytest.approx(seeds.mean(axis=1).to_dict(), rel=1e-12)
    for name in TABLES:
        text = (tmp_path / "analysis" / "tables" / f"{name}.md").read_text()
        assert "2 of 60 blocks (dataset, activation, seed) left out" in text
        assert "1 with a failed cell, 1 with a missing cell" in text


def test_where_treatment_and_baseline(tmp_path, parquet):
    out = tmp_path / "out"
    arguments = [str(parquet), "--out", str(out), "--treatment", "dropout", "--baseline", "igpen"]
    assert main([*arguments, "--where", "dataset=mnist,sst2", "--where", "activation=gelu"]) == 0
    rows = made_up().query("activation == 'gelu' and dataset != 'cifar10'")
    overall = table(out, "overall").set_index("regularizer")
    means = 100 * rows.groupby("regularizer")["clean_accuracy"].mean()
    assert overall["clean_mean"].to_dict() == pytest.approx(means.to_dict())
    assert np.isnan(overall.loc["dropout", "clean_p"])
    assert overall["clean_p"].notna().sum() == 5
    assert table(out, "activation_by_regularizer")["activation"].unique().tolist() == ["gelu"]
    # without `none` the heat map has no baseline, which is no error
    assert main([str(parquet), "--out", str(out), "--where", "regularizer=igpen,dreg"]) == 0


@pytest.mark.parametrize("levels", [("none", "dreg"), ("dreg",), ("none", "dreg", "a_very_long_name_of_a_method")])
def test_figures_of_odd_grids(tmp_path, levels):
    rows = [
        {"activation": "relu", "regularizer": r, "dataset": "mnist", "seed": 0, "clean_accuracy": 0.9,
         "noisy_accuracy": 0.9}
        for r in levels
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(tmp_path / "rows.csv", index=False)
    assert main([str(tmp_path / "rows.csv")]) == 0
    assert len(list((tmp_path / "analysis" / "figures").iterdir())) == 2
    assert table(tmp_path / "analysis", "overall")["clean_sd"].isna().all()


def labels_and_boxes(figure):
    figure.draw_without_rendering()  # an annotation knows its place once drawn
    renderer = figure.canvas.get_renderer()
    # Text's own extent: that of an annotation would include its line.
    return [Text.get_window_extent(text, renderer) for text in figure.axes[0].texts]


def test_labels_do_not_overlap(tmp_path, monkeypatch):
    """Ten methods within a point of each other, drawn, and the drawn label boxes compared."""
    from dreg_sweep.analysis import figures
    from dreg_sweep.analysis.audit import audit
    from dreg_sweep.analysis.reading import load_cells

    rng = np.random.default_rng(3)
    names = [*REGULARIZERS, "confidence_penalty", "jacreg", "spectreg", "a_long_regularizer_name"]
    rows = [
        {"activation": "relu", "regularizer": r, "dataset": "mnist", "seed": s,
         "clean_accuracy": 0.7 + rng.normal(0, 0.002), "noisy_accuracy": 0.6 + rng.normal(0, 0.002)}
        for r in names
        for s in range(4)
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(tmp_path / "rows.csv", index=False)
    drawn = []
    monkeypatch.setattr(figures, "_save", lambda figure, _: drawn.append(figure))
    figures.clean_vs_noisy(audit(load_cells(tmp_path / "rows.csv")), tmp_path / "x.png")
    boxes = labels_and_boxes(drawn[0])
    assert len(boxes) == len(names)
    for one, other in itertools.combinations(boxes, 2):
        assert min(one.x1, other.x1) <= max(one.x0, other.x0) or min(one.y1, other.y1) <= max(one.y0, other.y0)


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
        (bad_nan, [], "1 row(s) count as done but have no clean_accuracy"),
        (lambda rows: rows.assign(clean_accuracy=91.2), [], "lies outside 0..1"),
        (lambda rows: rows.assign(status="failed"), [], "none of the 360 rows has status done"),
        (lambda rows: rows.drop(columns="seed"), [], "lacks the column(s) seed"),
        (lambda rows: rows.iloc[:0], [], "has no rows"),
        (lambda rows: rows.assign(train_size=[500, 2000] * 180), [], "train_size has 2 levels for dataset="),
        (lambda rows: rows.assign(strength=[0.1, 0.2] * 180), [], "strength has 2 levels for regularizer="),
        (unpaired, [], "no block (dataset, activation, seed) has a result of every regularizer"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line(tmp_path, capsys, change, arguments, message):
    rows = made_up()
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
