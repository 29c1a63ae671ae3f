"""Networks that tell their parts apart name parts that they have."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator

import pytest

import simulacra.nn
from simulacra.nn.parted import Parted


def networks(base: type[Parted] = Parted) -> Iterator[type[Parted]]:
    for found in pkgutil.iter_modules(simulacra.nn.__path__):
        importlib.import_module(f"simulacra.nn.{found.name}")
    for kind in base.__subclasses__():
        yield from (kind, *networks(kind))


@pytest.mark.parametrize("network", sorted(set(networks()), key=lambda kind: kind.__name__))
def test_a_network_has_the_parts_that_it_names(network: type[Parted]) -> None:
    names = [*network.EMBEDDERS, *network.HEAD]
    assert names
    assert len(set(names)) == len(names)
    own = [kind for kind in network.__mro__ if kind.__module__.startswith("simulacra.")]
    made = "".join(inspect.getsource(kind) for kind in own)
    assigned = set(re.findall(r"self\.(\w+)(?=[^\n()]*=[^=])", made))
    assert set(names) <= assigned
