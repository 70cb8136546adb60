"""Merges results folders that came from several machines into one new folder."""

import contextlib
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dreg_sweep.errors import UserError
from dreg_sweep.flat import fields_of
from dreg_sweep.store import configs, files
from dreg_sweep.store.folder import JOINED, latest, parquet_files, read_settled
from dreg_sweep.store.runners import runners, sole_runner
from dreg_sweep.store.schema import CELLS_SCHEMA, GRID_SCHEMA, ROWS_A_FILE, SCHEMAS, STATUSES

_MADE_UNDER = ("config_hash", "data_fingerprint", "code_fingerprint")  # what is not known contradicts nothing
# Two environments may well give equal results.
_NO_RESULT = ("cell", "seconds", "device", "code_version", "torch_version", "environment")
_OF_BEFORE = "^[0-9a-f]{16}$"  # fingerprints of code that name no versions, and so contradict nothing
_RESULT = tuple(name for name in CELLS_SCHEMA.names if name not in (*_MADE_UNDER, *_NO_RESULT))
_NAMED_AT_MOST = 3  # differences of one cell


@dataclass(frozen=True)
class Merged:
    """What came of a merge; `twice` counts the cells that stood in more than one of the folders."""

    cells: int
    twice: int
    warnings: list[str]


def merge(folders: Sequence[Path], out: Path) -> Merged:
    """Write the latest rows of several results folders, what belongs to them, and the declared grids to `out`.

    A cell with equal results in several folders is kept once, from the first of them; a failed row gives way to
    one that is done or diverged. Anything else that two folders say of one cell is a conflict.

    All is written to `.<name of out>.merging` beside `out`, which takes its name in one step at the end: a merge
    that is killed leaves no `out`, and the next one of that name begins anew.

    Errors: `UserError` for folders that cannot be merged, for conflicts and for a disk that refuses; `out` is
    then as it was.
    """
    _refuse_folders(folders, out)
    warnings: list[str] = []
    rows = _together([_latest_rows(folder, warnings) for folder in folders])
    twice = _refuse_conflicts(rows, folders, "cell", _RESULT)
    grid = _together([_declared(folder) for folder in folders])
    _refuse_conflicts(grid, folders, "declared cell", ())
    failed = pc.equal(rows["status"], "failed").fill_null(False).to_numpy()
    rows = rows.filter(_lowest(rows["cell"], np.arange(len(rows)) + failed * len(rows)))
    try:
        with _appearing(out) as building:
            _write(building, rows, grid, folders, warnings)
    except files.StoreError as error:
        raise UserError(str(error)) from None
    return Merged(len(rows), twice, warnings)


def _refuse_folders(folders: Sequence[Path], out: Path) -> None:
    if len(folders) < 2:
        raise UserError("a merge takes at least two results folders")
    seen: set[Path] = set()
    for folder in folders:
        if not (folder / "cells").is_dir() and not (folder / "grid.parquet").is_file():
            raise UserError(f"{folder} is no results folder: it has neither cells/ nor grid.parquet")
        if folder.resolve() in seen:
            raise UserError(f"{folder} is given twice; name every folder once")
        if at_work := runners(folder):
            raise UserError(f"{folder} is in use by {at_work[0].name}; merge it when that has ended")
        seen.add(folder.resolve())
    if out.resolve() in seen:
        raise UserError(f"{out} is one of the folders to merge; give a new one to merge them into")
    _refuse_used(out)


def _refuse_used(out: Path) -> None:
    """`UserError` where `out` holds more than empty folders and the lock of a sweep that stored nothing."""
    for path in [out] if out.is_file() else out.rglob("*"):
        if path.name != ".lock" and not path.is_dir():
            raise UserError(f"{out} is not empty: there is {path}; give a new folder to merge into")


@contextlib.contextmanager
def _appearing(out: Path) -> Iterator[Path]:
    """A folder beside `out` that takes its name at the end, or goes where an error leaves the block."""
    target = out.resolve()
    building = target.with_name(f".{target.name}.merging")
    with files.refusals(out):
        building.mkdir(parents=True, exist_ok=True)
    with sole_runner(building) as presence:  # a second merge into `out` is refused
        try:
            with files.refusals(out):
                (building / "grid.parquet").unlink(missing_ok=True)
                for name in (*SCHEMAS, configs.FOLDER):
                    shutil.rmtree(building / name, ignore_errors=True)  # of a merge that was killed
                    (building / name).mkdir()
            yield building
            _refuse_used(out)
            presence.ends()  # or its entry moves along
            with files.refusals(out):
                for path in sorted([*target.rglob("*"), target], reverse=True):  # what lies in a folder before it
                    if path.is_dir():
                        path.rmdir()  # refuses where somebody stored something meanwhile
                    elif path.name == ".lock":
                        path.unlink()
                building.rename(target)
        finally:
            shutil.rmtree(building, ignore_errors=True)


def _latest_rows(folder: Path, warnings: list[str]) -> pa.Table:
    """The row of each cell that counts."""
    read, problems = read_settled(folder / "cells", CELLS_SCHEMA.names)
    for path, reason in problems.items():
        warnings.append(f"{path} is not a readable cells file ({reason}); its cells count as missing")
    return pa.concat_tables([CELLS_SCHEMA.empty_table(), *latest([*read.values()], one_row=True)])


def _declared(folder: Path) -> pa.Table:
    """The declared cells. Where they cannot be read a merge is refused: half a grid would pass for complete."""
    path = folder / "grid.parquet"
    try:
        return files.read_rows(path, GRID_SCHEMA)
    except FileNotFoundError:
        return GRID_SCHEMA.empty_table()
    except files.UNREADABLE as error:
        reason = files.first_line(error)
        raise UserError(f"{path} is not readable ({reason}); rerun the sweep, which makes it anew") from None


def _together(tables: Sequence[pa.Table]) -> pa.Table:
    """The rows of all folders, in order; `folder` is the position of theirs."""
    return pa.concat_tables(
        [table.append_column("folder", pa.array([i] * len(table), pa.int64())) for i, table in enumerate(tables)]
    )


def _lowest(cells: pa.ChunkedArray, order: np.ndarray) -> pa.Array:
    """A mask of one row a cell: the one with the lowest number in `order`."""
    lowest = pa.table({"cell": cells, "order": order}).group_by("cell").aggregate([("order", "min")])
    return pa.array(np.isin(order, lowest["order_min"]))


def _refuse_conflicts(rows: pa.Table, folders: Sequence[Path], what: str, results: Sequence[str]) -> int:
    """`UserError` where folders contradict each other, else the number of cells that several of them have."""
    counts = rows.group_by("cell").aggregate([("folder", "count")])
    several = counts["cell"].filter(pc.greater(counts["folder_count"], 1))
    rows = rows.filter(pc.is_in(rows["cell"], several))
    finished = rows.filter(pc.not_equal(rows["status"], "failed").fill_null(True)) if results else rows
    found = _contradicted(rows, _MADE_UNDER, "only_valid") | _contradicted(finished, results, "all")
    if cells := set().union(*found.values()):
        first = next(cell for cell in rows["cell"].to_pylist() if cell in cells)
        columns = [[name for name in names if first in found[name]] for names in (_MADE_UNDER, results)]
        of_first = rows.filter(pc.equal(rows["cell"], first)).to_pylist()
        words = _words(of_first, columns[0] or columns[1], folders, _configs(folders, of_first))
        raise UserError(
            f"{len(cells)} {what}{' conflicts' if len(cells) == 1 else 's conflict'}, for example {first}: "
            f"{'; '.join(words[:_NAMED_AT_MOST])}{'; …' if len(words) > _NAMED_AT_MOST else ''}. "
            "Nothing was merged; leave out one of the folders, or rerun what should be equal"
        )
    return len(several)


def _contradicted(rows: pa.Table, columns: Sequence[str], mode: str) -> dict[str, set[str]]:
    """The cells that have several values of each of these columns; `mode`: only_valid, or all to count null."""
    texts = {name: rows[name].cast(pa.string()) for name in columns}  # as text a NaN equals every other NaN
    if (code := texts.get("code_fingerprint")) is not None:
        of_before = pc.match_substring_regex(code, _OF_BEFORE).fill_null(False)
        texts["code_fingerprint"] = pc.if_else(of_before, pa.scalar(None, pa.string()), code)
    counted = [(name, "count_distinct", pc.CountOptions(mode=mode)) for name in columns]
    counts = pa.table({"cell": rows["cell"], **texts}).group_by("cell").aggregate(counted)
    return {
        name: set(counts["cell"].filter(pc.greater(counts[f"{name}_count_distinct"], 1)).to_pylist())
        for name in columns
    }


def _configs(folders: Sequence[Path], rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Hash → configuration (JSON) of these rows, as far as the folders know it."""
    hashes = {row["config_hash"] for row in rows}
    return {one: text for folder in folders for one, text in configs.read_configs(folder).of(hashes).items()}


def _words(
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    folders: Sequence[Path],
    by_hash: Mapping[str, str],
) -> list[str]:
    """How the rows of one cell differ in some columns, for example `clean_correct 9120 in A, 9133 in B`."""
    words = []
    for name in columns:
        by_all = name in _MADE_UNDER
        told = [row for row in rows if (row[name] is not None if by_all else row["status"] != "failed")]
        one, other = told[0], next(row for row in told if str(row[name]) != str(told[0][name]))
        old, new = ({name: row[name]} for row in (one, other))
        if name == "config_hash":
            fields, others = (fields_of(by_hash.get(row["config_hash"])) or {} for row in (one, other))
            old, new = (fields, others) if fields != others else (old, new)
        a, b = folders[one["folder"]], folders[other["folder"]]
        for field in {**old, **new}:
            if (before := old.get(field)) != (after := new.get(field)):
                words.append(f"{field} {before} in {a}, {after} in {b}")
    return words


def _write(building: Path, kept: pa.Table, grid: pa.Table, folders: Sequence[Path], warnings: list[str]) -> None:
    """The last cells file has no lower number than any other: sweeps number on from it, and later files count."""
    last = 1
    for name in (name for name in SCHEMAS if name != "cells"):
        parts = _batches(_belonging(name, kept, folders, warnings), ROWS_A_FILE[name])
        for last_of_these, table in enumerate(parts, start=1):
            files.write_parquet(building / name / f"{last_of_these:08d}-{JOINED}.parquet", table)
            last = max(last, last_of_these)
    starts = range(0, len(kept), ROWS_A_FILE["cells"])
    for number, start in enumerate(starts, start=max(1, last - len(starts) + 1)):
        cells = kept.select(CELLS_SCHEMA.names).slice(start, ROWS_A_FILE["cells"])
        files.write_parquet(building / "cells" / f"{number:08d}-{JOINED}.parquet", cells)
    made_under = pa.concat_tables([kept.select(["config_hash"]), grid.select(["config_hash"])])["config_hash"]
    known: dict[str, str] = {}
    for folder in folders:
        found = configs.read_configs(folder)
        if found.problem:
            warnings.append(f"{configs.configs_file(folder)} is not readable ({found.problem}); it is left out")
        known |= found.of(made_under.unique().drop_null().to_pylist())
    configs.write_configs(building, configs.read_configs(building), known)
    if len(grid):
        others = [name for name in GRID_SCHEMA.names if name != "cell"]
        # The first value that is known: a machine without the data may have declared the cells, too.
        union = grid.group_by("cell", use_threads=False).aggregate([(name, "first") for name in others])
        columns = [union["cell"], *(union[f"{name}_first"] for name in others)]
        files.write_parquet(building / "grid.parquet", pa.table(columns, schema=GRID_SCHEMA))


def _belonging(name: str, kept: pa.Table, folders: Sequence[Path], warnings: list[str]) -> Iterator[pa.Table]:
    """The rows of the kept cells in one folder, whole cells at a time.

    Each from the folder of its cell; where they cannot be read there, from any other that has them.
    """
    having = kept.select(["cell", "config_hash", "folder"]).filter(
        pc.is_in(kept["status"], pa.array(STATUSES[name]))
    )
    left: set[str] = set()
    for i, folder in enumerate(folders):
        wanted = set(_owners(having.filter(pc.equal(having["folder"], i))).to_pylist()) - {None}
        yield from _taken(folder / name, wanted, warnings)
        left |= wanted
    for folder in folders:
        yield from _taken(folder / name, left, [])


def _taken(folder: Path, wanted: set[str], warnings: list[str]) -> Iterator[pa.Table]:
    """The rows of some owners (see `_owners`), who leave the set when their rows are found."""
    schema = SCHEMAS[folder.name]
    for path in reversed(parquet_files(folder)):  # what a later file has is wanted no more
        if not wanted:
            return
        try:
            table = files.read_rows(path, schema)
        except FileNotFoundError:
            raise UserError(f"{path} went away: a sweep began there; merge when it has ended") from None
        except files.UNREADABLE as error:
            reason = files.first_line(error)
            warnings.append(f"{path} is not a readable {folder.name} file ({reason}); its rows are left out")
            continue
        owners = _owners(table)
        own = wanted.intersection(owners.unique().to_pylist())
        wanted -= own
        if own:
            yield table.filter(pc.is_in(owners, pa.array(list(own), pa.string())))


def _owners(rows: pa.Table) -> pa.ChunkedArray:
    """The cell and the configuration's hash of each row, in one text."""
    return pc.binary_join_element_wise(rows["cell"], rows["config_hash"], "\n")


def _batches(tables: Iterable[pa.Table], most: int) -> Iterator[pa.Table]:
    """Tables put together up to `most` rows; none is cut, so rows of one cell stay in one file."""
    batch: list[pa.Table] = []
    room = most
    for table in tables:
        if batch and len(table) > room:
            yield pa.concat_tables(batch)
            batch, room = [], most
        batch += [table] * bool(len(table))
        room -= len(table)
    if batch:
        yield pa.concat_tables(batch)
