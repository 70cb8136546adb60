"""What made a result: the version of this code, and a fingerprint of what in it decides a cell's numbers."""

import ast
import contextlib
import hashlib
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from dreg_sweep import __version__
from dreg_sweep.cells import Cell

_PACKAGE = Path(__file__).parent
# What every cell runs through, from the prepared arrays (which have a fingerprint of their own) to the counts.
_ENGINE = (
    "evaluate", "fits", "graphs", "models/products", "models/trace", "optimizers", "precision", "probe",
    "schedules", "stack", "streams", "tasks", "train",
    "data/features", "data/pixel_noise", "data/prepared", "data/seeding", "data/split", "data/stratify",
    "data/typos",
)  # fmt: skip
# What these call in modules of which a cell runs some levels only.
_CALLED = (
    ("activations", "sliced"), ("data/functions", "midpoints"), ("regularizers/weights", "spectral_norm"),
    ("regularizers/input_gradients", "input_gradients"), ("regularizers/input_gradients", "logit_jacobian"),
)  # fmt: skip
# Of these modules a cell runs some levels only: factor → the module and its registry.
_REGISTRIES = {
    "activation": ("activations", "ACTIVATIONS"),
    "method": ("regularizers/registry", "REGULARIZERS"),
    "model": ("models/registry", "MODELS"),
    "augmentation": ("augment", "AUGMENTATIONS"),
}
_DISCOVERED = ("regularizers/registry",)  # registries that files beside them add levels to
_PACKAGES = ("models", "regularizers")  # where the functions of levels lie beside their registry


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
    """A digest of the files that fingerprints speak of, as they are now."""
    files = {_PACKAGE / f"{name}.py" for name in (*_ENGINE, *(module for module, _ in _REGISTRIES.values()))}
    files.update(*((_PACKAGE / name).glob("*.py") for name in _PACKAGES))
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in sorted(files))).hexdigest()[:16]


def fingerprint_of(cell: Cell) -> str:
    """`code_fingerprint` of a cell's levels."""
    return code_fingerprint(
        cell.activation, cell.regularizer.names, cell.model.name, cell.recipe.augmentation.name
    )


@cache
def code_fingerprint(activation: str, methods: tuple[str, ...], model: str, augmentation: str = "none") -> str:
    """16 hex digits that change with the code that decides the numbers of such cells, and with nothing else.

    Comments, docstrings and layout do not count, nor does another level's function: whoever adds a regularizer
    does not make the results of the others stale. methods: of all that regularizes such a cell.
    """
    levels = {"activation": (activation,), "method": methods, "model": (model,), "augmentation": (augmentation,)}
    parts = [_digest_of_module(name) for name in _ENGINE]
    for module, name in _CALLED:
        parts += _with_what_it_reaches(module, _definitions(module)[name])
    for factor, names in levels.items():
        for name in names:
            parts += _parts_of_level(*_REGISTRIES[factor], name)
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


@cache
def _parts_of_level(module: str, registry: str, level: str) -> list[str]:
    """Digests of a level's entry in its registry, and of all in this package that it reaches.

    A level in a file of its own is all of that file. What lies in the modules of the engine is digested with them.
    """
    table = next(node for node in ast.walk(_definitions(module)[registry]) if isinstance(node, ast.Dict))
    entries = {
        key.value: value
        for key, value in zip(table.keys, table.values, strict=True)
        if isinstance(key, ast.Constant)
    }
    if level in entries:
        return _with_what_it_reaches(module, entries[level])
    own = module.replace("registry", level)
    if module in _DISCOVERED and _is_module(own):
        with contextlib.suppress(OSError, SyntaxError, ValueError):  # it cannot be read, or what it imports from
            return _with_what_it_reaches(own, _tree(own))
    return [f"{module} without {level}"]  # a level the code does not have is refused before it trains


def _with_what_it_reaches(module: str, node: ast.AST) -> list[str]:
    """The digest of a part of a module, and one of each definition outside the engine that it reaches."""
    reached: dict[tuple[str, str], ast.AST] = {}
    todo: list[tuple[str, ast.AST]] = [(module, node)]
    while todo:
        here, part = todo.pop()
        for name in ast.walk(part):
            found = _defined_at(here, name.id) if isinstance(name, ast.Name) else None
            if found is not None and found not in reached:
                reached[found] = _definitions(found[0])[found[1]] if found[1] else _tree(found[0])
                todo.append((found[0], reached[found]))
    return [_digest(node), *(f"{at} {name} {_digest(reached[at, name])}" for at, name in sorted(reached))]


@cache
def _definitions(module: str) -> dict[str, ast.AST]:
    """What the module itself defines, by name."""
    return {name: node for node in _tree(module).body for name in _defined(node)}


def _defined_at(module: str, name: str) -> tuple[str, str] | None:
    """The module of this package, outside the engine, in which a module's name is defined, and its name there.

    Of a name that stands for a module the name there is empty.
    """
    if module in _ENGINE:
        return None
    if name in _definitions(module):
        return module, name
    for node in _tree(module).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return _imported_from(node, alias.name, module)
    return None


def _imported_from(node: ast.Import | ast.ImportFrom, name: str, module: str) -> tuple[str, str] | None:
    """`_defined_at` of what an import statement of a module calls by this name."""
    source = name if isinstance(node, ast.Import) else node.module or ""
    if isinstance(node, ast.ImportFrom) and node.level:  # dots count from the module's own folder upwards
        above = [_PACKAGE.name, *module.split("/")][: -node.level]
        source = ".".join([*above, *([source] if source else [])])
    if not f"{source}.".startswith(f"{_PACKAGE.name}."):
        return None
    if isinstance(node, ast.ImportFrom):
        found = _defined_at(_module_at(source), name)
        if found is not None:
            return found
        source = f"{source}.{name}"  # then it is a module
    at = _module_at(source)
    return (at, "") if _is_module(at) and at not in _ENGINE else None


def _is_module(name: str) -> bool:
    return (_PACKAGE / f"{name}.py").is_file()


def _module_at(dotted: str) -> str:
    """`dreg_sweep.models.trace` → `models/trace`; a package is its `__init__`."""
    path = dotted.partition(".")[2].replace(".", "/")
    return f"{path}/__init__".lstrip("/") if (_PACKAGE / path).is_dir() else path


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
