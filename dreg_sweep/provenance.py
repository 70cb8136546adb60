"""What made a result: the version of this code, and a fingerprint of what in it decides a cell's numbers."""

import ast
import hashlib
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from dreg_sweep import __version__

_PACKAGE = Path(__file__).parent
# What every cell runs through, from the prepared arrays (which have a fingerprint of their own) to the counts.
_ENGINE = (
    "evaluate", "models", "optimizers", "schedules", "stack", "streams", "train", "data/features",
    "data/pixel_noise", "data/seeding", "data/split", "data/stratify", "data/typos",
)  # fmt: skip
# Of these modules a cell runs one level only: name of the module → its registry.
_REGISTRIES = {"activations": "ACTIVATIONS", "regularizers": "REGULARIZERS"}


@cache
def code_version() -> str:
    """`0.1.0+g1a2b3c4` from a git checkout, with `.dirty` where tracked files differ; else the bare version."""
    root = _PACKAGE.parent
    if not (root / ".git").exists():
        return __version__
    try:
        command = ["git", "-C", str(root), "describe", "--always", "--abbrev=10", "--dirty", "--exclude=*"]
        described = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout
    except (OSError, subprocess.SubprocessError):
        return __version__
    commit, _, dirty = described.strip().partition("-")
    return f"{__version__}+g{commit}" + (f".{dirty}" if dirty else "")


def source_digest() -> str:
    """A digest of the files that `code_fingerprint` speaks of, as they are now."""
    files = [_PACKAGE / f"{name}.py" for name in (*_ENGINE, *_REGISTRIES)]
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()[:16]


@cache
def code_fingerprint(activation: str, regularizer: str) -> str:
    """16 hex digits that change with the code that decides the numbers of such cells, and with nothing else.

    Comments, docstrings and layout do not count, nor does another level's function: whoever adds a regularizer
    does not make the results of the others stale.
    """
    parts = [_digest_of_module(name) for name in _ENGINE]
    for module, level in zip(_REGISTRIES, (activation, regularizer), strict=True):
        parts += _parts_of_level(module, level)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


@cache
def _digest_of_module(name: str) -> str:
    return _digest(_tree(name))


@cache
def _tree(name: str) -> ast.Module:
    """A module of this package without its docstrings."""
    tree = ast.parse((_PACKAGE / f"{name}.py").read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return tree


def _parts_of_level(module: str, level: str) -> list[str]:
    """Digests of a level's entry in its registry, and of all that it reaches within its module."""
    definitions = {name: node for node in _tree(module).body for name in _defined(node)}
    registry = definitions[_REGISTRIES[module]]
    entries = {
        key.value: value
        for table in ast.walk(registry)
        if isinstance(table, ast.Dict)
        for key, value in zip(table.keys, table.values, strict=True)
        if isinstance(key, ast.Constant)
    }
    if level not in entries:
        return [f"{module} without {level}"]  # a level the code does not have is refused before it trains
    reached: dict[str, ast.AST] = {}
    parts = [_digest(entries[level])]
    todo: list[ast.AST] = [entries[level]]
    while todo:
        for node in ast.walk(todo.pop()):
            if isinstance(node, ast.Name) and node.id in definitions and node.id not in reached:
                reached[node.id] = definitions[node.id]
                todo.append(definitions[node.id])
    return parts + [f"{name} {_digest(reached[name])}" for name in sorted(reached)]


def _defined(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = (
        node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    )
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _digest(node: ast.AST) -> str:
    return hashlib.sha256(_text(node).encode()).hexdigest()[:16]


def _text(node: Any) -> str:
    """A syntax tree in words that are the same in every version of Python: without fields that are empty."""
    if isinstance(node, ast.AST):
        fields = [(name, value) for name, value in ast.iter_fields(node) if value is not None and value != []]
        inner = ",".join(f"{name}={_text(value)}" for name, value in fields if name != "kind")
        return f"{type(node).__name__}({inner})"
    return f"[{','.join(map(_text, node))}]" if isinstance(node, list) else repr(node)
