"""The step between physical units and a network: ``Batch -> Latent`` and back.

A :class:`Transform` joins maps (:mod:`simulacra.transforms.maps`). Statistics are buffers of a shape known
from the spec, so that they travel in the checkpoint; nothing works in place; noise is drawn only where a
generator or training mode asks for it.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn

from simulacra.core import Batch, Conditions, Field, Latent
from simulacra.core.constructors import role
from simulacra.transforms.condition import ConditionScaling


class Batches(Protocol):
    """Batches that can be gone through several times in the same order."""

    def __iter__(self) -> Iterator[Batch]:
        """Start from the first batch."""
        raise NotImplementedError


@role
class Transform(nn.Module, ABC):
    """Step between physical units and a network's normalised space.

    ``fit`` runs once, on a fresh run, over at most 50,000 training events in a fixed order;
    ``fitted`` records it. Statistics only set scales and take every event as one, whatever its weight; what
    rests on weights are the densities and the calibrations.

    Args:
        given: Fields that the module is given.
    """

    exact: ClassVar[bool] = True
    """Whether the inverse of a normalised event is that event; of a transform that loses something the
    distance of such events from the truth, its closure, is judged beside the generated ones."""
    fitted: Tensor

    def __init__(self, given: Sequence[Field] = ()) -> None:
        super().__init__()
        self.register_buffer("fitted", torch.tensor(False))
        self.conditions = ConditionScaling(given)

    def fit(self, batches: Batches) -> None:
        """Set all statistics from ``batches``, which may be iterated several times."""
        self.conditions.fit(batches)
        self.fit_statistics(batches)
        self.fitted.fill_(True)

    @abstractmethod
    def fit_statistics(self, batches: Batches) -> None:
        """Set the buffers but those of the conditions; called by :meth:`fit`."""

    @abstractmethod
    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> Latent:
        """Normalise a batch; in training mode dequantisation noise comes from ``generator`` (None:
        the global one).
        """

    @abstractmethod
    def inverse(
        self, latent: Latent, cond: Conditions, generator: torch.Generator | None = None
    ) -> Batch:
        """Back to physical units; ``cond`` are the given fields in physical units, and ``generator`` is the
        source of whatever the way back draws.
        """

    def condition(self, cond: Conditions) -> Tensor | None:
        """Given fields as a network input ``(n, C)``, or None where nothing is given."""
        scaled: Tensor | None = self.conditions(cond)
        return scaled

    def digest(self) -> str:
        """Hash of all statistics; equal on every rank of a distributed run."""
        sha = hashlib.sha256()
        for name, value in sorted(self.state_dict().items()):
            sha.update(name.encode())
            sha.update(value.detach().cpu().contiguous().numpy().tobytes())
        return sha.hexdigest()
