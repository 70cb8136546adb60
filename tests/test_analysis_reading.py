"""Reading result rows: folders, superseded cells, hand-made files, and what is refused."""

import logging
import math

import pandas as pd
import pytest

from dreg_sweep.analysis import load_cells
from dreg_sweep.analysis.reading import COLUMNS, WHOLE
from dreg_sweep.errors import UserError

MINIMAL = "activation,regularizer,dataset,seed,clean_accuracy\nrelu,none,mnist,0,0.9\nrelu,dreg,mnist,0,0.91\n"


def row(cell="mnist/relu/none/s0", **changes):
    dataset, activation, regularizer, seed = cell.split("/")
    values = {
        "cell": cell,
        "activation": activation,
        "regularizer": regularizer,
        "dataset": dataset,
        "seed": int(seed[1:]),
        "clean_accuracy": 0.9,
        "status": "done",
    }
    return values | changes


def store(folder, sequence, *rows, digest="abc123"):
    path = folder / "cells" / f"{sequence:08d}-{digest}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(list(rows)).to_parquet(path)
    return path


def write(tmp_path, text, name="rows.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_folder_and_its_cells_folder_read_the_same(tmp_path):
    store(tmp_path, 1, row(train_size=None, n_test=100, clean_correct=90))
    store(tmp_path, 2, row("mnist/relu/dreg/s0", strength=0.003, noisy_accuracy=0.8, train_size=2000))
    frame = load_cells(tmp_path)
    assert tuple(frame.columns) == COLUMNS
    assert len(frame) == 2
    assert (frame[list(WHOLE)].dtypes == "Int64").all()
    assert frame["train_size"].isna().sum() == 1
    assert frame["noisy_accuracy"].dtype == "float64"
    pd.testing.assert_frame_equal(frame, load_cells(tmp_path / "cells"))
    assert frame.attrs["warnings"] == []


def test_highest_sequence_supersedes(tmp_path):
    store(tmp_path, 2, row(clean_accuracy=0.7), digest="aaa")
    store(tmp_path, 10, row(clean_accuracy=0.8), digest="000")
    store(tmp_path, 9, row(status="failed", clean_accuracy=None), row("mnist/relu/dreg/s0"), digest="fff")
    frame = load_cells(tmp_path).set_index("cell")
    assert frame.loc["mnist/relu/none/s0", "clean_accuracy"] == 0.8
    assert len(frame) == 2


def test_a_rerun_that_failed_supersedes_too(tmp_path):
    store(tmp_path, 1, row(clean_accuracy=0.7))
    store(tmp_path, 2, row(status="failed", clean_accuracy=None, error="boom"))
    frame = load_cells(tmp_path)
    assert frame["status"].tolist() == ["failed"]


def test_stray_and_broken_files_warn(tmp_path, caplog):
    store(tmp_path, 1, row())
    (tmp_path / "cells" / "00000002-broken.parquet").write_bytes(b"PAR1 cut off")
    (tmp_path / "cells" / "notes.txt").write_text("hello")
    pd.DataFrame([row(clean_accuracy=0.1)]).to_parquet(tmp_path / "cells" / "copy.parquet")
    (tmp_path / "cells" / ".00000003-x.parquet.tmp").write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        frame = load_cells(tmp_path)
    assert frame["clean_accuracy"].tolist() == [0.9]
    assert len(frame.attrs["warnings"]) == len(caplog.records) == 2
    assert "copy.parquet, notes.txt" in frame.attrs["warnings"][0]
    assert "00000002-broken.parquet" in frame.attrs["warnings"][1]


def test_folder_of_hand_made_parquet(tmp_path):
    (tmp_path / "cells").mkdir()
    for regularizer in ("none", "dreg"):
        hand_made = pd.DataFrame([row(f"mnist/relu/{regularizer}/s0")]).drop(columns=["cell", "status"])
        hand_made.to_parquet(tmp_path / "cells" / f"{regularizer}.parquet")
    assert sorted(load_cells(tmp_path)["regularizer"]) == ["dreg", "none"]


def test_minimal_csv_and_parquet(tmp_path):
    frame = load_cells(write(tmp_path, MINIMAL))
    assert tuple(frame.columns) == COLUMNS
    assert frame["regularizer"].tolist() == ["none", "dreg"]
    assert frame["seed"].dtype == "Int64"
    assert frame["status"].isna().all()
    assert frame["noisy_accuracy"].isna().all()
    pd.read_csv(tmp_path / "rows.csv").to_parquet(tmp_path / "rows.parquet")
    pd.testing.assert_frame_equal(frame, load_cells(tmp_path / "rows.parquet"))


def test_csv_details(tmp_path):
    text = (
        "\ufeffactivation, regularizer,dataset,seed,clean_accuracy,train_size,noisy_accuracy,widths\n"
        "relu, None,mnist,0.0,0.9,2000,,256-256\nrelu,dreg,mnist,1,1e-1,,nan,256-256\n"
    )
    frame = load_cells(write(tmp_path, text))
    assert frame["regularizer"].tolist() == ["None", "dreg"]  # a name, not a null
    assert frame["seed"].tolist() == [0, 1]
    assert frame["clean_accuracy"].tolist() == [0.9, 0.1]
    assert frame["train_size"].isna().tolist() == [False, True]
    assert frame["noisy_accuracy"].isna().all()
    assert frame["widths"].tolist() == ["256-256", "256-256"]


def test_parquet_details(tmp_path):
    hand_made = pd.DataFrame({"activation": "relu", "regularizer": ["a", "b"], "dataset": "d", "seed": [0, 1]})
    hand_made["clean_accuracy"] = pd.Series([0.9, 0.25], dtype="float32")
    hand_made.set_index(["dataset", "seed"]).to_parquet(tmp_path / "x=1.parquet")
    frame = load_cells(tmp_path / "x=1.parquet")
    assert frame["clean_accuracy"].tolist() == [0.9, 0.25]  # not 0.8999999761581421
    assert list(frame.columns) == list(COLUMNS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("activation,regularizer,dataset,seed,clean_accuracy\n", "has no rows"),
        ("activation,dataset,seed\nrelu,mnist,0\n", r"lacks the column\(s\) regularizer, clean_accuracy"),
        (
            MINIMAL + "relu,igpen,mnist,0,91.5\n",
            r"clean_accuracy=91.5 of mnist/relu/igpen/s0 lies outside 0..1",
        ),
        (MINIMAL + "relu,igpen,mnist,0,-0.1\n", r"outside 0..1"),
        (MINIMAL + "relu,igpen,mnist,0,inf\n", r"outside 0..1"),
        (MINIMAL + "relu,igpen,mnist,0,high\n", "clean_accuracy=high is not a number"),
        (MINIMAL + "relu,igpen,mnist,0.5,0.9\n", "seed=0.5 is not a whole number"),
        (MINIMAL + "relu,igpen,mnist,,0.9\n", "seed is empty in 1 of 3 rows"),
        (MINIMAL + "relu,,mnist,0,0.9\n", "regularizer is empty in 1 of 3 rows"),
        (MINIMAL + "relu,igpen,mnist,0,0.9,7,8\n", "cannot be read as CSV"),
    ],
)
def test_bad_csv(tmp_path, text, message):
    with pytest.raises(UserError, match=message) as caught:
        load_cells(write(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_bad_paths(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        load_cells(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no parquet file"):
        load_cells(tmp_path)
    (tmp_path / "cells").mkdir()
    with pytest.raises(UserError, match="no parquet file"):
        load_cells(tmp_path)
    (tmp_path / "cells" / "00000001-a.parquet").write_bytes(b"")
    with pytest.raises(UserError, match="none of its 1 parquet files"):
        load_cells(tmp_path)
    with pytest.raises(UserError, match="cannot be read as parquet"):
        load_cells(write(tmp_path, "no parquet", "rows.parquet"))


def test_empty_parquet(tmp_path):
    pd.DataFrame([row()]).iloc[:0].to_parquet(tmp_path / "rows.parquet")
    with pytest.raises(UserError, match="has no rows"):
        load_cells(tmp_path / "rows.parquet")
    store(tmp_path, 1, row())
    pd.DataFrame([row()]).iloc[:0].to_parquet(tmp_path / "cells" / "00000001-abc123.parquet")
    with pytest.raises(UserError, match="has no rows"):
        load_cells(tmp_path)


def test_nan_is_null_in_parquet(tmp_path):
    pd.DataFrame([row(noisy_accuracy=math.nan, n_test=math.nan)]).to_parquet(tmp_path / "rows.parquet")
    frame = load_cells(tmp_path / "rows.parquet")
    assert frame["n_test"].isna().all()
    assert frame["noisy_accuracy"].isna().all()
