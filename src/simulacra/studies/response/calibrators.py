"""Ways to calibrate: each makes a file of calibrated events from events with a known truth."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from simulacra.core.constructors import role
from simulacra.core.ranges import Count, Share
from simulacra.studies.bench import Bench
from simulacra.transforms.measured import MeasuredColumns


@role
class Calibrator(ABC):
    """A way to calibrate.

    Args:
        share: Share of events, in the shortest interval, whose mean the calibration makes true: 1 for that
            of all events.
    """

    def __init__(self, share: Share) -> None:
        self.share = share

    @abstractmethod
    def calibrate(
        self, bench: Bench, place: str, learnt: Path, given: Path, columns: MeasuredColumns
    ) -> Path:
        """The events of ``given`` with calibrated values.

        Args:
            bench: The bench.
            place: Folder of the stages.
            learnt: Events that are learnt from.
            given: Events that are calibrated; their truth is not looked at.
            columns: Which column is measured, and what else is seen.
        """


class Nothing(Calibrator):
    """Values as they are measured."""

    def calibrate(
        self, bench: Bench, place: str, learnt: Path, given: Path, columns: MeasuredColumns
    ) -> Path:
        """See the base class."""
        return given


class Trained(Calibrator):
    """A regressor is trained, see :mod:`simulacra.tasks.regressor`.

    Args:
        share: As of the base class.
        settings: Overrides of the training, ``model=NAME`` among them.
        steps: Steps of the optimizers.
        common: Overrides that all trainings share.
    """

    def __init__(
        self, share: Share, settings: Sequence[str], steps: Count, common: Sequence[str]
    ) -> None:
        super().__init__(share)
        self.settings = [*common, *settings, f"trainer.max_steps={steps}"]

    def calibrate(
        self, bench: Bench, place: str, learnt: Path, given: Path, columns: MeasuredColumns
    ) -> Path:
        """See the base class."""
        files = [f"data.files.{part}=[{learnt}]" for part in ("train", "test")]
        seen = [
            f"model.transform.measured={columns.measured}",
            f"model.transform.truth={columns.truth}",
            f"model.transform.features=[{','.join(columns.features.names)}]",
        ]
        trained = bench.train(f"{place}/training", *files, *self.settings, *seen)
        return bench.apply(f"{place}/calibrated", trained.checkpoint, given)
