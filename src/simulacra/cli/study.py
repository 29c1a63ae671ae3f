"""``simulacra study``: a chain of trainings, with its closure and null tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from simulacra.cli.train import changes
from simulacra.core import UserError
from simulacra.core.instantiate import TRUSTED, Trust
from simulacra.evaluation import saved
from simulacra.evaluation.composing import Composer
from simulacra.evaluation.config import added, searched
from simulacra.evaluation.schema import Study
from simulacra.studies.run import study_resolved
from simulacra.studies.settings import Settings


def study(cfg: DictConfig) -> dict[str, Any]:
    """Run the study that is configured (``conf/study.yaml``), or go on with one.

    Returns:
        The figures of ``metrics.json``.

    Raises:
        UserError: If a stage cannot be done; those before it stay.
    """
    search, asked, trust = searched(added()), changes(), TRUSTED
    resumed = cfg.get("resume")
    if resumed:
        run = Path(resumed)
        asked = merged([*before(run), *asked])
        place = [f"paths.run={run.resolve()}", f"paths.outputs={cfg.paths.outputs}"]
        cfg = Composer("study", search)([*asked, *place])
        trust = Trust(False, tuple(cfg.allow), (run, Path(cfg.paths.outputs)))
    config = saved.resolve(cfg, Study)
    figures = study_resolved(Settings.of(config, asked, search, trust))
    print(closing(Path(config["paths"]["run"]), figures))
    return figures


def before(run: Path) -> list[str]:
    """The command line of a study that is to go on.

    Raises:
        UserError: If the directory holds none.
    """
    path = run / ".hydra" / "overrides.yaml"
    found = OmegaConf.to_container(OmegaConf.load(path)) if path.is_file() else None
    if not isinstance(found, Sequence):
        raise UserError(f"{run} is no run directory of a study: it has no .hydra/overrides.yaml")
    return [str(item) for item in found]


def merged(overrides: Sequence[str]) -> list[str]:
    """Overrides of which the last of each key stays."""
    keys = {item.lstrip("+~").partition("=")[0]: item for item in overrides}
    return list(keys.values())


def closing(run: Path, figures: dict[str, float]) -> str:
    """The last line."""
    return f"wrote {run / 'report.html'}: {len(figures)} figures"
