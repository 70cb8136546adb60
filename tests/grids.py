"""Made-up result rows for the tests of the analysis."""

import itertools

import numpy as np
import pandas as pd

from dreg_sweep.analysis.audit import audit
from dreg_sweep.analysis.rows.reading import load_cells

REGULARIZERS = ("none", "weight_decay", "dropout", "spectral_norm", "igpen", "dreg")
DATASETS = {
    "mnist": ("vision", "clean"),
    "fashion_mnist": ("vision", "clean"),
    "cifar10": ("vision", "messy"),
    "gtsrb": ("vision", "messy"),
    "sst2": ("text", "clean"),
    "trec6": ("text", "clean"),
    "tweet_emotion": ("text", "messy"),
    "tweet_offensive": ("text", "messy"),
}


def made_up(
    effects=None,
    noisy_effects=None,
    *,
    datasets=tuple(DATASETS),
    activations=("relu", "gelu", "silu", "tanh"),
    seeds=range(5),
    regularizers=REGULARIZERS,
    noise=0,
    **columns,
):
    """Rows with counts out of 1,000 (clean) and 3,000 (noisy).

    effects, noisy_effects: regularizer → right answers more than `none` has, a number or a function of
    (dataset, activation, seed). noise: a cell's counts vary by up to so many, drawn with a fixed seed.
    """
    rng = np.random.default_rng(0)
    rows = []

    def effect(table, name, block):
        value = (table or {}).get(name, 0)
        return value(*block) if callable(value) else value

    for d, a, r, s in itertools.product(datasets, activations, regularizers, seeds):
        wobble = rng.integers(-noise, noise + 1, 2) if noise else (0, 0)
        clean = 600 + 10 * list(datasets).index(d) + s + effect(effects, r, (d, a, s)) + int(wobble[0])
        noisy = 1500 + 10 * list(datasets).index(d) + s + effect(noisy_effects, r, (d, a, s)) + int(wobble[1])
        modality, regime = DATASETS.get(d, (None, None))
        rows.append(
            {
                "cell": f"{d}/{a}/{r}/s{s}",
                "config_hash": f"{d}{a}{r}{s}",
                "activation": a,
                "regularizer": r,
                "dataset": d,
                "modality": modality,
                "regime": regime,
                "seed": s,
                "status": "done",
                "n_test": 1000,
                "clean_correct": clean,
                "clean_accuracy": clean / 1000,
                "n_noisy": 3000,
                "noisy_correct": noisy,
                "noisy_accuracy": noisy / 3000,
            }
        )
    return pd.DataFrame(rows).assign(**columns)


def loaded(rows, tmp_path):
    """The rows as `load_cells` gives them."""
    rows.to_parquet(tmp_path / "made_up.parquet")
    return load_cells(tmp_path / "made_up.parquet")


def grid_of(rows, tmp_path):
    """The rows as a grid."""
    return audit(loaded(rows, tmp_path)).grid


def marginal(frame, column, by=()):
    """Means over seeds, then over activations, then over datasets, but for what `by` names; plain pandas."""
    for inner in (["dataset", "activation"], ["dataset"], []):
        keys = list(dict.fromkeys([*by, *inner]))
        if not keys:
            return frame[column].mean()
        frame = frame.groupby(keys)[column].mean().reset_index()
    return frame.set_index(list(by))[column]
