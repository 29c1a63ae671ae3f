"""Configurations as the commands compose them, and which model fits which data."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf

from simulacra import data
from simulacra.core import Spec
from simulacra.data.base import EventDataModule
from simulacra.models.base import GenerativeModule
from simulacra.models.checkpoint import build
from simulacra.models.teacher import Student

CONF = Path(__file__).parents[1] / "conf"


def config_names(group: str) -> list[str]:
    """Options of a configuration group."""
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


@cache
def composed(group: str, *overrides: str) -> dict:
    """One group of a composed training configuration, resolved; callers must not change it."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config: DictConfig = compose("train", overrides=list(overrides))
    return OmegaConf.to_container(config[group], resolve=True)


def tiny(model: str) -> dict:
    """A model at its smallest size."""
    return composed("model", f"model={model}", "model/size=tiny")


@cache
def spec_of(name: str, view: str | None) -> Spec:
    """What a data set shows through a view; opens no file."""
    config = composed("data", f"data={name}")
    return data.build(config if view is None else {**config, "view": view}).spec


def trainable(model: str, events: EventDataModule, folder: Path) -> dict:
    """A model at its smallest size, with an untrained teacher, saved in ``folder``, if it learns from one."""
    config = tiny(model)
    family = get_class(config["_target_"])
    if not issubclass(family, Student):
        return config
    teachers = [
        n for n in config_names("model") if get_class(tiny(n)["_target_"]) is family.learns_from
    ]
    example = trainable(teachers[0], events, folder)
    path = save(build(example, events.spec).fit_transform(events.fit_batches()), example, folder)
    return {**config, "teacher": str(path)}


def save(module: GenerativeModule, config: dict, folder: Path) -> Path:
    """A checkpoint as training writes it."""
    module.record.config = {"model": config}
    contents: dict = {"state_dict": module.state_dict()}
    module.on_save_checkpoint(contents)
    path = folder / f"{config['name']}.ckpt"
    torch.save(contents, path)
    return path


def fits(model: str, name: str, view: str | None) -> bool:
    """Whether a model can represent a data set through a view."""
    return get_class(tiny(model)["_target_"]).accepts(spec_of(name, view)) is None


def grid() -> list[tuple[str, str, str | None]]:
    """Every model, data set and view."""
    views = {
        name: composed("data", f"data={name}").get("views") or {} for name in config_names("data")
    }
    return [
        (model, name, view)
        for model in config_names("model")
        for name in views
        for view in (None, *views[name])
    ]
