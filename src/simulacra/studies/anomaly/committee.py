"""Reweighters of two files, several of them, of which each is pooled over its best epochs.

Trainings differ by their seeds. Of each the weights after the epochs of least validation loss are kept, and
the mean of all logits is what counts (:class:`~simulacra.tasks.folds.Ensemble`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from simulacra.core.constructors import constructor
from simulacra.core.ranges import Count
from simulacra.studies.anomaly.epochs import best_epochs, pooled
from simulacra.studies.bench import Bench

ENSEMBLE = "ensemble.yaml"


@constructor
class Committee:
    """See the module's docstring.

    Args:
        settings: Overrides of each training, ``model=NAME`` among them.
        members: Trainings.
        epochs: Best epochs of each of them.
    """

    def __init__(self, settings: Sequence[str], members: Count, epochs: Count) -> None:
        self.settings, self.members, self.epochs = list(settings), members, epochs

    def between(
        self,
        bench: Bench,
        stage: str,
        samples: tuple[Path, Path],
        sees: Sequence[str],
        seed: int,
    ) -> Path:
        """What weighs the second of two files to look like the first: it stands where a checkpoint does.

        Args:
            bench: The bench.
            stage: Folder of the stages.
            samples: Files of the data set's format.
            sees: Overrides that say what the reweighters look at.
            seed: Of the first training.
        """
        sides: list[str] = []
        for key, path in zip(("first", "second"), samples, strict=True):
            files = [f"files.{part}=[{path}]" for part in ("train", "test")]
            sides += bench.data_as(f"data.{key}", *files)
        found: list[Path] = []
        for member in range(self.members):
            trained = bench.train(
                f"{stage}/member_{member}", "data=pair", *sides, *pooled(self.epochs),
                f"seed={seed + member}", *self.settings, *sees,
            )  # fmt: skip
            found += best_epochs(trained)

        def work(folder: Path) -> dict[str, float]:
            text = {"ensemble": [str(path) for path in found]}
            (folder / ENSEMBLE).write_text(yaml.safe_dump(text), encoding="utf-8")
            return {"checkpoints": float(len(found))}

        bench.compute(f"{stage}/joined", work, *found)
        return bench.folder(f"{stage}/joined") / ENSEMBLE
