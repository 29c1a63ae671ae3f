"""Where configuration comes from.

The tree ``conf`` and the folder ``sweeps`` lie inside the installed package, or at the top of a checkout.
Behind them come ``conf`` and ``sweeps`` of the current folder, so that a user adds a file without touching
the package; ``--config-dir`` adds any other folder. Classes that such files name may lie in the current
folder too.
"""

from __future__ import annotations

import posixpath
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, cast

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.defaults_list import create_defaults_list
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, QuotedString, Sweep
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf

from simulacra.core import UserError
from simulacra.evaluation.misread import reading
from simulacra.evaluation.overrides import quoted, taken

PACKAGE = Path(__file__).resolve().parents[1]
SWEEPS = "sweeps"
HYDRA = "hydra"
SELF = "_self_"
"""What stands in a list of defaults for the file itself; where it is missing, the file comes last."""
HERE = "@_here_"
"""What stands there behind a file that is taken whole, in the place of the file itself."""


@cache
def folder(name: str) -> Path:
    """``conf`` or ``sweeps``, of the installed package or of the checkout."""
    inside = PACKAGE / name
    return inside if inside.is_dir() else PACKAGE.parents[1] / name


class SweepsSource(FileConfigSource):
    """Shows the one group ``sweeps`` of a folder, and nothing else that lies there."""

    @staticmethod
    def scheme() -> str:
        """Prefix in the search path."""
        return "sweeps"

    def is_group(self, config_path: str) -> bool:
        """Whether ``config_path`` is the group or its parent."""
        return config_path in ("", SWEEPS) and super().is_group(config_path)

    def is_config(self, config_path: str) -> bool:
        """Whether ``config_path`` is a file of the group."""
        return Path(config_path).parent == Path(SWEEPS) and super().is_config(config_path)

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """Names in the group."""
        if config_path == "":
            return [SWEEPS] if super().is_group(SWEEPS) else []
        return super().list(config_path, ObjectType.CONFIG) if self.is_group(config_path) else []


class DataSource(ConfigSource):
    """Shows the group ``data`` again under the names of :data:`PARTS`."""

    @staticmethod
    def scheme() -> str:
        """Prefix in the search path."""
        return "data"

    def available(self) -> bool:
        """Whether it can be asked; always."""
        return True

    def is_group(self, config_path: str) -> bool:
        """Whether ``config_path`` is one of the groups."""
        return config_path in PARTS

    def is_config(self, config_path: str) -> bool:
        """Whether ``config_path`` is a data set in one of them."""
        path = Path(config_path)
        return str(path.parent) in PARTS and path.stem in choices("data")

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """Names in a group."""
        shown = config_path in PARTS and results_filter != ObjectType.GROUP
        return choices("data") if shown else []

    def load_config(self, config_path: str) -> ConfigResult:
        """A data set, as the group ``data`` has it."""
        config = OmegaConf.create({"defaults": [{"/data@_here_": Path(config_path).stem}]})
        return ConfigResult(self.provider, self.full_path(), config, {"package": None})


class SearchPath(SearchPathPlugin):
    """Adds the sweeps, the parts of a pair, and what a user keeps in the current folder."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append, so that the package's own files come first."""
        here = Path.cwd()
        search_path.append("simulacra-parts", "data://")
        search_path.append("simulacra-sweeps", f"sweeps://{folder(SWEEPS).parent}")
        if (here / "conf").is_dir() and (here / "conf").resolve() != folder("conf"):
            search_path.append("current-folder", f"file://{here / 'conf'}")
        if (here / SWEEPS).is_dir() and (here / SWEEPS).resolve() != folder(SWEEPS):
            search_path.append("current-folder-sweeps", f"sweeps://{here}")


RESOLVERS: dict[str, Callable[..., str]] = {
    "job_folder": lambda number, overrides, params: job_folder(number, overrides, params),
    "folder_of": lambda path: str(Path(path).parent),
    "name_of": lambda path: Path(path).name,
}
"""What configurations of the package may compute, beside what Hydra and OmegaConf offer."""
PARTS = ("data/first", "data/second", "data/of")
"""Groups of what is a data set itself: the entries of ``data=pair`` and ``data=bags``."""
TOGETHER = 8
"""Choices that are composed together: the cost of each grows with their number."""
LONGEST = 60
"""Characters of the name of a job's folder."""
_varied: set[str] = set()
"""Keys to which the command line of this process gives several values."""


def vary(arguments: Sequence[str]) -> None:
    """Note what a command line varies, for the names of the folders of its jobs."""
    parser = OverridesParser.create()
    _varied.clear()
    for item in arguments:
        try:
            found = parser.parse_override(item)
        except HydraException:
            continue  # an option, or what Hydra refuses in its own words
        if found.is_sweep_override():
            _varied.add(found.get_key_element().lstrip("+~"))


def job_folder(number: int, overrides: Sequence[str], params: Mapping[str, Any] | None) -> str:
    """Name of the folder of a job of a multirun: its number and what the sweep varies, choices of groups by
    themselves, values with their keys, e.g. ``3_vit_seed-1``; no paths.

    Args:
        number: Number of the job.
        overrides: All overrides of the job.
        params: What the configuration of the sweeper varies, or None.
    """
    parts = [str(number)]
    for item in overrides:
        key, _, value = item.lstrip("+~").partition("=")
        if key in _varied.union(params or ()) and "/" not in value:
            name = "" if choices(key.partition("@")[0]) else re.split(r"[./]", key)[-1] + "-"
            parts.append(name + re.sub(r"[^\w.-]+", "-", _short(value)).strip("-"))
    return "_".join(parts)[:LONGEST].rstrip("_.-")


def _short(value: str) -> str:
    """A value with four digits where it is a number with more."""
    try:
        return value if value.isdecimal() else f"{float(value):.4g}"
    except ValueError:
        return value


def register() -> None:
    """Make Hydra find configurations, and Python the classes of the current folder; may be repeated."""
    Plugins.instance().register(SweepsSource)
    Plugins.instance().register(DataSource)
    Plugins.instance().register(SearchPath)
    for name, resolver in RESOLVERS.items():
        OmegaConf.register_new_resolver(name, resolver, replace=True)
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))


def compose(command: str, overrides: Sequence[str] = ()) -> DictConfig:
    """The configuration of a command, as on the command line but without running it.

    A program that calls the command's function with it sets ``paths.run``, the run directory, itself.

    Raises:
        UserError: If a configuration file cannot be read.
    """
    with _hydra(command):
        return hydra_compose(command, taken(overrides, command))


def bare(config: str, overrides: Sequence[str]) -> DictConfig:
    """The same of files that set nothing of Hydra's own, without which a small one takes half the time.

    Raises:
        UserError: If a configuration file cannot be read.
    """
    with _hydra(config):
        loader = cast(ConfigLoaderImpl, GlobalHydra.instance().config_loader())
        parsed, files = loader._parse_overrides_and_create_caching_repo(config, list(overrides))
        found = create_defaults_list(files, config, parsed, prepend_hydra=False, skip_missing=False)
        composed = loader._compose_config_from_defaults_list(found.defaults, files)
        OmegaConf.set_struct(composed, True)
        values = [item for item in found.config_overrides if not item.is_hydra_override()]
        loader._apply_overrides_to_config(values, composed)
        return composed


@contextmanager
def _hydra(name: str) -> Iterator[None]:
    """Hydra with the package's configurations, in the place of one that runs a command."""
    register()
    running = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        where = initialize_config_dir(str(folder("conf")), version_base="1.3", job_name=name)
        with where, reading():
            yield
    finally:
        GlobalHydra.instance().hydra = running


def added() -> tuple[str, ...]:
    """Folders that the present command line adds by ``--config-dir``."""
    if not HydraConfig.initialized():
        return ()
    sources = HydraConfig.get().runtime.config_sources
    return tuple(item.path for item in sources if item.provider == "command-line")


def searched(folders: Sequence[str]) -> list[str]:
    """The override by which a composition looks into further folders, too."""
    paths = ",".join(quoted(f"file://{folder}") for folder in folders)
    return [f"hydra.searchpath=[{paths}]"] if paths else []


def choices(group: str) -> list[str]:
    """Names in a group of the package, of the current folder and of folders that the command line adds."""
    folders = _folders()
    if group == SWEEPS:
        folders = [folder(SWEEPS).parent, Path.cwd()]
    return sorted({path.stem for base in folders for path in (base / group).glob("*.yaml")})


def _folders() -> list[Path]:
    """Where configurations may lie; of files of one name the first counts."""
    return [folder("conf"), Path.cwd() / "conf", *map(Path, added())]


def without_nothing(arguments: Sequence[str], command: str) -> list[str]:
    """The arguments of a command line without choices of nothing where nothing is chosen anyway.

    Hydra takes names and lists of names alone for the choice of a group, and ``solver=null`` for a mistake.

    Raises:
        UserError: If what is chosen of a group is no name, or a key is missing.
    """
    parser, kept = OverridesParser.create(), []
    for item in arguments:
        if item.startswith("="):
            raise UserError(f"{item!r} names no key")
        try:
            found = parser.parse_override(item)
        except HydraException:
            kept.append(item)  # an option, or what Hydra refuses in its own words
            continue
        group = re.sub(r"^data/(first|second)$", "data", found.key_or_group)
        value = found.value()
        values = value.list if isinstance(value, ChoiceSweep) else [value]
        if found.is_delete() or all(map(_is_named, values)) or not is_group(group):
            kept.append(item)
        elif value is not None or found.key_or_group not in _optional(command):
            own = [] if group.startswith(HYDRA) else choices(group)
            wanted = f"one of {', '.join(own)}" if own else "a name"
            raise UserError(f"{item}: what is chosen for {found.key_or_group} is {wanted}")
    return kept


def is_group(key: str) -> bool:
    """Whether a key of the command line is a group, be it Hydra's own."""
    return key == HYDRA or "/" in key or bool(choices(key))


def _is_named(value: object) -> bool:
    """Whether a value may be what is chosen of a group, or a part of the configuration of that name."""
    if isinstance(value, list):
        return all(isinstance(item, (str, QuotedString)) for item in value)
    return isinstance(value, (str, dict, QuotedString, Sweep))


@cache
def _optional(command: str) -> frozenset[str]:
    """Groups of which a command chooses nothing by itself."""
    defaults = OmegaConf.load(folder("conf") / f"{command}.yaml").defaults
    pairs = (next(iter(item.items())) for item in defaults if isinstance(item, DictConfig))
    return frozenset(str(group) for group, name in pairs if name is None)


def target(group: str, name: str) -> str:
    """The class that a choice of the groups ``data`` or ``model`` names.

    It is read from the choice's own file and those that it takes whole, of which the last one counts, as in a
    composition, but much faster. A class that is an expression is composed; files that an expression chooses,
    as the sizes of models, name none.
    """
    with reading():
        found = _target(f"{group}/{name}")
    if found is None or "$" in found:
        return str(load_choice(group, name)["_target_"])
    return found


def _target(config: str) -> str | None:
    """The class as it stands in the last file that names one."""
    files = (base / f"{config}.yaml" for base in _folders())
    own, order = _said(next((path for path in files if path.is_file()), None))
    places = ((item, posixpath.join("/", posixpath.dirname(config), item)) for item in order)
    named = (own if item == SELF else _target(place.lstrip("/")) for item, place in places)
    return next((found for found in named if found is not None), None)


@cache
def _said(path: Path | None) -> tuple[str | None, tuple[str, ...]]:
    """What a file names as its class, and itself and the files that it takes whole, the last first."""
    content = None if path is None else OmegaConf.to_container(OmegaConf.load(path))
    if not isinstance(content, dict):
        return None, ()
    defaults = content.get("defaults")
    listed = [_whole(item) for item in defaults] if isinstance(defaults, list) else []
    if SELF not in listed:
        listed.append(SELF)
    own = content.get("_target_")
    return None if own is None else str(own), tuple(item for item in reversed(listed) if item)


def _whole(item: object) -> str | None:
    """The file that an entry of a list of defaults puts in the file's own place; None for any other entry."""
    if isinstance(item, dict):
        ((group, name),) = item.items()
        if not str(group).endswith(HERE) or not isinstance(name, str) or "$" in name:
            return None
        return f"{str(group).removesuffix(HERE)}/{name}"
    name = str(item).removesuffix(HERE)
    return None if "@" in name else name


def load_choice(group: str, name: str) -> dict[str, Any]:
    """One choice of the groups ``data`` or ``model`` by itself, resolved; callers must not change it."""
    return load_choices(group, (name,))[name]


Place = tuple[Path | None, tuple[str, ...]]
"""What choices depend on: the current folder, if it has configurations, and folders of the command line."""


def place() -> Place:
    """The present one."""
    here = Path.cwd()
    return here if any((here / part).is_dir() for part in ("conf", SWEEPS)) else None, added()


def load_choices(
    group: str, names: Sequence[str], at: Place | None = None
) -> dict[str, dict[str, Any]]:
    """Some choices by name, composed a few at a time."""
    return _choices(group, tuple(names), at or place())


@cache
def _choices(group: str, names: tuple[str, ...], at: Place) -> dict[str, dict[str, Any]]:
    """Composed once for all folders without configurations of their own."""
    found: dict[str, dict[str, Any]] = {}
    for start in range(0, len(names), TOGETHER):
        asked = [f"+{group}@all.{name}={name}" for name in names[start : start + TOGETHER]]
        chosen = bare("choices", [*asked, "+model/size=small", *searched(at[1])]).get("all", {})
        found |= cast(dict[str, dict[str, Any]], OmegaConf.to_container(chosen, resolve=True))
    return found
