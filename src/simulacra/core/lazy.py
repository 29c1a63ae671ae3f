"""Packages whose names are imported when they are asked for (PEP 562), since some take seconds."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazily(package: str, places: Mapping[str, str]) -> Callable[[str], Any]:
    """The ``__getattr__`` of a package.

    Args:
        package: Its name.
        places: Modules below it with their public names, separated by spaces; one without names is a name
            itself.
    """
    modules = {
        name: module for module, names in places.items() for name in names.split() or [module]
    }

    def found(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = import_module(f"{package}.{modules[name]}")
        item = module if name == modules[name] else getattr(module, name)
        setattr(sys.modules[package], name, item)
        return item

    return found
