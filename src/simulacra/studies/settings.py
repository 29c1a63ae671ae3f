"""What a study is asked for beside its own arguments: data set, seed, trackers, where and how to run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from simulacra.core.instantiate import TRUSTED, Trust
from simulacra.evaluation import saved
from simulacra.evaluation.composing import Composer, differences
from simulacra.evaluation.schema import Study
from simulacra.tracking.draw import Files

FILES = ("root", "files", "split_seed", "validation", "total", "window", "limit")
"""Settings of a data set that say which events of which files are its parts."""


@dataclass(frozen=True)
class Settings:
    """See the module's docstring.

    Args:
        config: Resolved configuration of the study.
        base: The same for the same data set without any change of it, of trainer, evaluation and figures.
        overrides: What the user changed on the command line, for the report.
        search: Overrides by which its stages find the same folders of configurations.
        trust: What the configurations of its stages may name.
        changes: Overrides that show the data set in another form, behind those of the user.
    """

    config: Mapping[str, Any]
    base: Mapping[str, Any]
    overrides: Sequence[str] = ()
    search: Sequence[str] = ()
    trust: Trust = TRUSTED
    changes: Sequence[str] = ()

    @classmethod
    def of(
        cls,
        config: Mapping[str, Any],
        overrides: Sequence[str] = (),
        search: Sequence[str] = (),
        trust: Trust = TRUSTED,
    ) -> Settings:
        """The settings of a study; arguments as of the class."""
        same = [*chosen(config["data"]), f"seed={config['seed']}", "paths.run=."]
        return cls(
            config, saved.resolve(Composer("study", search)(same), Study), overrides, search, trust
        )

    def reading(self, name: str) -> Settings:
        """The same with another data set, which reads the same files and cuts them into the same parts.

        Args:
            name: Its name.
        """
        same = [f"data={name}", f"seed={self.seed}", "paths.run=."]
        base = saved.resolve(Composer("study", self.search)(same), Study)
        files = {key: self.config["data"][key] for key in FILES}
        config = {**self.config, "data": {**base["data"], **files}}
        return replace(self, config=config, base=base, changes=())

    @property
    def data(self) -> list[str]:
        """Overrides that choose the data set."""
        return [*chosen(self.config["data"]), *self._changed("data"), *self.changes]

    @property
    def seed(self) -> int:
        """Seed of the study."""
        return int(self.config["seed"])

    @property
    def training(self) -> list[str]:
        """What the user says of every training."""
        return [*self._changed("trainer"), *self._allowed]

    @property
    def evaluating(self) -> list[str]:
        """What the user says of every evaluation."""
        return [*self._changed("evaluation"), *self._changed("figures")]

    @property
    def loading(self) -> list[str]:
        """How checkpoints are loaded."""
        return [f"device={self.config['device']}", *self._allowed]

    @property
    def outputs(self) -> str:
        """Folder of what runs share."""
        return str(self.config["paths"]["outputs"])

    @property
    def figures(self) -> Files:
        """How figures are drawn and written."""
        return Files.of(self.config["figures"])

    @property
    def group(self) -> str:
        """Name under which trackers keep the trainings of the study together: its own, and that of its run
        directory.
        """
        run = Path(self.config["paths"]["run"])
        return "-".join([self.config["study"]["name"], run.parent.name, run.name])

    def trackers(self, folder: Path, stage: str) -> dict[str, Any]:
        """Configuration of the trackers of a training, which is a run of the study's group."""
        run = str(self.config["paths"]["run"])
        moved = saved.relocate(dict(self.config["logger"]), run, str(folder))
        own = {"group": self.group, "name": stage, "job_type": "train"}
        return {key: _with(entry, own) for key, entry in moved.items()}

    def own_trackers(self) -> dict[str, Any]:
        """Configuration of the trackers of the study itself, a run of its group or of that of its sweep."""
        own = {"job_type": "study"}
        return {
            key: _with(entry, {**own, "group": (entry or {}).get("group") or self.group})
            for key, entry in self.config["logger"].items()
        }

    @property
    def _allowed(self) -> list[str]:
        return [f"allow=[{','.join(self.config['allow'])}]"] if self.config["allow"] else []

    def _changed(self, group: str) -> list[str]:
        return differences(self.config[group], self.base[group], group)


def chosen(data: Mapping[str, Any]) -> list[str]:
    """Overrides that choose a data set, and those that it is made of, as they come."""
    parts = [key for key in data.get("sets") or () if "name" in data[key]]
    return [f"data={data['name']}", *(f"data/{key}={data[key]['name']}" for key in parts)]


def _with(entry: Mapping[str, Any] | None, values: Mapping[str, Any]) -> dict[str, Any]:
    """An entry with other values of the keys that it has."""
    known = dict(entry or {})
    return {**known, **{key: value for key, value in values.items() if key in known}}
