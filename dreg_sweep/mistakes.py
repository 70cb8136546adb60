"""Hydra's and OmegaConf's many-line errors as one line that names the mistake and the choices."""

import re

from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from dreg_sweep.errors import unknown_level


def composition_mistake(error: Exception) -> str:
    """The one line for an error of composing a configuration."""
    if isinstance(error, MissingConfigException) and error.options:
        group, _, level = str(error.missing_cfg_file).rpartition("/")
        return str(unknown_level(group, level, error.options))
    key_error = _deepest(error)
    if isinstance(key_error, OmegaConfBaseException) and isinstance(key_error.parent_node, DictConfig):
        if "not in struct" in str(key_error):
            keys = ", ".join(str(key) for key in key_error.parent_node)
            return f"{key_error.full_key} is not a key of the configuration; the keys there: {keys}"
        return f"{key_error.full_key}: {_first_line(key_error)}"
    return _first_line(error)


def _deepest(error: BaseException) -> BaseException:
    while (cause := error.__cause__) and isinstance(cause, OmegaConfBaseException | HydraException):
        error = cause
    return error


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = " ".join(lines[:2]) if lines else type(error).__name__
    return re.sub(r"\s+", " ", text)
