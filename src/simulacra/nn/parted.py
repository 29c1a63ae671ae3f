"""Which parts of a network take its inputs in and give its result out: what may be new in a trained model."""

from __future__ import annotations

from typing import ClassVar


class Parted:
    """Mixin of a network that tells its parts apart; what it does not name is its backbone."""

    EMBEDDERS: ClassVar[tuple[str, ...]] = ()
    """Names of the children and parameters that take in values, time and conditions."""
    HEAD: ClassVar[tuple[str, ...]] = ()
    """Names of those that give out its result."""
