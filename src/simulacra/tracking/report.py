"""One HTML file per evaluation that stands on its own: figures inside, no network, readable
without this package.

The file holds the headline figures, what was run on what, the images with captions, every figure with error
and floor, the configuration, the overrides and where the events come from. Checkpoints are linked, not held.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml
from markupsafe import Markup

from simulacra.metrics.engine.result import TWINS, is_twin
from simulacra.tracking import page
from simulacra.tracking.captions import caption
from simulacra.tracking.compare import LABELS, TEST_TIME, label
from simulacra.tracking.page import Cell, Column, Line

HEADLINES = (*(key for key in LABELS if not key.startswith("prdc/")), TEST_TIME)
"""Figures shown large at the top, where they exist."""
OPEN = 12
"""Rows up to which a table is shown unfolded."""
COLUMNS = (
    Column("figure", "figure", text=True),
    Column("value", "value"),
    Column("error", "error"),
    Column("floor", "floor", title="the same figure for truth against truth"),
    Column("ratio", "value / floor"),
    Column("z", "z", title="distance from the floor in standard deviations of truth against truth"),
)


def write_report(
    path: Path,
    title: str,
    metrics: Mapping[str, float],
    figures: Mapping[str, bytes | Path],
    config: Mapping[str, Any],
    provenance: Mapping[str, str],
    notes: Mapping[str, str] | None = None,
    overrides: Sequence[str] = (),
    facts: Mapping[str, str | Path] | None = None,
) -> Path:
    """Write the report, all of it or nothing.

    Args:
        path: The file, usually ``report.html`` of a run directory.
        title: What was evaluated.
        metrics: Flat figures; ``…/error``, ``…/floor`` and ``…/z`` become columns.
        figures: PNG images by name, as bytes or as files.
        config: Resolved configuration.
        provenance: Where the events and the code come from.
        notes: Remarks by key.
        overrides: What the user changed on the command line.
        facts: What was run, by what it is: the command, parameters, times, hardware; files are linked.

    Returns:
        The path.
    """
    body = page.render(
        "report.html",
        title=title,
        overrides=" ".join(overrides),
        tiles=_tiles(metrics),
        facts={key: _fact(value, path.parent) for key, value in (facts or {}).items()},
        notes=[f"{_subject(key)}: {text}" for key, text in (notes or {}).items()],
        images=[_image(name, image) for name, image in figures.items()],
        shades=page.shades(),
        tables=_tables(metrics),
        provenance={key: str(value) for key, value in provenance.items()},
        configuration=yaml_of(config),
    )
    return page.write_page(path, title, [body])


def _rows(
    metrics: Mapping[str, float],
) -> Iterator[tuple[str, float, float | None, float | None, float | None]]:
    for key, value in metrics.items():
        if not is_twin(key, metrics):
            error, floor, z = (metrics.get(key + twin) for twin in TWINS)
            yield key, value, error, floor, z


def _tiles(metrics: Mapping[str, float]) -> list[Markup]:
    tiles = {}
    for key, value, error, floor, z in _rows(metrics):
        name = key.partition("/")[2]
        if name in HEADLINES:
            lines = ["time per event in the test [ms]" if name == TEST_TIME else label(name)]
            lines += [] if error is None else [f"± {page.short(error, 2)}"]
            lines += [] if floor is None else [f"floor {page.short(floor)}"]
            lines += [] if z is None else [f"z {page.short(z, 2)}"]
            tiles[name] = page.tile(page.short(value), [lines[0], " · ".join(lines[1:])])
    return [tiles[key] for key in HEADLINES if key in tiles]


def _tables(metrics: Mapping[str, float]) -> list[Markup]:
    """One folded table per kind of figure, the kind being the second part of its key."""
    groups: dict[str, list[Line]] = {}
    for row in _rows(metrics):
        prefix, _, rest = row[0].partition("/")
        kind = rest.split("/")[0] if "/" in rest else prefix
        groups.setdefault(kind, []).append(_line(rest or row[0], *row[1:], kind != "classifier"))
    return [
        page.details(
            f"{kind} ({len(groups[kind])})",
            page.table(kind, COLUMNS, groups[kind]),
            len(groups[kind]) <= OPEN,
        )
        for kind in sorted(groups, key=lambda kind: (len(groups[kind]) > OPEN, kind))
    ]


def _line(
    name: str,
    value: float,
    error: float | None,
    floor: float | None,
    z: float | None,
    compared: bool,
) -> Line:
    """A figure; over its floor where that says something."""
    ratio = abs(value) / floor if compared and floor and floor > 0 else None
    return Line([
        page.words(name),
        *(page.number(item, 4) for item in (value, error, floor)),
        Cell() if ratio is None else page.number(ratio, 3, page.shade(value, floor)),
        page.number(z, 3),
    ])  # fmt: skip


def figures_table(name: str, metrics: Mapping[str, float]) -> Markup:
    """Figures in their order, in one table; ``name`` tells it from others of the page."""
    lines = [_line(*row, "classifier" not in row[0]) for row in _rows(metrics)]
    return page.table(name, COLUMNS, lines)


def _image(name: str, image: bytes | Path) -> Markup:
    title, text = caption(name)
    return picture(title, image, text)


def picture(title: str, image: bytes | Path, text: str = "") -> Markup:
    """A PNG image inside the page, with its caption."""
    data = base64.b64encode(image if isinstance(image, bytes) else image.read_bytes())
    shown = page.part("image", title, data.decode("ascii"))
    return page.part("figure", shown, page.part("caption", title, text))


def _fact(value: str | Path, folder: Path) -> str | Markup:
    """A value as text, a file as a link from the report's folder."""
    if not isinstance(value, Path):
        return value
    return page.part("link", quote(os.path.relpath(value, folder)), str(value))


def _subject(key: str) -> str:
    """What a remark is about: ``test/cut/reference`` is ``cut, reference``."""
    parts = re.sub(r"^(test|val)/", "", key).split("/")
    return ", ".join(part.replace("_", " ") for part in parts)


def yaml_of(config: Mapping[str, Any]) -> str:
    """A configuration as it is shown."""
    return yaml.safe_dump(_plain(config), sort_keys=False)


def _plain(value: Any) -> Any:
    """Only what YAML knows."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if isinstance(value, (str, int, float, bool)) or value is None else str(value)
