"""Datasets: from a published, embedded or user-supplied source to what one cell is trained and evaluated on.

    prepared = load_prepared(spec, data_dir)        # once a dataset
    split = make_split(prepared, train_size, seed, "test", ladder, cache_dir)
    split.x_train, split.y_train, split.eval_rows(None, 0, 256)

Importing this package imports neither torch nor scikit-learn: processes that only plan start quickly.
"""

from dreg_sweep.data.functions import FunctionData
from dreg_sweep.data.prepared import ArrayData, Prepared, TextData
from dreg_sweep.data.sources import SOURCES, is_at_hand, load_prepared
from dreg_sweep.data.spec import DatasetSpec, NoiseLadder
from dreg_sweep.data.split import RegressionSplit, Split, make_split

__all__ = [
    "SOURCES",
    "ArrayData",
    "DatasetSpec",
    "FunctionData",
    "NoiseLadder",
    "Prepared",
    "RegressionSplit",
    "Split",
    "TextData",
    "is_at_hand",
    "load_prepared",
    "make_split",
]
