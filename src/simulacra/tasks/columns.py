"""Some columns of a table as what a classifier sees, for weights that depend on them alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from simulacra.core import Latent, Spec, UserError
from simulacra.tasks.sights import Logit, MakeNet, Rows
from simulacra.transforms.base import Transform
from simulacra.transforms.table import TableTransform


class Columns(Rows):
    """Columns by name.

    Args:
        transform: Makes the transform, which must leave columns by themselves (``whiten: false``).
        features: Features and event fields that are not given.
        given: Given fields.

    Raises:
        UserError: If there are neither.
    """

    def __init__(
        self,
        transform: Callable[..., TableTransform],
        features: Sequence[str],
        given: Sequence[str],
    ) -> None:
        super().__init__(transform, ["table"], True)
        if not features and not given:
            raise UserError(
                "a classifier that sees no columns cannot learn: name features or given"
            )
        self.features, self.given = tuple(features), tuple(given)

    def logit(self, spec: Spec, transform: Transform, net: MakeNet) -> Logit:
        """The network behind the columns.

        Raises:
            UserError: If a name is not known, or columns are mixed.
        """
        assert isinstance(transform, TableTransform)
        if transform.whiten and self.features:
            raise UserError(
                "columns are seen by name where transform.whiten=false leaves them apart"
            )
        places = [i for name in self.features for i in transform.places(name)]
        given = [i for name in self.given for i in transform.conditions.places(name)]
        return Chosen(net(len(places) + len(given)), places, given)


class Chosen(Logit):
    """A network of some columns.

    Args:
        net: Of rows ``(B, C)``.
        places: Columns of the stage ``table``.
        given: Columns of the given fields.
    """

    def __init__(self, net: nn.Module, places: Sequence[int], given: Sequence[int]) -> None:
        super().__init__()
        self.net, self.places, self.given = net, list(places), list(given)

    def forward(self, latent: Latent) -> Tensor:
        """See the base class."""
        parts = [latent.x["table"][:, self.places]]
        if self.given:
            assert latent.cond is not None
            parts.append(latent.cond[:, self.given])
        found: Tensor = self.net(torch.cat(parts, 1))
        return found[:, 0]
