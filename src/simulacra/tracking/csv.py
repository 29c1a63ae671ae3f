"""A table of all that was logged: a row per step, a column per figure, empty where nothing was logged."""

from __future__ import annotations

import csv
import os
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only


class CSVTracker(Logger):
    """Writes ``metrics.csv``; a run that is resumed goes on in the same table.

    Args:
        folder: Where the file goes.
    """

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.path = Path(folder) / "metrics.csv"
        self._rows: dict[int, dict[str, float]] = {}

    @property
    def name(self) -> str:
        """Name of the tracker."""
        return "csv"

    @property
    def version(self) -> str:
        """There is one version per folder."""
        return ""

    @rank_zero_only
    def log_hyperparams(
        self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any
    ) -> None:
        """The configuration lies beside the table, in ``config.yaml``."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add figures to the row of a step."""
        row = self._rows.setdefault(0 if step is None else step, {})
        row.update({name: float(value) for name, value in metrics.items()})

    @rank_zero_only
    def resume(self, step: int) -> None:
        """Take over the rows of an earlier run up to ``step``."""
        if not self.path.is_file():
            return
        with self.path.open(newline="") as file:
            for row in csv.DictReader(file):
                if int(row["step"]) <= step:
                    values = {
                        name: float(value)
                        for name, value in row.items()
                        if name != "step" and value
                    }
                    self._rows[int(row["step"])] = values

    @rank_zero_only
    def save(self) -> None:
        """Write the table, all of it or nothing."""
        if not self._rows:
            return
        names = sorted({name for row in self._rows.values() for name in row})
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_name(f".{self.path.name}.{os.getpid()}.part")
        with part.open("w", newline="") as file:
            writer = csv.DictWriter(file, ["step", *names])
            writer.writeheader()
            writer.writerows({"step": step, **self._rows[step]} for step in sorted(self._rows))
        os.replace(part, self.path)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write the table."""
        self.save()
