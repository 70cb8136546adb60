"""What decides the last bits of a cell beside its configuration: the processor and the libraries.

A results folder that is published has them in its `made_on.json`:

    processor                   name, family, model and vector instructions: AMD EPYC, family 26, model 2, AVX512
    python                      version
    torch, numpy, scipy, ...    versions of the libraries that draw, transform or multiply numbers
    command                     that made the folder's rows
    minutes                     from Enter to the last row
    analysis                    further options of the dreg-analyze that made its tables: ["--metric", "clean"]
    older_engine                true where the engine had other numbers when rows did not name its version yet
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.machine import cpu_model

from dreg_sweep.errors import UserError

FILE = "made_on.json"
LIBRARIES = ("torch", "numpy", "scipy", "scikit-learn")


@dataclass(frozen=True)
class Machine:
    """Equal for two machines that give a cell the same bits. libraries: name → version."""

    processor: str
    libraries: Mapping[str, str]

    def differences(self, other: "Machine") -> list[str]:
        """What differs in the other one, as `torch 2.15.0 here, 2.14.1 there`."""
        ours, theirs = ({"processor": one.processor, **one.libraries} for one in (self, other))
        return [f"{what} {ours[what]} here, {theirs[what]} there" for what in ours if ours[what] != theirs[what]]


@dataclass(frozen=True)
class MadeOn:
    """The record of a published results folder."""

    machine: Machine
    python: str
    command: str
    minutes: float
    analysis: list[str] = field(default_factory=list)
    older_engine: bool = False


def this_machine() -> Machine:
    """The one that this process runs on, with the libraries it would import."""
    import torch

    libraries = {name: version(name) for name in LIBRARIES} | {"torch": torch.__version__}
    return Machine(_processor(torch.backends.cpu.get_cpu_capability()), libraries)


def _processor(instructions: str) -> str:
    """Two processors may share a name: family and model tell them apart, where the system gives them."""
    info = Path("/proc/cpuinfo")
    pairs = [line.partition(":") for line in info.read_text().splitlines()] if info.exists() else []
    first: dict[str, str] = {}
    for name, _, value in pairs:
        first.setdefault(name.strip(), value.strip())
    numbers = [
        f"{word} {first[key]}" for word, key in (("family", "cpu family"), ("model", "model")) if key in first
    ]
    return ", ".join([cpu_model(), *numbers, instructions])


def write(folder: Path, record: MadeOn) -> Path:
    """Write the record of a results folder; its path."""
    rest = {name: value for name, value in asdict(record).items() if name not in ("machine", "older_engine")}
    flat = {"processor": record.machine.processor, "python": record.python, **record.machine.libraries, **rest}
    path = folder / FILE
    path.write_text(json.dumps(flat, indent=2, ensure_ascii=False) + "\n")
    return path


def read(folder: Path) -> MadeOn | None:
    """The record of a results folder, None where it has none. Errors: `UserError` for a file that is none."""
    path = folder / FILE
    if not path.exists():
        return None
    try:
        found: dict[str, Any] = json.loads(path.read_text())
        machine = Machine(found["processor"], {name: found[name] for name in LIBRARIES})
        rest = {name: found[name] for name in ("python", "command", "minutes", "analysis")}
        return MadeOn(machine, **rest, older_engine=bool(found.get("older_engine", False)))
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path} is no record of scripts/made_on.py ({type(error).__name__}: {error})") from None
