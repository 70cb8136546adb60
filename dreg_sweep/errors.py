"""The one exception that means "the user can mend this"."""

from collections.abc import Iterable


class UserError(Exception):
    """A mistake in what the user asked for or supplied: a level, a value, a file.

    The message is one line that names the mistake, where it is, and the valid choices or the remedy.
    Every command prints it without a traceback and exits with code 2.
    """


def unknown_level(factor: str, level: object, levels: Iterable[object]) -> UserError:
    """`UserError` for a level that a factor does not have, listing those it has (an iterable of names)."""
    names = ", ".join(sorted(str(name) for name in levels))
    return UserError(f"{factor}={level} is unknown; choose one of: {names}")
