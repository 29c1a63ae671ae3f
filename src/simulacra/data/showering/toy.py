"""Jets from a shower whose kernel is known, as clouds of their final partons.

Kept are showers of which Cambridge/Aachen gives back every splitting angle, so that the tree of the final
state is that of the shower, and that have no more partons than the cloud has room for; hardly any are left
out where the shower is well ordered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from simulacra.core import Batch, Spec, UserError
from simulacra.core.constructors import constructor
from simulacra.core.ranges import Count, Whole
from simulacra.data.base import Loading, View
from simulacra.data.file_data import Files
from simulacra.data.files import Published
from simulacra.data.rows import Rows
from simulacra.data.showering.evolution import Evolution, Showers, run
from simulacra.data.showering.kernels import Kernels
from simulacra.data.toy_samples import seeded
from simulacra.data.toys import Drawn
from simulacra.formats.parton_shower import PartonShowerFile, parton_shower
from simulacra.physics.parton_shower import PartonShowerObservables
from simulacra.transforms.clustering import ANGLE, cluster

AT_ONCE = 20_000
"""Jets that are showered together."""
CLOSE = 1e-6
"""Largest relative difference of angles that are the same."""
TRIES = 10
"""Rounds of which none has given a jet that is kept, until it is given up."""


@constructor
@dataclass(frozen=True)
class ToyShower:
    """Jets of one kind of first parton.

    Args:
        kernels: What partons split by.
        evolution: How the shower runs.
        flavour: Flavour of the first parton.
        seed: Seed of the jets.
    """

    kernels: Kernels
    evolution: Evolution
    flavour: Whole = 0
    seed: Whole = 0

    def showers(self, n: int, generator: torch.Generator) -> Showers:
        """``n`` showers, all of them."""
        flavour = torch.full((n,), self.flavour, dtype=torch.long)
        return run(self.kernels, self.evolution, flavour, generator)

    def kept(
        self, points: int, n: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Clouds of ``n`` showers with up to ``points`` partons, their masks, and which of them are kept."""
        showers = self.showers(n, generator)
        x, mask, whole = showers.clouds(points)
        trees = cluster(x, mask)
        truth = torch.zeros(n, points - 1, dtype=torch.float64)
        split = showers.split
        order = torch.argsort(split.end, descending=True, stable=True)
        order = order[torch.argsort(split.jet[order], stable=True)]
        jet, angle = split.jet[order], split.end[order]
        counts = torch.bincount(jet, minlength=n)
        rank = torch.arange(len(jet)) - (counts.cumsum(0) - counts)[jet]
        fits = rank < points - 1
        truth[jet[fits], rank[fits]] = angle[fits]
        found = trees.splitting[..., ANGLE]
        return x, mask, whole & ((found - truth).abs() <= CLOSE * truth).all(1)

    def draw(self, points: int, n: int, generator: torch.Generator) -> Batch:
        """``n`` jets that are kept.

        Raises:
            UserError: If hardly any is.
        """
        parts, done, rounds = [], 0, 0
        while done < n:
            x, mask, good = self.kept(points, min(AT_ONCE, n - done + 64), generator)
            parts.append(Batch(x[good].float(), mask=mask[good]))
            done, rounds = done + int(good.sum()), rounds + 1
            if rounds > TRIES * (1 + done):
                raise UserError(
                    f"hardly any shower has at most {points} partons and a tree that its final state shows: "
                    "raise data.points, or lower data.toy.evolution.ordering"
                )
        return Batch.cat(parts)[:n]


class ShowerData(Drawn, Rows):
    """See the module's docstring.

    Args:
        title: Name of the data set in its spec, in messages and checkpoints.
        points: Partons of a jet, at most.
        toy: What jets are drawn from.
        events: Numbers of jets of the parts ``train`` and ``test``.
        loading, root, files, view: As of :class:`~simulacra.data.file_data.FileDataModule`; without folder
            and files jets are drawn.
    """

    toy: ToyShower

    def __init__(
        self,
        title: str,
        points: Count,
        toy: ToyShower,
        events: Mapping[str, Count],
        loading: Loading,
        root: str | None = None,
        files: Files | None = None,
        view: Callable[[Spec], View] | None = None,
    ) -> None:
        if points < 2:
            raise UserError(f"jets of a shower need room for two partons or more, got {points}")
        form = PartonShowerFile(parton_shower(title, points))
        public = Published(
            [f"{title}_train.h5"], [f"{title}_test.h5"], "jets of this toy in a file"
        )
        super().__init__(form, PartonShowerObservables, public, loading, root, files, view)
        self.take(toy, events)

    def sample_of(self, n: int, part: str) -> Batch:
        """See the base class."""
        return self.toy.draw(self.native_spec.shape[0], n, seeded(f"{self.toy!r} {part}"))
