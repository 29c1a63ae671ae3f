"""A network whose conditions are those of a batch."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor


class Bound:
    """What is trained and sampled: a function of values and times, for the events of a batch.

    Args:
        net: Called as ``net(x, t, *given)``: values ``(B, *)`` and numbers that tell the time, ``(B,)``, or
            ``(B, 2)`` where it takes the length of an interval, too.
        given: The conditions, each ``(B, *)`` or None.
    """

    def __init__(self, net: Callable[..., Tensor], *given: Tensor | None) -> None:
        self.net, self.given = net, given

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        """``(B, *)`` at the times ``(B,)`` or ``(B, 2)``, to a tensor shaped as ``x``."""
        return self.net(x, t, *self.given)

    def of(self, rows: Tensor) -> Bound:
        """The same for some events of the batch, by their indices."""
        return Bound(self.net, *(None if item is None else item[rows] for item in self.given))
