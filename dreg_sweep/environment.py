"""What a row was computed with: bits may differ between two environments, and means by chance."""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path


def environment(device: str, precision: str) -> str:
    """The environment of this process as one line; imports torch.

    Args:
        device: a torch device, such as `cpu` or `cuda:0`.
        precision: of matrix products, see `dreg_sweep.precision`.

    Returns:
        torch's version, the kind of device, and what decides the last bits there: on a CPU the vendor, the vector
        unit that torch uses and MKL_CBWR, on a GPU the card and CUDA's version; and the precision. For example
        `torch 2.14.1, cpu, GenuineIntel AVX512, MKL_CBWR=AUTO,STRICT, float32`.
    """
    import torch

    start = f"torch {torch.__version__.partition('+')[0]}"
    if device != "cpu":
        card = torch.cuda.get_device_name(device)
        return f"{start}, cuda ({card}), CUDA {torch.version.cuda}, {precision}"
    unit = torch.backends.cpu.get_cpu_capability()
    cbwr = os.environ.get("MKL_CBWR") or "unset"
    return f"{start}, cpu, {_vendor()} {unit}, MKL_CBWR={cbwr}, {precision}"


def _vendor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        import platform

        return platform.processor() or platform.machine() or "unknown processor"
    named = (line.partition(":")[2].strip() for line in lines if line.startswith(("vendor_id", "CPU implementer")))
    return next(named, "unknown processor")


def told_by(environment: str | None, torch_version: str | None, device: str | None) -> str | None:
    """What a row says of its environment, without the precision, which is a part of the cell's configuration.

    Rows of before name torch and the device only; None where nothing is said.
    """
    if environment is not None:
        return environment.rpartition(", ")[0]
    return None if torch_version is None else f"torch {torch_version.partition('+')[0]}, {device or 'cpu'}"


def tell_apart(environments: Iterable[str | None]) -> dict[str | None, str]:
    """The environments of some rows, those that are not known to differ as one.

    Args:
        environments: one a row, as `told_by` gives them.

    Returns:
        Each distinct one → the environment that it counts as. `torch 2.14.1, cpu` counts as the most frequent one
        that begins so, since it says less and nothing else; what is not known counts as the most frequent of all.
    """
    counts = Counter(environments)
    known = sorted((one for one in counts if one is not None), key=lambda one: -counts[one])
    full = [one for one in known if not any(other != one and other.startswith(f"{one},") for other in known)]
    same: dict[str | None, str] = {}
    for one in counts:
        begins = full if one is None else [other for other in full if other == one or other.startswith(f"{one},")]
        same[one] = begins[0] if begins else "unknown"
    return same


def counted(environments: Sequence[str | None]) -> dict[str, int]:
    """How many rows are of each environment, the most frequent one first."""
    same = tell_apart(environments)
    return dict(Counter(same[one] for one in environments).most_common())


def alike(one: str | None, other: str | None) -> bool:
    """Whether two environments are not known to differ."""
    return len(set(tell_apart([one, other]).values())) == 1
