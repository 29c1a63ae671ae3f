"""A table of all that was logged: a row per step, a column per figure, empty where nothing was logged."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning.utilities import rank_zero_only

from simulacra.core.constructors import writes
from simulacra.core.files import write_table
from simulacra.tracking.base import Tracker
from simulacra.tracking.growing import GrowingTable


@writes("folder")
class CSVTracker(Tracker):
    """Writes ``metrics.csv`` and a file per table; a run that is resumed goes on in the same table.

    Images and checkpoints lie in the run directory already.

    Args:
        folder: Where the file goes.
    """

    label = "table"

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.path = Path(folder) / "metrics.csv"
        self._table = GrowingTable(self.path)

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
        values = {name: float(value) for name, value in metrics.items()}
        self._table.add(0 if step is None else step, values)

    @rank_zero_only
    def begin(self, run: Path, step: int | None) -> None:
        """Take over the rows of an earlier run up to ``step``."""
        if step is not None:
            self._table.resume(step)

    @rank_zero_only
    def save(self) -> None:
        """Bring the file up to date."""
        self._table.write()

    def where(self) -> str:
        """The table."""
        return str(self.path)

    def image(self, key: str, path: Path, step: int | None = None) -> None:
        """The image is a file of the run directory."""

    @rank_zero_only
    def table(self, key: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Write ``tables/<key>.csv`` beside the figures."""
        path = self.path.parent / "tables" / f"{key.replace('/', '_')}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_table(path, columns, (dict(zip(columns, row, strict=True)) for row in rows))

    def attach(self, path: Path, kind: str) -> None:
        """The file is one of the run directory."""

    def finish(self, failed: bool) -> None:
        """The table is complete."""

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write the table."""
        self.save()
