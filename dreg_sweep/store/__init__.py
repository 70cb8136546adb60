"""The results folder: parquet files, who works in them, and how they are joined."""

from dreg_sweep.store.files import StoreError
from dreg_sweep.store.folder import parquet_files
from dreg_sweep.store.results import StackRows, Store, StoredCell

__all__ = ["StackRows", "Store", "StoreError", "StoredCell", "parquet_files"]
