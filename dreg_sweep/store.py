"""The parquet truth on disk: what a results folder holds, read whole and written one stack at a time.

    cells/    one row a cell             noise/    one row a cell × severity
    history/  one row a cell × epoch     grid.parquet   the declared cells

Every file appears at once and complete: written under a dot name, flushed to the disk, renamed. A stack's
noise/ and history/ files are renamed before its cells/ file, so a row in cells/ has all that belongs to it.
File names are `<sequence>-<digest>.parquet`; of two rows for one cell the higher sequence number counts.
"""

import contextlib
import fcntl
import hashlib
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dreg_sweep.errors import UserError

CELLS_SCHEMA = pa.schema(
    [
        ("cell", pa.string()),
        ("config_hash", pa.string()),
        ("activation", pa.string()),
        ("regularizer", pa.string()),
        ("strength", pa.float64()),
        ("dataset", pa.string()),
        ("modality", pa.string()),
        ("regime", pa.string()),
        ("seed", pa.int64()),
        ("model", pa.string()),
        ("train_size", pa.int64()),
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
        ("evaluated_on", pa.string()),
        ("data_fingerprint", pa.string()),
        ("code_version", pa.string()),
        ("torch_version", pa.string()),
        ("error", pa.string()),
        ("config", pa.string()),
    ]
)
_FACTORS = ("activation", "regularizer", "strength", "dataset", "seed", "train_size")
NOISE_SCHEMA = pa.schema(
    [CELLS_SCHEMA.field(name) for name in ("cell", "config_hash", *_FACTORS)]
    + [
        pa.field("corruption", pa.string()),
        pa.field("severity", pa.float64()),
        pa.field("n_test", pa.int64()),
        pa.field("correct", pa.int64()),
        pa.field("accuracy", pa.float64()),
    ]
)
HISTORY_SCHEMA = pa.schema(
    [CELLS_SCHEMA.field(name) for name in ("cell", "config_hash", *_FACTORS)]
    + [
        pa.field("epoch", pa.int64()),
        pa.field("step", pa.int64()),
        pa.field("loss", pa.float64()),
        pa.field("penalty", pa.float64()),
        pa.field("train_accuracy", pa.float64()),
        pa.field("input_gradient_mean", pa.float64()),
        pa.field("input_gradient_p99", pa.float64()),
        pa.field("tail_ratio", pa.float64()),
        pa.field("slope_sq", pa.list_(pa.float64())),  # one a hidden layer, input to output
    ]
)
GRID_SCHEMA = pa.schema(
    [
        CELLS_SCHEMA.field(name)
        for name in ("cell", "config_hash", *_FACTORS, "model", "data_fingerprint", "config")
    ]
)
_LOCK, _RUNNING = ".lock", ".running"
_INDEX_COLUMNS = ("cell", "config_hash", "status", "data_fingerprint", "error", "config")


@dataclass(frozen=True)
class StoredCell:
    """What the plan needs to know of a stored row; `error` is null but for failed cells."""

    config_hash: str
    status: str
    data_fingerprint: str | None
    error: str | None
    config: str


@dataclass(frozen=True)
class StackRows:
    """The rows of one trained stack, as mappings from column to value."""

    cells: list[dict[str, Any]]
    noise: list[dict[str, Any]]
    history: list[dict[str, Any]]


class StoreError(Exception):
    """The results folder cannot be written now (a full disk, a lost mount); the message is one line."""


class Store:
    """One results folder. Every method that writes raises `StoreError` where the disk refuses."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cells = folder / "cells"

    def create(self) -> None:
        """Make the folder writable or raise `UserError` saying why it is not."""
        try:
            for name in ("cells", "noise", "history"):
                (self.folder / name).mkdir(parents=True, exist_ok=True)
            probe = self.folder / ".writable"
            probe.touch()
            probe.unlink()
        except OSError as error:
            reason = error.strerror or str(error)
            raise UserError(f"results_dir={self.folder} cannot be written: {reason}; choose another") from None

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder for one runner; `UserError` naming the owner where another process has it.

        The kernel drops the lock with its process, however that ends.
        """
        with (self.folder / _LOCK).open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                file.seek(0)
                owner = file.read().strip() or "another process"
                raise UserError(
                    f"results_dir={self.folder} is in use by {owner}; wait or choose another"
                ) from None
            file.truncate(0)
            file.write(f"pid {os.getpid()} on {socket.gethostname()}")
            file.flush()
            for leftover in self.folder.glob("*/.*.parquet.*"):  # of writers that died half-way
                leftover.unlink(missing_ok=True)
            yield

    def mark_running(self, keys: Sequence[str]) -> None:
        """Say which cells the runner that holds the lock is training now."""
        temporary = self.folder / f"{_RUNNING}.{os.getpid()}"
        with _refusals(self.folder):
            temporary.write_text("\n".join(keys))
            temporary.replace(self.folder / _RUNNING)

    def running(self) -> set[str]:
        """The cells in training now: none where no runner holds the lock."""
        try:
            with (self.folder / _LOCK).open() as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            with contextlib.suppress(FileNotFoundError):
                return set((self.folder / _RUNNING).read_text().splitlines())
        except OSError:
            pass  # no lock file: nobody ever ran here
        return set()

    def index(self, set_aside: bool = False) -> tuple[dict[str, StoredCell], list[str]]:
        """The latest row of each cell key, and one line for each file that could not be read.

        `set_aside` moves such files out of cells/, which only the holder of the lock may do.
        """
        found: dict[str, StoredCell] = {}
        problems = []
        for path in cell_files(self.cells):
            try:
                table = pq.read_table(path, columns=list(_INDEX_COLUMNS)).select(_INDEX_COLUMNS)
            except (pa.ArrowException, OSError, KeyError, ValueError) as error:
                problem = f"{path} is not a readable cells file ({_first_line(error)}); its cells count as missing"
                problems.append(problem + (self._set_aside(path) if set_aside else ""))
                continue
            for row in table.to_pylist():
                key = row.pop("cell")
                found[key] = StoredCell(**row)
        return found, problems

    def _set_aside(self, path: Path) -> str:
        aside = self.folder / "set_aside"
        with _refusals(aside):
            aside.mkdir(exist_ok=True)
            path.rename(aside / path.name)
        return f"; moved to {aside}"

    def next_sequence(self) -> int:
        """A sequence number above all that stand in cells/."""
        return max((sequence_of(path) for path in cell_files(self.cells)), default=0) + 1

    def write_stack(self, sequence: int, rows: StackRows) -> None:
        """Store one stack: its noise and history first, its cells last."""
        digest = hashlib.sha256("\n".join(str(row["cell"]) for row in rows.cells).encode()).hexdigest()[:12]
        name = f"{sequence:08d}-{digest}.parquet"
        for folder, schema, part in (
            ("noise", NOISE_SCHEMA, rows.noise),
            ("history", HISTORY_SCHEMA, rows.history),
            ("cells", CELLS_SCHEMA, rows.cells),
        ):
            if part or folder == "cells":
                write_parquet(self.folder / folder / name, pa.Table.from_pylist(part, schema=schema))

    def compact(self) -> None:
        """Join the files of each folder into one that holds of every cell what belongs to its latest row.

        The joined files get the highest sequence number before the old ones go: stopped half-way, the folder
        holds some rows twice, and readers take the later ones. Files that cannot be read stay as they are.
        """
        name = f"{self.next_sequence():08d}-joined.parquet"
        current, _ = self.index()
        for folder, schema in (("noise", NOISE_SCHEMA), ("history", HISTORY_SCHEMA), ("cells", CELLS_SCHEMA)):
            tables: dict[Path, pa.Table] = {}
            for path in cell_files(self.folder / folder):
                with contextlib.suppress(pa.ArrowException, OSError):
                    if {"cell", "config_hash"} <= set(pq.read_schema(path).names):
                        tables[path] = pq.read_table(path, schema=schema)
            latest = {cell: path for path, table in tables.items() for cell in table["cell"].unique().to_pylist()}
            kept = []
            for path, table in tables.items():
                rows = zip(table["cell"].to_pylist(), table["config_hash"].to_pylist(), strict=True)
                belongs = [latest[cell] == path and _belongs(current.get(cell), of, folder) for cell, of in rows]
                kept.append(table.filter(pa.array(belongs, pa.bool_())))
            if len(tables) > 1 or [len(table) for table in tables.values()] != [len(table) for table in kept]:
                write_parquet(self.folder / folder / name, pa.concat_tables(kept))
                for path in tables:
                    path.unlink()

    def declare(self, cells: Sequence[Mapping[str, Any]]) -> None:
        """Add cells to the declared grid; a key declared before takes its new configuration."""
        declared: dict[str, Mapping[str, Any]] = {}
        with contextlib.suppress(UserError):  # an unreadable declaration is simply made anew
            declared = {row["cell"]: row for row in self.declared()}
        declared |= {row["cell"]: row for row in cells}
        table = pa.Table.from_pylist(list(declared.values()), schema=GRID_SCHEMA)
        write_parquet(self.folder / "grid.parquet", table)

    def declared(self) -> list[dict[str, Any]]:
        """The declared cells, rows of `GRID_SCHEMA`; empty where nothing was declared."""
        path = self.folder / "grid.parquet"
        try:
            return pq.read_table(path, schema=GRID_SCHEMA).to_pylist()
        except FileNotFoundError:
            return []
        except (pa.ArrowException, OSError) as error:
            raise UserError(
                f"{path} is not readable ({_first_line(error)}); remove it and rerun the sweep"
            ) from None


def _belongs(row: StoredCell | None, config_hash: str, folder: str) -> bool:
    """Whether a row of a folder was written with the cell's current row: a rerun may have left other ones."""
    if row is None or row.config_hash != config_hash:
        return False
    return row.status in {"noise": ("done",), "history": ("done", "diverged")}.get(folder, (row.status,))


def cell_files(folder: Path) -> list[Path]:
    """The parquet files of a cells/ folder in order of their sequence numbers; none where it does not exist."""
    paths = [path for path in folder.glob("*.parquet") if not path.name.startswith(".")]
    return sorted(paths, key=lambda path: (sequence_of(path), path.name))


def sequence_of(path: Path) -> int:
    """The sequence number in a file's name, 0 where it has none."""
    head = path.name.split("-", 1)[0]
    return int(head) if head.isdigit() else 0


def write_parquet(path: Path, table: pa.Table) -> None:
    """Write so that the file is either absent (or the old one) or whole, even when the power fails."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with _refusals(path):
        try:
            with temporary.open("wb") as file:
                pq.write_table(table, file, compression="zstd")
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _refusals(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror or _first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
