"""The environment of the tests, and what their command line adds to pytest's."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["WANDB_MODE"] = "offline"
os.environ["MPLBACKEND"] = "Agg"
os.environ.pop("SIMULACRA_DATA", None)

import zlib

import pytest

SOME = {"faults": 20, "grid": 6, "smoke": 4, "docs": 4}
"""Of how many tests with a mark ``--some`` runs one."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("faults", "long series of like tests")
    group.addoption(
        "--some",
        action="store_true",
        help="run a twentieth of the faults, a sixth of the grid, a quarter of smokes and pages",
    )
    group.addoption("--faults-report", metavar="FILE", help="write what the campaign found as JSON")


def pytest_configure(config: pytest.Config) -> None:
    """Fixtures come with all that they import, but not where nothing is done but to start others."""
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", None):
        config.pluginmanager.import_plugin("shared_fixtures")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--some"):
        dropped = {item for item in items if any(_left_out(item, *each) for each in SOME.items())}
        items[:] = [item for item in items if item not in dropped]
        config.hook.pytest_deselected(items=list(dropped))


def _left_out(item: pytest.Item, mark: str, of: int) -> bool:
    """Whether a test with a mark is not the one among so many that stands for them, always the same."""
    return item.get_closest_marker(mark) is not None and zlib.crc32(item.name.encode()) % of > 0
