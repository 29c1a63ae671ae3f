"""What docstrings say of the arguments of a class or function, read from the source alone."""

from __future__ import annotations

import ast
import inspect
import re
from functools import cache

from simulacra.evaluation.config import PACKAGE

_MARKUP = re.compile(r":\w+:`~?([^`]*)`|``([^`]*)``")
_ENTRY = re.compile(r"( {4})(\w+): (.*)")


def argument(target: str, name: str) -> str:
    """What the docstring of ``target``, or of a class that it derives from, says of an argument; else an
    empty text.

    Args:
        target: Dotted path of a class or function of the package, as a configuration names it.
        name: The argument.
    """
    module, _, member = target.rpartition(".")
    seen: set[tuple[str, str]] = set()
    ahead = [(module, member)]
    while ahead:
        place = ahead.pop(0)
        if place in seen:
            continue
        seen.add(place)
        text, bases = _documented(*place)
        if name in text:
            return _MARKUP.sub(lambda found: found[1] or found[2], text[name]).rstrip(".")
        ahead += bases
    return ""


@cache
def _documented(module: str, member: str) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Texts of the arguments of an object of a module, and where its bases are."""
    tree = _tree(module)
    for node in tree.body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef) or node.name != member:
            continue
        bases = node.bases if isinstance(node, ast.ClassDef) else []
        names = [base.id for base in bases if isinstance(base, ast.Name)]
        return _arguments(ast.get_docstring(node) or ""), [_place(tree, module, n) for n in names]
    return {}, []


def _place(tree: ast.Module, module: str, name: str) -> tuple[str, str]:
    """Module and name of what a module calls ``name``."""
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return node.module, alias.name
    return module, name


@cache
def _tree(module: str) -> ast.Module:
    first, *rest = module.split(".")
    path = PACKAGE.joinpath(*rest)
    found = [p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()]
    if first != PACKAGE.name or not found:
        return ast.Module([], [])
    return ast.parse(found[0].read_text(encoding="utf-8"))


def _arguments(docstring: str) -> dict[str, str]:
    """Entries of the section ``Args:``."""
    _, _, section = inspect.cleandoc(docstring).partition("Args:\n")
    found: dict[str, str] = {}
    name = ""
    for line in section.splitlines():
        if not line.startswith("    "):
            break
        entry = _ENTRY.fullmatch(line)
        if entry:
            name = entry[2]
            found[name] = entry[3]
        elif name:
            found[name] += " " + line.strip()
    return found
