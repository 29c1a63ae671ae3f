r"""Amplification: how many true events a generator is worth that has learned from few (arXiv:2008.06545).

The truth, the test part of the data set, is cut into cells of equal content, quantiles of its one column or a
k-d-tree of several. A sample with the shares :math:`x_j` has :math:`\mathrm{MSE} = \langle (x_j -
p_j)^2\rangle`, which falls as :math:`1/n` with its number of events, and what has a lower one than the sample
it was made from is worth more events (:mod:`simulacra.metrics.worth.shares`).

Many small samples are cut from the training part. Their own deviation checks the formula. A family that the
truth belongs to is fitted to each: nothing that does not know the family can be worth more. On some of them a
generator is trained, with no other events for its settings or its choice, and more and more events are
generated until the deviation falls no further: what is left is what the training sample did not say.

Note:
    The published study has 100 trainings and other settings of the networks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

from simulacra.core import UserError
from simulacra.core.ranges import Count
from simulacra.metrics.worth.averaging import Cells
from simulacra.metrics.worth.shares import mean_square, true_mean_square
from simulacra.plotting.curves import Level, curves
from simulacra.studies.bands import banded, of_mean
from simulacra.studies.bench import Bench
from simulacra.studies.parametric import Family
from simulacra.studies.study import Study

Found = Mapping[str, float]


class Ganplification(Study):
    """See the module's docstring.

    Args:
        training: Overrides of each training, its model among them.
        trained: Events of each training.
        trainings: Their number, at least 2.
        repeats: Samples of that size behind the figures of samples and fits, the trained ones among them.
        cells: Parts of each column; each number gives figures of its own.
        generated: Numbers of generated events, rising.
        family: What is fitted to each sample, of one column; None: nothing.

    Raises:
        UserError: If there are fewer repeats than trainings, fewer than two trainings, or numbers that do
            not rise.
    """

    def __init__(
        self,
        training: Sequence[str],
        trained: Count,
        trainings: Count,
        repeats: Count,
        cells: Sequence[Count],
        generated: Sequence[Count],
        family: Family | None,
    ) -> None:
        if not 2 <= trainings <= repeats:
            raise UserError(
                "amplification needs two trainings or more and at least as many repeats, got "
                f"{trainings} and {repeats}"
            )
        if len(generated) < 2 or list(generated) != sorted(set(generated)):
            raise UserError(
                f"give at least two rising numbers of generated events, got {list(generated)}"
            )
        self.training, self.trained, self.trainings, self.repeats = (
            list(training), trained, trainings, repeats,
        )  # fmt: skip
        self.cells, self.generated, self.family = list(cells), list(generated), family

    def run(self, bench: Bench) -> None:
        """See the base class."""
        truth = bench.split("truth", "test", {"events": 1.0})["events"]
        samples = self.samples(bench)
        plain = self.known(bench, truth, samples)
        members = [self.member(bench, truth, k, samples[f"{k}"]) for k in range(self.trainings)]
        for cells in self.cells:
            self.show(bench, cells, plain, members)

    def samples(self, bench: Bench) -> dict[str, Path]:
        """A file for each training, and one with all further samples as ``rest``."""
        part = len(bench.datamodule.part("train"))
        if self.repeats * self.trained > part:
            raise UserError(
                f"{self.repeats} samples of {self.trained} events need {self.repeats * self.trained:,} "
                f"events, and the training part has {part:,}"
            )
        shares = {f"{k}": self.trained / part for k in range(self.trainings)}
        if self.repeats > self.trainings:
            shares["rest"] = (self.repeats - self.trainings) * self.trained / part
        return bench.split("samples", "train", shares)

    def known(self, bench: Bench, truth: Path, samples: Mapping[str, Path]) -> dict[str, float]:
        """``MSE`` of each sample, and of the fit to it: by cells, kind and number of the sample."""

        def work(folder: Path) -> dict[str, float]:
            true = rows(bench, truth)
            drawn = torch.cat([rows(bench, path) for path in samples.values()])
            drawn = drawn.unflatten(0, (self.repeats, self.trained))
            figures: dict[str, float] = {}
            for cells in self.cells:
                cut = Cells(true, cells)
                p = cut.shares(true)
                kinds = {"sample": torch.stack([cut.shares(sample) for sample in drawn])}
                if self.family is not None:
                    kinds["fit"] = self.family.shares(line(drawn), cut.edges[0][0])
                for kind, shares in kinds.items():
                    found = mean_square(shares, p).tolist()
                    figures |= {f"q{cells}/{kind}/{k}": value for k, value in enumerate(found)}
                figures[f"q{cells}/unit"] = true_mean_square(p, 1.0)
            return figures

        inputs = [self.cells, self.trained, self.repeats, repr(self.family)]
        return bench.compute("known", work, truth, dict(samples), *inputs)

    def member(self, bench: Bench, truth: Path, number: int, sample: Path) -> dict[str, float]:
        """One training: ``MSE`` by cells and number of generated events."""
        seed, files = f"seed={bench.seed + number}", [f"data.files.{p}=[{sample}]" for p in PARTS]
        trained = bench.train(
            f"trainings/{number}", seed, *files, "data.validation=0", *self.training
        )
        made = bench.sample(
            f"generated/{number}", trained.checkpoint, f"n={self.generated[-1]}", seed
        )
        work = partial(self.course, bench, truth, made)
        inputs = [self.cells, self.generated]
        return bench.compute(f"deviations/{number}", work, truth, made, *inputs)

    def course(self, bench: Bench, truth: Path, made: Path, folder: Path) -> dict[str, float]:
        """``MSE`` of the first generated events, of more and more of them."""
        true, drawn = rows(bench, truth), rows(bench, made)
        figures = {}
        for cells in self.cells:
            cut = Cells(true, cells)
            p = cut.shares(true)
            for n in self.generated:
                figures[f"q{cells}/{n}"] = float(mean_square(cut.shares(drawn[:n]), p))
        return figures

    def show(self, bench: Bench, cells: int, plain: Found, members: Sequence[Found]) -> None:
        """Report what samples, fits and generators are worth in these cells."""
        at = f"q{cells}"
        unit = plain[f"{at}/unit"]
        last, before = self.generated[-1], self.generated[-2]
        sample, fit = (
            [value for key, value in plain.items() if key.startswith(f"{at}/{kind}/")]
            for kind in ("sample", "fit")
        )
        made = [item[f"{at}/{last}"] for item in members]
        own = sample[: self.trainings]
        figures = {
            **named(f"{at}/theory", averaged(sample), self.trained / unit),
            **worth(f"{at}/sample", sample, unit),
            **worth(f"{at}/generator", made, unit),
            f"{at}/generator/equivalent/floor": unit / averaged(own)[0],
            f"{at}/generator/better": share([a < b for a, b in zip(made, own, strict=True)]),
            f"{at}/generator/above": share([unit / value > self.trained for value in made]),
            **ratio(f"{at}/saturation", made, [item[f"{at}/{before}"] for item in members]),
        }
        text = TEXT.format(cells=cells, trained=self.trained, last=last, before=before)
        if fit:
            figures |= worth(f"{at}/fit", fit, unit)
            figures |= ratio(f"{at}/generator/over_fit", fit[: self.trainings], made)
            text += FIT
        bench.report(f"{cells} cells", figures, self.drawn(at, unit, own, fit, members), text)

    def drawn(
        self,
        at: str,
        unit: float,
        own: Sequence[float],
        fit: Sequence[float],
        members: Sequence[Found],
    ) -> Figure:
        """Root of the ``MSE`` over the number of generated events, with bands over the trainings."""
        over = [float(n) for n in self.generated]
        flat = {"training sample": own, "fit": fit[: self.trainings]}
        lines = {
            "generator": {n: [band([m[f"{at}/{n:.0f}"] for m in members])] for n in over},
            "true events": {n: [Level(math.sqrt(unit / n), None)] for n in over},
        }
        for name, values in flat.items():
            if values:
                lines[name] = {n: [band(values)] for n in over}
        return curves(lines, ["root of the mean squared deviation"], [None], "events", log=True)


def rows(bench: Bench, path: Path) -> Tensor:
    """Columns of the events of a file ``(n, F)``.

    Raises:
        UserError: If they are no table, or weighted: a sample of weighted events has no number.
    """
    batch = bench.events(path)
    if bench.datamodule.native_spec.kind != "table" or batch.weight is not None:
        raise UserError("amplification is counted on unweighted rows of a table")
    return batch.x


def line(samples: Tensor) -> Tensor:
    """Samples ``(R, N)`` of the one column ``(R, N, 1)``.

    Raises:
        UserError: If there are several.
    """
    if samples.shape[2] != 1:
        raise UserError(
            f"a family is fitted to one column, and there are {samples.shape[2]}: set study.family=null"
        )
    return samples[..., 0]


def averaged(values: Sequence[float]) -> tuple[float, float]:
    """Mean and its error; NaN of a single value."""
    if len(values) < 2:
        return values[0], math.nan
    found = of_mean([{"": value} for value in values])
    return found[""], found["/error"]


def worth(name: str, found: Sequence[float], unit: float) -> dict[str, float]:
    """True events that deviate as much in the mean."""
    mean, error = averaged(found)
    events = unit / mean
    return {
        f"{name}/rms": math.sqrt(mean),
        f"{name}/rms/error": error / (2 * math.sqrt(mean)),
        f"{name}/equivalent": events,
        f"{name}/equivalent/error": events * error / mean,
    }


def ratio(name: str, above: Sequence[float], below: Sequence[float]) -> dict[str, float]:
    """Ratio of two means over the same samples, with the error that their correlation leaves."""
    first, second = averaged(above)[0], averaged(below)[0]
    quotient = first / second
    left = [a / first - b / second for a, b in zip(above, below, strict=True)]
    return {name: quotient, f"{name}/error": quotient * averaged(left)[1]}


def share(hits: Sequence[bool]) -> float:
    """Share of trainings."""
    return sum(hits) / len(hits)


def named(name: str, found: tuple[float, float], scale: float) -> dict[str, float]:
    """A figure and its error, in another unit."""
    return {name: found[0] * scale, f"{name}/error": found[1] * scale}


def band(found: Sequence[float]) -> Level:
    """Root of the mean deviation, and how far the roots spread over the trainings."""
    spread = banded([{"": math.sqrt(value)} for value in found])["/error"]
    return Level(math.sqrt(sum(found) / len(found)), spread)


PARTS = ("train", "test")
"""Parts that a training is given its sample as; there is no other event for it."""
TEXT = (
    "{cells} parts of each column, of equal true content. equivalent: number of true events whose mean "
    "squared deviation is as large; the generator has seen {trained}, and its floor is what those samples "
    "are worth themselves. theory: deviation of samples over what counting gives, 1 if all is right. "
    "better: share of trainings whose generator is closer to the truth than its own sample; above: share "
    "that is worth more than {trained} events. saturation: deviation of {last} over that of {before} "
    "generated events; where it is 1, no further events help."
)
FIT = (
    " over_fit: worth of the generator over that of fits of the true family to the same samples; above 1 "
    "it would know more than the family."
)
