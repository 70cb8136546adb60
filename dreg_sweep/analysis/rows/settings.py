"""Configurations of many rows, told apart by their texts: cells that differ in the seed alone share one."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dreg_sweep.flat import fields_of
from dreg_sweep.store.configs import configs_file, read_configs

if TYPE_CHECKING:
    import pandas as pd

# The outermost "seed" of a JSON object. Only one that comes first, or that nothing but unnested keys follow up to
# the end of the text, is surely the outermost: a seed among the options of a dataset must stay. Where the text is
# JSON, no string can hold what these match, since a quotation mark in a string has a backslash before it.
_FIRST = r'^(\s*\{)\s*"seed"\s*:\s*-?\d+\s*,'
_LAST = (
    r',\s*"seed"\s*:\s*-?\d+'
    r'((?:\s*,\s*"[^"\\{}\[\]]*"\s*:\s*(?:"[^"\\{}\[\]]*"|\[[^"{}\[\]]*\]|[^"{}\[\],\s]+))*\s*\}\s*)$'
)
_TOLD_BY_COLUMNS = {
    *("model.name", "regularizer.name", "regularizer.strength", "dataset.name", "dataset.source", "seed"),
    *("dataset.modality", "dataset.regime"),
}


def without_seed(configs: pa.Array) -> pa.DictionaryArray:
    """Configurations (large_string, JSON) without their own seed, each distinct text kept once.

    A text in which the seed stands between nested settings keeps it: told apart from its like, but not wrongly
    taken for another.
    """
    texts = pc.replace_substring_regex(configs, _FIRST, r"\1")
    return pc.replace_substring_regex(texts, _LAST, r"\1").dictionary_encode()


def with_configs(rows: pa.Table, home: Path | None, brief: bool, warnings: list[str]) -> pa.Table:
    """The rows with the configurations that their results folder keeps by hash, where they have none of their own.

    home: the folder, None for other files. brief: without seeds, see `without_seed`. A file of configurations that
    cannot be read adds a line to `warnings`.
    """
    if home is None or "config_hash" not in rows.column_names or not configs_file(home).exists():
        return rows
    own = rows["config"] if "config" in rows.column_names else None
    if own is not None and not own.null_count:
        return rows
    stored = read_configs(home, inline=False)
    if stored.problem:
        lost = "settings without a column are not known"
        warnings.append(f"{configs_file(home)} is not readable ({stored.problem}); {lost}")
    texts = stored.table["config"].combine_chunks().cast(pa.large_string())
    hashes = stored.table["config_hash"].combine_chunks()
    place = pc.index_in(rows["config_hash"].cast(pa.string()), hashes)
    found = pa.chunked_array([(without_seed(texts) if brief else texts).take(place.combine_chunks())])
    if own is None:
        return rows.append_column("config", found)
    both = pc.coalesce(own.cast(pa.large_string()), found.cast(pa.large_string()))
    number = rows.column_names.index("config")
    return rows.set_column(number, "config", both.dictionary_encode() if brief else both)


def shared(configs: "pd.Series[Any]") -> "pd.Series[Any]":
    """A column of configurations as a categorical whose categories lack the seed; see `without_seed`.

    One that is categorical already is returned as it is. What is no text is null.
    """
    import pandas as pd

    if isinstance(configs.dtype, pd.CategoricalDtype):
        return configs
    texts = (
        configs
        if isinstance(configs.dtype, pd.StringDtype)
        else configs.where(configs.map(lambda value: isinstance(value, str)), None)
    )
    arrow = pa.chunked_array([pa.array([], pa.large_string())])
    if len(texts):
        arrow = pa.chunked_array(pa.Table.from_pandas(texts.to_frame("config"), preserve_index=False)["config"])
    return as_categorical(
        pa.chunked_array([without_seed(chunk.cast(pa.large_string())) for chunk in arrow.chunks])
    )


def as_categorical(encoded: pa.ChunkedArray) -> "pd.Series[Any]":
    """Dictionary-encoded texts as a categorical series with the index 0..rows-1."""
    import pandas as pd

    encoded = encoded.unify_dictionaries()
    codes = np.concatenate(
        [np.zeros(0, np.int32), *(part.indices.fill_null(-1).to_numpy() for part in encoded.chunks)]
    )
    texts = encoded.chunk(0).dictionary if encoded.num_chunks else pa.array([], pa.large_string())
    return pd.Series(pd.Categorical.from_codes(codes, pd.Index(pd.arrays.ArrowStringArray(texts))))


def by_name(texts: list[str | None]) -> dict[str, list[str | None]]:
    """Dotted name → its value in each of these configurations, as text, of the settings that no column tells.

    A group's options are one value: without some and with some are two settings, not one that only some rows have.
    None where a configuration is no readable JSON object or lacks the setting.
    """
    values: dict[str, list[str | None]] = {}
    known: dict[str, str] = {}  # equal texts as one object: hundreds of thousands of rows share few
    for place, text in enumerate(texts):
        for name, value in (fields_of(text, depth=1) or {}).items():
            if name in _TOLD_BY_COLUMNS or (value is None and "." not in name):
                continue
            if name not in values:
                values[name] = [None] * len(texts)
            told = value if isinstance(value, str) else json.dumps(value)
            values[name][place] = known.setdefault(told, told)
    return values
