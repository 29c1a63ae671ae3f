"""YAML from elsewhere, read as plain data of bounded size.

What Hydra writes needs no anchors and no tags, so that neither is followed: an alias repeats a part of a
file, a few of them in one another repeat it a billion times. Numbers and texts are told apart as OmegaConf
does: ``1e3`` is a number, a date is a text.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from simulacra.core.errors import UserError

BYTES, NODES, DEPTH = 2**20, 20_000, 64
"""Size, number of values and levels of a file, at most."""
FLOAT = "tag:yaml.org,2002:float"
DATE = "tag:yaml.org,2002:timestamp"


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader without aliases, tags and repeated keys, and with a bound."""

    nodes = depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """The next node, counted."""
        self.nodes += 1
        self.depth += 1
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise yaml.YAMLError("it holds anchors and aliases, which no saved file needs")
        if event.tag is not None:
            raise yaml.YAMLError(f"it holds the tag {event.tag}, values are plain")
        if self.nodes > NODES or self.depth > DEPTH:
            raise yaml.YAMLError(f"it holds more than {NODES:,} values or {DEPTH} levels")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        """A mapping with each key once."""
        found = super().construct_mapping(node, deep)
        if len(found) < len(node.value):
            raise yaml.YAMLError(f"it holds a key twice in line {node.start_mark.line + 1}")
        return found


_Loader.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in resolvers if tag != DATE]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    FLOAT, re.compile(r"[-+]?([0-9][0-9_]*)(\.[0-9_]*)?[eE][-+]?[0-9]+"), list("-+0123456789")
)


def read_yaml(path: Path) -> Any:
    """What a YAML file holds: numbers, texts, lists and mappings.

    Raises:
        UserError: If the file cannot be read, is none, is larger than a configuration can be, or holds
            anchors, tags or a key twice.
    """
    try:
        with path.open("rb") as file:
            data = file.read(BYTES + 1)
        if len(data) > BYTES:
            raise yaml.YAMLError(f"it has more than {BYTES:,} bytes")
        return yaml.load(data.decode("utf-8"), _Loader)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path} is damaged: {reason}") from error
