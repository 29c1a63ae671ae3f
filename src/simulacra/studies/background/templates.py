"""Ways to predict background in a region: each makes a file of events from those of other regions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from simulacra.core import Batch, UserError
from simulacra.core.constructors import role
from simulacra.metrics.engine.weighted import deviation, mean
from simulacra.studies.background.regions import Problem
from simulacra.studies.bench import Bench


@role
class Template(ABC):
    """A way to predict the events of a region."""

    @abstractmethod
    def predict(self, bench: Bench, place: str, problem: Problem, replica: int) -> Path:
        """The predicted events of the target region.

        Args:
            bench: The bench.
            place: Folder of the stages.
            problem: What there is; features of the truth are not looked at.
            replica: Number of a repetition with other seeds.

        Raises:
            UserError: If there is no source, and one is needed.
        """


class Moved(Template):
    """The source is moved by a map that is trained where there are data, see :mod:`simulacra.tasks.abcdnn`.

    Args:
        settings: Overrides of the training, ``model=NAME`` among them.
    """

    def __init__(self, settings: Sequence[str]) -> None:
        self.settings = list(settings)

    def predict(self, bench: Bench, place: str, problem: Problem, replica: int) -> Path:
        """See the base class."""
        source_control, source_target = source_of(problem)
        overrides = ["data=pair"]
        for key, path in (("first", problem.control), ("second", source_control)):
            files = [f"files.{part}=[{path}]" for part in ("train", "test")]
            overrides += bench.data_as(f"data.{key}", *files)
        seed = f"seed={bench.seed + replica}"
        trained = bench.train(f"{place}/training", *overrides, seed, *self.settings)
        return bench.apply(f"{place}/predicted", trained.checkpoint, source_target)


class Drawn(Template):
    """A generator of features given conditions is trained on the control regions, and sampled under the
    conditions of the target region.

    Args:
        settings: Overrides of the training, ``model=NAME`` among them.
    """

    def __init__(self, settings: Sequence[str]) -> None:
        self.settings = list(settings)

    def predict(self, bench: Bench, place: str, problem: Problem, replica: int) -> Path:
        """See the base class."""
        files = [f"data.files.{part}=[{problem.control}]" for part in ("train", "test")]
        seed = f"seed={bench.seed + replica}"
        trained = bench.train(f"{place}/training", *files, seed, *self.settings)
        asked = f"conditions={problem.truth}"
        return bench.sample(f"{place}/predicted", trained.checkpoint, asked, seed)


class Moments(Template):
    r"""Locations and widths of the columns add up.

    This is the exact answer where distributions differ by nothing else and effects of the conditions are
    linear.

    In the control regions :math:`\mu(c)` and :math:`\ln \sigma(c)` of data and source are fitted linearly in
    the conditions, and an event of the source becomes

    .. math:: \mu_1(c) + \frac{\sigma_1(c)}{\sigma_2(c)}\,(y - \mu_2(c)).

    Nothing is trained.
    """

    def predict(self, bench: Bench, place: str, problem: Problem, replica: int) -> Path:
        """See the base class."""
        source_control, source_target = source_of(problem)
        target = bench.folder(place) / source_target.name

        def work(folder: Path) -> dict[str, float]:
            data, source = bench.events(problem.control), bench.events(source_control)
            events = bench.events(source_target)
            first, second = (Linear.of(batch).at(events) for batch in (data, source))
            pull = (events.x.double() - second[0]) / second[1]
            moved = first[0] + first[1] * pull
            bench.write(target, replace(events, x=moved.to(events.x)))
            return {"events": float(len(events))}

        bench.compute(place, work, problem.control, source_control, source_target)
        return target


class Unchanged(Template):
    """The source as it is, or without one the events of the control regions: what is to be improved."""

    def predict(self, bench: Bench, place: str, problem: Problem, replica: int) -> Path:
        """See the base class."""
        return problem.control if problem.source_target is None else problem.source_target


class Linear:
    """Location and logarithm of the width of columns, linear in the conditions.

    Args:
        mean: Coefficients ``(1 + C, F)``.
        log_width: Those of the logarithm of the width.
    """

    def __init__(self, mean: Tensor, log_width: Tensor) -> None:
        self.mean, self.log_width = mean, log_width

    @classmethod
    def of(cls, batch: Batch) -> Linear:
        """Fitted to the moments of groups of events of like conditions, by their number.

        Raises:
            UserError: If no group has two events.
        """
        rows = design(batch)
        groups, place = rows.unique(dim=0, return_inverse=True)
        weight, x = batch.weight_or_one().double(), batch.x.double()
        kept, means, widths, sizes = [], [], [], []
        for k in range(len(groups)):
            own = (place == k) & (weight > 0)
            if int(own.sum()) < 2:
                continue
            kept.append(groups[k])
            means.append(mean(x[own], weight[own]))
            widths.append(deviation(x[own], weight[own]).clamp_min(1e-12).log())
            sizes.append(float(weight[own].sum()))
        if not kept:
            raise UserError("moments need regions of at least two events")
        root = torch.tensor(sizes, dtype=torch.float64).sqrt()[:, None]
        known = torch.stack(kept) * root
        found = [
            torch.linalg.lstsq(known, torch.stack(part) * root, driver="gelsd").solution
            for part in (means, widths)
        ]
        return cls(*found)

    def at(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Locations and widths ``(N, F)`` for the conditions of events."""
        rows = design(batch)
        return rows @ self.mean, (rows @ self.log_width).exp()


def design(batch: Batch) -> Tensor:
    """One and the conditions ``(N, 1 + C)``, float64."""
    columns = [value.double() for value in batch.cond.values()]
    return torch.cat([torch.ones(len(batch), 1, dtype=torch.float64), *columns], 1)


def source_of(problem: Problem) -> tuple[Path, Path]:
    """Files of the source.

    Raises:
        UserError: If there is none.
    """
    if problem.source_control is None or problem.source_target is None:
        raise UserError("this template moves a source: name one in study.cases.NAME.source")
    return problem.source_control, problem.source_target
