"""Configurations from elsewhere are plain data: numbers, texts, lists and mappings of bounded size, with no
expression in them that anything would evaluate.
"""

from __future__ import annotations

from collections.abc import Mapping

from simulacra.core.errors import UserError

DEPTH, ENTRIES, TEXT = 64, 200_000, 4 * 2**20
"""Largest depth, number of entries and number of characters; those of our own models are a hundred times
smaller."""
EXPRESSION = "${"
SPECIAL = ("_target_", "_partial_")
"""Keys in underscores that say something of the object that is built."""


def check_plain(config: object, origin: str) -> None:
    """Refuse what is no plain, bounded data; expressions and calls are data of the wrong kind.

    Args:
        config: A saved configuration.
        origin: What holds it, for the message.

    Raises:
        UserError: If it holds ``${``, a key in underscores but ``_target_: NAME`` and ``_partial_: true``, a
            value of another type, or more than a configuration needs.
    """
    pending: list[tuple[object, int]] = [(config, 0)]
    entries = characters = 0
    while pending:
        value, depth = pending.pop()
        entries += 1
        if isinstance(value, Mapping):
            _check_keys(value, origin)
            below = [*value.keys(), *value.values()]
        elif isinstance(value, (list, tuple)):
            below = list(value)
        else:
            below = []
            characters += _check_value(value, origin)
        if depth >= DEPTH or entries + len(pending) + len(below) > ENTRIES or characters > TEXT:
            raise UserError(
                f"{origin} holds a configuration of more than {DEPTH} levels, {ENTRIES:,} entries or "
                f"{TEXT:,} characters: nothing that simulacra saves is that large"
            )
        pending += [(item, depth + 1) for item in below]


def _check_keys(config: Mapping[object, object], origin: str) -> None:
    for key, value in config.items():
        if not isinstance(key, (str, int)):
            raise UserError(f"{origin} has the key {key!r}, keys are texts or whole numbers")
        if not isinstance(key, str) or not (key.startswith("_") and key.endswith("_")):
            continue
        if key not in SPECIAL:
            raise UserError(
                f"{origin} has the key {key!r}, which a saved configuration may not hold: it was not run"
            )
        wanted = isinstance(value, str) if key == "_target_" else value is True
        if not wanted:
            raise UserError(
                f"{origin} has {key}: {str(value)[:100]!r}, expected "
                f"{'a name' if key == '_target_' else 'true'}"
            )


def _check_value(value: object, origin: str) -> int:
    """Number of characters of a value."""
    if value is None or isinstance(value, (bool, int, float)):
        return 0
    if not isinstance(value, str):
        raise UserError(
            f"{origin} holds a {type(value).__name__} in its configuration, which is no plain value"
        )
    if EXPRESSION in value:
        raise UserError(
            f"{origin} holds the expression {value[:100]!r}: a saved configuration has plain values only, "
            "nothing was evaluated"
        )
    return len(value)
