r"""Docstrings as the site shows them: Sphinx's roles become Markdown.

``:math:`` becomes ``\(…\)``, ``.. math::`` a displayed formula, and ``:func:``, ``:class:`` and their
kin a link to what they name where the reference has it. Arguments that are documented in one line become
a line each.
"""

from __future__ import annotations

import re
import textwrap
from typing import Any

import griffe

MATH = re.compile(r":math:`([^`]+)`")
DISPLAYED = re.compile(r"^( *)\.\. math::(.*(?:\n(?:\1 +.*|[ ]*))*)", re.M)
SHARED = re.compile(r"^( +)(\w+(?:, \w+)+):( .*(?:\n\1 +.*)*)", re.M)
NAMED = re.compile(r":(?:class|data|func|meth|mod|attr|exc):`([^`]+)`")


def formula(found: re.Match[str]) -> str:
    """A displayed formula between lines of their own."""
    indent, text = found[1], " ".join(textwrap.dedent(found[2]).split())
    return f"{indent}\\[{text}\\]\n\n"


def link(found: re.Match[str]) -> str:
    """A name as code, and as a link where it is known; ``~`` shows its last part alone."""
    name = " ".join(found[1].split())
    shown = name.rpartition(".")[2] if name.startswith("~") else name
    return f'<autoref identifier="{name.removeprefix("~")}" optional><code>{shown}</code></autoref>'


def each(found: re.Match[str]) -> str:
    """One line for every argument of ``a, b: what they are``."""
    return "\n".join(f"{found[1]}{name}:{found[3]}" for name in found[2].split(", "))


def markdown(text: str) -> str:
    """A docstring without roles."""
    head, args, rest = text.partition("\nArgs:\n")
    body, gap, rest = rest.partition("\n\n")
    text = head + args + SHARED.sub(each, body) + gap + rest
    text = DISPLAYED.sub(formula, text)
    text = MATH.sub(lambda found: f"\\({' '.join(found[1].split())}\\)", text)
    return NAMED.sub(link, text)


class Roles(griffe.Extension):
    """Rewrites every docstring when it is found."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = markdown(obj.docstring.value)
