r"""OmniFold: the simulation is weighted in two steps, again and again, until it looks like the data.

With prior weights :math:`\nu_0` of the simulation, in iteration :math:`n` a classifier at detector level and
one at particle level give

.. math:: \omega_n = \nu_{n-1}\,\frac{p_\mathrm{data}(x)}{p_{\nu_{n-1}}(x)}, \qquad
          \nu_n(z) = \nu_0\,\frac{p_{\omega_n}(z)}{p_{\nu_0}(z)} .

The second step always starts from the prior weights. With all columns it is OmniFold, with some of them
MultiFold, with a single one UniFold. Fakes, which have no particle level, stand in the first step alone,
with their prior weights. Events that are not detected have no :math:`\omega`: the classifier of the second
step learns from those that are, which makes :math:`\nu_n(z)` of all others the mean of :math:`\omega` at
their :math:`z`. Only shapes are unfolded: both samples have the same total weight in each step.

All weights are cross-fitted (:mod:`simulacra.studies.ratio`). The classifiers of the first step also tell
data from the simulation that the iteration before has weighted, on rows that they have not seen; where the
area under their ROC curve is 1/2 within its error there is nothing left to learn from, and the iteration
stops, be it before the first.

References: Andreassen et al. 2019, arXiv:1911.09107; losses and fakes as in Andreassen et al. 2021,
arXiv:2105.04448.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from sklearn.metrics import roc_auc_score

from simulacra.core.ranges import Count, NotNegative
from simulacra.metrics.classifiers.boosted import hanley_mcneil
from simulacra.metrics.engine.weighted import deviation, effective, mean
from simulacra.studies.bench import Bench
from simulacra.studies.files import some, together
from simulacra.studies.ratio import DETECTOR, PARTICLE, Ratio, sight
from simulacra.studies.unfolding_cases import Problem, mask
from simulacra.studies.unfolding_methods import Method, Unfolded


class OmniFold(Method):
    """See the module's docstring.

    Args:
        ratio: How weights are found.
        iterations: How many, at most.
        stop: In how many standard errors of the area under the curve data and weighted simulation must differ
            for a further iteration; None: all iterations are done.
        columns: Features that are unfolded, each with the condition that measures it; None: all.
    """

    def __init__(
        self,
        ratio: Ratio,
        iterations: Count,
        stop: NotNegative | None,
        columns: Mapping[str, str] | None,
    ) -> None:
        self.ratio, self.iterations, self.stop, self.columns = ratio, iterations, stop, columns

    def unfold(
        self, bench: Bench, problems: Sequence[Problem], place: str, observables: Sequence[str]
    ) -> list[Unfolded]:
        """See the base class."""
        return [
            self._one(bench, problem, f"{place}/replica_{k}", k)
            for k, problem in enumerate(problems)
        ]

    def _one(self, bench: Bench, problem: Problem, place: str, replica: int) -> Unfolded:
        spec, events = bench.datamodule.native_spec, bench.events(problem.simulation)
        sights = [sight(spec, level, self.columns) for level in (DETECTOR, PARTICLE)]
        genuine, detected = (mask(spec, events, name) for name in ("genuine", "detected"))
        prior = some(bench, f"{place}/prior/genuine", problem.simulation, genuine)
        matched = some(bench, f"{place}/prior/matched", problem.simulation, genuine & detected)
        fakes = (
            [some(bench, f"{place}/prior/fakes", problem.simulation, ~genuine)]
            if bool((~genuine).any()) else []
        )  # fmt: skip
        current, course, figures = prior, list[Path](), dict[str, float]()
        for n in range(1, self.iterations + 2):
            step = f"{place}/iteration_{n}"
            own = some(bench, f"{step}/matched", current, detected[genuine])
            simulated = together(bench, f"{step}/simulated", [own, *fakes])
            measured = problem.data, simulated
            first = self.ratio.between(bench, f"{step}/detector", measured, sights[0], replica)
            area = told_apart(bench, f"{step}/told_apart", first, measured)
            figures |= {f"detector/{n - 1}/auc{key}": value for key, value in area.items()}
            alike = self.stop is not None and area[""] - 0.5 < self.stop * area["/error"]
            if n > self.iterations or alike:
                break
            pulled = bench.apply(f"{step}/pulled", first, own)
            levels = pulled, matched
            second = self.ratio.between(bench, f"{step}/particle", levels, sights[1], replica)
            current = bench.apply(f"{step}/pushed", second, prior)
            course.append(current)
        figures |= {"iterations": float(len(course))} | spread_of_weights(bench, current, prior)
        return Unfolded(course or [prior], {}, figures)


def told_apart(
    bench: Bench, stage: str, ratio: Path, samples: tuple[Path, Path]
) -> dict[str, float]:
    """Area under the ROC curve of cross-fitted weights between two files, by what follows ``auc``."""
    weighed = [
        bench.apply(f"{stage}/{name}", ratio, path)
        for name, path in zip(("data", "simulation"), samples, strict=True)
    ]

    def work(folder: Path) -> dict[str, float]:
        own = [bench.events(path).weight_or_one().double() for path in samples]
        new = [bench.events(path).weight_or_one().double() for path in weighed]
        counts = [weight > 0 for weight in own]
        scores = [(new[k] / own[k])[counts[k]] for k in range(2)]
        shares = [(own[k] / own[k].sum())[counts[k]] for k in range(2)]
        label = torch.cat([torch.ones(len(scores[0])), torch.zeros(len(scores[1]))])
        area = float(roc_auc_score(label, torch.cat(scores), sample_weight=torch.cat(shares)))
        return {
            "auc": area,
            "auc/error": hanley_mcneil(area, *(effective(weight) for weight in own)),
            "auc/floor": 0.5,
        }

    found = bench.compute(f"{stage}/figures", work, *samples, *weighed)
    return {key.removeprefix("auc"): value for key, value in found.items()}


def spread_of_weights(bench: Bench, unfolded: Path, prior: Path) -> dict[str, float]:
    """Standard deviation of the factors on the weights of the simulation, scaled to a mean of 1, and their
    effective share.
    """
    before, after = (bench.events(path).weight_or_one().double() for path in (prior, unfolded))
    known = before > 0
    factor = after[known] / before[known]
    factor = factor / mean(factor, before[known])
    return {
        "weight/spread": float(deviation(factor, before[known])),
        "weight/effective": effective(after) / len(after),
    }
