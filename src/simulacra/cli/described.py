"""What a command takes, with what its configuration files say of it: for help and for completion.

Everything is read from the files of which the configuration is composed, so that a new key, choice or comment
appears by itself. Nothing that is configured is imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hydra import initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.types import RunMode
from omegaconf import OmegaConf

from simulacra.cli import comments
from simulacra.cli.arguments import argument
from simulacra.evaluation import config
from simulacra.evaluation.overrides import quoted, taken

INNER = ("model/",)
"""Groups that files of a model choose from by themselves: a model's sizes, what several models share."""
SIZE = "model/size"
HIDDEN = ("hydra", "defaults")
CODE = ("_target_", "_partial_", "_recursive_", "_convert_", "_args_")


@dataclass(frozen=True)
class Choice:
    """A group of which one thing is chosen.

    Args:
        key: What stands left of ``=``.
        value: What is chosen, or None.
        options: Names that there are.
        text: What the command's configuration says of it.
    """

    key: str
    value: str | None
    options: list[str]
    text: str

    @property
    def group(self) -> str:
        """The folder of the options."""
        return self.key.partition("@")[0]

    @property
    def part(self) -> str:
        """The part of the configuration that the choice fills."""
        return self.key.partition("@")[2] or self.key


class Described:
    """What a command takes after some overrides.

    Args:
        command: Name of the command, or of any other file at the top of ``conf``.
        overrides: What stands on the command line.
        folders: Further folders of configurations.

    Raises:
        HydraException: If the overrides do not fit.
    """

    def __init__(
        self, command: str, overrides: Sequence[str] = (), folders: Sequence[str] = ()
    ) -> None:
        config.register()
        self.command = command
        paths = ",".join(quoted(f"file://{Path(folder).resolve()}") for folder in folders)
        more = [f"hydra.searchpath=[{paths}]"] if folders else []
        chosen = [*config.without_nothing(taken(overrides, command), command), *more]
        GlobalHydra.instance().clear()
        with initialize_config_dir(str(config.folder("conf")), version_base="1.3"):
            hydra = GlobalHydra.instance().hydra
            assert hydra is not None
            self._loader: ConfigLoader = hydra.config_loader
            whole = self._loader.load_configuration(command, chosen, RunMode.RUN)
            self._defaults = self._loader.compute_defaults_list(command, chosen, RunMode.RUN)
        found: Any = OmegaConf.to_container(whole, resolve=False)
        self.values: dict[str, Any] = {k: v for k, v in found.items() if k not in HIDDEN}

    @cached_property
    def choices(self) -> list[Choice]:
        """Groups that the command chooses from, in the order of its file."""
        known = self._defaults.overrides.known_choices
        order = [key for inner in (False, True) for key in reversed(known) if ("@" in key) is inner]
        return [
            Choice(key, known[key], self._options(key), self._texts.get(f"defaults.{key}", ""))
            for key in order
            if not key.startswith((*HIDDEN, *INNER)) or key == SIZE
        ]

    @cached_property
    def about(self) -> str:
        """What the command does, in a line."""
        return comments.read(config.folder("conf") / f"{self.command}.yaml").about

    @cached_property
    def texts(self) -> dict[str, str]:
        """What is said of each key of the configuration."""
        found = dict(self._texts)
        for path, key, target in _arguments_of(self.values, ""):
            if path not in found and (text := argument(target, key)):
                found[path] = text
        return found

    @cached_property
    def _texts(self) -> dict[str, str]:
        """Comments of the files; of a key that several files set, the one of the last that has any."""
        found: dict[str, str] = {}
        for item in self._defaults.defaults:
            if item.config_path is None or item.config_path.startswith("hydra/"):
                continue
            said = comments.read(self.file(item.config_path)).keys
            prefix = f"{item.package}." if item.package else ""
            for key, text in said.items():
                inside = not key.startswith("defaults.")
                if inside or item.config_path == self.command:
                    found[(prefix if inside else "") + key] = text
        return found

    def select(self, path: str) -> Any:
        """What stands at a dotted path, or None."""
        values: Any = self.values
        for key in path.split("."):
            if not isinstance(values, dict) or key not in values:
                return None
            values = values[key]
        return values

    def option_text(self, group: str, name: str) -> str:
        """What the file of a choice says of it."""
        return comments.read(self.file(f"{group}/{name}")).about

    def file(self, path: str) -> Path:
        """Where a file of the configuration lies; the first in the search path counts."""
        folders = [
            Path(source.path.partition("://")[2] or source.path)
            for source in self._loader.get_sources()
            if source.scheme() in ("file", "sweeps")
        ]
        files = [folder / f"{path}.yaml" for folder in folders]
        return next((file for file in files if file.is_file()), files[0])

    def _options(self, key: str) -> list[str]:
        """Names in a group; those of a model's size are what the model has."""
        group = key.partition("@")[0]
        chosen = self._defaults.overrides.known_choices.get("model")
        own = f"model/{chosen}"
        wanted = ObjectType.CONFIG
        sizes = self._loader.get_group_options(own, wanted) if group == SIZE and chosen else []
        return list(sizes or self._loader.get_group_options(group, wanted))


def _arguments_of(values: Any, path: str) -> list[tuple[str, str, str]]:
    """Path, name and class of every key that is an argument of a class."""
    found = []
    if isinstance(values, dict):
        own = values.get("_target_", "")
        for key, value in values.items():
            below = f"{path}.{key}" if path else str(key)
            if isinstance(own, str) and own and key not in CODE:
                found.append((below, str(key), own))
            found += _arguments_of(value, below)
    return found
