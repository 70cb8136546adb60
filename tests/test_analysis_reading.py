"""Reading result rows: folders, superseded cells, hand-made files, and what is refused."""

import datetime
import json
import logging
import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dreg_sweep.analysis import load_cells
from dreg_sweep.analysis.rows.columns import COLUMNS, FLAG, NUMBER, TEXT, WHOLE
from dreg_sweep.analysis.rows.reading import load_declared, load_history, load_noise
from dreg_sweep.errors import UserError
from dreg_sweep.factors import FACTORS
from dreg_sweep.store import StackRows, Store
from dreg_sweep.store.schema import CELLS_SCHEMA, GRID_SCHEMA, HISTORY_SCHEMA, NOISE_SCHEMA

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
    assert (frame["status"] == "done").all()
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
        (" \n\n", "is empty"),
        ("activation,regularizer,dataset,seed,clean_accuracy", "has no rows"),
        (MINIMAL + "relu,igpen,mnist\n", "cannot be read as CSV: CSV parse error: .*relu,igpen,mnist"),
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


def from_arrow(tmp_path, **columns):
    """Two rows in a parquet file with just these types."""
    table = {
        "activation": pa.array(["relu", "relu"]),
        "regularizer": pa.array(["none", "dreg"]),
        "dataset": pa.array(["mnist", "mnist"]),
        "seed": pa.array([0, 0]),
        "clean_accuracy": pa.array([0.5, 0.75]),
    } | columns
    pq.write_table(pa.table(table), tmp_path / "rows.parquet")
    return tmp_path / "rows.parquet"


def test_every_column_has_its_type_and_can_be_written_to(tmp_path):
    assert set(COLUMNS) == {*TEXT, *WHOLE, *NUMBER, *FLAG}
    frame = load_cells(from_arrow(tmp_path))
    assert all(frame[name].dtype == "string" for name in TEXT)
    assert all(frame[name].dtype == "Int64" for name in WHOLE)
    assert all(frame[name].dtype == "float64" for name in NUMBER)
    assert all(frame[name].dtype == "boolean" for name in FLAG)
    frame.loc[0, ["status", "clean_accuracy", "seed", "noisy_accuracy"]] = ["failed", np.nan, 7, 0.25]
    assert frame["status"].tolist() == ["failed", "done"]
    assert frame["seed"].tolist() == [7, 0]
    assert frame["noisy_accuracy"].tolist()[0] == 0.25
    assert (frame["dataset"] == "mnist").all()
    assert frame.groupby("regularizer")["seed"].sum().to_dict() == {"none": 7, "dreg": 0}
    assert frame["regularizer"].map({"none": 1, "dreg": 2}).tolist() == [1, 2]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"seed": pa.array([1.0, 2.0])}, {"seed": [1, 2]}),
        ({"seed": pa.array([7, 2**62], pa.uint64())}, {"seed": [7, 2**62]}),
        ({"seed": pa.array(["9007199254740993", " +3"])}, {"seed": [9007199254740992, 3]}),
        ({"seed": pa.array(["9007199254740993", " 3"])}, {"seed": [9007199254740993, 3]}),
        ({"clean_accuracy": pa.array(["1e-1", "+0.5"])}, {"clean_accuracy": [0.1, 0.5]}),
        ({"clean_accuracy": pa.array([0.1, 0.9], pa.float32())}, {"clean_accuracy": [0.1, 0.9]}),
        ({"clean_accuracy": pa.array([1, 0])}, {"clean_accuracy": [1.0, 0.0]}),
        ({"dataset": pa.array([1, 2])}, {"dataset": ["1", "2"]}),
        ({"dataset": pa.array(["a ", "b"]).dictionary_encode()}, {"dataset": ["a", "b"]}),
        ({"dataset": pa.array(["a", "b"], pa.large_string())}, {"dataset": ["a", "b"]}),
        ({"status": pa.nulls(2)}, {"status": ["done", "done"]}),
        ({"status": pa.array(["", "done"])}, {"status": ["done", "done"]}),
        ({"n_test": pa.array([math.nan, 3.0])}, {"n_test": [pd.NA, 3]}),
        ({"width": pa.array([3, 4])}, {"width": [3, 4]}),
        ({"widths": pa.array([[3], [4, 5]])}, {"widths": [[3], [4, 5]]}),
    ],
)
def test_types_of_other_programs(tmp_path, columns, expected):
    frame = load_cells(from_arrow(tmp_path, **columns))
    assert {name: frame[name].tolist() for name in expected} == expected
    assert len(frame.columns) == len({*COLUMNS, *columns})


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"clean_accuracy": pa.array([True, False])}, "clean_accuracy is of type bool, not a number"),
        ({"seed": pa.array([datetime.date(2026, 1, 1)] * 2)}, "seed is of type date32.* not a whole number"),
        ({"seed": pa.array([1, 2**63], pa.uint64())}, "seed=9223372036854775808 is not a whole number"),
        ({"seed": pa.array([1.0, math.inf])}, "seed=inf is not a whole number"),
        ({"seed": pa.array([0.0, 1.5])}, "seed=1.5 is not a whole number"),
        ({"seed": pa.array([0.0, math.nan])}, "seed is empty in 1 of 2 rows, first in row 2"),
        ({"dataset": pa.array([[1], [2]])}, "dataset is of type list.*cannot be read as text"),
        ({"dataset": pa.array([math.nan, 1.0])}, "dataset is empty in 1 of 2 rows"),
        ({"regularizer": pa.array(["nan", "dreg"])}, "regularizer is empty in 1 of 2 rows, first in row 1"),
        ({"regularizer": pa.nulls(2)}, "regularizer is empty in 2 of 2 rows"),
        ({"clean_accuracy": pa.array([50.0, 75.0])}, "=50 of .* outside 0..1; .*divide by 100 if these are"),
        ({"clean_accuracy": pa.array([0.5, 1e9])}, "=1e.09 of .* outside 0..1; .* fractions, not percent"),
    ],
)  # fmt: skip
def test_bad_types_and_values(tmp_path, columns, message):
    with pytest.raises(UserError, match=message) as caught:
        load_cells(from_arrow(tmp_path, **columns))
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "rows.parquet") in str(caught.value)


def test_columns_that_stand_twice(tmp_path):
    with pytest.raises(UserError, match=r"has the column\(s\) seed more than once"):
        load_cells(write(tmp_path, "activation,regularizer,dataset,seed,seed ,clean_accuracy\na,b,c,0,1,0.5\n"))
    table = pq.read_table(from_arrow(tmp_path))
    pq.write_table(table.append_column("seed", table["seed"]), tmp_path / "rows.parquet")
    with pytest.raises(UserError, match=r"has the column\(s\) seed more than once"):
        load_cells(tmp_path / "rows.parquet")


ELSEWHERE = "act,method,task,seed,score,model\nrelu,l2,cola,0,0.5,bert\nrelu,l1,cola,0,0.6,bert\n"
NAMES = {"activation": "act", "regularizer": "method", "dataset": "task", "clean_accuracy": "score"}


def test_columns_from_elsewhere(tmp_path):
    path = write(tmp_path, ELSEWHERE)
    frame = load_cells(path, NAMES)
    assert tuple(frame.columns) == COLUMNS
    assert frame["regularizer"].tolist() == ["l2", "l1"]
    assert frame["clean_accuracy"].tolist() == [0.5, 0.6]
    assert frame["model"].tolist() == ["bert", "bert"]
    # what is told to be something else is no model any more, and names may be exchanged
    assert load_cells(path, NAMES | {"dataset": "model"})["model"].isna().all()
    swapped = load_cells(write(tmp_path, MINIMAL, "b.csv"), {"dataset": "regularizer", "regularizer": "dataset"})
    assert swapped["dataset"].tolist() == ["none", "dreg"]
    pd.read_csv(path).to_parquet(tmp_path / "rows.parquet")
    pd.testing.assert_frame_equal(load_cells(tmp_path / "rows.parquet", NAMES), load_cells(path, NAMES))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"dataset": "tsk"}, "has no column tsk to take dataset from; it has: act, method, task, seed"),
        ({"regulariser": "method"}, "regulariser is no result column; choose among: cell, config_hash"),
        ({"dataset": "task", "regime": "task"}, "dataset and regime are both taken from task"),
        ({"model": "method"}, "has a column model of its own beside method"),
        ({}, r"lacks the column\(s\) dataset, activation, regularizer, clean_accuracy; .* it has: act, method"),
    ],
)  # fmt: skip
def test_mappings_that_do_not_fit(tmp_path, columns, message):
    with pytest.raises(UserError, match=message) as caught:
        load_cells(write(tmp_path, ELSEWHERE), columns)
    assert "\n" not in str(caught.value)


def test_folder_of_csv_and_parquet(tmp_path):
    write(tmp_path, MINIMAL, "b.csv")
    from_arrow(tmp_path, seed=pa.array([1, 1]), extra=pa.array([3, 4]))
    write(
        tmp_path,
        MINIMAL.replace(",0,", ",2,").replace("accuracy", "accuracy,extra").replace("0.9", "0.9,x"),
        "c.CSV",
    )
    write(tmp_path, "notes", "notes.txt")
    frame = load_cells(tmp_path)
    assert frame["seed"].tolist() == [0, 0, 2, 2, 1, 1]
    assert frame["extra"].fillna("-").tolist() == ["-", "-", "x", "x1", "3", "4"]
    assert frame.attrs["warnings"] == []
    write(tmp_path, MINIMAL + "relu,igpen,mnist,0,0.9,7,8\n", "broken.csv")
    frame = load_cells(tmp_path)
    assert len(frame) == 6
    assert "left out 1 file(s) (broken.csv), unreadable (CSV parse error" in frame.attrs["warnings"][0]
    write(tmp_path, "a,b\n1,2\n", "other.csv")
    with pytest.raises(UserError, match=r"other.csv lacks the column\(s\) dataset, activation"):
        load_cells(tmp_path)


def test_partitioned_folder_is_told_from_an_empty_one(tmp_path):
    (tmp_path / "dataset=mnist").mkdir()
    pd.read_csv(write(tmp_path, MINIMAL, "rows.txt")).to_parquet(tmp_path / "dataset=mnist" / "part-0.parquet")
    with pytest.raises(UserError, match=r"partitioned parquet folder.*dataset=mnist.*to_parquet\(file\)"):
        load_cells(tmp_path)


def test_csv_with_line_breaks_in_a_value_and_an_index(tmp_path):
    frame = pd.read_csv(write(tmp_path, MINIMAL)).assign(error=["first\nsecond, third", ""])
    frame.to_csv(tmp_path / "rows.csv")
    loaded = load_cells(tmp_path / "rows.csv")
    assert loaded["error"].tolist() == ["first\nsecond, third", pd.NA]
    assert tuple(loaded.columns) == COLUMNS


def test_rows_without_a_cell_are_not_superseded(tmp_path):
    store(tmp_path, 1, row(cell="a/b/c/s0") | {"cell": None}, row())
    store(tmp_path, 2, row("a/b/c/s0") | {"cell": None}, row(clean_accuracy=0.1), row(clean_accuracy=0.2))
    frame = load_cells(tmp_path)
    assert frame["cell"].tolist() == [pd.NA, pd.NA, "mnist/relu/none/s0", "mnist/relu/none/s0"]
    assert frame["clean_accuracy"].tolist() == [0.9, 0.9, 0.1, 0.2]


def config(seed, strength=0.1):
    return json.dumps({"regularizer": {"strength": strength}, "seed": seed, "steps": None}, separators=(",", ":"))


def stack(regularizer, *seeds, status="done", accuracy=0.5, made_under="h"):
    """Two severities and two epochs of each cell."""
    cells, noise, history = [], [], []
    for seed in seeds:
        factors = {
            "activation": "relu",
            "regularizer": regularizer,
            "strength": 0.1,
            "dataset": "mnist",
            "seed": seed,
        }
        keys = {"cell": f"mnist/relu/{regularizer}/s{seed}", "config_hash": f"{made_under}{seed}"} | factors
        done = {"clean_accuracy": accuracy, "status": status, "error": "long"}
        cells.append(keys | done)
        keys = {name: keys[name] for name in ("cell", "config_hash")}
        if status == "done":
            noise += [keys | {"severity": s, "correct": 3, "n_test": 4, "accuracy": accuracy} for s in (0.25, 0.5)]
        if status != "failed":
            history += [keys | {"epoch": e, "loss": accuracy, "slope_sq": [1.0, e / 2]} for e in (1, 2)]
    return StackRows(cells, noise, history)


def test_what_the_store_wrote_is_read(tmp_path):
    made = Store(tmp_path)
    made.create()
    made.write_stack(1, stack("none", 0, 1))
    made.write_stack(2, stack("dreg", 0, 1, status="diverged", accuracy=0.25))
    made.declare(
        {
            name: [row[name] for row in stack("none", 0, 1, 2).cells]
            for name in ("cell", "config_hash", "dataset", "activation", "regularizer", "seed")
        }
    )
    made.keep_configs(["h0", "h1", "h2"], lambda one: config(int(one[1:])))
    cells = load_cells(tmp_path)
    assert tuple(cells.columns) == (*CELLS_SCHEMA.names, "config")
    assert cells["cell"].tolist() == [f"mnist/relu/{name}/s{seed}" for name in ("none", "dreg") for seed in (0, 1)]
    assert cells["config"].tolist() == [config(0), config(1)] * 2
    noise, history, declared = load_noise(tmp_path), load_history(tmp_path / "cells"), load_declared(tmp_path)
    levels = [factor.name for factor in FACTORS]
    assert [*noise.columns] == [*NOISE_SCHEMA.names, *levels]
    assert noise[["seed", "severity"]].to_numpy().tolist() == [[0, 0.25], [0, 0.5], [1, 0.25], [1, 0.5]]
    assert noise.dtypes[["cell", "seed", "correct", "accuracy"]].astype(str).tolist() == [
        "string", "Int64", "Int64", "float64",
    ]  # fmt: skip
    assert [*history.columns] == [*HISTORY_SCHEMA.names, *levels]
    assert history["regularizer"].tolist() == ["none"] * 4 + ["dreg"] * 4
    assert history["slope_sq"].tolist()[:2] == [[1.0, 0.5], [1.0, 1.0]]
    assert tuple(declared.columns) == (*GRID_SCHEMA.names, "config")
    assert declared["seed"].tolist() == [0, 1, 2]
    assert declared["train_size"].isna().all()
    assert declared["config"].dtype == "string"

    brief = load_cells(tmp_path, brief=True)
    pd.testing.assert_frame_equal(brief.drop(columns=["config", "error"]), cells.drop(columns=["config", "error"]))
    assert brief["error"].isna().all()
    assert brief["config"].tolist() == ['{"regularizer":{"strength":0.1},"steps":null}'] * 4
    assert len(brief["config"].cat.categories) == 1
    assert len(load_declared(tmp_path / "cells", brief=True)["config"].cat.categories) == 1

    made.compact()  # joining the files changes nothing
    pd.testing.assert_frame_equal(load_cells(tmp_path), cells)
    pd.testing.assert_frame_equal(load_noise(tmp_path), noise)
    pd.testing.assert_frame_equal(load_history(tmp_path), history)


def test_noise_and_history_belong_to_the_latest_row(tmp_path):
    made = Store(tmp_path)
    made.create()
    made.write_stack(1, stack("none", 0, 1, 2, 3))
    made.write_stack(2, stack("none", 0, accuracy=0.75))  # rerun
    made.write_stack(3, stack("none", 1, made_under="x", accuracy=0.25))  # under another configuration
    made.write_stack(4, stack("none", 2, status="failed"))
    made.write_stack(5, stack("dreg", 9))
    (tmp_path / "cells" / next((tmp_path / "cells").glob("00000005-*")).name).unlink()  # killed before it wrote it
    expected = {("mnist/relu/none/s0", 0.75), ("mnist/relu/none/s1", 0.25), ("mnist/relu/none/s3", 0.5)}
    noise, history = load_noise(tmp_path), load_history(tmp_path)
    assert len(noise) == len(history) == 6
    assert set(zip(noise["cell"], noise["accuracy"], strict=True)) == expected
    assert set(zip(history["cell"], history["loss"], strict=True)) == expected
    made.compact()
    assert set(zip(load_noise(tmp_path)["cell"], load_noise(tmp_path)["accuracy"], strict=True)) == expected


def test_damaged_noise_and_grid(tmp_path, caplog):
    made = Store(tmp_path)
    made.create()
    made.write_stack(1, stack("none", 0))
    for name in ("noise/00000002-x.parquet", "history/00000001-z.parquet", "grid.parquet"):
        (tmp_path / name).write_bytes(b"PAR1 cut off")
    with caplog.at_level(logging.WARNING):
        noise = load_noise(tmp_path)
        assert load_declared(tmp_path) is None
    assert len(noise) == 2
    assert "left out 1 file(s) (00000002-x.parquet), unreadable" in noise.attrs["warnings"][0]
    assert ["grid.parquet is not readable" in record.message for record in caplog.records] == [False, True]
    next((tmp_path / "noise").glob("00000001-*")).unlink()
    caplog.clear()
    assert load_noise(tmp_path) is None
    assert "none of its 1 parquet files can be read" in caplog.text


def test_nothing_beside_the_cells(tmp_path):
    readers = (load_noise, load_history, load_declared)
    assert [read(write(tmp_path, MINIMAL)) for read in readers] == [None] * 3
    store(tmp_path, 1, row())
    assert [read(tmp_path) for read in readers] == [None] * 3
    assert [read(tmp_path / "nowhere") for read in readers] == [None] * 3
    Store(tmp_path).create()
    assert [read(tmp_path) for read in readers] == [None] * 3


def test_files_joined_while_they_are_read(tmp_path, monkeypatch):
    """Another process joins all files after the first was opened: no row is missed, none is read twice."""
    from dreg_sweep.analysis.rows import files

    made = Store(tmp_path)
    made.create()
    for sequence in range(1, 5):
        made.write_stack(sequence, stack("none", sequence, accuracy=sequence / 10))
    opened, calls = files.pq.ParquetFile, []

    def joining(path, **options):
        calls.append(path)
        if len(calls) == 2:
            monkeypatch.setattr(files.pq, "ParquetFile", opened)
            made.compact()
        return opened(path, **options)

    monkeypatch.setattr(files.pq, "ParquetFile", joining)
    frame = load_cells(tmp_path)
    assert sorted(frame["seed"]) == [1, 2, 3, 4]
    assert frame.attrs["warnings"] == []
