"""Configurations of a command, many of them: what they choose is composed once, values are changed after."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from simulacra.core import UserError
from simulacra.evaluation.config import compose, is_group
from simulacra.evaluation.overrides import quoted, taken


@contextmanager
def in_one_sentence() -> Iterator[None]:
    """Around a composition: what Hydra says of a mistake, in one line.

    Raises:
        UserError: In the place of Hydra's and OmegaConf's own errors.
    """
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        lines = str(error).partition("Config search path:")[0].split()
        raise UserError(" ".join(lines)) from error


class Composer:
    """As :func:`~simulacra.evaluation.config.compose`, for many configurations of one command.

    To compose takes about a second, since a hundred files are read and merged; to change values of what was
    composed takes a hundredth of that.

    Args:
        command: Name of the command.
        always: Overrides of all configurations, e.g. folders of configurations that are searched.
    """

    def __init__(self, command: str, always: Sequence[str] = ()) -> None:
        self.command, self.always = command, tuple(always)
        self._composed: dict[tuple[str, ...], DictConfig] = {}

    def __call__(self, overrides: Sequence[str]) -> DictConfig:
        """The configuration with some overrides, of which the later ones win.

        Raises:
            UserError: If one of them is not what Hydra takes.
        """
        with in_one_sentence():
            parser = OverridesParser.create()
            parsed = parser.parse_overrides(taken(overrides, self.command))
            choices = _last(item for item in parsed if is_group(item.key_or_group))
            values = [item for item in parsed if not is_group(item.key_or_group)]
            if choices not in self._composed:
                self._composed[choices] = compose(self.command, [*self.always, *choices])
            found = copy.deepcopy(self._composed[choices])
            ConfigLoaderImpl._apply_overrides_to_config(values, found)
        return found


def differences(config: Mapping[str, Any], base: Mapping[str, Any], key: str) -> list[str]:
    """The overrides that make one resolved part of a configuration of another.

    Args:
        config: What it shall be.
        base: What it is.
        key: Where it stands, e.g. ``data``.
    """
    found = [f"~{key}.{name}" for name in base if name not in config]
    for name, value in config.items():
        place, sign = f"{key}.{name}", "" if name in base else "+"
        old = base.get(name)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            found += differences(value, old, place)
        elif name not in base or value != old or type(value) is not type(old):
            found.append(f"{sign}{place}={_text(value)}")
    return found


def _text(value: object) -> str:
    """A value as Hydra's grammar reads it."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(_text, value)) + "]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return quoted(value) if isinstance(value, str) else repr(value)


def _last(choices: Iterator[Override]) -> tuple[str, ...]:
    """The last choice of each group, which Hydra wants to be named once."""
    by_group = {item.get_key_element().lstrip("+~"): str(item.input_line) for item in choices}
    return tuple(by_group.values())
