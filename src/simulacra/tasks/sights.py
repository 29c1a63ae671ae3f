"""What a classifier sees of events: a transform, and which of its numbers go into which network.

Each sight fits some kinds of event; a task takes the first of several that does, so that it needs to know no
kind. The network is chosen along with the sights: of a row of numbers, or of points, a volume or a picture
with a context.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from simulacra.core import Field, IncompatibleError, Latent, Spec, UserError
from simulacra.core.constructors import role
from simulacra.nn.common_grid import CommonGrid
from simulacra.nn.sets import trim
from simulacra.transforms.base import Transform
from simulacra.transforms.cloud import CloudTransform
from simulacra.transforms.jet_pictures import ANGLES, JetPictures
from simulacra.transforms.showers import ShowerTransform
from simulacra.transforms.table import TableTransform

KINDS = ("layers", "grid", "cloud", "table")
"""Kinds of events that there are sights of."""
MakeNet = Callable[..., nn.Module]
"""Makes a network of one logit from the widths of what it sees."""


class Logit(nn.Module, ABC):
    """A network with what it sees of normalised events."""

    net: nn.Module

    @abstractmethod
    def forward(self, latent: Latent) -> Tensor:
        """Logits ``(B,)`` for class 1."""


@role
class Sight(ABC):
    """See the module's docstring.

    Args:
        transform: Makes the transform from the data set and the given fields.
        stages: Names of the stages of normalised events that are seen as numbers.
        conditions: Whether the given fields are seen.
    """

    def __init__(
        self, transform: Callable[..., Transform], stages: Sequence[str], conditions: bool
    ) -> None:
        self.make, self.stages, self.conditions = transform, tuple(stages), conditions

    @abstractmethod
    def unfit(self, spec: Spec) -> str | None:
        """None if it fits the events of a data set, else the reason in one sentence."""

    def transform(self, spec: Spec, given: Sequence[Field]) -> Transform:
        """The transform of a data set."""
        return self.make(spec, given)

    @abstractmethod
    def widths(self, spec: Spec, transform: Transform) -> Mapping[str, int]:
        """Numbers in each stage that may be seen."""

    def width(self, spec: Spec, transform: Transform) -> int:
        """Numbers that are seen.

        Raises:
            UserError: If there is no such stage.
        """
        known = self.widths(spec, transform)
        strange = [name for name in self.stages if name not in known]
        if strange:
            raise UserError(
                f"a classifier sees stages of {', '.join(known)}, and none called {strange[0]!r}"
            )
        given = transform.conditions.width if self.conditions else 0
        return sum(known[name] for name in self.stages) + given

    def logit(self, spec: Spec, transform: Transform, net: MakeNet) -> Logit:
        """The network behind the sight.

        Raises:
            UserError: If nothing is seen.
        """
        width = self.width(spec, transform)
        if not width:
            raise UserError("a classifier that sees no stage and no condition cannot learn")
        return Numbers(net(width), self)

    def seen(self, latent: Latent) -> Tensor:
        """Numbers that are seen ``(B, C)``."""
        parts = [latent.x[name].flatten(1) for name in self.stages]
        if self.conditions and latent.cond is not None:
            parts.append(latent.cond)
        whole = next(iter(latent.x.values()))
        return torch.cat(parts, 1) if parts else whole.new_zeros(len(latent), 0)


class Numbers(Logit):
    """A network of a row of numbers.

    Args:
        net: Of rows ``(B, C)``.
        sight: Says which numbers they are.
    """

    def __init__(self, net: nn.Module, sight: Sight) -> None:
        super().__init__()
        self.net, self.sight = net, sight

    def forward(self, latent: Latent) -> Tensor:
        found: Tensor = self.net(self.sight.seen(latent))
        return found[:, 0]


class Rows(Sight):
    """Columns of a table: stage ``table``, with the event fields that are not given."""

    def unfit(self, spec: Spec) -> str | None:
        return None if spec.kind == "table" else "it has no columns"

    def widths(self, spec: Spec, transform: Transform) -> Mapping[str, int]:
        assert isinstance(transform, TableTransform)
        return {"table": transform.width}


class Showers(Sight):
    """Showers in layers or on a grid: stages ``energies`` of the layers and ``cells``."""

    def unfit(self, spec: Spec) -> str | None:
        if spec.kind not in ("layers", "grid") or spec.geometry is None:
            return "it has no cells in layers or on a grid"
        if all(field.role != "energy" for field in spec.conditions):
            return "it has no condition that is the incident energy"
        return None

    def widths(self, spec: Spec, transform: Transform) -> Mapping[str, int]:
        assert isinstance(transform, ShowerTransform)
        return {"energies": transform.numbers, "cells": spec.n_voxels}


class Clouds(Sight):
    """Clouds of points: stage ``event``, their number, moments and the event fields that are not given."""

    def unfit(self, spec: Spec) -> str | None:
        return None if spec.kind == "cloud" else "it has no points"

    def transform(self, spec: Spec, given: Sequence[Field]) -> Transform:
        return self.make(spec, [field.name for field in given])

    def widths(self, spec: Spec, transform: Transform) -> Mapping[str, int]:
        assert isinstance(transform, CloudTransform)
        return {"event": transform.width}


class Points(Clouds):
    """Clouds point by point, with numbers of the event as their context."""

    def logit(self, spec: Spec, transform: Transform, net: MakeNet) -> Logit:
        return PointLogit(net(len(spec.features), self.width(spec, transform)), self)


class PointLogit(Logit):
    """A network of points, cut to the longest event of a batch.

    Args:
        net: Of points ``(B, N, F)``, mask ``(B, N)`` and numbers ``(B, C)``.
        sight: Says which numbers they are.
    """

    def __init__(self, net: nn.Module, sight: Sight) -> None:
        super().__init__()
        self.net, self.sight = net, sight

    def forward(self, latent: Latent) -> Tensor:
        assert latent.mask is not None
        x, mask = trim(latent.x["points"], latent.mask)
        found: Tensor = self.net(x, mask, self.sight.seen(latent))
        return found[:, 0]


class Pictures(Clouds):
    """Jets as pictures, with numbers of the jet as their context."""

    def unfit(self, spec: Spec) -> str | None:
        names = {field.name for field in spec.features}
        return None if spec.kind == "cloud" and set(ANGLES) <= names else "it has no jets"

    def logit(self, spec: Spec, transform: Transform, net: MakeNet) -> Logit:
        assert isinstance(transform, JetPictures)
        shape = (1, transform.pixels, transform.pixels)
        return PictureLogit(net(shape, self.width(spec, transform)), self)


class PictureLogit(Logit):
    """A network of pictures.

    Args:
        net: Of pictures ``(B, 1, P, P)`` and numbers ``(B, C)``.
        sight: Says which numbers they are.
    """

    def __init__(self, net: nn.Module, sight: Sight) -> None:
        super().__init__()
        self.net, self.sight = net, sight

    def forward(self, latent: Latent) -> Tensor:
        found: Tensor = self.net(latent.x["picture"], self.sight.seen(latent))
        return found[:, 0]


class Volumes(Showers):
    """Cells of a shower as a volume, layers of different binnings on a common grid, with numbers of the
    shower as its context.
    """

    def logit(self, spec: Spec, transform: Transform, net: MakeNet) -> Logit:
        assert spec.geometry is not None
        grid = CommonGrid(spec.geometry, copied=True)
        return VolumeLogit(net(grid.shape, self.width(spec, transform)), grid, self)


class VolumeLogit(Logit):
    """A network of volumes.

    Args:
        net: Of volumes ``(B, L, rows, cols)`` and numbers ``(B, C)``.
        grid: Lays the cells ``(B, V)`` into a volume, by maps that stay as they are.
        sight: Says which numbers they are.
    """

    def __init__(self, net: nn.Module, grid: CommonGrid, sight: Sight) -> None:
        super().__init__()
        self.net, self.grid, self.sight = net, grid.requires_grad_(False), sight

    def forward(self, latent: Latent) -> Tensor:
        found: Tensor = self.net(self.grid(latent.x["cells"]), self.sight.seen(latent))
        return found[:, 0]


def chosen(sights: Mapping[str, Any], spec: Spec) -> Sight:
    """The first sight that fits a data set; entries that are None do not count.

    Raises:
        IncompatibleError: If none does.
    """
    reasons = []
    for sight in sights.values():
        reason = None if sight is None else sight.unfit(spec)
        if sight is not None and reason is None:
            found: Sight = sight
            return found
        reasons += [reason] if reason else []
    raise IncompatibleError(
        f"the classifier sees nothing of {spec.name}, events of kind {spec.kind!r}: "
        f"{', '.join(reasons)}; another one is classifier@model=mlp"
    )
