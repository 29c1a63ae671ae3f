"""``simulacra train``: fit a model, then test its best checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from pytorch_lightning.utilities import rank_zero_only

from simulacra.core.instantiate import TRUSTED, Trust
from simulacra.evaluation import saved
from simulacra.evaluation.publish import headline, overrides
from simulacra.evaluation.schema import Train
from simulacra.running.train import train_resolved
from simulacra.running.trainer import profile
from simulacra.training.teacher import taught


def train(cfg: DictConfig) -> dict[str, float]:
    """Train as configured (``conf/train.yaml``), and test.

    Returns:
        The figures of ``metrics.json``.

    Raises:
        UserError: If model and data do not fit, or the run directory is taken.
    """
    resumed = cfg.get("resume")
    if not resumed:
        config = saved.resolve(cfg, Train)
        return trained({**config, "model": taught(config["model"], tuple(cfg.allow))})
    run, outputs = Path(resumed), Path(cfg.paths.outputs)
    config = saved.load_at(run, run, outputs, changes())
    return trained(config, resumed=True, trust=Trust(False, tuple(cfg.allow), (run, outputs)))


def changes() -> list[str]:
    """Overrides of the present command line, without the run to resume."""
    return [item for item in overrides() if not item.startswith("resume=")]


def trained(
    config: dict[str, Any], *, resumed: bool = False, trust: Trust = TRUSTED
) -> dict[str, float]:
    """As :func:`~simulacra.running.train.train_resolved`, and say what has come of it."""
    figures = train_resolved(config, resumed=resumed, trust=trust)
    report(Path(config["paths"]["run"]), figures)
    return figures


@rank_zero_only
def report(run: Path, figures: dict[str, float]) -> None:
    """Where the time of the training went, if that was asked for, and the closing line."""
    if text := profile(run):
        print(text)
    print(f"wrote {run / 'report.html'}: {headline(figures)}")
