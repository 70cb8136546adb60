"""The regularizers: one pure function and one card (its docstring) each, in one dict.

The dict holds those of this package's own files, and `discover` adds what lies beside them: a file NAME.py that
defines REGULARIZER is the level NAME, and nothing else has to be touched.

The objective of a cell is mean_b loss_b + Σ λ · penalty over the methods it combines; λ of the first may differ
from cell to cell of a stack.
"""

import inspect
import pkgutil
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from torch import Tensor

from dreg_sweep.errors import UserError, unknown_level
from dreg_sweep.models.trace import Network
from dreg_sweep.regularizers.input_gradients import frobreg, igpen, jacreg, onehot, random_onehot, spectreg
from dreg_sweep.regularizers.layer_jacobians import dreg
from dreg_sweep.regularizers.outputs import confidence_penalty, dropout
from dreg_sweep.regularizers.weights import spectral_norm, spectral_penalty, weight_decay, weight_decay_l2


@dataclass(frozen=True)
class Regularizer:
    """Where in a training step a method acts; at most one of the first four is set, none for the baseline."""

    penalty: Callable[..., Tensor] | None = None  # a term of the objective
    decay: Callable[..., None] | None = None  # shrinks the weights beside the optimizer
    mask: Callable[..., Tensor] | None = None  # multiplies hidden units
    norm: Callable[..., tuple[Tensor, Tensor, Tensor]] | None = None  # divides weight matrices
    input_gradient: bool = (
        False  # the penalty asks for `input_gradients`: x requires its gradient where they need it
    )
    singular_values: bool = False  # the penalty looks at trace.singular_values
    squared_columns: bool = False  # it looks at those of the weights, which are best had with the products
    classes: bool = False  # it is about class probabilities or single classes
    linear_layers: Mapping[str, Any] = field(default_factory=dict)  # options that need a network of these alone
    strengths: tuple[float, float] = (0.0, float("inf"))  # allowed, both ends included
    options: Mapping[str, Any] = field(default_factory=dict)  # keyword arguments for the function

    def __post_init__(self) -> None:
        if sum(f is not None for f in (self.penalty, self.decay, self.mask, self.norm)) > 1:
            raise ValueError("a Regularizer(…) has one of penalty, decay, mask, norm")

    @property
    def function(self) -> Callable[..., Any] | None:
        """The method's function, None for the baseline."""
        return self.penalty or self.decay or self.mask or self.norm

    @property
    def follows_singular_values(self) -> bool:
        """Whether power iterations accompany the training."""
        return self.norm is not None or self.singular_values


REGULARIZERS: dict[str, Regularizer] = {
    "none": Regularizer(),
    "weight_decay": Regularizer(decay=weight_decay),
    "dropout": Regularizer(mask=dropout, strengths=(0.0, 1.0 - 2.0**-16)),
    "spectral_norm": Regularizer(norm=spectral_norm, strengths=(1e-6, float("inf"))),
    "igpen": Regularizer(penalty=igpen, input_gradient=True),
    "dreg": Regularizer(penalty=dreg, squared_columns=True, linear_layers={"form": "cumulative"}),
    "double_backprop": Regularizer(penalty=igpen, input_gradient=True),
    "spectreg": Regularizer(penalty=spectreg, input_gradient=True),
    "frobreg": Regularizer(penalty=frobreg, input_gradient=True),
    "jacreg": Regularizer(penalty=jacreg, input_gradient=True, classes=True),
    "onehot": Regularizer(penalty=onehot, input_gradient=True, classes=True),
    "random_onehot": Regularizer(penalty=random_onehot, input_gradient=True, classes=True),
    "confidence_penalty": Regularizer(penalty=confidence_penalty, classes=True),
    "weight_decay_l2": Regularizer(penalty=weight_decay_l2, squared_columns=True),
    "spectral_penalty": Regularizer(penalty=spectral_penalty, singular_values=True),
}

_UNUSABLE: dict[str, str] = {}  # levels that a file was to add → what is wrong with the file


def discover(package: str, folders: Sequence[str]) -> None:
    """Add the REGULARIZER of every module in the package's folders that defines one, as the level of its name.

    A file that cannot be used stops nobody but who asks for its level: `get_regularizer` says what is wrong.
    """
    for found in pkgutil.iter_modules(folders):
        file = f"{package.replace('.', '/')}/{found.name}.py"
        if found.name in REGULARIZERS:  # not imported: the package may have a function of that name
            if any(_defines_one(Path(folder) / f"{found.name}.py") for folder in folders):
                _UNUSABLE[found.name] = f"{file} has the name of a level that is there already; rename the file"
            continue
        try:
            method = getattr(import_module(f"{package}.{found.name}"), "REGULARIZER", None)
        except Exception as error:
            reason = (str(error).splitlines() or [""])[0]
            _UNUSABLE[found.name] = f"{file} cannot be imported ({type(error).__name__}: {reason})"
            continue
        if isinstance(method, Regularizer) and method.function is not None:
            REGULARIZERS[found.name] = method
        elif method is not None:
            _UNUSABLE[found.name] = (
                f"REGULARIZER in {file} must be a Regularizer(…) with one of penalty, decay, mask, norm"
            )


def _defines_one(file: Path) -> bool:
    return file.is_file() and re.search(r"^REGULARIZER\b", file.read_text("utf-8"), re.MULTILINE) is not None


def get_regularizer(
    name: str, strength: float, options: Mapping[str, Any], key: str = "regularizer"
) -> Regularizer:
    """The regularizer of that name with its options bound; `UserError` for a name, value or option it lacks.

    key: where the configuration holds strength and options, such as `always.dropout`; messages speak of it.
    """
    factor = key.removesuffix(f".{name}")
    if name in _UNUSABLE:
        raise UserError(f"{factor}={name} cannot be used: {_UNUSABLE[name]}")
    if name not in REGULARIZERS:
        mistake = unknown_level(factor, name, REGULARIZERS)
        if key != "regularizer":
            raise mistake
        # its file in conf/regularizer/ was found
        raise UserError(f"{mistake}; dreg_sweep/regularizers/{name}.py with a REGULARIZER would add it")
    method = REGULARIZERS[name]
    low, high = method.strengths
    if not low <= strength <= high:
        raise UserError(f"{key}.strength={strength:g} is out of range for {name}: {low:g} to {high:g}")
    known = _option_types(method.function)
    for option, annotation in known.items():
        _check_annotation(f"{factor}={name}", option, annotation)
    for option, value in options.items():
        if option not in known:
            choices = ", ".join(known) or "none"
            raise UserError(f"{key}.{option} is not an option of {name}; its options: {choices}")
        _check_option(f"{key}.{option}", value, known[option])
    return Regularizer(**{**vars(method), "options": dict(options)})


def refuse_unfit(
    methods: Mapping[str, Regularizer], network: Network, model: str, task: str, dataset: str
) -> None:
    """`UserError` where the methods (name → method) cannot train such a network on such a task together.

    model, dataset: what messages call them.
    """
    followers = [name for name, method in methods.items() if method.follows_singular_values]
    if len(followers) > 1:
        raise UserError(f"{' and '.join(followers)} both follow the singular values; choose one of them")
    for name, method in methods.items():
        if method.classes and task != "classification":
            raise UserError(f"{name} is about classes, and {dataset} is a {task}; {_fitting(task)}")
        for key, value in method.linear_layers.items():
            if method.options.get(key) == value and not network.linear_layers_only:
                raise UserError(f"{key}={value} of {name} needs model=mlp, and this is model={model}")


def _fitting(task: str) -> str:
    fit = [name for name, method in REGULARIZERS.items() if not method.classes]
    return f"for a {task} choose one of: {', '.join(fit)}"


_INTERNAL = {"update", "eps"}


def _option_types(function: Callable[..., Any] | None) -> dict[str, Any]:
    """Option → its annotation, as the object it stands for."""
    if function is None:
        return {}
    options = [p for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY]
    return {p.name: _evaluated(p.annotation, function) for p in options if p.name not in _INTERNAL}


def _evaluated(annotation: Any, function: Callable[..., Any]) -> Any:
    """An annotation is a text under `from __future__ import annotations`; as it is where it cannot be evaluated.

    Not those of all parameters at a time (`eval_str`): what the options do not need may be imported for type
    checkers alone.
    """
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, getattr(inspect.unwrap(function), "__globals__", {}))
    except Exception:
        return annotation


_KINDS: dict[Any, tuple[Callable[[Any], bool], str]] = {  # annotation → what is one, in code and in words
    int: (lambda value: type(value) is int and value >= 1, "a whole number of at least 1"),
    float: (lambda value: type(value) in (int, float), "a number"),
    bool: (lambda value: type(value) is bool, "true or false"),
    str: (lambda value: type(value) is str, "a text"),
}


def _check_annotation(name: str, option: str, annotation: Any) -> None:
    if get_origin(annotation) is not Literal and not any(annotation is kind for kind in _KINDS):
        given = "no annotation" if annotation is inspect.Parameter.empty else f"the annotation {annotation}"
        raise UserError(
            f"{name} cannot be used: its option {option} has {given}, and must have one of: "
            f"{', '.join(kind.__name__ for kind in _KINDS)}, Literal[…]"
        )


def _check_option(key: str, value: Any, annotation: Any) -> None:
    if get_origin(annotation) is Literal:
        choices = get_args(annotation)
        if (type(value), value) not in [(type(choice), choice) for choice in choices]:
            raise UserError(f"{key}={value} is unknown; choose one of: {', '.join(map(str, choices))}")
        return
    fits, kind = _KINDS[annotation]
    if not fits(value):
        raise UserError(f"{key}={value} must be {kind}")
