"""Shared by all tests: one thread, as in a slot."""

import os

import pytest

for _variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_variable] = "1"  # before torch or numpy is imported


@pytest.fixture(scope="session")
def single_thread():
    """torch on one thread: what guarantee 1 speaks of."""
    import torch

    torch.set_num_threads(1)
