"""One HTML file per evaluation that stands on its own: figures inside, no network, readable
without this package.

The file holds the headline figures, every figure with error and floor, the images, the
configuration, the overrides and where the events come from.  It is written to a temporary name and
moved, so that it is never half there.
"""

from __future__ import annotations

import base64
import html
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

HEADLINES = ("classifier/boosted/auc", "w1_mean", "w1m", "w1p", "time_per_event_ms")
"""Figures shown large at the top, where they exist."""
TWINS = ("/error", "/floor")

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><style>{style}</style></head>
<body><main>{body}</main></body></html>
"""
_CSS = """
:root { --ink: #1f2430; --soft: #667085; --line: #e4e7ec; --back: #f8f9fb; --mark: #c2272d; }
* { box-sizing: border-box; }
body { margin: 0; font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; color: var(--ink);
  background: var(--back); }
main { max-width: 1180px; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.7rem; margin: 0 0 .2rem; } h2 { font-size: 1.2rem; margin: 2.4rem 0 .8rem; }
p.sub { color: var(--soft); margin: 0 0 1.5rem; }
.tiles { display: flex; flex-wrap: wrap; gap: .9rem; }
.tile { background: #fff; border: 1px solid var(--line); border-radius: 10px; padding: .9rem 1.1rem;
  min-width: 190px; }
.tile b { display: block; font-size: 1.55rem; font-variant-numeric: tabular-nums; }
.tile span { color: var(--soft); font-size: .85rem; }
figure { margin: 0 0 1.4rem; background: #fff; border: 1px solid var(--line); border-radius: 10px;
  padding: .8rem; }
figure img { max-width: 100%; display: block; margin: 0 auto; }
figcaption { color: var(--soft); font-size: .85rem; }
details { background: #fff; border: 1px solid var(--line); border-radius: 10px; margin-bottom: .7rem; }
summary { cursor: pointer; padding: .6rem 1rem; font-weight: 600; }
details > div { overflow-x: auto; padding: 0 1rem 1rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .22rem .6rem; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } th { color: var(--soft); font-weight: 500; }
tr.far td:last-child { color: var(--mark); font-weight: 600; }
pre { margin: 0; font-size: .82rem; white-space: pre-wrap; }
ul.notes { color: var(--soft); padding-left: 1.2rem; }
"""


def write_report(
    path: Path,
    title: str,
    metrics: Mapping[str, float],
    figures: Mapping[str, bytes | Path],
    config: Mapping[str, Any],
    provenance: Mapping[str, str],
    notes: Mapping[str, str] | None = None,
    overrides: Sequence[str] = (),
) -> Path:
    """Write the report, all of it or nothing.

    Args:
        path: The file, usually ``report.html`` of a run directory.
        title: What was evaluated.
        metrics: Flat figures; ``…/error`` and ``…/floor`` become columns.
        figures: PNG images by name, as bytes or as files.
        config: Resolved configuration.
        provenance: Where the events and the code come from.
        notes: Remarks by key.
        overrides: What the user changed on the command line.

    Returns:
        The path.
    """
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        f"<p class='sub'>{html.escape(' '.join(overrides)) or 'no overrides'}</p>",
        _tiles(metrics),
        _notes(notes or {}),
        "<h2>Figures</h2>",
        *(_figure(name, image) for name, image in figures.items()),
        "<h2>All numbers</h2>",
        *_tables(metrics),
        "<h2>Origin</h2>",
        _details("provenance", _pairs(provenance), shown=True),
        _details(
            "configuration",
            f"<pre>{html.escape(yaml.safe_dump(_plain(config), sort_keys=False))}</pre>",
        ),
    ]
    text = _PAGE.format(title=html.escape(title), style=_CSS, body="".join(parts))
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)
    return path


def _rows(metrics: Mapping[str, float]) -> Iterator[tuple[str, float, float | None, float | None]]:
    for key, value in metrics.items():
        if not key.endswith(TWINS):
            error, floor = (metrics.get(key + twin) for twin in TWINS)
            yield key, value, error, floor


def _tiles(metrics: Mapping[str, float]) -> str:
    tiles = []
    for key, value, error, floor in _rows(metrics):
        name = key.partition("/")[2]
        if name in HEADLINES:
            small = [html.escape(name)]
            small += [] if error is None else [f"± {error:.2g}"]
            small += [] if floor is None else [f"floor {floor:.3g}"]
            tiles.append(
                (
                    HEADLINES.index(name),
                    f"<div class='tile'><b>{value:.4g}</b><span>{' · '.join(small)}</span></div>",
                )
            )
    return f"<div class='tiles'>{''.join(tile for _, tile in sorted(tiles))}</div>"


def _tables(metrics: Mapping[str, float]) -> list[str]:
    """One folded table per kind of figure, the kind being the second part of its key."""
    groups: dict[str, list[str]] = {}
    for key, value, error, floor in _rows(metrics):
        prefix, _, rest = key.partition("/")
        kind = rest.split("/")[0] if "/" in rest else prefix
        ratio = None if not floor else abs(value) / floor
        far = ratio is not None and ratio > 3 and kind != "classifier"
        cells = [
            _number(item) for item in (value, error, floor, None if kind == "classifier" else ratio)
        ]
        row = f"<tr{' class=far' if far else ''}><td>{html.escape(rest or key)}</td>{''.join(cells)}</tr>"
        groups.setdefault(kind, []).append(row)
    header = (
        "<tr><th>figure</th><th>value</th><th>error</th><th>floor</th><th>value / floor</th></tr>"
    )
    order = sorted(groups, key=lambda kind: (len(groups[kind]) > 12, kind))
    return [
        _details(
            f"{kind} ({len(groups[kind])})",
            f"<table>{header}{''.join(groups[kind])}</table>",
            len(groups[kind]) <= 12,
        )
        for kind in order
    ]


def _number(value: float | None) -> str:
    return "<td></td>" if value is None else f"<td>{value:.4g}</td>"


def _figure(name: str, image: bytes | Path) -> str:
    data = base64.b64encode(image if isinstance(image, bytes) else image.read_bytes()).decode(
        "ascii"
    )
    text = html.escape(name.replace("_", " "))
    shown = f"<img alt='{text}' src='data:image/png;base64,{data}'>"
    return f"<figure>{shown}<figcaption>{text}</figcaption></figure>"


def _notes(notes: Mapping[str, str]) -> str:
    items = "".join(
        f"<li>{html.escape(key)}: {html.escape(text)}</li>" for key, text in notes.items()
    )
    return f"<ul class='notes'>{items}</ul>" if items else ""


def _details(title: str, body: str, shown: bool = False) -> str:
    summary = f"<summary>{html.escape(title)}</summary>"
    return f"<details{' open' if shown else ''}>{summary}<div>{body}</div></details>"


def _pairs(values: Mapping[str, str]) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(k)}</td><td>{html.escape(str(v))}</td></tr>"
        for k, v in values.items()
    )
    return f"<table>{rows}</table>"


def _plain(value: Any) -> Any:
    """Only what YAML knows."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if isinstance(value, (str, int, float, bool)) or value is None else str(value)
