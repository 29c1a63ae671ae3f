"""Pages and pictures of the site that are files of the repository."""

from __future__ import annotations

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
COPIES = {
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "assets/ds1_photons.png": ".github/ds1_photons.png",
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Each under its place in the site."""
    for place, source in COPIES.items():
        files.append(File.generated(config, place, abs_src_path=str(ROOT / source)))
    return files
