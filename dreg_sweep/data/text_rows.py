"""Tables of text, the user's own or prepared by us: read (.parquet or .csv), check, keep."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dreg_sweep.data.arrays import map_labels
from dreg_sweep.data.keep import keep
from dreg_sweep.data.prepared import PARTS, TextData, text_fingerprint
from dreg_sweep.data.spec import DatasetSpec, check_options, whole_number
from dreg_sweep.errors import UserError

COLUMNS = ("text", "label", "split")
OPTIONS = {"n_components": 256}  # width of the text features


@dataclass
class TextRows:
    """Three columns of equal length. split: "train", "validation" or "test"; label: strings or integers."""

    text: list[Any]
    label: list[Any]
    split: list[Any]

    @classmethod
    def join(cls, **parts: list[tuple[Any, str]]) -> "TextRows":
        """From part → (label, text) pairs."""
        rows = cls([], [], [])
        for part, pairs in parts.items():
            rows.label += [label for label, _ in pairs]
            rows.text += [text for _, text in pairs]
            rows.split += [part] * len(pairs)
        return rows


def read_table(path: Path) -> TextRows:
    """`UserError` when the file is missing, unreadable, of another type, or lacks a column."""
    if not path.is_file():
        raise UserError(f"{path}: there is no such file")
    if path.suffix not in (".parquet", ".csv"):
        raise UserError(f"{path}: is neither .parquet nor .csv")
    import pyarrow as pa

    try:
        table = _read(path)
        if missing := [column for column in COLUMNS if table.column_names.count(column) != 1]:
            raise UserError(
                f"{path}: lacks the column {', '.join(missing)} or has it twice; it must have "
                f"{', '.join(COLUMNS)}, and has {', '.join(map(repr, table.column_names))}"
            )
        return TextRows(*(table.column(column).to_pylist() for column in COLUMNS))
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        line = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"{path}: cannot be read as {path.suffix[1:]} ({line}); it may be truncated: delete or replace it"
        ) from error


def _read(path: Path) -> Any:
    if path.suffix == ".parquet":
        import pyarrow.parquet

        return pyarrow.parquet.read_table(path)
    import pyarrow.csv

    # a text such as "null" or "12" stays a text; labels turn into integers where all are, never into booleans
    return pyarrow.csv.read_csv(
        path,
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types={"text": pyarrow.string(), "split": pyarrow.string()},
            strings_can_be_null=False,
            true_values=[],
            false_values=[],
        ),
    )


def keep_table(path: Path, rows: TextRows) -> None:
    """Writes the rows as parquet; does nothing in a read-only folder."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"text": rows.text, "label": rows.label, "split": rows.split})
    keep(path, lambda file: pq.write_table(table, file))


def text_data(spec: DatasetSpec, rows: TextRows, where: str) -> TextData:
    """Checks the rows and maps their labels to 0..K-1.

    `where` names the file in the `UserError` of each possible defect. Option `n_components` is the width of
    the features.
    """
    n_components = whole_number(spec, check_options(spec, OPTIONS), "n_components", 1)
    return build_text_data(spec, rows, where, n_components)


def build_text_data(spec: DatasetSpec, rows: TextRows, where: str, n_components: int) -> TextData:
    """`text_data` for a source that has read its options itself."""
    if spec.modality != "text":
        raise UserError(f"dataset.modality={spec.modality} does not fit source {spec.source}; choose text")
    if not rows.text:
        raise UserError(f"{where}: has no rows")
    _check_columns(rows, where)
    counts = Counter(rows.split)
    strange = sorted(set(counts) - set(PARTS))
    if strange:
        raise UserError(
            f"{where}: split is {', '.join(map(repr, strange[:5]))} in some rows; use {', '.join(PARTS)}"
        )
    for part in ("train", "test"):
        if not counts[part]:
            raise UserError(f"{where}: no row has split {part}; train and test rows are needed")
    texts: dict[str, list[str]] = {part: [] for part in PARTS if counts[part]}
    labels: dict[str, list[Any]] = {part: [] for part in texts}
    for text, label, part in zip(rows.text, rows.label, rows.split, strict=True):
        texts[part].append(text)
        labels[part].append(label)
    mapped = map_labels({part: np.asarray(values) for part, values in labels.items()}, where)
    if not any(text.strip() for text in texts["train"]):
        raise UserError(f"{where}: no training text holds a word")
    return TextData(spec, text_fingerprint(texts, mapped), mapped, texts, n_components)


def _check_columns(rows: TextRows, where: str) -> None:
    """Row numbers in the errors count from 1, without the header."""
    label_type = type(rows.label[0])
    for number, (text, label, part) in enumerate(zip(rows.text, rows.label, rows.split, strict=True), 1):
        if not isinstance(text, str):
            raise UserError(f"{where}: row {number} has no text (found {text!r})")
        if not isinstance(part, str):
            raise UserError(f"{where}: row {number} has no split (found {part!r})")
        if label is None or label == "":
            raise UserError(f"{where}: row {number} has no label")
        if label_type not in (str, int) or type(label) is not label_type:
            raise UserError(f"{where}: row {number} has the label {label!r}; use strings or integers throughout")
        if label_type is int and label < 0:
            raise UserError(f"{where}: row {number} has the negative label {label}; labels must be 0 or more")
