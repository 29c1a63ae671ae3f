"""TensorBoard: ``tensorboard --logdir outputs`` shows every run, with its images and tables."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image
from pytorch_lightning.utilities import rank_zero_only

from simulacra.core import UserError
from simulacra.core.constructors import writes
from simulacra.tracking.base import Tracker


@writes("folder")
class TensorboardTracker(Tracker):
    """Writes TensorBoard's event files; the configuration and tables are shown as texts.

    Args:
        folder: Where the event files go.

    Raises:
        UserError: If TensorBoard is not installed.
    """

    label = "TensorBoard"

    def __init__(self, folder: str) -> None:
        super().__init__()
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise UserError(
                "logger=tensorboard needs the package tensorboard: install simulacra[trackers]"
            ) from error
        self.folder, self._make = folder, SummaryWriter
        self._writer: SummaryWriter | None = None
        self._step = 0

    @property
    def name(self) -> str:
        """Name of the tracker."""
        return "tensorboard"

    @property
    def version(self) -> str:
        """There is one version per folder."""
        return ""

    @property
    def writer(self) -> Any:
        """What writes the event files, opened when something is written."""
        if self._writer is None:
            self._writer = self._make(self.folder)
        return self._writer

    @rank_zero_only
    def log_hyperparams(
        self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any
    ) -> None:
        """Show the configuration as text."""
        values = vars(params) if isinstance(params, Namespace) else params
        text = yaml.safe_dump(values, sort_keys=False)
        self.writer.add_text("configuration", f"```yaml\n{text}```", self._step)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add figures at a step."""
        self._step = self._step if step is None else step
        for name, value in metrics.items():
            self.writer.add_scalar(name, float(value), self._step)

    @rank_zero_only
    def begin(self, run: Path, step: int | None) -> None:
        """Hide what an earlier run wrote after ``step``."""
        if step is not None:
            self.finish(failed=False)
            self._step = step
            self._writer = self._make(self.folder, purge_step=step + 1)

    def where(self) -> str:
        """The command that shows it."""
        return f"tensorboard --logdir {self.folder}"

    @rank_zero_only
    def details(self, figures: Mapping[str, float], step: int) -> None:
        """Show a table, since every figure would be a chart."""
        self._step = step
        for kind in sorted({name.partition("/")[0] for name in figures}):
            rows = [[n, v] for n, v in sorted(figures.items()) if n.partition("/")[0] == kind]
            self.table(f"{kind}/figures", ["figure", "value"], rows)

    @rank_zero_only
    def image(self, key: str, path: Path, step: int | None = None) -> None:
        """Show an image at a step, by default the last one."""
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))
        at = self._step if step is None else step
        self.writer.add_image(key, pixels, at, dataformats="HWC")

    @rank_zero_only
    def table(self, key: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Show a table as text."""
        lines = [columns, ["---"] * len(columns), *rows]
        text = "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)
        self.writer.add_text(key, text, self._step)

    def attach(self, path: Path, kind: str) -> None:
        """The file is one of the run directory."""

    @rank_zero_only
    def save(self) -> None:
        """Bring the event files up to date."""
        self.writer.flush()

    @rank_zero_only
    def finish(self, failed: bool) -> None:
        """Close the event files."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value).replace("|", "\\|")
