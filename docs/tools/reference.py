"""A page of the reference for each package, with all its public modules, from the docstrings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

SOURCE = Path(__file__).parents[2] / "src"
SECTION = "Reference"
MODULE = "show_root_heading: true, show_root_full_path: true, heading_level: 2"


def packages() -> dict[str, list[str]]:
    """Dotted name of each public package, with those of its public modules, none of them left out."""
    found = {}
    for init in sorted(SOURCE.glob("simulacra/**/__init__.py")):
        folder = init.parent
        name = dotted(folder)
        modules = [dotted(path.with_suffix("")) for path in sorted(folder.glob("*.py"))]
        if public(name):
            found[name] = [module for module in modules if public(module)]
    return found


def dotted(path: Path) -> str:
    """``simulacra.core.batch`` of a path."""
    return ".".join(path.relative_to(SOURCE).parts)


def public(name: str) -> bool:
    """Whether no part of a dotted name begins with an underscore."""
    return not any(part.startswith("_") for part in name.split("."))


def page(package: str, modules: list[str]) -> Iterator[str]:
    """Lines of the page of a package."""
    yield f"# {package}\n"
    yield f"::: {package}\n    options: {{members: false, show_root_heading: false, heading_level: 2}}\n"
    for module in modules:
        yield f"::: {module}\n    options: {{{MODULE}}}\n"


def path(package: str) -> str:
    """Where the page of a package lies."""
    return f"reference/{package}.md"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """The section of the reference lists all pages."""
    for entry in config.nav or []:
        if isinstance(entry, dict) and SECTION in entry:
            entry[SECTION] = [{name: path(name)} for name in packages()]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The pages themselves."""
    for package, modules in packages().items():
        text = "\n".join(page(package, modules))
        files.append(File.generated(config, path(package), content=text))
    return files
