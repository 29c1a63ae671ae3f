"""Point clouds in two stages, shared by all their families: the numbers of an event, then its points.

A spline flow or a kernel density estimate draws the number of points, the event fields that are not given
(of a jet: transverse momentum, pseudorapidity, mass) and what else the transform says of an event as a whole
(:mod:`simulacra.transforms.cloud`); a family turns noise into that many points, given those numbers and
everything that the generator is given.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar, Self

import torch
from torch import Tensor
from torch.nn.functional import pad

from simulacra.core import Batch, Conditions, Latent, Layout, Spec, draws
from simulacra.dynamics.density import MakeDensity, Rows
from simulacra.nn.sets import trim
from simulacra.training.generative import GenerativeModule
from simulacra.transforms.base import Batches
from simulacra.transforms.cloud import CloudTransform

MakeTransform = Callable[[Spec, Sequence[str]], CloudTransform]
"""From the data set and the names of the given fields."""


class CloudModel(GenerativeModule):
    """See the module's docstring.

    Args:
        spec: The data set, of kind cloud.
        given: Conditions and event fields that are given (None: the conditions).
        transform: Makes the transform.
        numbers: Makes the density of the event's numbers.
    """

    transform: CloudTransform
    most_points: ClassVar[int | None] = None
    """Largest cloud, for networks whose cost is quadratic in the number of points; None: any."""

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        transform: MakeTransform,
        numbers: MakeDensity,
    ) -> None:
        super().__init__(spec, given)
        self.transform = transform(spec, self.given)
        self.event_flow = numbers(Layout(self.transform.width, self.transform.conditions.width))

    @classmethod
    def accepts(cls, spec: Spec) -> str | None:
        """Clouds of any features, of any size unless the cost is quadratic in it."""
        if spec.kind != "cloud":
            return f"it generates clouds of points, and {spec.name} has events of kind {spec.kind}"
        if cls.most_points is not None and spec.shape[0] > cls.most_points:
            return (
                f"its cost is quadratic in the number of points, {cls.most_points:,} at most, and "
                f"{spec.name} has up to {spec.shape[0]:,}"
            )
        return None

    def fit_transform(self, batches: Batches) -> Self:
        """Statistics of the transform, and the start of the density of the numbers."""
        super().fit_transform(batches)
        with self.evaluating():
            self.event_flow.fit(self._numbers(batches))
        return self

    @torch.no_grad()
    def _numbers(self, batches: Batches) -> Iterator[Rows]:
        for batch in batches:
            latent = self.encode(batch.to(self.device))
            yield latent.x["event"], latent.cond, latent.weight

    @property
    def features(self) -> int:
        """Numbers per point, ``F``."""
        return len(self.spec.features)

    @property
    def context_width(self) -> int:
        """Columns of what points are conditioned on, may be 0."""
        return self.transform.conditions.width + self.transform.seen

    def context(self, event: Tensor, cond: Tensor | None) -> Tensor | None:
        """What points are conditioned on ``(B, C)``, from normalised numbers and given fields."""
        seen = event[:, : self.transform.seen] if self.transform.seen else None
        parts = [part for part in (seen, cond) if part is not None]
        return torch.cat(parts, 1) if parts else None

    def generate(self, cond: Conditions, generator: torch.Generator | None = None) -> Latent:
        """Numbers of the event, then its points, as many as the largest event of the batch has, or may have
        where nothing may depend on values.
        """
        scaled = self.transform.condition(cond)
        event = self.draw_numbers(cond, scaled, generator)
        mask = self.transform.mask(event, cond)
        if not draws.unrolled():
            mask = mask[:, : max(int(mask.sum(1).max()), 1)]
        points = self.draw_points(mask, self.context(event, scaled), generator)
        return Latent({"event": event, "points": points}, scaled, mask)

    def decode(
        self, latent: Latent, cond: Conditions, generator: torch.Generator | None = None
    ) -> Batch:
        """Physical events, padded to the width of the data set."""
        batch = super().decode(latent, cond, generator)
        assert batch.mask is not None
        missing = self.spec.shape[0] - batch.x.shape[1]
        x, mask = pad(batch.x, (0, 0, 0, missing)), pad(batch.mask, (0, missing))
        return Batch(x, batch.cond, batch.event, mask)

    def draw_numbers(
        self, cond: Conditions, scaled: Tensor | None, generator: torch.Generator | None
    ) -> Tensor:
        """Normalised numbers of events ``(B, K)`` for given fields and their network input."""
        return self.event_flow.sample(cond.n, scaled, generator)

    @abstractmethod
    def draw_points(
        self, mask: Tensor, context: Tensor | None, generator: torch.Generator | None
    ) -> Tensor:
        """Normalised points ``(B, N, F)``, exactly 0 where the mask ``(B, N)`` is False."""

    def learnt_numbers(self, latent: Latent) -> dict[str, Tensor]:
        """:meth:`event_nll` under its name, where the density of the numbers learns by it."""
        return {"event_nll": self.event_nll(latent)} if self.event_flow.learns else {}

    def event_nll(self, latent: Latent) -> Tensor:
        """Negative log-likelihood of the event's numbers, a scalar."""
        loss = self.event_flow.loss(latent.x["event"], latent.cond, latent.weight)
        return loss * self.event_flow.features


def trimmed(latent: Latent) -> tuple[Tensor, Tensor]:
    """Normalised points and mask of a batch, cut to its longest event."""
    assert latent.mask is not None
    return trim(latent.x["points"], latent.mask)
