r"""Whether the splitting function can be read from a generator that has seen final states alone
(arXiv:2012.06582).

A generator that draws one emission after the other is trained several times on jets of a known kernel, and
as often on jets of another one, the control. What it draws for the share z of the parton that goes on is
compared with both kernels:

- ``w1``: distance W1 of :math:`\ln(1 - z)` from the kernel's, in standard deviations of the kernel; the
  floor is that of as many draws of the kernel itself; the error is the spread over trainings;
- *control*: how far the means of :math:`\ln(1 - z)` learnt from both kernels are apart, in units of their
  spread over trainings;
- *null test*: the same for the trainings on one kernel, in two groups;
- ``drift``: the difference of the means in the wider and the narrower half of the emissions, which is 0
  for a kernel that does not depend on the angle.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from simulacra.core import Conditions, UserError
from simulacra.core.ranges import Count
from simulacra.data.showering.kernels import Kernels
from simulacra.data.showering.likelihood import kernel
from simulacra.data.showering.toy import ToyShower
from simulacra.models.clouds.white_box_shower import WhiteBoxShower
from simulacra.plotting.histogram import counted, histogram_page
from simulacra.studies.bands import banded
from simulacra.studies.bench import Bench
from simulacra.studies.parton.toys import toy_of
from simulacra.studies.study import Study
from simulacra.tasks import folds

QUANTILES = 2000
"""Even quantiles by which W1 is found."""
KNOWN, CONTROL = "kernel", "control"
BINS = 20
"""Of the figure."""


class ShowerSplitting(Study):
    """See the module's docstring.

    Args:
        training: Overrides of each training, its model among them.
        control: The kernel of the control.
        choose: Overrides of the data set by which it has that kernel.
        members: Trainings on each kernel, at least 2.
        jets: Jets whose emissions are read.

    Raises:
        UserError: If there are fewer than two trainings.
    """

    def __init__(
        self,
        training: Sequence[str],
        control: Kernels,
        choose: Sequence[str],
        members: Count,
        jets: Count,
    ) -> None:
        if members < 2:
            raise UserError(f"a spread over trainings needs two of them, got {members}")
        self.training, self.control, self.choose = list(training), control, list(choose)
        self.members, self.jets = members, jets

    def run(self, bench: Bench) -> None:
        """See the base class."""
        toy = toy_of(bench, ToyShower, "toy_emissions")
        toys = {KNOWN: toy, CONTROL: replace(toy, kernels=self.control)}
        found: dict[str, list[Mapping[str, float]]] = {}
        for name, own in toys.items():
            changes = [] if name == KNOWN else self.choose
            jets = bench.split(f"samples/{name}", "train", {"jets": 1.0}, *bench.data, *changes)[
                "jets"
            ]
            files = [f"data.files.{part}=[{jets}]" for part in ("train", "test")]
            found[name] = []
            for k in range(self.members):
                seed = f"seed={bench.seed + k}"
                trained = bench.train(f"trainings/{name}_{k}", seed, *files, *self.training)
                work = partial(self.read, bench, trained.checkpoint, own, bench.seed + k)
                asked = [self.jets, repr(own), bench.seed + k]
                found[name].append(
                    bench.compute(f"read/{name}_{k}", work, trained.checkpoint, *asked)
                )
        self.show(bench, found, toys)

    def read(
        self, bench: Bench, checkpoint: Path, toy: ToyShower, seed: int, folder: Path
    ) -> dict[str, float]:
        """Figures of what one generator draws.

        Raises:
            UserError: If it is no white box.
        """
        module = folds.load(checkpoint, allow=bench.settings.trust.allow)
        if not isinstance(module, WhiteBoxShower):
            raise UserError(
                f"splittings are read from a white_box_shower, got {type(module).__name__}"
            )
        generator = torch.Generator().manual_seed(seed)
        drawn = module.splittings(module.draw_conditions(self.jets, generator) if module.given else
                                  Conditions(self.jets), generator)  # fmt: skip
        values = drawn.log_emitted[drawn.real].double()
        angles = drawn.log_angle[drawn.real].double()
        true = quantiles(toy.kernels, toy.evolution.cut, QUANTILES)
        again = quantiles(toy.kernels, toy.evolution.cut, 10 * QUANTILES)
        again = again[torch.randint(len(again), (len(values),), generator=generator)]
        wide = angles > angles.median()
        parts = [values[wide], values[~wide]]
        error = sum(float(part.var()) / len(part) for part in parts) ** 0.5
        figures = {
            "w1": distance(values, true),
            "w1/floor": distance(again, true),
            "emissions": float(len(values)),
            "mean": float(values.mean()),
            "mean/error": float(values.std()) / math.sqrt(len(values)),
            "mean/floor": float(true.mean()),
            "drift": float(parts[0].mean() - parts[1].mean()),
            "drift/error": error,
        }
        edges = torch.linspace(float(true.min()), 0.0, BINS + 1, dtype=torch.float64)
        for key, column in (("learnt", values), ("true", true)):
            shares = torch.histc(column, BINS, float(edges[0]), 0.0) / len(column)
            figures |= {f"bin/{key}/{k}": float(share) for k, share in enumerate(shares)}
        return figures

    def show(
        self,
        bench: Bench,
        found: Mapping[str, Sequence[Mapping[str, float]]],
        toys: Mapping[str, ToyShower],
    ) -> None:
        """Report what was read."""
        for name, members in found.items():
            shown = [
                {k: v for k, v in item.items() if not k.startswith("bin/")} for item in members
            ]
            whole = {f"{name}/{key}": value for key, value in banded(shown).items()}
            figure = self.page(math.log(toys[name].evolution.cut), members)
            bench.report(TITLES[name], whole, figure, TEXT)
        means = {name: [item["mean"] for item in members] for name, members in found.items()}
        half = self.members // 2
        apart = {
            "control/distance": separation(means[KNOWN], means[CONTROL], means),
            "null/distance": separation(means[KNOWN][:half], means[KNOWN][half:], means),
        }
        bench.report("Control and null test", apart, None, BOTH)

    @staticmethod
    def page(low: float, members: Sequence[Mapping[str, float]]) -> Figure:
        """The kernel, the first generator, and the band of all."""
        bins = {
            key: np.array([[item[f"bin/{key}/{k}"] for k in range(BINS)] for item in members])
            for key in ("learnt", "true")
        }
        number, edges = members[0]["emissions"], np.linspace(low, 0.0, BINS + 1)
        true, first = number * bins["true"][0], number * bins["learnt"][0]
        band = bins["learnt"].mean(0), bins["learnt"].std(0, ddof=1)
        panel = counted(
            r"$\ln(1 - z)$", "", edges, true, first, False, networks=band,
            variances=(np.zeros(BINS), first),
        )  # fmt: skip
        return histogram_page(
            [panel], ("kernel", "generator"), networks=len(members), several="generators"
        )


def separation(
    first: Sequence[float], second: Sequence[float], means: Mapping[str, Sequence[float]]
) -> float:
    """Distance of two means of trainings in units of its error, from the spread of the trainings on each
    kernel.
    """
    variances = [
        float(torch.tensor(list(column), dtype=torch.float64).var()) for column in means.values()
    ]
    variance = sum(variances) / len(variances) * (1 / len(first) + 1 / len(second))
    return abs(sum(first) / len(first) - sum(second) / len(second)) / math.sqrt(variance)


def quantiles(kernels: Kernels, cut: float, number: int) -> Tensor:
    r"""Even quantiles of :math:`\ln(1 - z)` of a kernel between its cuts, rising ``(number,)``."""
    edge = math.log((1 - cut) / cut)
    logit = torch.linspace(-edge, edge, 20 * number, dtype=torch.float64)
    z = logit.sigmoid()
    density = kernel(kernels, z) * z * (1 - z)
    reached = torch.cat([torch.zeros(1).double(), ((density[1:] + density[:-1]) / 2).cumsum(0)])
    level = (torch.arange(number, dtype=torch.float64) + 0.5) / number * reached[-1]
    place = torch.searchsorted(reached, level).clamp(1, len(z) - 1)
    return torch.log1p(-z[place]).sort().values


def distance(values: Tensor, true: Tensor) -> float:
    """W1 of values ``(n,)`` from even quantiles ``(k,)``, in standard deviations of these."""
    level = (torch.arange(len(true), dtype=torch.float64) + 0.5) / len(true)
    ordered = values.sort().values
    own = ordered[(level * len(values)).long()]
    return float((own - true).abs().mean() / true.std())


TITLES = {KNOWN: "The kernel of the data", CONTROL: "The kernel of the control"}
TEXT = (
    "Of ln(1 - z), as the generators draw z. w1: distance from the kernel in its standard "
    "deviations; its floor is that of "
    "as many draws of the kernel. mean: its floor is the kernel's. drift: difference of the means "
    "at wider and narrower "
    "angles. Errors are the spread over trainings, or the statistical error where that is larger."
)
BOTH = (
    "Means of ln(1 - z) that were learnt from one kernel and from the other, and from one in two "
    "groups of trainings, in "
    "units of the error that the spread over trainings gives."
)
