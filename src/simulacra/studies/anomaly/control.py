r"""A search where there is nothing to be found: p-values of pseudo-experiments without signal.

In each a random half of all background events is searched, and the other half is judged. The finder's
template, background that it has drawn and not learnt from, says what to expect: a cut that keeps :math:`M` of
its :math:`m` events keeps :math:`k` of the :math:`n` judged ones within the window, a matter of chance with

.. math:: k \sim \text{Beta-binomial}(n, M, m + 1 - M), \qquad
          p = P(k' > k) + u\, P(k' = k),

if template and background have one distribution, whatever it is; :math:`u` is uniform, and so is :math:`p`.
Whether they have is what Kolmogorov's and Smirnov's test says of the p-values of all pseudo-experiments.
Halves of one sample overlap: the pseudo-experiments are not quite independent.
"""

from __future__ import annotations

from pathlib import Path

import torch
from scipy.stats import betabinom, kstest

from simulacra.core import UserError
from simulacra.core.constructors import constructor
from simulacra.core.ranges import Count, Share
from simulacra.studies.anomaly.finders import Finder, scores
from simulacra.studies.anomaly.problem import masses, nothing, within
from simulacra.studies.bench import Bench


@constructor
class Control:
    """See the module's docstring.

    Args:
        finder: A finder with a template.
        experiments: Pseudo-experiments, at least 2.
        share: Share of the template that the cut keeps, in (0, 1).

    Raises:
        UserError: If there are fewer experiments.
    """

    def __init__(self, finder: Finder, experiments: Count, share: Share) -> None:
        if experiments < 2:
            raise UserError(f"p-values are compared of two experiments or more, got {experiments}")
        self.finder, self.experiments, self.share = finder, experiments, share

    def figures(self, bench: Bench, place: str, bounds: tuple[float, float]) -> dict[str, float]:
        """``p/0`` …, the p-value ``ks`` of their uniformity, and ``kept``, what the cut keeps over what it
        should, in the mean, with its error.
        """
        found = [self._one(bench, f"{place}/{k}", bounds, k) for k in range(self.experiments)]
        values = [item["p"] for item in found]
        kept = torch.tensor([item["kept"] for item in found], dtype=torch.float64)
        return {
            **{f"p/{k}": value for k, value in enumerate(values)},
            "ks": float(kstest(values, "uniform").pvalue),
            "kept": float(kept.mean()),
            "kept/error": float(kept.std()) / len(kept) ** 0.5,
            "kept/floor": 1.0,
        }

    def _one(
        self, bench: Bench, place: str, bounds: tuple[float, float], number: int
    ) -> dict[str, float]:
        """The p-value of one experiment, and what the cut keeps over what it should."""
        seed = bench.seed + number
        problem = nothing(bench, place, bounds, seed)
        found = self.finder.find(bench, problem, f"{place}/finder", seed)
        if found.template is None:
            raise UserError("a control needs a finder that draws background, such as cathode")
        template = found.template

        def work(folder: Path) -> dict[str, float]:
            spec, events = bench.datamodule.native_spec, bench.events(problem.judged)
            inside = within(masses(spec, events), bounds)
            judged = scores(bench, problem.judged, found.scored)[inside]
            expected = bench.events(template).weight_or_one().double()
            return counted(judged, expected, self.share, seed)

        inputs = [problem.judged, found.scored, template, self.share, seed, list(bounds)]
        return bench.compute(f"{place}/counted", work, *inputs)


def counted(
    judged: torch.Tensor, template: torch.Tensor, share: float, seed: int
) -> dict[str, float]:
    """The p-value of what a cut keeps, and the quotient to what it should keep.

    Args:
        judged: Scores of the judged events ``(n,)``.
        template: Scores of the template ``(m,)``.
        share: Share of the template that the cut keeps.
        seed: Of the random number between the p-values of neighbouring counts.

    Raises:
        UserError: If the cut would keep none of the template.
    """
    m, n = len(template), len(judged)
    above = round(share * m)
    if not 0 < above <= m:
        raise UserError(f"a cut that keeps a share {share:g} of {m} events keeps none")
    cut = template.sort(descending=True).values[above - 1]
    k = int((judged > cut).sum())
    chance = betabinom(n, above, m + 1 - above)
    u = float(torch.rand(1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))
    p = float(chance.sf(k) + u * chance.pmf(k))
    return {
        "p": p,
        "events": float(k),
        "expected": float(chance.mean()),
        "kept": k / float(chance.mean()),
    }
