"""CUDA graphs without CUDA: a recorder that notes each operation of a step with the tensors it ran on."""

from contextlib import nullcontext
from unittest.mock import patch

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_WAITS = (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.is_nonzero.default)


def _refuse(*_):
    raise RuntimeError("operation not permitted when stream is capturing")


class _Notes(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func in _WAITS:
            _refuse()
        out = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, out))
        return out


class Recording:
    """Replays operations on the recorded tensors: what a step rebinds or computes in Python is not repeated.

    As on a GPU, a step that reads a number from a tensor cannot be recorded.
    """

    def __init__(self):
        self.aside_steps = self.replays = 0

    def aside(self):
        self.aside_steps += 1
        return nullcontext()

    def record(self, step, streams):
        notes = _Notes()
        waiting = [patch.object(torch.Tensor, name, _refuse) for name in ("tolist", "numpy")]
        before = [stream.get_state() for stream in streams]
        try:
            with waiting[0], waiting[1], notes:
                step()  # taken here, and so not by the first replay
        except RuntimeError:
            for stream, state in zip(streams, before, strict=True):
                stream.set_state(state)
            raise

        def replay():
            self.replays += 1
            if self.replays > 1:
                for call in notes.calls:
                    _again(*call)

        return replay


@torch.no_grad()
def _again(func, args, kwargs, out):
    new = func(*args, **kwargs)
    if any(returned.alias_info is not None for returned in func._schema.returns):
        return  # a view, or changed in place
    for ours, theirs in zip(tree_leaves(out), tree_leaves(new), strict=True):
        if isinstance(ours, torch.Tensor):
            ours.copy_(theirs)
