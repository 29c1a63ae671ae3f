r"""Amplification of showers: how many true ones a generator is worth that has learned from few.

A generator learns from a small part of the showers. Many are generated, for incident energies as that part
had them, and counted in cells of equal true content: quantiles of one observable, or a k-d-tree of several.
True showers that it has not seen say how far samples of :math:`n` true showers are from the truth, by the
divergence of Jensen and Shannon, and so what the generated ones are worth
(:mod:`simulacra.metrics.worth.shares`). The amplification is that number over the training showers.

The showers that were trained on are counted in the same way: they are worth themselves, which shows that
the scale is right, within the fluctuation of one sample.

Reference: Bieringer et al. 2022, arXiv:2202.07352.

Note:
    The published study has photons of one energy in another calorimeter. Observables should depend little
    on the incident energy, whose spectrum is known from the training showers alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from simulacra.core import UserError
from simulacra.core.constructors import constructor
from simulacra.core.ranges import Count
from simulacra.metrics.engine.weighted import Rows, unequal
from simulacra.metrics.worth.averaging import Cells
from simulacra.metrics.worth.equivalent import Worth
from simulacra.metrics.worth.shares import worth_by_shares
from simulacra.studies.bench import Bench
from simulacra.studies.study import Study


@constructor
@dataclass(frozen=True)
class Cutting:
    """How showers are counted.

    Args:
        observables: Names of those that are cut one after the other.
        parts: Parts of each.
    """

    observables: Sequence[str]
    parts: Count


class Calomplification(Study):
    """See the module's docstring.

    Args:
        training: Overrides of the training, its model among them.
        trained: Training showers, those for validation among them.
        generated: Generated showers.
        cuttings: Ways to count them by name.
    """

    def __init__(
        self,
        training: Sequence[str],
        trained: Count,
        generated: Count,
        cuttings: Mapping[str, Cutting],
    ) -> None:
        self.training, self.trained, self.generated = list(training), trained, generated
        self.cuttings = dict(cuttings)

    def run(self, bench: Bench) -> None:
        """See the base class."""
        part = len(bench.datamodule.part("train"))
        if part <= self.trained:
            raise UserError(
                f"{self.trained:,} showers to learn from leave none of {part:,} to compare with"
            )
        share = self.trained / part
        showers = bench.split("showers", "train", {"learned": share, "others": 1 - share})
        showers["reference"] = bench.split("truth", "test", {"events": 1.0})["events"]
        files = [f"data.files.{name}=[{showers['learned']}]" for name in ("train", "test")]
        trained = bench.train("generator", *files, *self.training)
        showers["generated"] = bench.sample("generated", trained.checkpoint, f"n={self.generated}")
        for name, cutting in self.cuttings.items():
            work = partial(self.measure, bench, cutting, showers)
            inputs = list(cutting.observables), cutting.parts, bench.seed
            found = bench.compute(f"cells/{name}", work, dict(showers), *inputs)
            figures = {f"{name}/{key}": value for key, value in found.items()}
            bench.report(name, figures, None, TEXT.format(trained=self.trained))

    def measure(
        self, bench: Bench, cutting: Cutting, showers: Mapping[str, Path], folder: Path
    ) -> dict[str, float]:
        """What generated and learned showers are worth in one way to count them."""
        found = {name: counted(bench, cutting, path) for name, path in showers.items()}
        cells = Cells(found["reference"].values, cutting.parts)
        figures = {"cells": float(len(cells))}
        for name, prefix in (("generated", ""), ("learned", "learned/")):
            worth = worth_by_shares(
                cells, found["reference"], found["others"], found[name], bench.seed
            )
            figures |= {prefix + key: value for key, value in self.figures(worth).items()}
        return figures

    def figures(self, worth: Worth) -> dict[str, float]:
        """Amplification, or its bound, and the divergence."""
        known = {
            "amplification": worth.value,
            "amplification/at_least": worth.at_least,
            "amplification/at_most": worth.at_most,
        }
        found = {key: value / self.trained for key, value in known.items() if value == value}
        name = next(iter(found))
        if not math.isnan(worth.error):
            found[f"{name}/error"] = worth.error / self.trained
        return {
            **found,
            f"{name}/floor": worth.perfect / self.trained,
            "jensen_shannon": worth.distance**2,
        }


def counted(bench: Bench, cutting: Cutting, path: Path) -> Rows:
    """Observables of the showers of a file that have all of them ``(n, F)``.

    Raises:
        UserError: If one is not known, or has several values per shower.
    """
    batch = bench.events(path)
    values = bench.datamodule.observables(batch)
    columns = []
    for name in cutting.observables:
        found = values.get(name)
        if not isinstance(found, Tensor) or found.ndim != 1:
            raise UserError(f"there is no observable {name!r} of one value per shower")
        columns.append(found.double())
    rows = torch.stack(columns, 1)
    known = torch.isfinite(rows).all(1)
    return Rows(rows[known], unequal(batch.weight_or_one()[known]))


TEXT = (
    "amplification: true showers that come as close by the divergence of Jensen and Shannon, over the "
    "{trained} training showers; at_least and at_most where generated ones are closer, or farther, than "
    "any true sample. Its floor is what a perfect generator would be worth by the true showers that there "
    "are. learned: the same of the training showers themselves, 1 within the fluctuation of one sample."
)
