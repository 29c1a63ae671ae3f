"""Generators of checkpoints that a study works with."""

from __future__ import annotations

from pathlib import Path

from simulacra.core import UserError
from simulacra.studies.bench import Bench
from simulacra.tasks import folds
from simulacra.training.generative import GenerativeModule


def generator_of(bench: Bench, checkpoint: Path) -> GenerativeModule:
    """The generator of a checkpoint.

    Args:
        bench: Says what its configuration may name.
        checkpoint: The file.

    Raises:
        UserError: If it is none.
    """
    module = folds.load(checkpoint, allow=bench.settings.trust.allow)
    if not isinstance(module, GenerativeModule):
        raise UserError(
            f"{checkpoint} holds a {type(module).__name__}, and this study needs a generator"
        )
    return module
