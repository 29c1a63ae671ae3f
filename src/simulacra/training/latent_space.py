r"""The latent space of a generator: noise in, event out.

Every number that a sampler draws for one event is handed in, so that the event is a function :math:`x = g(z |
c)` of one standard normal vector :math:`z`; where the sampler draws a uniform number, it is given
:math:`\Phi(z_i)`. For a flow this is the space in which its density is the standard normal one; for an
adversarial network, or a diffusion that a solver samples without fresh noise, it is the space of its noise.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.special import log_ndtr

from simulacra.core import Batch, Conditions, UserError, draws
from simulacra.core.draws import Kind
from simulacra.core.noise import Recording, Slices, widths

EVENTS = 7
"""Events of the run in which the draws are recorded, see :class:`~simulacra.core.noise.Recording`."""


class LatentSpace:
    """See the module's docstring.

    Args:
        name: Of the generator, for messages.
        make: Makes events of conditions; all that it draws comes from :mod:`simulacra.core.draws`.
        cond: Conditions of :data:`EVENTS` events, with which the draws are recorded.

    Raises:
        UserError: If events are no function of a fixed number of numbers each.
    """

    def __init__(self, name: str, make: Callable[[Conditions], Batch], cond: Conditions) -> None:
        self.make = make
        recording = Recording(cond.n, torch.Generator().manual_seed(0))
        try:
            with draws.given(recording):
                make(cond)
        except UserError as error:
            raise UserError(
                f"{name} has no latent space that noise can be given in: {error}"
            ) from error
        self.draws = tuple(recording.draws)
        self.width = sum(widths(self.draws).values())

    def events(self, z: Tensor, cond: Conditions) -> Batch:
        """The events ``g(z | c)`` of latent points ``(n, width)`` and as many conditions, on the CPU.

        Raises:
            UserError: If the points are of another width or number, or an event is not finite.
        """
        if z.shape != (cond.n, self.width):
            raise UserError(
                f"latent points of {cond.n} events have the shape ({cond.n}, {self.width}), got "
                f"{tuple(z.shape)}"
            )
        parts = z.split([draw.width for draw in self.draws], 1)
        kinds: tuple[Kind, ...] = ("normal", "uniform")
        columns = {
            kind: [part for part, draw in zip(parts, self.draws, strict=True) if draw.kind == kind]
            for kind in kinds
        }
        numbers = {kind: torch.cat(found, 1) for kind, found in columns.items() if found}
        if "uniform" in numbers:
            numbers["uniform"] = _uniform(numbers["uniform"])
        with draws.given(Slices(self.draws, numbers)):
            return self.make(cond)


def _uniform(z: Tensor) -> Tensor:
    """Numbers from [0, 1) whose normal scores are ``z``."""
    below_one = 1 - torch.finfo(torch.float32).eps / 2
    return log_ndtr(z).exp().clamp_max(below_one)
