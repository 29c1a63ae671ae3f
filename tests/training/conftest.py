"""A checkpoint that tests of checkpoints change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from simulacra.training.checkpoint import build, read
from support import composed, save, spec_of, tiny


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole checkpoint of a small model."""
    config = tiny("table_flow")
    module = build(config, spec_of("table", None))
    return save(module, config, tmp_path_factory.mktemp("good"), composed("data", "data=table"))


@pytest.fixture(scope="module")
def contents(good: Path) -> dict[str, Any]:
    return read(good)
