"""Null test: mixtures of equal fractions hold nothing to be learnt from."""

from __future__ import annotations

import math

from scipy.stats import t as student

from simulacra.core import UserError
from simulacra.core.ranges import Count
from simulacra.studies.bands import of_mean
from simulacra.studies.weak.task import Part, Task


class EqualFractions(Part):
    """Two mixtures whose fractions are the mean of those of the study.

    A single classifier of such mixtures follows their fluctuations in some direction, in which signal and
    background may lie on either side: areas scatter around one half by more than the error of one of them.
    It is their mean over independent mixtures that is one half within its error.

    Args:
        repeats: Mixtures, at least two.

    Raises:
        UserError: If there are fewer.
    """

    def __init__(self, repeats: Count) -> None:
        if repeats < 2:
            raise UserError(f"a null test needs two repetitions or more, got {repeats}")
        self.repeats = repeats

    def run(self, task: Task) -> None:
        """See the base class."""
        equal = sum(task.fractions) / len(task.fractions)
        members = []
        for repeat in range(self.repeats):
            mixed = task.mixed(f"null/{repeat}/mixtures", [equal, equal], repeat)
            scored = {
                name: task.learn(f"null/{repeat}/{name}", learner, mixed, repeat)
                for name, learner in task.weak.items()
            }
            members.append(task.judge(f"null/{repeat}/judged", scored))
        figures: dict[str, float] = {}
        mean = of_mean(members)
        for name in task.weak:
            key = f"null/{name}/auc"
            value, error = mean[f"{name}/auc"], mean[f"{name}/auc/error"]
            figures |= {key: value, f"{key}/error": error, f"{key}/floor": 0.5}
            figures[f"{key}/z"] = z = (value - 0.5) / error if error else math.nan
            figures[f"null/{name}/p"] = float(2 * student.sf(abs(z), self.repeats - 1))
        task.bench.report("Null test", figures, text=TEXT)


TEXT = (
    "Mixtures of equal fractions: mean areas over independent mixtures, which are one half within their "
    "errors; z is how many of them they are off, p how probable as much is."
)
