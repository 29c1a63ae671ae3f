"""Figures to files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from simulacra.core.files import whole


def save(figures: Mapping[str, Figure], folder: Path, prefix: str = "") -> dict[str, Path]:
    """Write every figure as ``<folder>/<prefix><name>.png``.

    Returns:
        The files by name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / f"{prefix}{name.replace('/', '_')}.png" for name in figures}
    for name, figure in figures.items():
        with whole(paths[name]) as part:
            figure.savefig(part, format="png")
    return paths
