"""Hydra's and OmegaConf's many-line errors as one line that names the mistake and the choices."""

import re
import shlex
import traceback
from pathlib import Path

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from yaml import MarkedYAMLError

from dreg_sweep.errors import unknown_level


def composition_mistake(error: Exception) -> str | None:
    """The one line for an error of composing a configuration; None for an error that is none of the user's."""
    if isinstance(error, MissingConfigException) and error.options:
        group, _, level = str(error.missing_cfg_file).rpartition("/")
        hint = _lacks_its_conf(level) if group == "regularizer" else ""
        return f"{unknown_level(group, level, error.options)}{hint}"
    if isinstance(error, MarkedYAMLError) and error.problem_mark is not None:
        return f"{error.problem_mark.name}, line {error.problem_mark.line + 1}: {error.problem}"
    if not isinstance(error, HydraException | OmegaConfBaseException):
        return _bare_refusal(error)
    if isinstance(error, OverrideParseException):
        return f"{error.override} cannot be read: {_quoted(error.override) or _first_line(error)}"
    if "Ambiguous value" in str(error):
        return f"{_first_line(error)}; add -m to sweep over the values"
    key_error = _deepest(error)
    if isinstance(key_error, OmegaConfBaseException) and isinstance(key_error.parent_node, DictConfig):
        if "not in struct" in str(key_error):
            keys = ", ".join(str(key) for key in key_error.parent_node if key != "hydra") or "none"
            return (
                f"{key_error.full_key} is not a key of the configuration; the keys there: {keys}{_hint(key_error)}"
            )
        return f"{key_error.full_key}: {_first_line(key_error)}"
    return _first_line(error)


_PATH = re.compile(r"""([\w.+]*(?:_dir|\.path))=([^="'\[\]{}(),$\\][^"'\[\]{}(),$\\]*)""")


def _quoted(override: str) -> str:
    """How to write a path with characters that Hydra reads only in quotes; empty for what is no plain path."""
    path = _PATH.fullmatch(override)
    if not path:
        return ""
    quoted = f'{path[1]}="{path[2]}"'
    return f"put the path in two pairs of quotes: {shlex.quote(quoted)}"


def _lacks_its_conf(level: str) -> str:
    """What is missing where a level has its function and no file in conf/."""
    own = Path(__file__).parent / "regularizers" / f"{level}.py"
    if not own.is_file() or "\nREGULARIZER" not in own.read_text(encoding="utf-8"):
        return ""
    return f"; dreg_sweep/regularizers/{level}.py lacks its conf/regularizer/{level}.yaml"


def _hint(error: OmegaConfBaseException) -> str:
    """What to write where the configuration takes new keys."""
    group = str(error.full_key).partition(".")[0]
    return f"; write +{error.full_key}=… to add one" if group in ("always", "strengths") else ""


def _bare_refusal(error: Exception) -> str | None:
    """Hydra refuses some commands (`regularizer=null`, `-m --cfg job`) with a bare ValueError."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    module = frame.f_globals.get("__name__", "")
    if not isinstance(error, ValueError) or module.split(".")[0] not in ("hydra", "omegaconf"):
        return None
    hint = "a group takes a level, as in regularizer=dreg: " if "group override" in str(error) else ""
    return hint + _first_line(error)


def _deepest(error: BaseException) -> BaseException:
    while (cause := error.__cause__) and isinstance(cause, OmegaConfBaseException | HydraException):
        error = cause
    return error


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
