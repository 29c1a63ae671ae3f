"""What annotations ask for beyond a type: ranges of numbers, and names of files.

They stand in the annotations of arguments, as in ``blocks: Count``; :mod:`simulacra.core.typed` reads them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Protocol, runtime_checkable


@runtime_checkable
class Rule(Protocol):
    """What an annotation asks for beyond its type."""

    def text(self, noun: str, plural: bool) -> str:
        """What is wanted; ``noun`` names the type, of one value or of several."""

    def __call__(self, value: Any) -> Any:
        """The value as it is used.

        Raises:
            MisfitError: If it is not what is wanted.
        """


class MisfitError(ValueError):
    """A value is not what an annotation asks for; the message, if any, says more than the annotation."""


@dataclass(frozen=True)
class Interval:
    """Numbers from ``low`` to ``high``.

    Args:
        low: Smallest value.
        high: Largest value.
        above: Whether ``low`` itself is left out.
        below: Whether ``high`` itself is left out.
    """

    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    below: bool = False

    def text(self, noun: str, plural: bool) -> str:
        """The type and the bounds in words."""
        parts = [noun]
        if self.low > -math.inf:
            parts.append(f"{'above' if self.above else 'from'} {_bound(self.low)}")
        if self.high < math.inf:
            parts.append(f"{'below' if self.below else 'to'} {_bound(self.high)}")
        return " ".join(parts)

    def __call__(self, value: float) -> float:
        """The value, if it lies inside."""
        inside = (self.low < value if self.above else self.low <= value) and (
            value < self.high if self.below else value <= self.high
        )
        if not inside:
            raise MisfitError
        return value


def _bound(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:.16g}"


DEEPEST = 200
"""Folders within each other that a path may name; Python makes and removes them by recursion."""


@dataclass(frozen=True)
class AsPath:
    """A text that names a file or folder, whose leading ``~`` is the user's home."""

    def text(self, noun: str, plural: bool) -> str:
        """A path."""
        return "paths" if plural else "a path"

    def __call__(self, value: str) -> str:
        """The path."""
        if not value or "\0" in value:
            raise MisfitError
        if value.count("/") > DEEPEST:
            raise MisfitError(f"it names more than {DEEPEST} folders within each other")
        return expanded(value)


Count = Annotated[int, Interval(1)]
"""A whole number from 1."""
Whole = Annotated[int, Interval(0)]
"""A whole number from 0."""
Positive = Annotated[float, Interval(0, above=True)]
"""A number above 0."""
NotNegative = Annotated[float, Interval(0)]
"""A number from 0."""
Share = Annotated[float, Interval(0, 1)]
"""A number from 0 to 1."""
Dropout = Annotated[float, Interval(0, 1, below=True)]
"""A share below 1."""
Margin = Annotated[float, Interval(0, 0.5, above=True, below=True)]
"""What is kept free at both ends of [0, 1]."""
PathName = Annotated[str, AsPath()]
"""The name of a file or folder."""


def expanded(path: str) -> str:
    """A path whose leading ``~`` or ``~user`` is that user's home; as it is where there is no such user."""
    if not path.startswith("~"):
        return path
    try:
        return str(Path(path).expanduser())
    except RuntimeError:
        return path
