"""Configurations as the commands compose them, and which model fits which data."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf

from simulacra import data
from simulacra.core import Spec

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
    return data.build({**composed("data", f"data={name}"), "view": view}).spec


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
