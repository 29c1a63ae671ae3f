"""Parts of a model, by which weights are taken from another or kept as they are.

Of a network that tells its parts apart (:class:`~simulacra.nn.parted.Parted`) the ``embedders`` take in
values, time and conditions and the ``head`` gives out the result; all else of a module is its ``backbone``,
but for its transform, whose statistics are of the data.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import nn

from simulacra.core import UserError
from simulacra.nn.parted import Parted

Part = Literal["backbone", "embedders", "head"]
PARTS: tuple[Part, ...] = ("backbone", "embedders", "head")
TRANSFORM = "transform"


class Parts:
    """Says of every parameter and buffer of a module to which part it belongs, by its name.

    Args:
        module: The module.
    """

    def __init__(self, module: nn.Module) -> None:
        self.owner = type(module).__name__
        self._heads: dict[str, str] = {TRANSFORM: TRANSFORM}
        for prefix, child in module.named_modules():
            if isinstance(child, Parted):
                above = f"{prefix}." if prefix else ""
                self._heads |= {f"{above}{name}": "embedders" for name in child.EMBEDDERS}
                self._heads |= {f"{above}{name}": "head" for name in child.HEAD}
        self.known = {self.of(name) for name, _ in module.named_parameters()}

    def of(self, name: str) -> str:
        """The part of an entry, or :data:`TRANSFORM`; of nested networks the outer one decides."""
        pieces = name.split(".")
        above = (".".join(pieces[:k]) for k in range(1, len(pieces) + 1))
        return next((self._heads[item] for item in above if item in self._heads), "backbone")

    def check(self, parts: Sequence[Part]) -> None:
        """Refuse parts that the module has not.

        Raises:
            UserError: If there are some, or none is named.
        """
        strange = [part for part in parts if part not in self.known]
        if strange or not parts:
            known = ", ".join(part for part in PARTS if part in self.known)
            raise UserError(
                f"init.parts names {', '.join(strange) or 'none'}, but {self.owner} has the parts {known}"
            )
