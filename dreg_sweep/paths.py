"""Paths as users type them."""

from pathlib import Path

from dreg_sweep.errors import UserError


def expanded(text: str, key: str) -> Path:
    """A path with the home folder in the place of `~` or `~name`.

    Args:
        text: the path as typed.
        key: the configuration key that it is the value of, for the message.

    Raises:
        UserError: there is no such user.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise UserError(
            f"{key}={text}: {text.partition('/')[0]} has no home folder; give the whole path"
        ) from None
