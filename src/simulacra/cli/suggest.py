"""What a user may have meant: names that are close to one that does not exist."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

FEW = 15
"""So many names are listed where none is close."""


def closest(name: str, among: Iterable[str], above: str = "") -> str:
    """``: did you mean X or Y?`` where something is close to a name, else an empty text.

    Args:
        name: What does not exist.
        among: What does.
        above: What is written in front of each.
    """
    found = difflib.get_close_matches(name, sorted(set(among)), 3, 0.6)
    return f": did you mean {' or '.join(above + item for item in found)}?" if found else ""


def unknown_name(error: BaseException) -> str | None:
    """The sentence for a key or choice that Hydra does not know, with what is close to it; else None."""
    from hydra.errors import ConfigCompositionException, MissingConfigException
    from omegaconf.errors import ConfigAttributeError, ConfigKeyError

    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, name = error.missing_cfg_file.rpartition("/")
        meant = closest(name, error.options) or f": there are {', '.join(error.options)}"
        return f"there is no {group}={name}{meant}"
    cause = error.__cause__
    if not isinstance(error, ConfigCompositionException):
        return None
    if not isinstance(cause, ConfigKeyError | ConfigAttributeError) or cause.parent_node is None:
        return None
    return _unknown_key(str(error), cause)


def _unknown_key(said: str, cause: Any) -> str:
    """The sentence for an override whose key, or a part of it, does not exist."""
    whole = str(cause.full_key)
    above, dot, last = whole.rpartition(".")
    names = [str(key) for key in cause.parent_node]
    if not above:
        names = [name for name in names if name != "hydra"] + _groups()
    meant = closest(last, names, above + dot)
    if not meant and above and len(names) <= FEW:
        meant = f": {above} has {', '.join(names) or 'none'}"
    add = said.partition("config use ")[2].strip()
    hint = f" ({add} would add it)" if add and not meant.endswith("?") else ""
    return f"there is no key {whole}{meant}{hint}"


def _groups() -> list[str]:
    """Groups of the configuration, as they stand on a command line."""
    from simulacra.evaluation.config import folder

    base = folder("conf")
    found = {str(path.parent.relative_to(base)) for path in base.glob("*/*.yaml")}
    return [*sorted(found), "model/size"]
