"""Whether an unfolder's posterior covers the truth as often as it says, on events that are like its training.

Each of some measured events is written several times, an unfolder draws for each row, and the true value is
ranked among the draws (:mod:`simulacra.metrics.engine.coverage`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from simulacra.core import Batch
from simulacra.metrics.engine.coverage import coverage, ranks, uniformity
from simulacra.studies.bench import Bench
from simulacra.studies.unfolding_cases import Problem, observed, suffix

EVENTS, DRAWS = 1000, 50
"""Measured events, at most, and draws of the posterior of each."""


def covered(
    bench: Bench, stage: str, checkpoint: Path, problem: Problem, observables: Sequence[str]
) -> dict[str, float]:
    """``coverage/<observable>``, the share of events whose central interval of one standard deviation holds
    the truth, with its nominal content as floor, and ``ranks/<observable>``, the largest distance of the
    ranks' distribution function from that of uniform ones.

    Args:
        bench: The bench.
        stage: Folder of the stages.
        checkpoint: The unfolder.
        problem: A problem in which nothing is to be found, and all events have both levels.
        observables: Names of the observables.
    """
    place = f"{stage}/asked"
    asked = bench.folder(place) / f"asked{suffix(bench)}"

    def repeat(folder: Path) -> dict[str, float]:
        some = bench.events(problem.data)[:EVENTS]
        bench.write(asked, Batch.cat([some] * DRAWS))
        return {"events": float(len(some))}

    n = int(bench.compute(place, repeat, problem.data, EVENTS, DRAWS)["events"])
    drawn = bench.apply(f"{stage}/drawn", checkpoint, asked)

    def work(folder: Path) -> dict[str, float]:
        truth = bench.events(problem.truth)[:n]
        true = observed(bench, truth, observables)
        made = observed(bench, bench.events(drawn), observables)
        figures = {}
        for name in observables:
            known = torch.isfinite(true[name])
            found = made[name].reshape(DRAWS, n)[:, known, None]
            rank = ranks(true[name][known, None], found)
            weight = None if truth.weight is None else truth.weight[known]
            (figure,) = coverage(rank, weight=weight)
            figures[f"coverage/{name}"] = figure.value
            figures[f"coverage/{name}/error"] = figure.error or 0.0
            figures[f"coverage/{name}/floor"] = figure.floor or 0.0
            figures[f"ranks/{name}"] = float(uniformity(rank, weight)[0])
        return figures

    return bench.compute(f"{stage}/ranks", work, problem.truth, drawn, list(observables))
