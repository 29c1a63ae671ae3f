"""A finder that sees the same events as another data set reads them, clouds as a table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from simulacra.core import UserError
from simulacra.studies.anomaly.finders import Finder, Found, scores
from simulacra.studies.anomaly.problem import Problem, masses
from simulacra.studies.bench import Bench
from simulacra.studies.files import read_as


class ReadAs(Finder):
    """See the module's docstring.

    Args:
        data: Name of the other data set, which reads the same files.
        finder: What finds the signal there.
    """

    def __init__(self, data: str, finder: Finder) -> None:
        self.data, self.finder = data, finder

    def find(self, bench: Bench, problem: Problem, place: str, seed: int) -> Found:
        """See the base class.

        Raises:
            UserError: If the other data set does not hold the same events in the same order.
        """
        other = read_as(bench, self.data)
        again = problem.again(other, f"{place}/{self.data}")
        found = self.finder.find(other, again, f"{place}/found", seed)
        target = bench.folder(f"{place}/scored") / problem.judged.name

        def work(folder: Path) -> dict[str, float]:
            events, read = bench.events(problem.judged), other.events(again.judged)
            mass = masses(bench.datamodule.native_spec, events)
            there = masses(other.datamodule.native_spec, read)
            if len(mass) != len(there) or not torch.allclose(mass, there, rtol=1e-5):
                raise UserError(
                    f"{self.data} reads other events from these files: name one that does not"
                )
            score = scores(other, again.judged, found.scored).nan_to_num(0.0)  # of no weight
            bench.write(target, replace(events, weight=(events.weight_or_one() * score).float()))
            return {"events": float(len(events))}

        bench.compute(f"{place}/scored", work, problem.judged, again.judged, found.scored)
        return Found(target, found.figures)
