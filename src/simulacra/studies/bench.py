"""What a study works with: stages that train, sample, apply, evaluate and compute, and a report.

Each call is a stage of :mod:`simulacra.studies.stages`. It runs in this process, by the functions of the
commands of the same names, and leaves nothing behind in the process.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

from simulacra.core import Batch, UserError
from simulacra.core.instantiate import Trust
from simulacra.data.base import EventDataModule
from simulacra.evaluation import build, saved, schema
from simulacra.evaluation.checkpoints import draw_paths
from simulacra.evaluation.composing import Composer
from simulacra.evaluation.judge_files import judge_files
from simulacra.running.apply import apply_resolved
from simulacra.running.contained import Once, contained
from simulacra.running.sample import sample_resolved
from simulacra.running.train import train_resolved
from simulacra.studies.settings import Settings
from simulacra.studies.stages import Made, Stage, Stages
from simulacra.training.teacher import taught

TRAINING = (
    "callbacks=study",
    "trainer.enable_progress_bar=false",
    "trainer.check_val_every_n_epoch=1",
)
"""Of every training of a study, unless a stage says something else."""
EVALUATING = ("evaluation=quick", "evaluation.draw=false")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trained:
    """A training that is done.

    Args:
        checkpoint: Its best weights, or its last ones where no best are kept.
        figures: What it has measured, e.g. ``val/loss``.
        folder: Its run directory.
    """

    checkpoint: Path
    figures: Mapping[str, float]
    folder: Path


@dataclass(frozen=True)
class Section:
    """A part of the report.

    Args:
        title: Its head.
        figures: Figures by key, with their twins ``…/floor`` and ``…/error``.
        image: The PNG file of a figure, or None.
        text: What is to be said of them.
    """

    title: str
    figures: Mapping[str, float]
    image: Path | None
    text: str


@dataclass
class Bench:
    """See the module's docstring.

    Args:
        run: Run directory of the study.
        settings: What the study was asked for, beside its own arguments.
    """

    run: Path
    settings: Settings
    sections: list[Section] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.run = self.run.resolve()
        self.stages, self._heard = Stages(self.run), Once()
        always = self.settings.search
        self._composers = {
            name: Composer(name, always) for name in ("train", "apply", "sample", "evaluate")
        }

    @property
    def data(self) -> list[str]:
        """Overrides that choose the data set of the command line."""
        return list(self.settings.data)

    @property
    def seed(self) -> int:
        """Seed of the study."""
        return self.settings.seed

    @cached_property
    def datamodule(self) -> EventDataModule:
        """The data set: its spec, its format and observables, and its parts."""
        return self._data(self.data)

    def _data(self, overrides: Sequence[str]) -> EventDataModule:
        config = self._config("evaluate", schema.Evaluate, overrides)
        return build.build_data(config, self.settings.trust)

    def folder(self, stage: str) -> Path:
        """Where a stage leaves its files."""
        return self.stages.folder(stage)

    def data_as(self, key: str, *changes: str) -> list[str]:
        """Overrides that choose the data set in another place, e.g. ``data.first`` of a pair.

        Args:
            key: The place.
            changes: Changes of it, without the key: ``files.train=[a.hdf5]``.
        """
        group = key.replace(".", "/")
        own = [
            item.replace("data=", f"{group}=", 1).replace("data.", f"{key}.", 1)
            for item in self.data
        ]
        return [*own, *(f"{key}.{item}" for item in changes)]

    def train(self, stage: str, *overrides: str) -> Trained:
        """Train as ``simulacra train`` does, without its test: nothing is judged or drawn.

        Args:
            stage: Name of the stage.
            overrides: As on the command line. The data set is that of the study, its seed the seed; what the
                user says of ``trainer`` goes before what is said here.

        Raises:
            UserError: If model and data do not fit.
        """
        own = any(item.startswith("data=") for item in overrides)
        asked = [*TRAINING, *([] if own else self.data), f"seed={self.seed}", *overrides]
        folder = self.folder(stage)
        config = self._config("train", schema.Train, [*asked, *self.settings.training], folder)
        config["logger"] = self.settings.trackers(folder, stage)
        config["model"] = taught(config["model"], tuple(config["allow"]))
        inputs = self.stages.overrides([*asked, *self.settings.training])
        inputs["data"] = build.build_data(config, self.settings.trust).provenance
        work = partial(_train, config, self.settings.trust, self._heard)
        found = self.stages(stage, "train", inputs, work, partial(_goes_on, config))
        return Trained(found.outputs["checkpoint"], found.figures, found.folder)

    def apply(self, stage: str, checkpoint: Path, given: Path, *overrides: str) -> Path:
        """The file that ``simulacra apply`` makes of another one; figures are ``weight/mean`` and
        ``weight/effective``.
        """
        return self._file("apply", stage, schema.Apply, checkpoint, given.name, overrides, given)

    def sample(self, stage: str, checkpoint: Path, *overrides: str) -> Path:
        """A file of generated events as ``simulacra sample`` writes it."""
        name = f"generated{suffix_of(self.datamodule)}"
        return self._file("sample", stage, schema.Sample, checkpoint, name, overrides)

    def networks(self, stage: str, checkpoint: Path, number: int, *overrides: str) -> list[Path]:
        """Files of generated events, one of each network drawn from the posterior of a Bayesian model."""
        name = f"generated{suffix_of(self.datamodule)}"
        asked, files = [f"posterior_draws={number}", *overrides], draw_paths(name, number)
        self._file("sample", stage, schema.Sample, checkpoint, name, asked, files=files)
        return [self.folder(stage) / file for file in files]

    def evaluate(
        self, stage: str, reference: Path, generated: Path, *overrides: str
    ) -> dict[str, float]:
        """Figures of a file against a reference as ``simulacra evaluate`` finds them, each under its key
        without ``test/``; ``evaluation=quick`` without images, unless asked for.
        """
        pair = [f"reference={reference}", f"generated={generated}"]
        seed = [f"seed={self.seed}"]
        asked = [*EVALUATING, *self.data, *seed, *overrides, *self.settings.evaluating, *pair]
        config = self._config("evaluate", schema.Evaluate, asked, self.folder(stage))

        def work(folder: Path) -> Made:
            with contained(self._heard):
                figures = judge_files({**config, "output": str(folder)})[0].figures
            return Made({key.removeprefix("test/"): value for key, value in figures.items()}, {})

        return dict(self.stages(stage, "evaluate", self.stages.overrides(asked), work).figures)

    def compute(
        self, stage: str, work: Callable[[Path], Mapping[str, float]], *inputs: object
    ) -> dict[str, float]:
        """Work of the study's own.

        Args:
            stage: Name of the stage.
            work: Is given the folder of the stage, may leave files there, and returns what it has found.
            inputs: What it is made from: paths of files and plain values.
        """
        asked = {"inputs": self.stages.fingerprint(inputs)}

        def done(folder: Path) -> Made:
            with contained(self._heard):
                figures = work(folder)
            return Made(figures, {path.name: path for path in folder.iterdir() if path.is_file()})

        return dict(self.stages(stage, "compute", asked, done).figures)

    def events(self, path: Path | str) -> Batch:
        """All events of a file of the data set's format, or of a part (``train``, ``val``, ``test``)."""
        return events_of(self.datamodule, path)

    def write(self, path: Path, batch: Batch) -> Path:
        """Native events as a file of the data set's format."""
        self.datamodule.format.write(path, batch)
        return path

    def figures(self, stage: str) -> dict[str, float]:
        """What a stage that is done has found, e.g. ``weight/effective`` where events were weighed."""
        return dict(self.stages.done[stage].figures)

    def split(
        self, stage: str, source: Path | str, shares: Mapping[str, float], *overrides: str
    ) -> dict[str, Path]:
        """Parts of some events as files, by a fixed permutation of the rows, which depends on their number
        alone.

        Args:
            stage: Name of the stage.
            source: A file, or ``train``, ``val`` or ``test``, a part of the data set.
            shares: Share of the rows of each part by name; what is left of 1 is left out.
            overrides: Choose another data set, in whose format the files are.

        Raises:
            UserError: If the shares sum to more than 1, or a part would hold no events.
        """
        if min(shares.values()) <= 0 or sum(shares.values()) > 1 + 1e-9:
            raise UserError(f"shares lie above 0 and sum to 1 at most, got {dict(shares)}")
        data = self._data(overrides) if overrides else self.datamodule
        part = isinstance(source, str)
        inputs: dict[str, Any] = {"shares": dict(shares)}
        if part:
            inputs |= self.stages.overrides(overrides or self.data)
            inputs |= {"part": source, "data": data.provenance}
        else:
            inputs["source"] = self.stages.fingerprint(source)
        suffix = Path(source).suffix or suffix_of(data)

        def work(folder: Path) -> Made:
            with contained(self._heard):
                events = events_of(data, source)
            order = torch.randperm(len(events), generator=torch.Generator().manual_seed(SPLIT))
            begin, files, counts = 0.0, {}, {}
            for name, share in shares.items():
                rows = slice(round(begin * len(events)), round((begin + share) * len(events)))
                begin += share
                chosen = order[rows].sort().values
                if not len(chosen):
                    raise UserError(f"the part {name} of {len(events):,} events would hold none")
                files[name] = folder / f"{name}{suffix}"
                data.format.write(files[name], events[chosen])
                counts[f"events/{name}"] = float(len(chosen))
            return Made(counts, files)

        return dict(self.stages(stage, "split", inputs, work).outputs)

    def report(
        self,
        title: str,
        figures: Mapping[str, float],
        figure: Figure | None = None,
        text: str = "",
    ) -> None:
        """A section of ``report.html``, whose figures are those of ``metrics.json`` below ``study/``.

        Args:
            title: Its head.
            figures: By key; ``…/floor``, ``…/error`` and ``…/z`` are columns of the figure of that name.
            figure: An image, or None.
            text: What is to be said of it.

        Raises:
            ValueError: If an earlier section has a figure of one of the names.
        """
        known = {key for section in self.sections for key in section.figures}
        if known & figures.keys():
            raise ValueError(f"figures of two sections: {sorted(known & figures.keys())}")
        image = None
        if figure is not None:
            name = f"{len(self.sections) + 1}_{title.lower().replace(' ', '_')}"
            image = self.settings.figures.write([(name, figure)], self.run / "figures")[name]
        self.sections.append(Section(title, dict(figures), image, text))

    def origin(self) -> dict[str, str]:
        """Where the events of the data set come from, where it could be found."""
        try:
            return dict(self.datamodule.provenance)
        except UserError:  # a study of files alone needs none of it
            return {"data": self.datamodule.native_spec.name}

    def done(self) -> list[Stage]:
        """All stages so far, in order."""
        return list(self.stages.done.values())

    def _file(
        self,
        command: str,
        stage: str,
        kind: type,
        checkpoint: Path,
        name: str,
        overrides: Sequence[str],
        given: Path | None = None,
        files: Sequence[str] = (),
    ) -> Path:
        """The file that a command makes of a checkpoint, or in its place several ``files``."""
        own = [] if given is None else [f"input={given}"]
        fixed = [f"checkpoint={checkpoint}", *own, *self.settings.loading]
        asked = [f"seed={self.seed}", *overrides, *fixed]
        target = self.folder(stage) / name
        config = self._config(command, kind, [*asked, f"output={target}"])

        def work(folder: Path) -> Made:
            with contained(self._heard):
                figures = COMMANDS[command](config)
            several = {file: folder / file for file in files}
            return Made(figures, several or {"events": target})

        self.stages(stage, command, self.stages.overrides(asked), work)
        return target

    def _config(
        self, command: str, kind: type, overrides: Sequence[str], folder: Path | None = None
    ) -> dict[str, Any]:
        """The resolved configuration of a command."""
        outputs = [f"paths.outputs={self.settings.outputs}"]
        place = {"train": [*outputs, f"paths.run={folder}"], "evaluate": [*outputs, "output=."]}
        composed = self._composers[command]([*overrides, *place.get(command, [])])
        return saved.resolve(composed, kind)


SPLIT = 2024
"""Seed of the permutation by which events are split."""
PARTS = ("train", "val", "test")


def suffix_of(data: EventDataModule) -> str:
    """How the name of a file of a data set ends."""
    return (*data.format.suffixes, ".hdf5")[0]


def events_of(data: EventDataModule, source: Path | str) -> Batch:
    """Native events of a file, or of a part of the data set."""
    if source not in PARTS:
        return data.format.read(source)
    part = data.part(str(source))
    return data.native(part[range(len(part))])


def _train(config: dict[str, Any], trust: Trust, heard: Once, folder: Path) -> Made:
    """Train in a folder, or go on there."""
    resumed = (folder / "checkpoints" / "last.ckpt").is_file()
    with contained(heard):
        figures = train_resolved(config, resumed=resumed, trust=trust, test=False)
    kept = [folder / "checkpoints" / f"{name}.ckpt" for name in ("best", "last")]
    found = [path for path in kept if path.is_file()]
    if not found:
        raise UserError(
            f"the training in {folder} has left no checkpoint: callbacks.last is needed"
        )
    return Made(figures, {"checkpoint": found[0]})


def _goes_on(config: dict[str, Any], folder: Path) -> bool:
    """Whether an interrupted training of the same configuration can go on from its last checkpoint."""
    if not all((folder / name).is_file() for name in (saved.FILE, "checkpoints/last.ckpt")):
        return False
    return saved.load(folder) == config


def _applied(config: dict[str, Any]) -> dict[str, float]:
    done = apply_resolved(config)
    return {"events": float(done.events), **done.figures}


def _sampled(config: dict[str, Any]) -> dict[str, float]:
    return {"events": float(sum(file.events for file in sample_resolved(config)))}


COMMANDS: dict[str, Callable[[dict[str, Any]], dict[str, float]]] = {
    "apply": _applied,
    "sample": _sampled,
}
"""What makes one file of a checkpoint."""
