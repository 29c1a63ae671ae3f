"""Configurations as the commands compose them, and which model fits which data."""

from __future__ import annotations

import math
import pickle
import re
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.utils import get_class
from omegaconf import OmegaConf

from simulacra import data
from simulacra.core import Batch, Spec, UserError
from simulacra.core.pair import labelled
from simulacra.data.base import EventDataModule
from simulacra.evaluation.config import bare, compose, load_choices, target
from simulacra.nn.gathering import gathered
from simulacra.training.checkpoint import build, load
from simulacra.training.module import Module
from simulacra.training.replay import Made
from simulacra.training.teacher import Student

CONF = Path(__file__).parents[1] / "conf"


def config_names(group: str) -> list[str]:
    """Options of a configuration group."""
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


ALONE = {
    "model": ["_self_", {"model": "caloinn"}, {"model/size": "small"}],
    "data": ["_self_", {"data": "ds1_photons"}],
}
"""Groups that are composed without the rest of a training, which takes twice as long, and their defaults."""


VALUE = re.compile(r"\w+(\.\w+)+=")
"""An override that sets a value and chooses nothing."""


@cache
def composed(group: str, *overrides: str) -> dict:
    """One group of a composed training configuration, resolved; callers must not change it."""
    root = "train"
    if group in ALONE and all(re.match(rf"\W?([\w/]+@)?{group}[=./]", item) for item in overrides):
        root = f"{group}_alone"
    config = pickle.loads(_chosen(root, *(item for item in overrides if not VALUE.match(item))))
    values = OverridesParser.create().parse_overrides([i for i in overrides if VALUE.match(i)])
    ConfigLoaderImpl._apply_overrides_to_config(values, config)
    return OmegaConf.to_container(config[group], resolve=True)


@cache
def _chosen(root: str, *overrides: str) -> bytes:
    """A composed configuration before values are set, pickled, which is copied fast."""
    for group, defaults in ALONE.items():
        ConfigStore.instance().store(f"{group}_alone", {"defaults": defaults, "seed": 0})
    return pickle.dumps((compose if root == "train" else bare)(root, overrides))


def tiny(model: str, *changes: str) -> dict:
    """A model at its smallest size, its configuration changed."""
    return composed("model", *sized(model, "tiny", changes))


def sized(model: str, size: str, changes: Sequence[str]) -> list[str]:
    """Overrides that give a model at a size, its configuration changed."""
    return [f"model={model}", f"model/size={size}", *(f"model.{change}" for change in changes)]


def made(model: str, spec: Spec, *changes: str, size: str = "tiny", seed: int = 0) -> Any:
    """A module of a size of a model whose configuration is changed, with weights from a seed."""
    torch.manual_seed(seed)
    return build(composed("model", *sized(model, size, changes)), spec)


@cache
def family_of(model: str) -> type[Module]:
    """The class of a model."""
    return get_class(target("model", model))


@cache
def data_configs() -> dict[str, dict]:
    """Configurations of all data sets by name; callers must not change them."""
    return load_choices("data", config_names("data"))


@cache
def spec_of(name: str, view: str | None) -> Spec:
    """What a data set shows through a view; opens no file."""
    config = data_configs()[name]
    return data.build(config if view is None else {**config, "view": view}).spec


def trainable(model: str, events: EventDataModule, folder: Path) -> dict:
    """A model at its smallest size, with an untrained teacher, saved in ``folder``, if it learns from one."""
    config, family = tiny(model), family_of(model)
    if not issubclass(family, Student):
        return config
    teachers = [n for n in config_names("model") if family_of(n) is family.learns_from]
    example = trainable(teachers[0], events, folder)
    path = save(build(example, events.spec).fit_transform(events.fit_batches()), example, folder)
    return {**config, "teacher": str(path)}


def save(module: Module, config: dict, folder: Path, data: dict | None = None) -> Path:
    """A checkpoint as training writes it."""
    module.record.config = {"model": config, **({} if data is None else {"data": data})}
    contents: dict = {"state_dict": module.state_dict()}
    module.on_save_checkpoint(contents)
    path = folder / f"{config['name']}.ckpt"
    torch.save(contents, path)
    return path


def fits(model: str, name: str, view: str | None) -> bool:
    """Whether a model can represent a data set through a view."""
    return family_of(model).unfit(spec_of(name, view)) is None


def fits_pair(model: str, name: str) -> bool:
    """Whether a model can represent two samples of a data set."""
    return family_of(model).unfit(labelled(spec_of(name, None))) is None


def sets(name: str) -> list[str]:
    """Keys under which the files of a data set are configured, those of all of a pair or a mixture."""
    config, found = data_configs()[name], []
    for key in config.get("sets") or ():
        whole = "_target_" in config[key]
        found += [f"data.{key}"] if whole else [f"data.{key}.{member}" for member in config[key]]
    return found or ["data"]


def models_of(task: type[Module]) -> list[str]:
    """Models of the configuration tree that are of a kind of task."""
    return [n for n in config_names("model") if issubclass(family_of(n), task)]


def grid() -> list[tuple[str, str, str | None]]:
    """Every model, data set and view; the data set of any detector is that of one that is there, too."""
    views = {n: c.get("views") or {} for n, c in data_configs().items() if n != "produced"}
    return [
        (model, name, view)
        for model in config_names("model")
        for name in views
        for view in (None, *views[name])
    ]


def assert_losses_reach_their_own_parameters(module: Module, batch: Batch) -> None:
    """Each loss is finite, and its gradient reaches all of its objective's parameters and no others."""
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
    latent = module.encode(batch, torch.Generator().manual_seed(0))
    objectives = module.objectives()
    owned = [p for objective in objectives.values() for p in objective.parameters]
    assert {id(p) for p in owned} == {id(p) for p in module.parameters() if p.requires_grad}
    for name, objective in objectives.items():
        values = objective.loss(latent, torch.Generator().manual_seed(0))
        assert all(math.isfinite(float(value.detach())) for value in values.values()), name
        values["loss"].backward()
        reached = {id(p) for p in module.parameters() if p.grad is not None}
        assert reached == {id(p) for p in objective.parameters}, name
        module.zero_grad(set_to_none=True)
    changed = {name for name, now in module.named_buffers() if not torch.equal(now, buffers[name])}
    assert changed <= gathered(module)  # what else changed would differ between processes


def refused_checkpoint(path: Path, match: str | None = None) -> str:
    """What is said of a file, one sentence that names it; nothing else is said, and no warning is shown."""
    with pytest.raises(UserError, match=match) as found:
        load(path)
    text = str(found.value)
    assert str(path) in text or "configuration" in text
    assert "\n" not in text
    assert len(text) < 900
    return text


def called_again(call: Callable[[], Made]) -> tuple[Callable[[], None], Made]:
    """A recording without a card: the call is made again, and its results are left in the same place."""
    place, sound = call()

    def again() -> None:
        fresh, fine = call()
        for name, value in fresh.event.items():
            place.event[name].copy_(value)
        if place.mask is not None:
            place.mask.copy_(fresh.mask)
        place.x.copy_(fresh.x)
        sound.copy_(fine)

    return again, (place, sound)
