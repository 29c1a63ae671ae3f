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
    ".*It is recommended to use .*sync_dist=True.*",  # rank 0 computes the figure and broadcasts it
    ".*functional.all_gather is deprecated.*",  # Lightning calls it so
    ".*Grad strides do not match bucket view strides.*",  # costs a copy, changes no number
    ".*GPU available but not used.*",  # trainer=cpu is a choice
)


@contextmanager
def expected_warnings() -> Iterator[None]:
    """Leave out the warnings above, and Lightning's remarks on the hardware."""
    with warnings.catch_warnings(), quieter("pytorch_lightning", "lightning_fabric"):
        for pattern in EXPECTED:
            warnings.filterwarnings("ignore", message=pattern)
        yield


@contextmanager
def quieter(*names: str) -> Iterator[None]:
    """In the block loggers of these names say warnings and what is worse."""
    loggers = [logging.getLogger(name) for name in names]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(max(logger.level, logging.WARNING))
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
