"""Saved configurations: ``config.yaml`` of a run directory, resolved, and changes on top of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_type_hints, is_typeddict

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from simulacra.core import UserError
from simulacra.core.files import write_text
from simulacra.core.plain import check_plain
from simulacra.core.plain_yaml import read_yaml
from simulacra.core.typed import coerce
from simulacra.evaluation.overrides import taken
from simulacra.evaluation.schema import Train

FILE = "config.yaml"
BUILT = (
    "data",
    "model",
    "adapt",
    "callbacks",
    "logger",
    "evaluation.scores",
    "evaluation.posterior",
)
"""Parts in which objects are named."""
GROUPS = (
    "data",
    "model",
    "adapt",
    "trainer",
    "callbacks",
    "logger",
    "evaluation",
    "figures",
    "paths",
)
"""Parts that are chosen by name; in a saved configuration only their fields can be changed."""


def resolve(cfg: DictConfig, kind: type) -> dict[str, Any]:
    """Plain values in the types of a command's keys, every interpolation replaced.

    Args:
        cfg: Composed configuration of the command.
        kind: Its keys, one of :mod:`simulacra.evaluation.schema`.

    Raises:
        UserError: If a value is missing, refers to what does not exist, or is not what its key needs.
    """
    try:
        plain = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise UserError(f"the configuration is incomplete: {str(error).splitlines()[0]}") from error
    assert isinstance(plain, dict)
    typed: dict[str, Any] = coerce({str(key): value for key, value in plain.items()}, kind, "")
    return typed


def save(config: dict[str, Any], run: Path) -> None:
    """Write the resolved configuration of a run."""
    run.mkdir(parents=True, exist_ok=True)
    write_text(run / FILE, OmegaConf.to_yaml(OmegaConf.create(config)))


def load(run: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The resolved configuration of a run with some fields changed.

    Raises:
        UserError: If the directory holds no configuration, or an override names no field of it.
    """
    path = run / FILE
    if not path.is_file():
        raise UserError(f"{run} is no run directory: it has no {FILE}")
    config = OmegaConf.create(_plain(path))
    OmegaConf.set_struct(config, True)
    try:
        parsed = OverridesParser.create().parse_overrides(taken(overrides))
        for item in parsed:
            if item.key_or_group in GROUPS or "/" in item.key_or_group:
                raise UserError(
                    f"{item.key_or_group!r} was chosen when {run} was started: start a new run to change it"
                )
            if item.is_sweep_override():
                raise UserError(f"{item.input_line!r} has several values: a saved run takes one")
            OmegaConf.update(config, item.key_or_group, item.value(), force_add=item.is_add())
    except OverrideParseException as error:
        raise UserError(f"cannot read the override {error.override!r}") from error
    except OmegaConfBaseException as error:
        raise UserError(
            f"the configuration of {run} has no such field: {str(error).splitlines()[0]}"
        ) from error
    check_plain(OmegaConf.to_container(config, resolve=False), "an override")
    return resolve(config, Train)


def _plain(path: Path) -> dict[str, Any]:
    """What a file holds, if a training can have saved it.

    Raises:
        UserError: If it is no plain configuration of a training.
    """
    found = read_yaml(path)
    if not isinstance(found, dict):
        raise UserError(f"{path} is damaged: it holds no mapping")
    check_plain(found, str(path))
    missing = next(_missing(found, Train, ""), None)
    if missing is not None:
        raise UserError(
            f"{path} is no configuration of a training: it has no {missing}; it is damaged, or another "
            "version saved it"
        )
    for key in _objects({name: part for name, part in found.items() if name not in BUILT}, ""):
        if not key.startswith(BUILT):
            raise UserError(
                f"{path} is no configuration of a training: {key} is a value, and an object is named: it was "
                "not run"
            )
    return {str(key): value for key, value in found.items()}


def _objects(config: object, key: str) -> Iterator[str]:
    """Keys that name an object."""
    if isinstance(config, Mapping):
        if "_target_" in config:
            yield key
        for name, value in config.items():
            yield from _objects(value, f"{key}.{name}" if key else str(name))
    elif isinstance(config, list):
        for item in config:
            yield from _objects(item, key)


def _missing(config: Mapping[str, Any], kind: type, key: str) -> Iterator[str]:
    """Keys of a command, or of a part of it, that a configuration lacks."""
    groups = {} if key else {"data": Mapping, "model": Mapping}
    for name, wanted in {**get_type_hints(kind), **groups}.items():
        group = is_typeddict(wanted) or wanted is Mapping
        if name not in config or (group and not isinstance(config[name], Mapping)):
            yield f"{key}{name}"
        elif wanted is Mapping and not isinstance(config[name].get("name"), str):
            yield f"{name}.name"
        elif is_typeddict(wanted):
            yield from _missing(config[name], wanted, f"{key}{name}.")


def relocate(config: Any, old: str, new: str) -> Any:
    """The configuration with every path below ``old`` moved below ``new``."""
    if isinstance(config, dict):
        return {key: relocate(value, old, new) for key, value in config.items()}
    if isinstance(config, list):
        return [relocate(value, old, new) for value in config]
    if isinstance(config, str) and (config == old or config.startswith(f"{old}/")):
        return new + config[len(old) :]
    return config


def load_at(run: Path, place: Path, outputs: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """As :func:`load`, for a run whose files go to ``place``, and what runs share below ``outputs``."""
    config = load(run, overrides)
    old = config["paths"]
    moved = relocate(config, old["run"], str(place.resolve()))
    if Path(old["outputs"]).is_absolute():  # else it is relative to the current folder, as it was
        moved = relocate(moved, old["outputs"], str(outputs.resolve()))
    assert isinstance(moved, dict)
    return moved
