"""What a file may name: the closed list of what is built from a saved configuration.

A checkpoint or the configuration of a foreign run is data, so a name in it chooses among objects that say of
themselves that they may be chosen. There are three ways onto the list:

- a public class that derives from a *role* (:func:`role`): a model, a transform, a density, a format, ...;
- a class or function marked with :func:`constructor`, e.g. one that makes a spec or a flow;
- an optimizer or schedule of torch, by its exact name.

None of them does more than make an object of its arguments; what writes files says to which folders
(:func:`writes`). Only the name under which an object was defined counts, so that nothing is reached through
what another module has imported.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch.optim
from torch.optim import lr_scheduler

from simulacra.core.errors import UserError

C = TypeVar("C", bound=Callable[..., Any])

PACKAGE = "simulacra"
COMMANDS = f"{PACKAGE}.cli"
"""The commands themselves are never built from a file."""
NAME = re.compile(r"[A-Za-z]\w*(\.[A-Za-z]\w*)+", re.ASCII)
"""A public object of a public module."""
TORCH: dict[str, Callable[..., Any]] = {
    f"{module.__name__}.{name}": getattr(module, name)
    for module, names in (
        (
            torch.optim,
            ("Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop", "SGD"),
        ),
        (
            lr_scheduler,
            (
                "ConstantLR",
                "CosineAnnealingLR",
                "CosineAnnealingWarmRestarts",
                "CyclicLR",
                "ExponentialLR",
                "LinearLR",
                "MultiStepLR",
                "OneCycleLR",
                "PolynomialLR",
                "StepLR",
            ),
        ),
    )
    for name in names
}
"""Optimizers and schedules of torch that take plain numbers, by their public names."""

_roles: list[tuple[type, str]] = []
_constructors: dict[Callable[..., Any], object] = {}
_folders: dict[Callable[..., Any], tuple[str, ...]] = {}


def role(base: type, within: str = PACKAGE) -> type:
    """Put the public classes of a package that derive from ``base`` on the list; also a class decorator.

    Args:
        base: What they derive from.
        within: The package, simulacra or a part of it.
    """
    _roles.append((base, f"{within}."))
    return base


def constructor(made: C) -> C:
    """Put a class or function on the list; a decorator.

    It may do nothing but make an object, or compute a value, of its arguments.
    """
    _constructors[made] = None
    return made


def constructor_of(kind: object) -> Callable[[C], C]:
    """As :func:`constructor`, for what stands at a place that asks for ``kind`` and has no base class."""

    def mark(made: C) -> C:
        _constructors[made] = kind
        return made

    return mark


def writes(*arguments: str) -> Callable[[C], C]:
    """Class decorator: these arguments name folders to which its objects write.

    Where a file names the class, they lie below the run directory or the user's own folder of outputs.
    """

    def mark(made: C) -> C:
        _folders[made] = arguments
        return made

    return mark


def folders(made: Callable[..., Any]) -> tuple[str, ...]:
    """Arguments of a class that name folders to which its objects write."""
    bases = made.__mro__ if inspect.isclass(made) else (made,)
    return next((_folders[base] for base in bases if base in _folders), ())


def listed(made: object) -> bool:
    """Whether an object is on the list."""
    if not (inspect.isclass(made) or inspect.isfunction(made)):
        return False
    if made in _constructors:
        return True
    return (
        inspect.isclass(made)
        and not inspect.isabstract(made)
        and not made.__qualname__.startswith("_")
        and any(
            issubclass(made, base) and made is not base and f"{made.__module__}.".startswith(within)
            for base, within in _roles
        )
    )


def fits(made: Callable[..., Any], kind: object) -> bool:
    """Whether a listed object may stand at a place that asks for ``kind``: a base class, or what was given to
    :func:`constructor_of`.
    """
    if inspect.isclass(kind) and inspect.isclass(made):
        return issubclass(made, kind)
    return kind is None or _constructors.get(made) is kind


def find(target: str, allow: Sequence[str] = ()) -> Callable[..., Any]:
    """The object of the list that a file names.

    Args:
        target: Its name, ``module.object``.
        allow: Packages outside simulacra whose public classes and functions the user allows as well.

    Raises:
        UserError: If the list does not hold it, or it does not exist; no module is imported then but one of
            simulacra's libraries or of what the user allows.
    """
    refused = UserError(f"the configuration names {target[:200]!r}, which {_refusal(target)}")
    if target in TORCH:
        return TORCH[target]
    if NAME.fullmatch(target) is None or f"{target}.".startswith(f"{COMMANDS}."):
        raise refused
    module_name, _, name = target.rpartition(".")
    own = target.startswith(f"{PACKAGE}.")
    if not own and not any(f"{module_name}.".startswith(f"{item.rstrip('.')}.") for item in allow):
        raise refused
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        if own or error.name == module_name.partition(".")[0]:
            raise refused from None
        raise UserError(f"{target!r} cannot be imported: {error}") from error
    found = vars(module).get(name)
    if own:
        defined = (getattr(found, "__module__", None), getattr(found, "__qualname__", None))
        if not listed(found) or defined != (module_name, name):
            raise refused
    elif not (inspect.isclass(found) or inspect.isfunction(found)) or not any(
        f"{found.__module__}.".startswith(f"{item.rstrip('.')}.") for item in allow
    ):
        raise refused
    assert callable(found)
    return found


def _refusal(target: str) -> str:
    package = target.partition(".")[0]
    if package == PACKAGE or not package.isidentifier():
        return "is none of the classes that a file may name: it was not run"
    return (
        f"is not simulacra's own: it was not run; allow=[{package}] allows what lies in {package}"
    )
