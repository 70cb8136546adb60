"""A slot's process: takes stacks one after the other, trains each on one thread, stores its rows."""

import contextlib
import os
import signal
import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from dreg_sweep.activations import get_activation
from dreg_sweep.augment import get_augmentation
from dreg_sweep.cells import Cell, RegularizerSpec
from dreg_sweep.data import DatasetSpec, Prepared, Split, load_prepared, make_split
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
from dreg_sweep.models import Network, build_network
from dreg_sweep.optimizers import get_optimizer
from dreg_sweep.provenance import source_digest
from dreg_sweep.regularizers import get_regularizer, refuse_unfit
from dreg_sweep.rows import trained_rows
from dreg_sweep.schedules import get_schedule
from dreg_sweep.store import Store, StoreError
from dreg_sweep.train import CellPlan, Methods, predict_seconds, train_stack

_DATASETS_IN_MEMORY = 2
_SOURCE = source_digest()  # as imported: a fork inherits it with the code


def serve(connection: Connection) -> None:
    """Answer messages until the runner closes the connection."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the runner's to handle
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_the_server, daemon=True).start()
    torch.set_num_threads(1)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    datasets = _Datasets()
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):  # the runner is gone
        while True:
            match connection.recv():
                case Check() as message:
                    connection.send(_check(message))
                case Pilot() as message:
                    connection.send(_pilot(message, datasets))
                case Work() as message:
                    connection.send(_work(message, datasets, connection))


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
        return Checked(None, [] if message.device is None else find_devices(message.device))
    except UserError as mistake:
        return Checked(str(mistake), [])


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
    methods = _methods(cell.regularizer)
    if inputs is not None:
        network = build_network(cell.model.name, inputs.shape, inputs.n_outputs, activation, cell.model.options)
        named = dict(zip(cell.regularizer.names, [methods.studied, *(m for m, _ in methods.others)], strict=True))
        refuse_unfit(named, network, cell.model.name, inputs.task, cell.dataset.name)
        get_augmentation(cell.recipe.augmentation.name, cell.recipe.augmentation.options, inputs.shape)
    optimizer = cell.recipe.optimizer
    get_optimizer(optimizer.name, [torch.zeros(1)], optimizer.options)
    get_schedule(cell.recipe.schedule.name, cell.recipe.schedule.options)(0, 1)


def _work(work: Work, datasets: _Datasets, connection: Connection) -> Finished | Broken | Unwritable:
    if work.source != _SOURCE:  # of a server that had to be started anew
        return Unwritable(
            "the code was edited since the sweep began, and new workers would run what rows do not say"
        )
    try:
        _use(work.device)
        statuses = run_stack(work, datasets, connection)
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


def _assemble(cells: Sequence[Cell], data_dir: Path, datasets: _Datasets) -> _Assembled:
    first = cells[0]
    prepared = datasets.get(first.dataset, data_dir)
    splits: dict[int | None, Split] = {}
    plans = []
    for cell in cells:
        drawn_by = None if cell.train_size is None else cell.seed  # all rows: one split for every seed
        if drawn_by not in splits:
            splits[drawn_by] = make_split(
                prepared, cell.train_size, cell.seed, cell.evaluate_on, cell.noise, data_dir / "features"
            )
        plans.append(CellPlan(cell.regularizer.strength, cell.streams, splits[drawn_by]))
    activation = get_activation(first.activation)
    split = plans[0].split
    network = build_network(first.model.name, split.input_shape, split.n_outputs, activation, first.model.options)
    return _Assembled(prepared, network, _methods(first.regularizer), plans)


def _methods(spec: RegularizerSpec) -> Methods:
    """`UserError` for a method, strength or option that the code does not have."""
    others = [
        (get_regularizer(other.name, other.strength, other.options, f"{key}.{other.name}"), other.strength)
        for key, added in (("regularizer.also", spec.also), ("always", spec.always))
        for other in added
    ]
    return Methods(get_regularizer(spec.name, spec.strength, spec.options), others)


def run_stack(work: Work, datasets: _Datasets, connection: Connection) -> Sequence[str]:
    """Train, evaluate and store one stack; the status of each cell."""
    stack = _assemble(work.cells, work.data_dir, datasets)
    outcomes = train_stack(
        stack.network,
        stack.methods,
        work.cells[0].recipe,
        stack.plans,
        torch.device(work.device),
        lambda fraction: connection.send(Progress(fraction)),
    )
    provenance = {
        "device": device_name(work.device),
        "data_fingerprint": stack.prepared.fingerprint,
        "code_version": work.code_version,
        "code_fingerprint": work.code_fingerprint,
        "torch_version": torch.__version__,
    }
    splits = [plan.split for plan in stack.plans]
    Store(work.results_dir).write_stack(work.sequence, trained_rows(work.cells, outcomes, splits, provenance))
    return [outcome.status for outcome in outcomes]


def _pilot(message: Pilot, datasets: _Datasets) -> Piloted:
    measures: list[Measure] = []
    try:
        device, recipe = torch.device(message.device), message.cells[0].recipe
        for size in message.sizes:
            _use(message.device)
            stack = _assemble(message.cells[:size], message.data_dir, datasets)
            alone = not stack.network.stacks_on(device.type)
            if alone:
                size, stack = 1, _assemble(message.cells[:1], message.data_dir, datasets)
            seconds = predict_seconds(stack.network, stack.methods, recipe, stack.plans, device)
            measures.append(Measure(size, seconds, peak_bytes(message.device)))
            if alone:
                break
    except Exception:  # training will meet it again, and store it
        return Piloted(measures)
    return Piloted(measures)


def device_name(device: str) -> str:
    """`cpu`, or `cuda` with the card's name."""
    return "cpu" if device == "cpu" else f"cuda ({torch.cuda.get_device_name(device)})"
