"""Warnings that say nothing new to a user of the commands, each with its reason."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

EXPECTED = (
    ".*does not have many workers.*",  # data in memory are fastest without worker processes
    ".*Checkpoint directory .* exists and is not empty.*",  # a run that goes on in its own directory
    ".*number of training batches .* is smaller than the logging interval.*",  # short runs log at their ends
    ".*isinstance.treespec, LeafSpec.*",  # Lightning asks torch in a way that torch will drop
    ".*GPU available but not used.*",  # trainer=cpu is a choice
)


@contextmanager
def expected_warnings() -> Iterator[None]:
    """Leave out the warnings above, and Lightning's remarks on the hardware."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        for pattern in EXPECTED:
            warnings.filterwarnings("ignore", message=pattern)
        yield
