"""A slot's process: takes stacks one after the other, trains each on one thread, stores its rows."""

import contextlib
import os
import signal
import threading
import time
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from dreg_sweep.activations import Fixed, get_activation, sliced
from dreg_sweep.augment import get_augmentation
from dreg_sweep.cells import Cell, RegularizerSpec
from dreg_sweep.data import DatasetSpec, Prepared, Split, load_prepared
from dreg_sweep.environment import environment, told_by
from dreg_sweep.errors import UserError
from dreg_sweep.launch.memory import peak_bytes, reset_peak
from dreg_sweep.launch.messages import (
    Broken,
    Check,
    Checked,
    Device,
    Finished,
    Inputs,
    Measure,
    Pilot,
    Piloted,
    Progress,
    Unwritable,
    Work,
)
from dreg_sweep.launch.splits import Splits
from dreg_sweep.launch.trial import own_file, try_penalties
from dreg_sweep.models import Network, build_network
from dreg_sweep.optimizers import get_optimizer
from dreg_sweep.precision import refuse_unfit_precision
from dreg_sweep.regularizers import Regularizer, get_regularizer, refuse_unfit
from dreg_sweep.rows import trained_rows
from dreg_sweep.schedules import get_schedule
from dreg_sweep.store import Store, StoreError
from dreg_sweep.train import CellPlan, Methods, predict_seconds, train_stack
from dreg_sweep.versions import source_digest

_DATASETS_IN_MEMORY = 2
_COPIES = {"cpu": 2, "cuda": 1}  # of a cell's training rows, in the memory that `peak_bytes` counts
_SOURCE = source_digest()  # as imported: a fork inherits it with the code


def serve(connection: Connection) -> None:
    """Answer messages until the runner closes the connection."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the runner's to handle
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_the_server, daemon=True).start()
    torch.set_num_threads(1)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    datasets, splits = _Datasets(), Splits()
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):  # the runner is gone
        while True:
            match connection.recv():
                case Check() as message:
                    connection.send(_check(message))
                case Pilot() as message:
                    connection.send(_pilot(message, datasets, splits))
                case Work() as message:
                    connection.send(_work(message, datasets, splits, connection))


def _end_with_the_server() -> None:
    """A killed runner takes its fork server along, and that must take this worker, whatever it is at."""
    server = os.getppid()
    while os.getppid() == server:
        time.sleep(1.0)
    os._exit(1)


class _Datasets:
    """The prepared datasets last used, so that the stacks of one dataset read it once."""

    def __init__(self) -> None:
        self._kept: dict[str, Prepared] = {}

    def get(self, spec: DatasetSpec, data_dir: Path) -> Prepared:
        name = repr(spec)
        prepared = self._kept.pop(name, None) or load_prepared(spec, data_dir)
        self._kept[name] = prepared
        if len(self._kept) > _DATASETS_IN_MEMORY:
            self._kept.pop(next(iter(self._kept)))
        return prepared


def _check(message: Check) -> Checked:
    try:
        for cell, inputs in message.cells:
            check_cell(cell, inputs)
        for cell, inputs in _to_try(message.cells):
            try_cell(cell, inputs)
        devices = [] if message.device is None else find_devices(message.device)
        for precision in {cell.recipe.precision for cell, _ in message.cells} if devices else ():
            refuse_unfit_precision(precision, devices[0].kind)
    except UserError as mistake:
        return Checked(str(mistake))
    # A GPU has room for more cells than differ in seed and strength; on a CPU larger stacks gain nothing.
    on_gpu = any(device.kind == "cuda" for device in devices)
    names = {cell.activation for cell, _ in message.cells}
    return Checked(
        None,
        devices,
        {name for name in names if on_gpu and isinstance(get_activation(name), Fixed)},
        told_by(environment(devices[0].name, "float32"), None, None) if devices else None,
    )


def find_devices(device: str) -> list[Device]:
    """All GPUs that torch sees, for `cuda` or where `auto` finds some; else the CPU.

    torch sees what `CUDA_VISIBLE_DEVICES` lets it see. `UserError` for `cuda` where there is none.
    """
    if device != "cpu" and torch.cuda.is_available():
        count = torch.cuda.device_count()
        return [Device(f"cuda:{i}", torch.cuda.get_device_properties(i).total_memory) for i in range(count)]
    if device == "cuda":
        raise UserError("device=cuda, but torch finds no CUDA device here; choose cpu or auto")
    return [Device("cpu")]


def check_cell(cell: Cell, inputs: Inputs | None) -> None:
    """`UserError` where the code has no such level or option, or they do not fit together.

    Looks at names and options, and at what the inputs ask for where that is known.
    """
    activation = get_activation(cell.activation)
    methods = _named_methods(cell.regularizer)
    if inputs is not None:
        network = build_network(cell.model.name, inputs.shape, inputs.n_outputs, activation, cell.model.options)
        named = {name: method for name, (method, _) in methods.items()}
        refuse_unfit(named, network, cell.model.name, inputs.task, cell.dataset.name)
        get_augmentation(cell.recipe.augmentation.name, cell.recipe.augmentation.options, inputs.shape)
    optimizer = cell.recipe.optimizer
    get_optimizer(optimizer.name, [torch.zeros(1)], optimizer.options)
    get_schedule(cell.recipe.schedule.name, cell.recipe.schedule.options)(0, 1)


def _to_try(cells: Sequence[tuple[Cell, Inputs | None]]) -> Iterable[tuple[Cell, Inputs]]:
    """Of the cells with a regularizer that has a file of its own, one a method, activation, model and inputs."""
    distinct: dict[str, tuple[Cell, Inputs]] = {}
    for cell, inputs in cells:
        if inputs is not None and any(own_file(name) for name in cell.regularizer.names):
            method = replace(cell.regularizer, strength=0.0)
            distinct.setdefault(repr((method, cell.activation, cell.model, inputs)), (cell, inputs))
    return distinct.values()


def try_cell(cell: Cell, inputs: Inputs) -> None:
    """`UserError` where a penalty of the cell, which `check_cell` has let pass, cannot be trained with."""
    activation = get_activation(cell.activation)
    network = build_network(cell.model.name, inputs.shape, inputs.n_outputs, activation, cell.model.options)
    rows = min(cell.recipe.batch_size, cell.train_size or cell.recipe.batch_size)
    try_penalties(_named_methods(cell.regularizer), network, inputs, rows)


def _work(
    work: Work, datasets: _Datasets, splits: Splits, connection: Connection
) -> Finished | Broken | Unwritable:
    if work.source != _SOURCE:  # of a server that had to be started anew
        return Unwritable("the code was edited since the sweep began; new workers would run other code")
    try:
        _use(work.device)
        statuses = run_stack(work, datasets, splits, connection)
        return Finished(statuses, peak_bytes(work.device))
    except StoreError as error:
        return Unwritable(str(error))
    except BrokenPipeError:  # the runner is gone
        raise
    except Exception as error:
        return Broken(traceback.format_exc(), isinstance(error, torch.OutOfMemoryError))


def _use(device: str) -> None:
    """Begin a stack on this device."""
    if device != "cpu":
        torch.cuda.set_device(device)
    reset_peak(device)


@dataclass(frozen=True)
class _Assembled:
    """What `train_stack` needs for some cells."""

    prepared: Prepared
    network: Network
    methods: Methods
    plans: Sequence[CellPlan]


def _assemble(
    cells: Sequence[Cell], data_dir: Path, datasets: _Datasets, splits: Splits | None = None
) -> _Assembled:
    """`splits`: where those of earlier stacks are kept."""
    prepared = datasets.get(cells[0].dataset, data_dir)
    return _on_splits(cells, prepared, (splits or Splits()).of(cells, prepared, data_dir))


def _on_splits(cells: Sequence[Cell], prepared: Prepared, splits: Sequence[Split]) -> _Assembled:
    """One split a cell."""
    spec, split = cells[0].model, splits[0]
    activation = sliced([get_activation(cell.activation) for cell in cells])
    network = build_network(spec.name, split.input_shape, split.n_outputs, activation, spec.options)
    plans = [
        CellPlan(cell.regularizer.strength, cell.streams, own) for cell, own in zip(cells, splits, strict=True)
    ]
    return _Assembled(prepared, network, _methods(cells[0].regularizer), plans)


def _methods(spec: RegularizerSpec) -> Methods:
    """`UserError` for a method, strength or option that the code does not have."""
    others = [
        (get_regularizer(other.name, other.strength, other.options, f"{key}.{other.name}"), other.strength)
        for key, added in (("regularizer.also", spec.also), ("always", spec.always))
        for other in added
    ]
    return Methods(get_regularizer(spec.name, spec.strength, spec.options), others)


def _named_methods(spec: RegularizerSpec) -> dict[str, tuple[Regularizer, float]]:
    """Name → method and strength of all that regularizes a cell."""
    methods = _methods(spec)
    return dict(zip(spec.names, [(methods.studied, spec.strength), *methods.others], strict=True))


def run_stack(work: Work, datasets: _Datasets, splits: Splits, connection: Connection) -> Sequence[str]:
    """Train, evaluate and store one stack; the status of each cell."""
    stack = _assemble(work.cells, work.data_dir, datasets, splits)
    outcomes = train_stack(
        stack.network,
        stack.methods,
        work.cells[0].recipe,
        stack.plans,
        torch.device(work.device),
        lambda fraction: connection.send(Progress(fraction)),
        work.cuda_graphs,
    )
    provenance = {
        "device": device_name(work.device),
        "data_fingerprint": stack.prepared.fingerprint,
        "code_version": work.code_version,
        "torch_version": torch.__version__,
        "environment": environment(work.device, work.cells[0].recipe.precision),
    }
    rows = trained_rows(work.cells, outcomes, [plan.split for plan in stack.plans], provenance)
    for row, fingerprint in zip(rows.cells, work.code_fingerprints, strict=True):
        row["code_fingerprint"] = fingerprint
    Store(work.results_dir).write_stack(work.sequence, rows)
    return [outcome.status for outcome in outcomes]


def _pilot(message: Pilot, datasets: _Datasets, splits: Splits) -> Piloted:
    measures: list[Measure] = []
    device, recipe = torch.device(message.device), message.cells[0].recipe
    with contextlib.suppress(Exception):  # training will meet it again, and store it
        first = _assemble(message.cells[:1], message.data_dir, datasets, splits)
        # One split serves all cells: encoding texts takes longer than a pilot, and can wait until they train.
        (split,) = (plan.split for plan in first.plans)
        # A network that does not stack there is trained cell by cell, whatever the size.
        for size in message.sizes if first.network.stacks_on(device.type) else [1]:
            _use(message.device)
            stack = _on_splits(message.cells[:size], first.prepared, [split] * size)
            seconds = predict_seconds(
                stack.network, stack.methods, recipe, stack.plans, device, message.cuda_graphs
            )
            others = 0 if message.cells[0].train_size is None else (size - 1) * split.x_train.nbytes
            measures.append(Measure(size, seconds, peak_bytes(message.device) + _COPIES[device.type] * others))
    return Piloted(measures)


def device_name(device: str) -> str:
    """`cpu`, or `cuda` with the card's name."""
    return "cpu" if device == "cpu" else f"cuda ({torch.cuda.get_device_name(device)})"
