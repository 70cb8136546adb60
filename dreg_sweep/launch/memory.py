"""Memory of slots: the peak of a stack, and how many slots a GPU can hold."""

import contextlib
import resource
import sys
from pathlib import Path

CUDA_CONTEXT = 600 * 2**20  # bytes that a process takes on a GPU beside its tensors (kernels, cuBLAS workspaces)
SHARE = 0.85  # of a GPU's memory that slots may plan with; another program's needs are not known
SLOTS_PER_GPU = 4  # more do not help: the GPU is busy, and each costs a process


def reset_peak(device: str) -> None:
    """Begin counting anew. On a CPU it is the kernel that counts; where it cannot begin anew, it goes on."""
    if device == "cpu":
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
        return
    import torch

    torch.cuda.empty_cache()  # what earlier stacks have left reserved
    torch.cuda.reset_peak_memory_stats(device)


def peak_bytes(device: str) -> int:
    """The most this process has held since `reset_peak`: what torch reserved on a GPU, else resident memory."""
    if device != "cpu":
        import torch

        return torch.cuda.max_memory_reserved(device) + CUDA_CONTEXT
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def slots_per_gpu(memory: int, peak: int, cores: int, gpus: int) -> int:
    """How many slots share a GPU of so many bytes, where a slot's stacks need `peak` bytes at most.

    At least one, at most `SLOTS_PER_GPU`, and no more than there are CPU cores to drive them.
    """
    fit = int(memory * SHARE) // peak if peak else 1
    return max(1, min(fit, SLOTS_PER_GPU, cores // gpus))
