"""Shared by all tests: the arithmetic of a slot."""

import os

import pytest

from dreg_sweep.launch.slots import ARITHMETIC

os.environ.update(ARITHMETIC)  # before torch or numpy is imported


@pytest.fixture(scope="session")
def single_thread():
    """torch on one thread: what guarantee 1 speaks of."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture
def store(tmp_path):
    """The store of an empty results folder."""
    from dreg_sweep.store import Store

    made = Store(tmp_path / "results")
    made.create()
    return made
