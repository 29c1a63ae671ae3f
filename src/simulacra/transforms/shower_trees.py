r"""Jets as the trees of their splittings, each a point of the unit cube.

A jet is clustered (:mod:`simulacra.transforms.clustering`). The angle :math:`\Delta` and the share
:math:`z` of a splitting become even parts of the range of their logarithms in training, the azimuth a part
of the full turn:

.. math:: a = \frac{\ln \Delta - \ln \Delta_{min}}{\ln \Delta_{max} - \ln \Delta_{min}}, \quad
          v = \frac{\ln z - \ln z_{min}}{\ln 1/2 - \ln z_{min}}, \quad w = \frac12 + \frac{\varphi}{2 \pi} .

What lies beyond the range of the training jets counts as its end. :attr:`ShowerTrees.log_volume` is what a
density in the cube loses to be one in :math:`(\ln \Delta, \ln z, \varphi)`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from simulacra.core import Batch, Conditions, Field, Latent, Spec, UserError
from simulacra.transforms.base import Batches, Transform
from simulacra.transforms.clustering import ANGLE, AZIMUTH, SHARE, Trees, cluster, unfold

FEATURES = ("etarel", "phirel", "ptrel")
TOLERANCE = 1e-3
"""How far the momenta of a jet may be from a sum of 1 [of it], and their mean direction from the axis
[rad]."""
SMALLEST = 1e-9
"""Smaller angles [rad] and shares count as this one."""


def only_partons(spec: Spec) -> str | None:
    """Why jets are no trees of splittings and nothing else, or None."""
    names = [field.name for field in spec.features]
    if spec.kind != "cloud" or sorted(names) != sorted(FEATURES):
        return f"it makes clouds of {', '.join(FEATURES)} by splittings"
    others = [field.name for field in spec.event if field.role != "count"]
    if others or spec.shape[0] < 2:
        return (
            "it makes jets by splittings, which have no event fields but the number of their points"
        )
    return None


class ShowerTrees(Transform):
    """See the module's docstring.

    Args:
        spec: Jets of partons.
        given: Fields that the model is given.
    """

    low: Tensor
    high: Tensor
    rise: Tensor

    def __init__(self, spec: Spec, given: Sequence[Field]) -> None:
        super().__init__(given)
        names = [field.name for field in spec.features]
        self.columns = [names.index(name) for name in FEATURES]
        self.points = spec.shape[0]
        self.count = next((field.name for field in spec.event if field.role == "count"), None)
        self.register_buffer("low", torch.tensor([-1.0, -1.0], dtype=torch.float64))
        self.register_buffer("high", torch.tensor([0.0, -math.log(2)], dtype=torch.float64))
        self.register_buffer("rise", torch.tensor(0.0))

    @property
    def log_volume(self) -> Tensor:
        """Logarithm of the volume of the cube in the physical logarithms and radians."""
        return (self.high - self.low).log().sum() + math.log(2 * math.pi)

    def fit_statistics(self, batches: Batches) -> None:
        """Ends of both logarithms, and how much an angle exceeds the one before at most."""
        low, high, rise = [], [], 0.0
        for batch in batches:
            trees = self.trees(batch)
            if not bool(trees.mask.any()):
                continue
            logs = logarithms(trees)
            low.append(logs[trees.mask].amin(0))
            high.append(logs[trees.mask].amax(0))
            steps = logs[:, 1:, ANGLE] - logs[:, :-1, ANGLE]
            rise = max(
                rise,
                float(torch.where(trees.mask[:, 1:], steps, 0.0).amax()) if steps.numel() else 0.0,
            )
        if not low:
            raise UserError("none of the training jets has a splitting")
        bottom, top = torch.stack(low).amin(0), torch.stack(high).amax(0)
        top[SHARE] = -math.log(2)
        self.low.copy_(torch.minimum(bottom, top - 1e-3))
        self.high.copy_(top)
        self.rise.fill_(rise / float(self.high[ANGLE] - self.low[ANGLE]))

    def trees(self, batch: Batch) -> Trees:
        """Trees of the jets of a batch.

        Raises:
            UserError: If there are none, or jets are not told relative to their own axis and momentum.
        """
        assert batch.mask is not None
        x = batch.x[..., self.columns]
        trees = cluster(x, batch.mask)
        off = (trees.jet - trees.jet.new_tensor([0.0, 0.0, 1.0])).abs().amax(1) > TOLERANCE
        if bool(off.any()):
            raise UserError(
                f"{int(off.sum())} of {len(off)} jets are not told relative to their own axis and momentum: "
                "ptrel needs the sum 1, and etarel and phirel the momentum-weighted mean 0"
            )
        return trees

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> Latent:
        """Stages ``splittings`` ``(B, T, 3)`` in the unit cube and ``mothers`` ``(B, T)``, as of
        :class:`~simulacra.transforms.clustering.Trees`; the mask ``(B, T + 1)`` is that of the clusters.
        """
        trees = self.trees(batch)
        longest = int(trees.mask.sum(1).max()) if trees.mask.numel() else 0
        logs = (logarithms(trees)[:, :longest] - self.low) / (self.high - self.low)
        turn = 0.5 + trees.splitting[:, :longest, AZIMUTH, None] / (2 * math.pi)
        mask = trees.mask[:, :longest]
        unit = torch.cat([logs, turn], -1).clamp(0, 1) * mask[..., None]
        given = self.condition(batch.conditions(self.conditions.names))
        stages = {"splittings": unit.float(), "mothers": trees.mother[:, :longest]}
        return Latent(stages, given, pad(mask, (1, 0), value=True), batch.weight)

    def share(self, v: Tensor) -> Tensor:
        """Share of the softer part."""
        low, high = self.low[SHARE].float(), self.high[SHARE].float()
        return (low + v * (high - low)).exp()

    def inverse(
        self, latent: Latent, cond: Conditions, generator: torch.Generator | None = None
    ) -> Batch:
        """The hardest parton first."""
        assert latent.mask is not None
        unit, mask = latent.x["splittings"].double(), latent.mask[:, 1:]
        logs = self.low + unit[..., :2] * (self.high - self.low)
        azimuth = 2 * math.pi * (unit[..., 2:] - 0.5)
        jet = logs.new_tensor([0.0, 0.0, 1.0]).expand(unit.shape[0], 3)
        trees = Trees(latent.x["mothers"], torch.cat([logs.exp(), azimuth], -1), mask, jet)
        x, real = unfold(trees)
        order = torch.argsort(torch.where(real, x[..., 2], -1.0), dim=1, descending=True)
        x, real = x.gather(1, order[..., None].expand_as(x)), real.gather(1, order)
        missing = self.points - x.shape[1]
        x, real = pad(x.float(), (0, 0, 0, missing)), pad(real, (0, missing))
        placed = torch.empty_like(x)
        placed[..., self.columns] = x
        event = {} if self.count is None else {self.count: real.sum(1, keepdim=True).float()}
        return Batch(placed * real[..., None], {}, event, real)


def logarithms(trees: Trees) -> Tensor:
    """Logarithms of angle and share ``(B, T, 2)``."""
    found: Tensor = trees.splitting[..., [ANGLE, SHARE]].clamp_min(SMALLEST).log()
    return found
