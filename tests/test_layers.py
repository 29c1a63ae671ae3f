"""The package's own rules."""

from __future__ import annotations

from pathlib import Path

import pytest
from importlinter.cli import lint_imports

ROOT = Path(__file__).parents[1]


def test_imports_go_one_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    # it switches off every logger that there is
    monkeypatch.setattr("logging.config.dictConfig", lambda config: None)
    assert lint_imports(config_filename="pyproject.toml", no_cache=True) == 0


def test_no_source_file_is_long() -> None:
    lengths = {
        path.name: len(path.read_text().splitlines()) for path in (ROOT / "src").rglob("*.py")
    }
    assert not {name: length for name, length in lengths.items() if length > 400}


def test_the_embedded_samples_stay_small() -> None:
    files = [path for path in (ROOT / "src/simulacra/data/embedded").rglob("*") if path.is_file()]
    assert 10 < sum(path.stat().st_size for path in files) / 2**20 < 32
