"""The columns of a results folder's files. Missing is null, never 0."""

import pyarrow as pa

from dreg_sweep.factors import FACTORS, IDENTITY

_TYPES = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
_IDENTITY = [pa.field(column.name, _TYPES[column.kind]) for column in (*IDENTITY, *FACTORS)]

CELLS_SCHEMA = pa.schema(
    [
        *_IDENTITY,
        ("status", pa.string()),
        ("n_test", pa.int64()),
        ("clean_correct", pa.int64()),
        ("n_noisy", pa.int64()),
        ("noisy_correct", pa.int64()),
        ("clean_accuracy", pa.float64()),
        ("noisy_accuracy", pa.float64()),
        ("train_accuracy", pa.float64()),
        ("test_loss", pa.float64()),
        ("steps", pa.int64()),
        ("seconds", pa.float64()),
        ("device", pa.string()),
        ("data_fingerprint", pa.string()),
        ("code_version", pa.string()),
        ("code_fingerprint", pa.string()),
        ("torch_version", pa.string()),
        ("environment", pa.string()),
        ("error", pa.string()),
    ]
)
CONFIGS_SCHEMA = pa.schema([("config_hash", pa.string()), ("config", pa.string())])
_OWNER = [CELLS_SCHEMA.field(name) for name in ("cell", "config_hash")]  # the id of the cell that a row belongs to
NOISE_SCHEMA = pa.schema(
    [
        *_OWNER,
        pa.field("corruption", pa.string()),
        pa.field("severity", pa.float64()),
        pa.field("n_test", pa.int64()),
        pa.field("correct", pa.int64()),
        pa.field("accuracy", pa.float64()),
    ]
)
HISTORY_SCHEMA = pa.schema(
    [
        *_OWNER,
        pa.field("epoch", pa.int64()),
        pa.field("step", pa.int64()),
        pa.field("loss", pa.float64()),
        pa.field("penalty", pa.float64()),
        pa.field("train_accuracy", pa.float64()),
        pa.field("input_gradient_mean", pa.float64()),
        pa.field("input_gradient_p99", pa.float64()),
        pa.field("tail_ratio", pa.float64()),
        pa.field("slope_sq", pa.list_(pa.float64())),  # one a hidden layer, input to output
        pa.field("jacobian_sq", pa.list_(pa.float64())),  # likewise
        pa.field("test_accuracy", pa.float64()),  # this and the next: at ten of the rows at most
        *(
            pa.field(f"{measure}_{place}", pa.float64())
            for measure, places in (
                ("input_gradient", ("near", "test")),
                ("logit_jacobian", ("train", "near", "test")),
            )
            for place in places
        ),
    ]
)
_POINTS = pa.list_(pa.float64())
FITS_SCHEMA = pa.schema(
    [
        *_OWNER,
        pa.field("place", pa.string()),  # train, between, test
        *(pa.field(name, _POINTS) for name in ("x1", "x2", "target", "prediction", "gradient_norm")),
    ]
)
GRID_SCHEMA = pa.schema(
    [*_IDENTITY, *(CELLS_SCHEMA.field(name) for name in ("data_fingerprint", "code_fingerprint"))]
)

SCHEMAS = {  # by folder, cells last
    "noise": NOISE_SCHEMA,
    "history": HISTORY_SCHEMA,
    "fits": FITS_SCHEMA,
    "cells": CELLS_SCHEMA,
}
STATUSES = {  # of the cells that have rows there
    "noise": ("done",),
    "history": ("done", "diverged"),
    "fits": ("done",),
    "cells": ("done", "diverged", "failed"),
}
# About as many rows stand in one file when files are joined. Larger ones are left alone, so that nothing is copied
# again and again.
ROWS_A_FILE = {"noise": 200_000, "history": 200_000, "fits": 5_000, "cells": 50_000}
