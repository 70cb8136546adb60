"""Filters, settings told by configurations, and the order of levels: against row-by-row counterparts."""

import json
import shlex

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from dreg_sweep.analysis.rows.levels import ordered
from dreg_sweep.analysis.rows.select import level_name, refuse_hidden_factors, where, with_configured_factors
from dreg_sweep.analysis.rows.settings import without_seed
from dreg_sweep.analysis.rows.spelling import condition
from dreg_sweep.errors import UserError
from tests.grids import loaded, made_up


def stripped(*configs):
    return without_seed(pa.array(configs, pa.large_string())).to_pylist()


def compact(value):
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


@pytest.mark.parametrize("dump", [compact, json.dumps])
def test_only_the_outermost_seed_goes(dump):
    inner = {"dataset": {"options": {"n": 3, "seed": 4}, "seed": 5}, "note": 'a "seed":1, {', "size": 2}
    for config in (
        inner | {"seed": 7, "steps": None, "train_size": 10},
        {"seed": -7} | inner,
        inner | {"seed": 0},
        inner | {"seed": 0, "widths": [1, 2], "x": "flat"},
    ):
        (text,) = stripped(dump(config))
        assert json.loads(text) == {name: value for name, value in config.items() if name != "seed"}


@pytest.mark.parametrize(
    "text",
    [
        compact({"a": 1, "dataset": {"seed": 4}}),
        compact({"a": {"b": {"seed": 4}, "steps": 3}}),
        compact({"a": ',"seed":3,"b":1}'}),
        compact({"a": 1, "seed": 4, "z": {"b": 1}}),  # between nested settings: kept, which is slow but right
        compact({"a": 1, "seed": "text"}),
        compact({"seed": 1}),
        "no JSON",
        "",
    ],
)
def test_other_texts_stay(text):
    assert stripped(text) == [text]
    assert stripped(None) == [None]


def sweep(configs):
    """One row a configuration, in the columns that `load_cells` gives."""
    rows = [{"regularizer": "none", "dataset": "mnist", "seed": n, "config": c} for n, c in enumerate(configs)]
    return pd.DataFrame(rows).assign(strength=np.nan, train_size=pd.NA, model="mlp")


MANY = [
    {"batch_size": size, "model": {"name": "mlp", "widths": widths}, "seed": seed, "steps": None}
    | ({"schedule": schedule} if schedule else {})
    for size in (32, 64)
    for widths in ([8], [8, 8])
    for schedule in (None, {"name": "cosine"})
    for seed in range(3)
]


@pytest.mark.parametrize("kind", [object, pd.StringDtype("pyarrow"), "category"])
def test_settings_equal_those_parsed_row_by_row(kind):
    texts = [compact(config) for config in MANY] + [None, "{broken", "[1]"]
    frame = sweep(texts)
    if kind == "category":
        frame["config"] = without_seed(pa.array(texts, pa.large_string())).to_pandas()
    else:
        frame["config"] = frame["config"].astype(kind)
    found, names = with_configured_factors(frame)
    assert names == ["batch_size", "model.widths"]  # schedule.name has one value, seed a column
    nothing = [pd.NA] * 3
    assert found["batch_size"].tolist() == [str(config["batch_size"]) for config in MANY] + nothing
    assert found["model.widths"].tolist() == [json.dumps(config["model"]["widths"]) for config in MANY] + nothing
    # rows that a filter took away do not vary any more
    assert with_configured_factors(frame[:6])[1] == []
    assert with_configured_factors(frame[frame["seed"] < 0])[1] == []


def test_settings_of_rows_without_a_configuration():
    frame, names = with_configured_factors(sweep([None, None]))
    assert names == []
    assert len(frame) == 2


def everything():
    return pd.DataFrame(
        {
            "dataset": pd.array(["a", "b", None, "a"], "string"),
            "train_size": pd.array([500, None, 2000, 500], "Int64"),
            "strength": [0.001, np.nan, 1.0, 0.003],
            "flag": [True, False, True, True],
            "mixed": [1, "1", None, 2.5],
            "kind": pd.Categorical(["x", "y", "x", "z"]),
            "widths": [[8], [8, 8], [8], None],
        }
    )


@pytest.mark.parametrize(
    ("asked", "rows"),
    [
        ("dataset=a", [0, 3]),
        ("dataset=null", [2]),
        ("train_size=all", [1]),
        ("train_size=null,5e2", [0, 1, 3]),
        ("strength=1e-3,1", [0, 2]),
        ("strength=null", [1]),
        ("flag=True", [0, 2, 3]),
        ("mixed=1", [0, 1]),
        ("kind=x,z", [0, 2, 3]),
        ("widths=[8]", [0, 2]),
        ("widths=[8,8],null", [1, 3]),
    ],
)
def test_where_on_any_column(asked, rows):
    frame = everything().assign(row=range(4))
    assert where(frame, [asked])["row"].tolist() == rows


def test_where_names_the_levels_there_are():
    for asked, message in (
        ("train_size=7", "train_size=7 is unknown; choose one of: 2000, 500, all"),
        ("mixed=7", "mixed=7 is unknown; choose one of: 1, 2.5, null"),
        ("kind=w", "kind=w is unknown; choose one of: x, y, z"),
    ):
        with pytest.raises(UserError, match=f"^{message}$"):
            where(everything(), [asked])


def test_hidden_factors_are_found_in_any_row():
    frame = sweep([None] * 50).assign(batch="32")
    refuse_hidden_factors(frame, ["batch"])
    frame.loc[49, "batch"] = None
    with pytest.raises(UserError, match=r"batch has 2 levels for dataset=mnist \(32, null\).*--where batch=null"):
        refuse_hidden_factors(frame, ["batch"])
    frame["dataset"] = ["a"] * 49 + ["b"]
    refuse_hidden_factors(frame, ["batch"])


def test_ordered_takes_series_and_lists():
    names = ["zeta", "dreg", "alpha", "none", "dreg"]
    for values in (names, pd.Series(names), pd.Series(names, dtype="string"), pd.Series(names, dtype="category")):
        assert ordered("regularizer", values) == ["none", "dreg", "alpha", "zeta"]
    seeds = ordered("seed", pd.Series([10, 9, 10], dtype="Int64"))
    assert seeds == [9, 10]
    assert all(type(seed) is int for seed in seeds)
    assert [level_name("seed", seed) for seed in seeds] == ["9", "10"]


def small(tmp_path, **columns):
    """2 datasets × 2 activations × 3 regularizers × 3 seeds."""
    rows = made_up(
        datasets=("mnist", "sst2"),
        activations=("relu", "gelu"),
        regularizers=("none", "igpen", "dreg"),
        seeds=range(3),
    )
    return loaded(rows.assign(**columns), tmp_path)


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
    for asked, message in (
        ("seed", "not of the form factor=level"),
        ("seed=", "not of the form factor=level"),
        ("sede=1", "no such column; choose one of: activation"),
        ("seed=7", "seed=7 is unknown; choose one of: 0, 1, 2"),
        ("dataset=minst", "dataset=minst is unknown; choose one of: mnist, sst2"),
        ("seed=zero", "seed=zero is unknown"),
    ):
        with pytest.raises(UserError, match=message):
            where(frame, [asked])
    with pytest.raises(UserError, match="no row meets all of --where seed=0 dataset=sst2"):
        where(frame[~((frame["seed"] == 0) & (frame["dataset"] == "sst2"))], ["seed=0", "dataset=sst2"])


def test_a_setting_that_varies_in_the_configuration_is_named_and_can_be_picked():
    rows = [
        {"regularizer": name, "activation": "relu", "dataset": "digits", "seed": seed, "clean_accuracy": 0.5}
        | {"config": json.dumps({"seed": seed, "model": {"name": "mlp", "widths": widths}, "epochs": 3})}
        for name in ("none", "dreg")
        for seed in (0, 1)
        for widths in ([8, 8], [16])
    ]
    plain = pd.DataFrame(rows)
    frame, configured = with_configured_factors(plain.assign(strength=None, train_size=None, model="mlp"))
    assert configured == ["model.widths"]
    with pytest.raises(
        UserError, match=r"model.widths has 2 levels for dataset=digits .*--where 'model.widths=\[(8, 8|16)\]"
    ):
        refuse_hidden_factors(frame, configured)
    assert len(where(frame, ["model.widths=[8,8],[16]"])) == 8
    picked = where(frame, ["model.widths=[8,8]"])
    assert len(picked) == 4
    refuse_hidden_factors(picked, configured)


@pytest.mark.parametrize("level", ["plain", "a, b", "it's", 'say "so"', "[64, 64]", "$HOME `x`", "two words"])
def test_a_condition_that_is_offered_can_be_pasted(level):
    """Through a shell, and through the list of levels that --where takes."""
    frame = pd.DataFrame({"optimizer": ["other", level]})
    (told,) = shlex.split(condition("optimizer", level))
    assert where(frame, [told])["optimizer"].tolist() == [level]


def test_options_that_only_some_rows_have_are_a_setting_that_varies():
    """The same dataset without an option and with one: not to be averaged over."""
    configs = [json.dumps({"dataset": {"name": "digits", "options": options}}) for options in ({}, {"level": 1})]
    rows = [
        {"regularizer": r, "activation": "relu", "dataset": "digits", "seed": 0, "config": c}
        for r in ("none", "dreg")
        for c in configs
    ]
    frame, configured = with_configured_factors(
        pd.DataFrame(rows).assign(strength=None, train_size=None, model="m")
    )
    assert configured == ["dataset.options"]
    with pytest.raises(UserError, match=r"dataset.options has 2 levels for dataset=digits"):
        refuse_hidden_factors(frame, configured)
