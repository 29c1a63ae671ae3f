"""Which models of the configuration tree fit which data sets."""

from __future__ import annotations

from functools import cache

from hydra.utils import get_class

from simulacra import data
from simulacra.core import Spec
from simulacra.evaluation import config as tree
from simulacra.training.module import Module


def models_for(spec: Spec) -> list[str]:
    """Names of the models that can represent a data set."""
    families = {name: get_class(tree.target("model", name)) for name in tree.choices("model")}
    return [
        name
        for name, family in families.items()
        if issubclass(family, Module) and family.unfit(spec) is None
    ]


def data_for(model: str) -> list[str]:
    """Data sets, with their views, that a model can represent; none for a model that is not in the tree."""
    if model not in tree.choices("model"):
        return []
    family = get_class(tree.target("model", model))
    assert issubclass(family, Module)
    return [name for name, spec in _specs(tree.place()) if family.unfit(spec) is None]


@cache
def _specs(at: tree.Place) -> tuple[tuple[str, Spec], ...]:
    """All data sets and their views, as one asks for them, with what they show; made once for a place."""
    found = []
    for name, config in tree.load_choices("data", tree.choices("data"), at).items():
        for view in (None, *(config.get("views") or ())):
            chosen = config if view is None else {**config, "view": view}
            label = name if view is None else f"{name} with data.view={view}"
            found.append((label, data.build(chosen).spec))
    return tuple(found)
