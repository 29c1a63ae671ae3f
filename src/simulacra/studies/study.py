"""What a study is: plain Python that asks a bench for one stage after the other."""

from __future__ import annotations

from abc import ABC, abstractmethod

from simulacra.core.constructors import role
from simulacra.studies.bench import Bench


@role
class Study(ABC):
    """A chain of trainings and of what is made of them; Hydra builds it from ``conf/study``.

    A study knows no module and no format: it trains, samples, applies and evaluates by the bench, and what
    lies between two stages are files in the public format of the data set.
    """

    @abstractmethod
    def run(self, bench: Bench) -> None:
        """All stages in order, and a section of the report for what they show."""
