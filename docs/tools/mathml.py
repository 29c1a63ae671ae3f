"""Formulas as MathML, which browsers draw by themselves: no script, no other server."""

from __future__ import annotations

import html
import re
from typing import Any

from latex2mathml.converter import convert

INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.S)
DISPLAYED = re.compile(r'<div class="arithmatex">\\\[(.*?)\\\]</div>', re.S)


def on_page_content(text: str, **kwargs: Any) -> str:
    """A page with its formulas drawn."""
    text = INLINE.sub(lambda found: convert(html.unescape(found[1]).strip()), text)
    return DISPLAYED.sub(
        lambda found: convert(html.unescape(found[1]).strip(), display="block"), text
    )
