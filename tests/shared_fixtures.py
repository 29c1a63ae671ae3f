"""Shared fixtures: composed configurations and toy files in the real formats, read by the real readers."""

from __future__ import annotations

import gc
import os
import pickle
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
import torch
from hydra._internal.sources_registry import SourcesRegistry
from hydra.plugins.config_source import ConfigResult, ConfigSource
from torch import distributed

from simulacra import data
from simulacra.core.collecting import settled
from simulacra.data.base import EventDataModule
from simulacra.evaluation.config import register
from support import CONF, composed, sets

torch.set_num_threads(1)

TOY_EVENTS = {"pxd": 3}  # one dense event is 31 MB
DEFAULT_TOY_EVENTS = 40


def pytest_collection_finish() -> None:
    """What has been imported stays: the search for cyclic garbage need not walk through it, nor be often."""
    settled()
    gc.set_threshold(10_000, 50, 20)


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing that a test caches outlives it."""
    before = os.environ.get("SIMULACRA_CACHE")
    os.environ["SIMULACRA_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["SIMULACRA_CACHE"]
    else:
        os.environ["SIMULACRA_CACHE"] = before


@pytest.fixture(autouse=True, scope="session")
def _each_configuration_is_read_once() -> Iterator[None]:
    """Those of the package and of Hydra, which no test changes: a third of what a composition takes."""
    register()  # brings Hydra's plug-ins, whose classes are not those that an import gives
    with pytest.MonkeyPatch.context() as patch:
        for scheme, tree in (("file", str(CONF)), ("pkg", "hydra.conf")):
            kind = SourcesRegistry.instance().resolve(scheme)
            patch.setattr(kind, "load_config", _read_once(kind, tree))
        yield


def _read_once(kind: type[ConfigSource], tree: str) -> Callable[[ConfigSource, str], ConfigResult]:
    """How sources of a kind read, without reading a file of a tree again."""
    read = kind.load_config
    own = kind(provider="main", path=f"{kind.scheme()}://{tree}")

    @cache
    def first(config_path: str) -> bytes:
        return pickle.dumps(read(own, config_path))

    def load_config(source: ConfigSource, config_path: str) -> ConfigResult:
        if source.path != tree:
            return read(source, config_path)
        return pickle.loads(first(config_path))  # five times faster than a copy

    return load_config


@pytest.fixture
def group(tmp_path: Path) -> Iterator[None]:
    """Processes that exchange something; there is one."""
    store = distributed.FileStore(str(tmp_path / "store"), 1)
    distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., EventDataModule]:
    """Data modules over toy files: ``toy("ds2", view="cloud")``."""
    folders: dict[str, Path] = {}

    def make(name: str, view: str | None = None, *overrides: str) -> EventDataModule:
        if name not in folders:
            folders[name] = tmp_path_factory.mktemp(f"toy_{name}")
            whole = data.build(composed("data", f"data={name}"))
            whole.write_toy(folders[name], TOY_EVENTS.get(name, DEFAULT_TOY_EVENTS))
        roots = [f"{key}.root={folders[name]}" for key in sets(name)]
        overrides = (f"data={name}", *roots, "data.batch_size=8", *overrides)
        config = composed("data", *overrides, *([f"data.view={view}"] if view else []))
        return data.build(config)

    return make
