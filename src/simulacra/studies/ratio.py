"""Cross-fitted weights under which one file looks like another, from several classifiers.

Rows of either file fall into folds by what they hold, a classifier is trained on all folds but one, and each
row is weighed by the classifiers that have not seen it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from simulacra.core import Spec, UserError
from simulacra.core.constructors import constructor
from simulacra.core.ranges import Count
from simulacra.studies.bench import Bench

FOLDS = "folds.yaml"
PARTICLE, DETECTOR = "particle", "detector"
"""Levels that classifiers look at."""


@constructor
class Ratio:
    """See the module's docstring.

    Args:
        settings: Overrides of each training, ``model=NAME`` among them.
        folds: Number of folds, at least 2.
        members: Classifiers of each fold, which differ by their seed; what they find is averaged.

    Raises:
        UserError: If there are fewer than two folds.
    """

    def __init__(self, settings: Sequence[str], folds: Count, members: Count) -> None:
        if folds < 2:
            raise UserError(f"cross-fitting needs two folds or more, got {folds}")
        self.settings, self.folds, self.members = list(settings), folds, members

    def between(
        self,
        bench: Bench,
        stage: str,
        samples: tuple[Path, Path],
        sees: Sequence[str],
        replica: int = 0,
    ) -> Path:
        """What weighs the second of two files to look like the first: it stands where a checkpoint does.

        Args:
            bench: The bench.
            stage: Folder of the stages.
            samples: The target and what is weighed.
            sees: Overrides that say what the classifiers look at, see :func:`sight`.
            replica: Number of a repetition with other seeds.
        """
        sides = []
        for key, path in zip(("first", "second"), samples, strict=True):
            files = [f"files.{part}=[{path}]" for part in ("train", "test")]
            sides += bench.data_as(f"data.{key}", *files)
        found: list[list[Path]] = []
        for fold in range(self.folds):
            cut = [f"data.folds={self.folds}", f"data.fold={fold}"]
            found.append([])
            for member in range(self.members):
                seed = f"seed={bench.seed + 100 * replica + member}"
                trained = bench.train(
                    f"{stage}/fold_{fold}_{member}",
                    "data=pair",
                    *sides,
                    *cut,
                    seed,
                    *self.settings,
                    *sees,
                )
                found[-1].append(trained.checkpoint)
        return self._joined(bench, f"{stage}/joined", found)

    def _joined(self, bench: Bench, stage: str, found: Sequence[Sequence[Path]]) -> Path:
        """The file that names all checkpoints."""

        def work(folder: Path) -> dict[str, float]:
            names = [[str(path) for path in members] for members in found]
            text = {"folds": [own[0] if len(own) == 1 else own for own in names]}
            (folder / FOLDS).write_text(yaml.safe_dump(text), encoding="utf-8")
            return {"classifiers": float(sum(map(len, found)))}

        bench.compute(stage, work, *(path for members in found for path in members))
        return bench.folder(stage) / FOLDS


def sight(spec: Spec, level: str, columns: Mapping[str, str] | None) -> list[str]:
    """Overrides by which classifiers look at one level of a table.

    Args:
        spec: The table.
        level: ``particle`` (features) or ``detector`` (conditions).
        columns: By name of a feature the condition that measures it; None: all columns.
    """
    conditions = [field.name for field in spec.conditions]
    if level == DETECTOR:
        given = conditions
        seen: tuple[list[str], list[str]] = (
            [],
            conditions if columns is None else list(columns.values()),
        )
    else:
        given = [*conditions, *(field.name for field in spec.event)]  # which are no particle level
        names = [field.name for field in spec.features]
        seen = (names if columns is None else list(columns), [])
    return [
        f"model.given={listed(given)}",
        "sight@model.sees.rows=columns",
        f"model.sees.rows.features={listed(seen[0])}",
        f"model.sees.rows.given={listed(seen[1])}",
    ]


def listed(names: Sequence[str]) -> str:
    """Names as an override takes them."""
    return f"[{','.join(names)}]"
