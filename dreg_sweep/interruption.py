"""SIGINT, SIGTERM and SIGHUP as one exception, from the start of a command to its end."""

import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_AGAIN = 0.5  # seconds


class Interrupted(BaseException):
    """A signal asked the command to end. Like KeyboardInterrupt it is no error that anything may handle."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextmanager
def signals_interrupt() -> Iterator[None]:
    """Within the block the first SIGINT, SIGTERM or SIGHUP raises `Interrupted`; later ones are ignored.

    Some libraries catch whatever is raised while they are imported, and go on or raise something else. So an
    exception that nobody is handling any more is raised again, and whatever leaves the block after a signal is
    `Interrupted`. A SIGHUP that is ignored already (by nohup) stays so.
    """
    received: list[int] = []
    asked = [signal.SIGINT, signal.SIGTERM]
    asked += [signal.SIGHUP] * (signal.getsignal(signal.SIGHUP) != signal.SIG_IGN)

    def interrupt(number: int, frame: FrameType | None) -> None:
        received.append(number)
        for handled in asked:
            signal.signal(handled, signal.SIG_IGN)
        signal.signal(signal.SIGALRM, lambda *_: _raise_unless_handled(number))
        signal.setitimer(signal.ITIMER_REAL, _AGAIN, _AGAIN)
        raise Interrupted(number)

    for handled in asked:
        signal.signal(handled, interrupt)
    try:
        yield
    except Interrupted:
        raise
    except BaseException as error:
        if received:
            raise Interrupted(received[0]) from error
        raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _raise_unless_handled(number: int) -> None:
    """`Interrupted`, unless one is under way: what is being handled is that one, or came up meanwhile."""
    error = sys.exception()
    while error is not None:
        if isinstance(error, Interrupted):
            return
        error = error.__context__
    raise Interrupted(number)


def to_go_on() -> str:
    """What to type to resume: the command as it was given."""
    return f"to go on: {shlex.join(['dreg-sweep', *sys.argv[1:]])}"
