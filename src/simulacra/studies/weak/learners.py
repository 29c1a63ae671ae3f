"""What learns to tell signal from background, each from another knowledge of the same events.

All look at the same events through the same network. Whoever has labels is the reference.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from simulacra.core.constructors import role
from simulacra.studies.bench import Bench
from simulacra.studies.weak.samples import Mixed


@role
class Learner(ABC):
    """See the module's docstring.

    Args:
        settings: Overrides of a training, ``model=NAME`` among them.
    """

    labelled: ClassVar[bool] = False
    """Whether it knows the labels."""
    proportional: ClassVar[bool] = False
    """Whether it is told the fractions."""

    def __init__(self, settings: Sequence[str]) -> None:
        self.settings = list(settings)

    @abstractmethod
    def data(self, bench: Bench, mixed: Mixed, stated: Sequence[float]) -> list[str]:
        """Overrides that choose what it learns from.

        Args:
            bench: Sees the data set without labels.
            mixed: The mixtures.
            stated: What is said of their fractions, right or wrong.
        """


def pair(bench: Bench, first: Path, second: Path) -> list[str]:
    """A pair of files."""
    sides = [
        bench.data_as(f"data.{key}", *(f"files.{part}=[{path}]" for part in ("train", "test")))
        for key, path in (("first", first), ("second", second))
    ]
    return ["data=pair", *sides[0], *sides[1]]


class Labelled(Learner):
    """A classifier of signal and background: the supervised reference."""

    labelled = True

    def data(self, bench: Bench, mixed: Mixed, stated: Sequence[float]) -> list[str]:
        """See the base class."""
        return pair(bench, mixed.pure["signal"], mixed.pure["background"])


class Mixtures(Learner):
    r"""CWoLa: a classifier of the mixtures with most and with least signal.

    With the ratio :math:`r` of the densities of signal and background, that of the mixtures,
    :math:`(f_1 r + 1 - f_1) / (f_2 r + 1 - f_2)`, rises with :math:`r` wherever :math:`f_1 > f_2`: who tells
    the mixtures apart as well as can be does so with the classes. It is not told the fractions.

    Reference: Metodiev, Nachman and Thaler, arXiv:1708.02949, theorem 1.
    """

    def data(self, bench: Bench, mixed: Mixed, stated: Sequence[float]) -> list[str]:
        """See the base class."""
        return pair(bench, *mixed.extremes)


class Bags(Learner):
    """LLP: a classifier whose mean predictions are the fractions; see :mod:`simulacra.tasks.llp`."""

    proportional = True

    def data(self, bench: Bench, mixed: Mixed, stated: Sequence[float]) -> list[str]:
        """See the base class."""
        listed = ",".join(map(str, mixed.bags))
        files = [f"files.{part}=[{listed}]" for part in ("train", "test")]
        fractions = ",".join(f"{item:.6g}" for item in stated)
        return ["data=bags", *bench.data_as("data.of", *files), f"data.fractions=[{fractions}]"]
