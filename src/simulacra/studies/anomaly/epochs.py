"""Trainings that keep the weights after several epochs of least validation loss."""

from __future__ import annotations

from pathlib import Path

from simulacra.studies.bench import Trained


def pooled(epochs: int) -> list[str]:
    """Overrides of a training that keeps several best epochs."""
    return ["callbacks=pooled", f"callbacks.epochs.number={epochs}"]


def best_epochs(trained: Trained) -> list[Path]:
    """Checkpoints of the best epochs of a training, in their order."""
    return sorted((trained.folder / "checkpoints" / "epochs").glob("*.ckpt"))
