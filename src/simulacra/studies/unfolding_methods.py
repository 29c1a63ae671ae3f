"""Ways to unfold: each makes files of particle level from what is measured and what is simulated."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from simulacra.core import UserError
from simulacra.core.constructors import role
from simulacra.core.ranges import Count
from simulacra.metrics.binned_unfolding import Response, content, edges
from simulacra.metrics.binned_unfolding import place as place_of
from simulacra.studies.bench import Bench
from simulacra.studies.ratio import PARTICLE, Ratio, sight
from simulacra.studies.unfolding_cases import Problem, mask, observed, seen, suffix


@dataclass(frozen=True)
class Unfolded:
    """What a method has come to.

    Args:
        course: Files after each iteration, the last one being the result.
        single: Results of single observables, each in a file of its own, in place of those of ``course``.
        figures: What is to be reported of the method itself.
        unfolder: Checkpoint of the unfolder that has drawn the result, or None.
    """

    course: Sequence[Path] = ()
    single: Mapping[str, Path] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)
    unfolder: Path | None = None

    def files(self, observables: Sequence[str]) -> dict[str, Path]:
        """The file that each observable is looked at in."""
        return {name: self.single[name] if self.single else self.course[-1] for name in observables}


@role
class Method(ABC):
    """A way to unfold."""

    @abstractmethod
    def unfold(
        self, bench: Bench, problems: Sequence[Problem], place: str, observables: Sequence[str]
    ) -> list[Unfolded]:
        """Unfold.

        Args:
            bench: The bench.
            problems: What is measured and simulated, and bootstraps of it; the truth is not looked at. Each
                is unfolded with randomness of its own.
            place: Folder of the stages.
            observables: Names of those that are asked for, where each is unfolded by itself.

        Returns:
            The results in the order of the problems.
        """


class Drawn(Method):
    """An unfolder draws particle level for each measured event; see :mod:`simulacra.models.tables.unfolder`.

    It is trained on the simulation, and once for all replicas. In a further iteration the simulation is
    weighted so that its particle level looks like what has been unfolded, and the unfolder is trained again:
    its posterior then belongs to a spectrum nearer to that of the data.

    Args:
        settings: Overrides of a training, ``model=NAME`` among them.
        iterations: Trainings one after the other.
        ratio: How the simulation is weighted in between.

    Reference: Backes, Butter, Dunford, Malaescu 2022, arXiv:2212.08674, for the iteration.
    """

    def __init__(self, settings: Sequence[str], iterations: Count, ratio: Ratio) -> None:
        self.settings, self.iterations, self.ratio = list(settings), iterations, ratio

    def unfold(
        self, bench: Bench, problems: Sequence[Problem], place: str, observables: Sequence[str]
    ) -> list[Unfolded]:
        """See the base class.

        Raises:
            UserError: If some events lack a level.
        """
        roles = [item.role for item in bench.datamodule.native_spec.event]
        if "genuine" in roles or "detected" in roles:
            raise UserError(
                "an unfolder draws for events that have both levels, and here are fakes or losses: take "
                "methods that weigh, such as omnifold"
            )
        trained = self._trained(bench, f"{place}/training", problems[0].simulation, 0)
        return [
            self._drawn(bench, problem, f"{place}/replica_{k}", k, trained)
            for k, problem in enumerate(problems)
        ]

    def _drawn(
        self, bench: Bench, problem: Problem, place: str, replica: int, checkpoint: Path
    ) -> Unfolded:
        """Unfolded data after each iteration."""
        seed, course = f"seed={bench.seed + replica}", []
        for n in range(1, self.iterations + 1):
            step = f"{place}/iteration_{n}"
            course.append(bench.apply(f"{step}/drawn", checkpoint, problem.data, seed))
            if n < self.iterations:
                prior = problem.simulation
                looks = sight(bench.datamodule.native_spec, PARTICLE, None)
                ratio = self.ratio.between(
                    bench, f"{step}/ratio", (course[-1], prior), looks, replica
                )
                weighted = bench.apply(f"{step}/weighted", ratio, prior)
                checkpoint = self._trained(bench, f"{step}/training", weighted, replica)
        return Unfolded(course, unfolder=checkpoint)

    def _trained(self, bench: Bench, stage: str, simulation: Path, replica: int) -> Path:
        """The unfolder of a simulation."""
        files = [f"data.files.{part}=[{simulation}]" for part in ("train", "test")]
        seed = f"seed={bench.seed + replica}"
        return bench.train(stage, *files, seed, *self.settings).checkpoint


class Binned(Method):
    """One histogram after the other; see :mod:`simulacra.metrics.binned_unfolding`.

    The result are the simulated events, with the ratio of the unfolded to the simulated content of their bin
    as a factor on their weight.

    Args:
        bins: Bins of equal content of each observable at either level, at most.
        iterations: Iterations of Bayes' theorem; 0: correction factors in their place.
    """

    def __init__(self, bins: Count, iterations: int) -> None:
        if iterations < 0:
            raise UserError(f"iterations are 0 or more, got {iterations}")
        self.bins, self.iterations = bins, iterations

    def unfold(
        self, bench: Bench, problems: Sequence[Problem], place: str, observables: Sequence[str]
    ) -> list[Unfolded]:
        """See the base class."""
        return [
            self._histograms(bench, problem, f"{place}/replica_{k}", observables)
            for k, problem in enumerate(problems)
        ]

    def _histograms(
        self, bench: Bench, problem: Problem, stage: str, observables: Sequence[str]
    ) -> Unfolded:
        single = {name: bench.folder(stage) / f"{name}{suffix(bench)}" for name in observables}

        def work(folder: Path) -> dict[str, float]:
            spec = bench.datamodule.native_spec
            data, simulation = bench.events(problem.data), bench.events(problem.simulation)
            genuine, detected = (mask(spec, simulation, name) for name in ("genuine", "detected"))
            true = observed(bench, simulation, observables)
            found = observed(bench, seen(spec, simulation), observables)
            measured = observed(bench, seen(spec, data), observables)
            weight, own = simulation.weight_or_one(), data.weight_or_one()
            figures = {}
            for name in observables:
                inner = edges(true[name][genuine], self.bins, weight[genuine])
                outer = (
                    edges(found[name][detected], self.bins, weight[detected])
                    if self.iterations else inner
                )  # fmt: skip
                bins = place_of(true[name], inner)
                n, m = len(inner) + 2, len(outer) + 2
                response = Response.of(
                    bins, place_of(found[name], outer), (n, m), weight, genuine, detected
                )
                counted = content(place_of(measured[name], outer), m, own)
                spectrum = self._unfolded(response, counted)
                factor = torch.where(response.prior > 0, spectrum / response.prior, 0.0)
                changed = replace(simulation, weight=weight * factor[bins].float())
                bench.write(single[name], changed[genuine])
                figures[f"bins/{name}"] = float(n)
            return figures

        bench.compute(
            stage, work, problem.data, problem.simulation, list(observables), self.bins,
            self.iterations,
        )  # fmt: skip
        return Unfolded(single=single)

    def _unfolded(self, response: Response, measured: Tensor) -> Tensor:
        if not self.iterations:
            return response.corrected(measured)
        return response.iterated(measured, self.iterations)[-1]
