"""YAML as a claims file needs it: no key twice, numbers as on the command line, no depth or alias that runs away."""

import re
from typing import Any

from dreg_sweep.errors import UserError

DEPTH = 20  # nested lists and mappings; a claims file needs five
_NUMBER = re.compile(r"[-+]?(?:\d[\d_]*)(?:\.\d*)?[eE][-+]?\d+$|[-+]?\.\d+(?:[eE][-+]?\d+)?$")


def read_yaml(text: str, name: str) -> Any:
    """The content of a YAML text.

    Args:
        text: the whole file.
        name: what messages call it.

    Returns:
        Lists, dictionaries, texts, numbers, booleans and None.

    Raises:
        UserError: for what is no YAML, a key that stands twice, an alias, and deep nesting, with the line.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        """Refuses a key that stands twice, of which plain YAML takes the last without a word."""

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            seen: set[Any] = set()
            for key_node, _ in node.value:
                key = self.construct_object(key_node, deep=True)
                if isinstance(key, list | dict):
                    raise UserError(f"{name}, line {_line(key_node)}: a key must be a text, not {key!r:.40}")
                if key in seen:
                    raise UserError(
                        f"{name}, line {_line(key_node)}: the key {key} stands twice; leave one of them"
                    )
                seen.add(key)
            made: dict[Any, Any] = super().construct_mapping(node, deep)
            return made

    # YAML 1.1 takes 2e3 for a text, since it has no point.
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", _NUMBER, list("-+.0123456789"))
    try:
        _refuse_runaways(yaml.parse(text, Loader=Loader), name)
        return yaml.load(text, Loader=Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}" if mark else ""
        problem = " ".join(str(error.problem or error.context).split())
        raise UserError(f"{name}{where}: this is not valid YAML: {problem}") from None
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        raise UserError(f"{name} is not valid YAML: {' '.join(str(error).split()):.200}") from None


def _refuse_runaways(events: Any, name: str) -> None:
    """`UserError` for nesting that no claims file needs, and for aliases, whose content can grow without end."""
    import yaml

    depth = 0
    for event in events:
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            raise UserError(
                f"{name}, line {line}: the alias *{event.anchor} is not taken; write out what it stands for"
            )
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEPTH:
            raise UserError(
                f"{name}, line {line}: lists and mappings are nested more than {DEPTH} deep; a claims file is a "
                "mapping with a list of claims"
            )


def _line(node: Any) -> int:
    return int(node.start_mark.line) + 1
