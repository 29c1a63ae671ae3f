"""Configurations as the commands compose them."""

from __future__ import annotations

from pathlib import Path

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

CONF = Path(__file__).parents[1] / "conf"


def config_names(group: str) -> list[str]:
    """Options of a configuration group."""
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def composed(group: str, *overrides: str) -> dict:
    """One group of a composed training configuration, resolved."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config: DictConfig = compose("train", overrides=list(overrides))
    return OmegaConf.to_container(config[group], resolve=True)
