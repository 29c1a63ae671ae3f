"""What every tracker of runs offers beside figures: images, tables, files, a beginning and an end."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from pytorch_lightning.loggers import Logger

from simulacra.core.constructors import role


@role
class Tracker(Logger):
    """A logger that also takes images and tables, and whose run begins and ends when it is told."""

    label: ClassVar[str]
    """What people call the tracker."""

    @abstractmethod
    def begin(self, run: Path, step: int | None) -> None:
        """Start tracking the run of a directory, which goes on after ``step`` if it is not None."""

    @abstractmethod
    def where(self) -> str:
        """How one looks at the run, or at its figures: an address, a command or a file."""

    def details(self, figures: Mapping[str, float], step: int) -> None:
        """Keep figures that nobody follows over the steps, such as those of every observable or of a test: by
        default as any others; a tracker that draws a chart of each keeps their latest values alone.
        """
        self.log_metrics(dict(figures), step)

    @abstractmethod
    def image(self, key: str, path: Path, step: int | None = None) -> None:
        """Keep the image in a file."""

    @abstractmethod
    def table(self, key: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Keep a table."""

    @abstractmethod
    def attach(self, path: Path, kind: str) -> None:
        """Keep a file, such as a checkpoint of ``kind`` "model"."""

    @abstractmethod
    def finish(self, failed: bool) -> None:
        """End the run, so that the next job of a sweep gets its own."""


def trackers(loggers: Iterable[Logger]) -> list[Tracker]:
    """Those of the loggers that take more than figures; a logger of the user's own may not."""
    return [logger for logger in loggers if isinstance(logger, Tracker)]
