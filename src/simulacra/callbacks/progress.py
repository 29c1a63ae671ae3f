"""The progress bar: rich on a terminal, nothing where the output is a file."""

from __future__ import annotations

import sys

from pytorch_lightning.callbacks import RichProgressBar


class ProgressBar(RichProgressBar):
    """Lightning's rich bar, shown on terminals only."""

    def __init__(self) -> None:
        super().__init__(leave=False)
        if not sys.stdout.isatty():
            self.disable()
