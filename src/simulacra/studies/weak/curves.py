"""How much what is known of mixtures matters: their difference, the number of them, and errors in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from simulacra.core import UserError
from simulacra.core.ranges import Positive, Share
from simulacra.plotting.curves import Level, curves
from simulacra.studies.bands import repeated
from simulacra.studies.weak.samples import most
from simulacra.studies.weak.task import Part, Task


class Differences(Part):
    """Learning curves over the difference of the fractions, with the same number of events throughout.

    Args:
        differences: Of the fractions of two mixtures around one half.

    Raises:
        UserError: If there is none.
    """

    def __init__(self, differences: Sequence[Positive]) -> None:
        self.differences = sorted(map(float, differences))
        if not self.differences or self.differences[-1] > 1:
            raise UserError(f"differences lie between 0 and 1, got {self.differences}")

    def run(self, task: Task) -> None:
        """See the base class."""
        counts = [
            len(task.events.bench.events(path)) for path in task.events.pools.values()
        ]  # background, then signal
        pairs = [((1 + apart) / 2, (1 - apart) / 2) for apart in self.differences]
        size = min(most(pair, counts) for pair in pairs)
        lines: dict[str, dict[float, list[Level | None]]] = {name: {} for name in task.weak}
        figures: dict[str, float] = {}
        for apart, pair in zip(self.differences, pairs, strict=True):
            place = f"differences/{apart:g}"
            members = []
            for replica in range(task.replicas):
                own = f"{place}/{replica}"
                mixed = task.mixed(f"{own}/mixtures", pair, replica, size)
                scored = {
                    name: task.learn(f"{own}/{name}", learner, mixed, replica)
                    for name, learner in task.weak.items()
                }
                members.append(task.judge(f"{own}/judged", scored))
            found = repeated(members)
            for name in task.weak:
                key = f"{name}/auc"
                lines[name][apart] = [Level(found[key], found[f"{key}/error"])]
                figures |= {
                    f"differences/{apart:g}/{key}{twin}": found[f"{key}{twin}"]
                    for twin in ("", "/error")
                }
        page = curves(lines, ["AUC"], [None], "difference of the fractions")
        task.bench.report("Difference of the fractions", figures, page, DIFFERENCES)


class WrongFractions(Part):
    """Learners that are told fractions which are wrong by a factor.

    Args:
        factors: Of all fractions; what would be more than 1 is 1.

    Raises:
        UserError: If there is none.
    """

    def __init__(self, factors: Sequence[Positive]) -> None:
        self.factors = list(map(float, factors))
        if not self.factors:
            raise UserError("wrong fractions need at least one factor")

    def run(self, task: Task) -> None:
        """See the base class."""
        told = {name: item for name, item in task.weak.items() if item.proportional}
        members = []
        for replica in range(task.replicas):
            place = f"wrong/{replica}"
            mixed = task.mixed(f"{place}/mixtures", task.fractions, replica)
            found: dict[str, float] = {}
            for name, learner in told.items():
                scored = {"right": task.learn(f"{place}/{name}/right", learner, mixed, replica)}
                for factor in self.factors:
                    stated = [min(1.0, factor * item) for item in mixed.fractions]
                    scored[f"{factor:g}"] = task.learn(
                        f"{place}/{name}/{factor:g}", learner, mixed, replica, stated=stated
                    )
                judged = task.judge(f"{place}/{name}/judged", scored, "right")
                found |= {f"wrong/{name}/{key}": value for key, value in judged.items()}
            members.append(found)
        task.bench.report("Wrong fractions", repeated(members), text=WRONG)


class MoreBags(Part):
    """Several mixtures in place of two, beside labels on the same events.

    Who tells mixtures apart does so with the two that are farthest from each other.

    Args:
        fractions: Of the mixtures.
    """

    def __init__(self, fractions: Sequence[Share]) -> None:
        self.fractions = list(fractions)

    def run(self, task: Task) -> None:
        """See the base class."""
        members = []
        for replica in range(task.replicas):
            place = f"bags/{replica}"
            mixed = task.mixed(f"{place}/mixtures", self.fractions, replica)
            scored = {
                name: task.learn(f"{place}/{name}", learner, mixed, replica)
                for name, learner in task.learners.items()
            }
            members.append(task.judge(f"{place}/judged", scored, task.reference))
        task.bench.report("Several bags", below("bags", repeated(members)), text=BAGS)


def below(head: str, figures: Mapping[str, float]) -> dict[str, float]:
    """Figures with a head before their names."""
    return {f"{head}/{key}": value for key, value in figures.items()}


DIFFERENCES = (
    "Two mixtures around one half, as many events at each point; 1 is the case of pure samples. Errors "
    "are those of the test events, and of replicas where there are several."
)
WRONG = (
    "All fractions that are told are wrong by a factor. lack is what the area under the ROC curve lacks "
    "of that with right ones on the same events: the order of events hardly minds, the mean prediction "
    "does."
)
BAGS = "More than two mixtures; lack as above, of labels on the same events."
