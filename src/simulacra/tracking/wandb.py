"""Weights & Biases, also with no account and no network: then the run is kept offline below ``wandb/``."""

from __future__ import annotations

import json
import netrc
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlparse

import wandb
from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.utilities import rank_zero_only

from simulacra.core import UserError
from simulacra.core.constructors import writes
from simulacra.core.files import write_text
from simulacra.tracking.base import Tracker

IDENTITY = "tracker.json"
"""File in the run directory that says which run of the tracker it is."""


@writes("folder")
class WandbTracker(Tracker, WandbLogger):
    """Lightning's W&B logger that chooses between online and offline by itself, and can finish.

    Args:
        folder: Run files go to ``<folder>/wandb``.
        project: Project.
        entity: Account or team, None for the default one.
        group: Name under which runs stand together, or None.
        job_type: What the run does, e.g. ``train``.
        name: Name of the run.
        tags: Labels.
        mode: ``online``, ``offline`` or ``auto``: online where there is an API key and the server answers.
        artifacts: Whether files are uploaded where the run is online.
        version: Id of an earlier run that goes on, or None.
    """

    def __init__(
        self,
        folder: str,
        project: str,
        entity: str | None,
        group: str | None,
        job_type: str,
        name: str,
        tags: Sequence[str],
        mode: str,
        artifacts: bool,
        version: str | None = None,
    ) -> None:
        if mode not in ("online", "offline", "auto"):
            raise UserError(f"logger.wandb.mode is online, offline or auto, got {mode!r}")
        self.mode = os.environ.get("WANDB_MODE") or (
            ("online" if reachable() else "offline") if mode == "auto" else mode
        )
        self.artifacts = artifacts
        Path(folder, "wandb").mkdir(
            parents=True, exist_ok=True
        )  # wandb falls back to /tmp without it
        super().__init__(
            name=name,
            save_dir=folder,
            version=version,
            project=project,
            entity=entity,
            group=group,
            job_type=job_type,
            tags=list(tags),
            mode=self.mode,
            settings=wandb.Settings(silent=True, init_timeout=60),
        )
        self._wandb_init.pop(
            "anonymous"
        )  # Lightning always passes it, and wandb warns that it has no effect

    @rank_zero_only
    def begin(self, run: Path, step: int | None) -> None:
        """Write the run's id and folder, and its address where it has one, to the run directory."""
        mine = self.experiment
        entry = {"id": mine.id, "mode": self.mode, "folder": os.path.dirname(str(mine.dir))}
        if self.mode == "online":
            entry["url"] = mine.url
        write_text(run / IDENTITY, json.dumps({"wandb": entry}, indent=2) + "\n")

    def image(self, key: str, path: Path, step: int | None = None) -> None:
        """Show an image at a step, by default the last one."""
        self.log_image(key, [str(path)], step=step)

    def table(self, key: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Show a table."""
        self.log_table(key, columns=list(columns), data=[list(row) for row in rows])

    @rank_zero_only
    def attach(self, path: Path, kind: str) -> None:
        """Upload a file as an artifact; nothing where the run is offline."""
        if self.artifacts and self.mode == "online":
            artifact = wandb.Artifact(f"{kind}-{self.experiment.id}", type=kind)
            artifact.add_file(str(path))
            self.experiment.log_artifact(artifact)

    @rank_zero_only
    def finish(self, failed: bool) -> None:
        """End the run, so that the next job of a sweep gets its own."""
        if self._experiment is not None:
            self._experiment.finish(exit_code=int(failed))
            self._experiment = None


def earlier(run: Path) -> str | None:
    """Id of the tracked run that a run directory belongs to, or None."""
    path = run / IDENTITY
    return json.loads(path.read_text())["wandb"]["id"] if path.is_file() else None


def reachable() -> bool:
    """Whether there is an API key and the server answers within two seconds."""
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai"))
    if not (os.environ.get("WANDB_API_KEY") or _in_netrc(host.hostname or "")):
        return False
    try:
        socket.create_connection((host.hostname or "", host.port or 443), timeout=2).close()
    except OSError:
        return False
    return True


def _in_netrc(host: str) -> bool:
    try:
        return netrc.netrc().authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False
