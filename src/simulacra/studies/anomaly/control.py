r"""A search where there is nothing to be found: p-values of pseudo-experiments without signal.

In each a random half of all background events is searched, and the other half is judged. A cut keeps a share
of the judged events beside the window, and what it keeps within is compared with what is expected from beside
it (:mod:`simulacra.metrics.search.excess`). Without signal p-values are uniform, which is tested by the
distance of Kolmogorov and Smirnov. Halves of one sample overlap: the pseudo-experiments are not quite
independent.
"""

from __future__ import annotations

from pathlib import Path

import torch
from scipy.stats import kstest

from simulacra.core import UserError
from simulacra.core.constructors import constructor
from simulacra.core.ranges import Count, Share
from simulacra.metrics.search.excess import excess
from simulacra.studies.anomaly.finders import Finder, scores
from simulacra.studies.anomaly.problem import masses, nothing, within
from simulacra.studies.bench import Bench


@constructor
class Control:
    """See the module's docstring.

    Args:
        finder: A finder whose scores know nothing of the mass.
        experiments: Pseudo-experiments, at least 2.
        share: Share of the events beside the window that the cut keeps, in (0, 1).

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
        kept = torch.tensor([item["kept"] / item["expected"] for item in found]).double()
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
        """The excess of one experiment."""
        seed = bench.seed + number
        problem = nothing(bench, place, bounds, seed)
        found = self.finder.find(bench, problem, f"{place}/finder", seed)

        def work(folder: Path) -> dict[str, float]:
            events = bench.events(problem.judged)
            score = scores(bench, problem.judged, found.scored)
            known = ~score.isnan()
            events, score = events[known], score[known]
            mass = masses(bench.datamodule.native_spec, events)
            cut = score[~within(mass, bounds)].quantile(1 - self.share)
            return excess(mass, score > cut, bounds, events.weight)

        inputs = [problem.judged, found.scored, self.share, list(bounds)]
        return bench.compute(f"{place}/excess", work, *inputs)
