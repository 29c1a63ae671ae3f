r"""Coefficients of splitting kernels, all at once, from final states: a posterior by a conditional flow.

The data set is a table of samples of jets (:mod:`simulacra.data.showering.fragmentation`): coefficients as
features, what is measured of the final states as conditions. A flow learns the posterior of the
coefficients for their even prior (arXiv:2012.09873), and draws for samples that it has not seen:

- ``coverage``: share of samples whose central interval of 68 % holds the true coefficient;
- ``width``: mean standard deviation of the posterior over that of the prior, beside the one of the exact
  posterior, from the likelihood of all splittings and their flavours, which final states do not show;
- *null test*: the same flow trained and asked with measurements of other samples, which says nothing: its
  posterior is the prior.

The exact posterior is the prior weighted by the likelihood; its own coverage is stated, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

from simulacra.core.ranges import Count
from simulacra.data.showering.fragmentation import ToyFragmentation
from simulacra.metrics.engine.coverage import coverage
from simulacra.plotting.points import Column, points_page
from simulacra.studies.bench import SPLIT, Bench
from simulacra.studies.parton.toys import toy_of
from simulacra.studies.posteriors import DRAWS, covered
from simulacra.studies.study import Study
from simulacra.studies.unfolding_cases import Problem

FLOW, NULL = "flow", "null"


class FragmentationFit(Study):
    """See the module's docstring.

    Args:
        training: Overrides of each training, its unfolder among them.
        candidates: Draws of the prior that the exact posterior weighs.
    """

    def __init__(self, training: Sequence[str], candidates: Count) -> None:
        self.training, self.candidates = list(training), candidates

    def run(self, bench: Bench) -> None:
        """See the base class."""
        toy = toy_of(bench, ToyFragmentation, "toy_fragmentation")
        files = {
            part: bench.split(f"samples/{part}", part, {"rows": 1.0})["rows"]
            for part in ("train", "test")
        }
        mixed = {part: self.mixed(bench, part, path) for part, path in files.items()}
        asked = len(bench.events(files["test"]))
        work = partial(self.exact, bench, toy, asked)
        known = bench.compute("exact", work, files["test"], self.candidates, repr(toy), bench.seed)
        bench.report("Exact posterior", known, None, EXACT)
        found = {}
        for name, own in ((FLOW, files), (NULL, mixed)):
            found[name] = self.inferred(bench, name, own)
            figures = {f"{name}/{key}": value for key, value in found[name].items()}
            for key in toy.ranges:
                figures[f"{name}/width/{key}/floor"] = known[f"exact/width/{key}"]
            figure = None if name == NULL else self.page(list(toy.ranges), known, found[name])
            bench.report(TITLES[name], figures, figure, TEXT[name])

    def mixed(self, bench: Bench, part: str, path: Path) -> Path:
        """The same rows, each with the conditions of another one."""
        target = bench.folder(f"mixed/{part}") / path.name

        def work(folder: Path) -> dict[str, float]:
            events = bench.events(path)
            order = torch.randperm(len(events), generator=torch.Generator().manual_seed(SPLIT))
            bench.write(target, replace(events, cond=events[order].cond))
            return {"events": float(len(events))}

        bench.compute(f"mixed/{part}", work, path)
        return target

    def inferred(self, bench: Bench, name: str, files: Mapping[str, Path]) -> dict[str, float]:
        """Coverage and widths of one flow."""
        names = [field.name for field in bench.datamodule.native_spec.features]
        trained = bench.train(
            f"{name}/training",
            f"data.files.train=[{files['train']}]",
            f"data.files.test=[{files['test']}]",
            *self.training,
        )
        test = files["test"]
        problem = Problem(test, files["train"], test, test)
        stage = f"{name}/posterior"
        figures = covered(bench, stage, trained.checkpoint, problem, names)
        drawn = bench.folder(f"{stage}/drawn") / f"asked{test.suffix}"
        work = partial(self.widths, bench, drawn, names)
        return figures | bench.compute(f"{name}/widths", work, drawn, names)

    def widths(
        self, bench: Bench, drawn: Path, names: Sequence[str], folder: Path
    ) -> dict[str, float]:
        """Mean standard deviations of posteriors over that of the prior."""
        made = bench.events(drawn).x.double().unflatten(0, (DRAWS, -1))
        return widths(made.std(0), self.prior(bench), names)

    def prior(self, bench: Bench) -> Tensor:
        """Standard deviations of the even prior ``(K,)``."""
        toy = toy_of(bench, ToyFragmentation, "toy_fragmentation")
        ends = torch.tensor([list(ends) for ends in toy.ranges.values()], dtype=torch.float64)
        return (ends[:, 1] - ends[:, 0]) / 12**0.5

    def exact(self, bench: Bench, toy: ToyFragmentation, n: int, folder: Path) -> dict[str, float]:
        """Coverage and widths of the exact posteriors of the rows of the test part."""
        names = list(toy.ranges)
        ends = torch.tensor([list(ends) for ends in toy.ranges.values()], dtype=torch.float64)
        generator = torch.Generator().manual_seed(bench.seed)
        unit = torch.rand(self.candidates, len(names), generator=generator, dtype=torch.float64)
        candidates = ends[:, 0] + unit * (ends[:, 1] - ends[:, 0])
        logs = toy.log_likelihoods(n, "test", candidates)
        weight = (logs - logs.amax(1, keepdim=True)).softmax(1)  # (n, S)
        truth = bench.events(bench.stages.done["samples/test"].outputs["rows"]).x.double()
        mean = weight @ candidates
        spread = (weight @ candidates.square() - mean.square()).clamp_min(0).sqrt()
        rank = torch.stack(
            [(weight * (candidates[:, k] < truth[:, k, None])).sum(1) for k in range(len(names))],
            1,
        )
        figures = {
            f"exact/{key}": value for key, value in widths(spread, self.prior(bench), names).items()
        }
        for name, figure in zip(names, coverage(rank), strict=True):
            figures[f"exact/coverage/{name}"] = figure.value
            figures[f"exact/coverage/{name}/error"] = figure.error or 0.0
            figures[f"exact/coverage/{name}/floor"] = figure.floor or 0.0
        return figures

    @staticmethod
    def page(
        names: Sequence[str], known: Mapping[str, float], found: Mapping[str, float]
    ) -> Figure:
        """Widths of all coefficients."""
        columns = [
            Column(
                f"width of {name}",
                {
                    "exact": (known[f"exact/width/{name}"], known[f"exact/width/{name}/error"]),
                    "flow": (found[f"width/{name}"], found[f"width/{name}/error"]),
                },
                1.0,
                None,
            )
            for name in names
        ]
        return points_page(columns, "prior")


def widths(spread: Tensor, prior: Tensor, names: Sequence[str]) -> dict[str, float]:
    """Means over rows of standard deviations ``(n, K)`` in units of the prior's, with their errors."""
    figures = {}
    for k, name in enumerate(names):
        own = spread[:, k] / prior[k]
        figures[f"width/{name}"] = float(own.mean())
        figures[f"width/{name}/error"] = float(own.std()) / len(own) ** 0.5
    return figures


TITLES = {FLOW: "Posterior of the flow", NULL: "Null test"}
EXACT = (
    "What is known to whoever knows each splitting and its flavour. width: mean standard deviation over that "
    "of the prior; coverage: share of samples whose central interval of 68 % holds the true coefficient."
)
TEXT = {
    FLOW: (
        "From final states alone. width: mean standard deviation over that of the prior; its floor is the "
        "width of the exact posterior, which knows more. coverage should be its floor, ranks is the largest "
        "distance of their distribution function from an even one."
    ),
    NULL: (
        "Measurements of other samples say nothing: the width is 1, and the prior covers the truth as often "
        "as it says."
    ),
}
