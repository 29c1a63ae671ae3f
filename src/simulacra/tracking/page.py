"""What the HTML pages are made of: one file that stands on its own, sortable tables, tiles, folded parts.

Style and script lie inside the page, and its content security policy forbids everything from outside: it
opens with no network. A page is written to a temporary name and moved, so that it is never half there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path

from simulacra.core.files import write_text

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<link rel="icon" href="data:,">
<title>{title}</title><style>{style}</style></head>
<body><main>{body}</main><script>{script}</script></body></html>
"""


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Args:
        key: Its name in a link to a sorted view.
        label: Its head.
        text: Whether it holds words, which are set to the left.
        title: Explanation that is shown over the head.
    """

    key: str
    label: str
    text: bool = False
    title: str = ""


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Args:
        html: What is shown.
        value: What it is sorted by; None counts as empty.
        css: Class of the cell.
        title: Explanation that is shown over the cell.
    """

    html: str = ""
    value: float | str | None = None
    css: str = ""
    title: str = ""


@dataclass(frozen=True)
class Line:
    """A row of a table, with the class of the row."""

    cells: Sequence[Cell]
    css: str = ""


def write_page(path: Path, title: str, parts: Sequence[str]) -> Path:
    """Write a page, all of it or nothing."""
    folder = files("simulacra.tracking")
    text = _PAGE.format(
        policy=POLICY,
        title=escape(title),
        style=(folder / "page.css").read_text(encoding="utf-8"),
        script=(folder / "page.js").read_text(encoding="utf-8"),
        body="".join(parts),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)
    return path


def table(name: str, columns: Sequence[Column], lines: Sequence[Line]) -> str:
    """A table that a click on a column's head sorts; ``name`` tells it from others of the page."""
    heads = "".join(
        f"<th data-column='{escape(item.key)}'{_class('text' * item.text)}{_title(item.title)}>"
        f"<button type='button'>{escape(item.label)}</button></th>"
        for item in columns
    )
    rows = "".join(_row(columns, line) for line in lines)
    head = f"<thead><tr>{heads}</tr></thead>"
    return f"<table data-name='{escape(name)}'>{head}<tbody>{rows}</tbody></table>"


def _row(columns: Sequence[Column], line: Line) -> str:
    cells = []
    for column, cell in zip(columns, line.cells, strict=True):
        css = " ".join(item for item in ("text" if column.text else "", cell.css) if item)
        value = "" if cell.value is None else f" data-v='{escape(str(cell.value))}'"
        cells.append(f"<td{_class(css)}{value}{_title(cell.title)}>{cell.html}</td>")
    return f"<tr{_class(line.css)}>{''.join(cells)}</tr>"


def _class(names: str) -> str:
    return f" class='{names}'" if names else ""


def _title(text: str) -> str:
    return f" title='{escape(text)}'" if text else ""


def tile(value: str, lines: Sequence[str]) -> str:
    """A number shown large, with a few words below."""
    small = "".join(f"<span>{escape(item)}</span>" for item in lines)
    return f"<div class='tile'><b>{value}</b>{small}</div>"


def details(title: str, body: str, shown: bool = False) -> str:
    """A part that can be folded."""
    summary = f"<summary>{escape(title)}</summary>"
    return f"<details{' open' if shown else ''}>{summary}<div>{body}</div></details>"


def words(text: str, css: str = "") -> Cell:
    """A cell of text."""
    return Cell(escape(text), text or None, css)


def number(value: float | None, digits: int = 3, css: str = "") -> Cell:
    """A cell with a number of some significant digits; empty for None."""
    return Cell() if value is None else Cell(short(value, digits), value, css)


def short(value: float, digits: int = 3) -> str:
    """A number in as few characters as its significant digits allow: ``12,345``, ``0.0402``, ``3.1e-7``."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    magnitude = math.floor(math.log10(abs(value)))
    if magnitude < -4 or magnitude > 9:
        return f"{value:.{digits - 1}e}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")
    return f"{value:,.{max(0, digits - 1 - magnitude)}f}"


def count(number: float, digits: int = 3) -> str:
    """A large number with a letter for its thousands: ``85.0 k``, ``271 M``."""
    units = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
    found = (f"{short(number / size, digits)} {unit}" for size, unit in units if number >= size)
    return next(found, short(number, digits))


def with_error(value: float, error: float | None) -> str:
    """A value with its error, ``0.647 ± 0.011``; errors keep a second digit if the first is 1 or 2."""
    if error is None or not error > 0 or not math.isfinite(error):
        return short(value)
    magnitude = math.floor(math.log10(error))
    places = -magnitude + (error < 2.95 * 10.0**magnitude)
    if places <= 6:
        value, error = round(value, places), round(error, places)
        return f"{value:,.{max(0, places)}f} ± {error:,.{max(0, places)}f}"
    return f"{value:.2e} ± {error:.0e}"


def shade(value: float, floor: float | None) -> str:
    """Class of a cell by value over floor, ``q1`` to ``q4``; none without a positive floor."""
    if floor is None or floor <= 0:
        return ""
    return next((name for name, top in SHADES if abs(value) / floor <= top), "q4")


SHADES = (("q1", 1.5), ("q2", 3.0), ("q3", 10.0))
"""Upper ends of value over floor."""


def shades(ends: Sequence[tuple[str, float]] = SHADES) -> str:
    """What the shades mean, for a legend."""
    shown = [*((name, f"{top:g}") for name, top in ends), ("q4", "more")]
    return " ".join(f"<span class='key {name}'>{text}</span>" for name, text in shown)
