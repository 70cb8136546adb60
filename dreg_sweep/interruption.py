"""SIGINT, SIGTERM and SIGHUP as one exception, from the start of a command to its end."""

import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(BaseException):
    """A signal asked the command to end. Like KeyboardInterrupt it is no error that anything may handle."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextmanager
def signals_interrupt() -> Iterator[None]:
    """Within the block the first SIGINT, SIGTERM or SIGHUP raises `Interrupted`; later ones are ignored.

    A SIGHUP that is ignored already (by nohup) stays so.
    """
    asked = [signal.SIGINT, signal.SIGTERM]
    asked += [signal.SIGHUP] * (signal.getsignal(signal.SIGHUP) != signal.SIG_IGN)

    def interrupt(number: int, frame: FrameType | None) -> None:
        for handled in asked:
            signal.signal(handled, signal.SIG_IGN)
        raise Interrupted(number)

    for handled in asked:
        signal.signal(handled, interrupt)
    yield


def to_go_on() -> str:
    """What to type to resume: the command as it was given."""
    return f"to go on: {shlex.join(['dreg-sweep', *sys.argv[1:]])}"
