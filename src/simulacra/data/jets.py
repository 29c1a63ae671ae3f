"""Jets of one class or several: files hold one class after the other, so that every part is shuffled."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import numpy as np
import torch
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from simulacra.data.file_data import FileDataModule
from simulacra.data.source import Part

log = logging.getLogger(__name__)


class JetDataModule(FileDataModule):
    """Jets from public files, own files or the embedded sample."""

    @property
    def sample(self) -> str:
        """Where its jets were simulated, and where the public data are."""
        where = self.published.source
        return f"Pythia jets, not the public data ({where}); set data.root to use them"

    def order(self, n: int) -> torch.Tensor:
        """The permutation of the library ``jetnet``."""
        return torch.from_numpy(np.random.default_rng(42).permutation(n))

    def arranged(self, index: torch.Tensor) -> torch.Tensor:
        """In the order of the permutation, classes mixed."""
        return index

    @rank_zero_only
    def announce(self, parts: Mapping[str, Part]) -> None:
        """As of the base class, and name the classes of which there are no jets."""
        super().announce(parts)
        for field in self.native_spec.conditions:
            present = {
                number
                for source in self.sources.values()
                for number in source.cond[field.name].flatten().tolist()
            }
            absent = [
                label for number, label in enumerate(field.classes or ()) if number not in present
            ]
            if absent:
                log.warning(
                    "%s: there are no jets of class %s; leave them out with data.classes",
                    self.native_spec.name,
                    ", ".join(absent),
                )
