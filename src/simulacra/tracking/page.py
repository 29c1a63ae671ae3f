"""What the HTML pages are made of: one file that stands on its own, sortable tables, tiles, folded parts.

Style and script lie inside the page, and its content security policy forbids everything from outside: it
opens with no network. The pages are templates, which escape whatever is no markup of their own. A page is
written to a temporary name and moved, so that it is never half there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from simulacra.core.files import write_text

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"

_environment = Environment(
    loader=PackageLoader("simulacra.tracking"),
    autoescape=True,
    undefined=StrictUndefined,
    keep_trailing_newline=True,
)


def render(template: str, **values: Any) -> Markup:
    """A template of the package filled with values, which are text unless they are markup already."""
    return Markup(_environment.get_template(template).render(values))


def part(name: str, *values: Any) -> Markup:
    """A macro of ``parts.html``, called."""
    parts: Any = _environment.get_template("parts.html").module
    return Markup(str(getattr(parts, name)(*values)).strip())


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
        html: What is shown, text or markup.
        value: What it is sorted by; None counts as empty.
        css: Class of the cell.
        title: Explanation that is shown over the cell.
    """

    html: str | Markup = ""
    value: float | str | None = None
    css: str = ""
    title: str = ""


@dataclass(frozen=True)
class Line:
    """A row of a table, with the class of the row."""

    cells: Sequence[Cell]
    css: str = ""


def write_page(path: Path, title: str, parts: Sequence[Markup]) -> Path:
    """Write a page, all of it or nothing."""
    folder = files("simulacra.tracking")
    text = render(
        "page.html",
        policy=Markup(POLICY),
        title=title,
        style=Markup((folder / "page.css").read_text(encoding="utf-8")),
        script=Markup((folder / "page.js").read_text(encoding="utf-8")),
        parts=parts,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)
    return path


def table(name: str, columns: Sequence[Column], lines: Sequence[Line]) -> Markup:
    """A table that a click on a column's head sorts; ``name`` tells it from others of the page."""
    return part("table", name, columns, lines)


def tile(value: str, lines: Sequence[str]) -> Markup:
    """A number shown large, with a few words below."""
    return part("tile", value, lines)


def details(title: str, body: Markup, shown: bool = False) -> Markup:
    """A part that can be folded."""
    return part("details", title, body, shown)


def words(text: str, css: str = "") -> Cell:
    """A cell of text."""
    return Cell(text, text or None, css)


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


def shades(ends: Sequence[tuple[str, float]] = SHADES) -> Markup:
    """What the shades mean, for a legend."""
    return part("shades", [(name, f"{top:g}") for name, top in ends], "q4")
