"""Made-up sweeps like the second study's, with histories that measure gradients off the training points."""

import numpy as np
import pandas as pd

from tests.grids import made_up

METHODS = (
    "none",
    "confidence_penalty",
    "double_backprop",
    "spectreg",
    "double_backprop+confidence_penalty",
    "spectreg+confidence_penalty",
)
EPOCHS = (1, 2, 4, 6, 8, 10)
PLACES = {"train": 1.0, "near": 1.2, "test": 1.5}


def one_dataset(effects=None, **columns):
    """mnist, relu, ten seeds, clean accuracy only, 2,000 training rows; see `tests.grids.made_up`."""
    settings = {"datasets": ("mnist",), "activations": ("relu",), "seeds": range(10), "regularizers": METHODS}
    rows = made_up(effects, **{**settings, **columns})
    return rows.drop(columns=["n_noisy", "noisy_correct", "noisy_accuracy"]).assign(train_size=2000)


def history_of(rows, times_lower, *, wobble=0.05):
    """A row a cell and epoch; measured are all of `EPOCHS` but the first, whose measures are null.

    times_lower: (regularizer, place) → how many times lower than under `none` both gradients end there; on the way
    the logarithm falls in proportion to the epoch. wobble: sd of a normal in each cell's logarithm, one a cell and
    place, of a fixed seed.
    """
    random = np.random.default_rng(0)
    found = []
    for row in rows.to_dict("records"):
        level = {place: 3.0 * off * np.exp(wobble * random.normal()) for place, off in PLACES.items()}
        for epoch in EPOCHS:
            part = epoch / EPOCHS[-1]
            now = {p: value / times_lower(row["regularizer"], p) ** part for p, value in level.items()}
            keys = ("cell", "config_hash", "activation", "regularizer", "dataset", "seed")
            line = {key: row[key] for key in keys} | {"epoch": epoch, "step": 40 * epoch}
            line |= {"input_gradient_mean": now["train"] / 10, "test_accuracy": None}
            if epoch > EPOCHS[0]:
                line |= {f"logit_jacobian_{place}": value for place, value in now.items()}
                line |= {f"input_gradient_{place}": now[place] / 10 for place in ("near", "test")}
                line["test_accuracy"] = row["clean_accuracy"] * (1 - 0.5 ** (epoch / 2))
            found.append(line)
    return pd.DataFrame(found).astype({"test_accuracy": float})


def write(folder, rows, history):
    """A results folder."""
    for name, frame in (("cells", rows), ("history", history)):
        (folder / name).mkdir(parents=True)
        frame.to_parquet(folder / name / "made_up.parquet")
    return folder
