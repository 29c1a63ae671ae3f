"""Lightning without what it imports for a name or two.

``pytorch_lightning`` imports the compiler of torch for a class and a decorator, and through ``torchmetrics``
``scipy.signal`` for an alias of a window and ``matplotlib`` for annotations: together as long as torch
itself. While these packages are imported, stand-ins with these few names take the places of the modules;
whatever else is asked of a stand-in is asked of the module.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType, SimpleNamespace
from typing import Any

PACKAGES = ("lightning_fabric", "pytorch_lightning", "torchmetrics")
"""What is imported so."""


class _Class(type):
    """Of a class that stands for one of a module, whose instances are its."""

    def __instancecheck__(cls, item: object) -> bool:
        module = sys.modules.get(cls.__module__)
        return module is not None and isinstance(item, getattr(module, cls.__name__))


def _class(module: str, name: str) -> type:
    return _Class(name, (), {"__module__": module})


def _disable(function: Callable[..., Any] | None = None, recursive: bool = True, **_: Any) -> Any:
    """``torch._dynamo.disable``, which imports it when the function is called."""
    from torch import _compile

    return _compile._disable_dynamo(function, recursive)


@contextmanager
def _context(*args: Any, **kwargs: Any) -> Iterator[None]:
    """``matplotlib.pyplot.style.context``."""
    with import_module("matplotlib.pyplot").style.context(*args, **kwargs):
        yield


NAMES: Mapping[str, Mapping[str, Any]] = {
    "scipy.signal": {"hamming": None},
    "torch._dynamo": {
        "OptimizedModule": _class("torch._dynamo", "OptimizedModule"),
        "disable": _disable,
    },
    "matplotlib.axes": {"Axes": _class("matplotlib.axes", "Axes")},
    "matplotlib.pyplot": {
        "Axes": _class("matplotlib.axes", "Axes"),
        "Figure": _class("matplotlib.figure", "Figure"),
        "style": SimpleNamespace(context=_context),
    },
    "matplotlib": {
        "colors": SimpleNamespace(Colormap=_class("matplotlib.colors", "Colormap")),
    },
}
"""What stand-ins hold, by module."""


class _StandIn(ModuleType):
    """A module with a few names, which is imported when another one is asked for."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(import_module(self.__name__), name)


@contextmanager
def standing_in() -> Iterator[None]:
    """Stand-ins in the places of modules that nobody has imported."""
    made = {name: _StandIn(name) for name in NAMES if name not in sys.modules}
    for name, module in made.items():
        module.__dict__.update(NAMES[name])
        parent, _, last = name.rpartition(".")
        if parent in made:
            setattr(made[parent], last, module)
    sys.modules.update(made)
    try:
        yield
    finally:
        for name, module in made.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]


class _Loader(Loader):
    """Another loader, whose modules are executed among stand-ins."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """As the other does."""
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """As the other does."""
        with standing_in():
            self.loader.exec_module(module)


class Finder(MetaPathFinder):
    """Finds :data:`PACKAGES`."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The package that would be found otherwise; None for all others."""
        spec = PathFinder.find_spec(name, path, target) if name in PACKAGES else None
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


def install() -> None:
    """From now on, in this process: for commands, not for whoever imports the package."""
    if not any(isinstance(item, Finder) for item in sys.meta_path):
        sys.meta_path.insert(0, Finder())
