"""CUDA graphs: a training step recorded once and then replayed, without Python and without waiting for the device.

A replay runs the recorded kernels on the recorded memory. A step that is to be replayed therefore keeps whatever
lasts from step to step in tensors that it changes in place, and asks the device for no number.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import cache
from typing import Protocol

import torch

Step = Callable[[], None]

# Steps taken one by one before one is recorded: they make the optimizer's state, choose kernels and fill caches.
WARM_UP = 3


class Recorder(Protocol):
    """Records steps of one device."""

    def aside(self) -> AbstractContextManager[None]:
        """Where steps run before one is recorded."""

    def record(self, step: Step, streams: Sequence[torch.Generator]) -> Step:
        """What replays the step, which is recorded and not taken. streams: all generators that it draws from.

        After an error everything stands as it did before.
        """


class Steps:
    """Takes the steps of one stack: the first ones as they are, the others as replays.

    Where a step cannot be recorded the steps go on as they are, from where they stand, and `say` hears why.
    """

    def __init__(
        self,
        recorder: Recorder | None,
        streams: Sequence[torch.Generator],
        say: Callable[[str], None],
    ) -> None:
        self._recorder, self._streams, self._say = recorder, streams, say
        self._taken = 0
        self._replay: Step | None = None

    def take(self, step: Step) -> None:
        """One more step. It is the same function every time, and not kept: its object may own this one."""
        if self._recorder is not None and self._replay is None:
            if self._taken < WARM_UP:
                with self._recorder.aside():
                    step()
                self._taken += 1
                return
            self._record(self._recorder, step)
        (self._replay or step)()

    def _record(self, recorder: Recorder, step: Step) -> None:
        try:
            self._replay = recorder.record(step, self._streams)
        except Exception as error:  # any: an operation that waits, or that the library cannot record
            self._recorder = None
            self._say(f"steps are taken without a CUDA graph: {_first_cause(error)}")


class CudaGraphs:
    """Records on a stream of its own."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._stream = device, _side_stream(device)

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """The stream that later records: libraries keep their workspaces by stream."""
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            yield
        current.wait_stream(self._stream)

    def record(self, step: Step, streams: Sequence[torch.Generator]) -> Step:
        """See `Recorder`. A replay draws from the streams what the step would have drawn."""
        graph = torch.cuda.CUDAGraph()
        before = [stream.clone_state() for stream in streams]
        for stream in streams:
            graph.register_generator_state(stream)
        try:
            # The outer block brings the current stream back where an aborted recording does not.
            with (
                torch.cuda.stream(torch.cuda.current_stream(self._device)),
                torch.cuda.graph(graph, stream=self._stream),
            ):
                step()
        except BaseException:
            for stream, state in zip(streams, before, strict=True):  # theirs believe that they are recorded
                stream.graphsafe_set_state(state)
            raise
        return graph.replay


@cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    """One a device and process: the matrix library keeps a workspace for each stream it has seen."""
    return torch.cuda.Stream(device)


def recorder_of(device: torch.device) -> Recorder | None:
    """What records on this device; None where there is nothing to gain, as on a CPU."""
    return CudaGraphs(device) if device.type == "cuda" else None


@cache
def say_once(line: str) -> None:
    """Each line once a process, on standard error."""
    print(line, file=sys.stderr, flush=True)


def _first_cause(error: BaseException) -> str:
    """One line of the error that came first: ending an aborted recording raises another."""
    while error.__context__ is not None:
        error = error.__context__
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
