"""Weights & Biases, also with no account and no network: then the run is kept offline below ``wandb/``.

W&B talks to its server from a process of its own, which waits for a network that is gone. Where that process
ends, training goes on without it, see :mod:`simulacra.tracking.contact`.
"""

from __future__ import annotations

import logging
import netrc
import os
import socket
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import wandb
from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.loggers.logger import rank_zero_experiment
from pytorch_lightning.utilities import rank_zero_only

from simulacra.core import UserError
from simulacra.core.constructors import writes
from simulacra.tracking.base import Tracker
from simulacra.tracking.contact import Contact
from simulacra.tracking.identity import as_typed
from simulacra.tracking.runs import remember

MODES = ("online", "offline", "disabled")
"""What W&B can do, beside ``auto``, which chooses one of the first two."""
ALIASES = {"run": "online", "dryrun": "offline"}
"""Older names of modes that the environment may hold."""
FORMER_HOST = "api.wandb.ai"
"""Where the default server was before; W&B still takes a key that is kept under this name."""
SECONDS = 2.0
"""How long the server has to answer."""

log = logging.getLogger(__name__)


@writes("folder")
class WandbTracker(Tracker, WandbLogger):
    """Lightning's W&B logger that chooses between online and offline by itself, and can finish.

    The environment variable ``WANDB_MODE`` goes before ``mode``.

    Args:
        folder: Run files go to ``<folder>/wandb``.
        project: Project.
        entity: Account or team, None for the default one.
        group: Name under which runs stand together, or None.
        job_type: What the run does, e.g. ``train``.
        name: Name of the run.
        tags: Labels.
        mode: ``online``, ``offline``, ``disabled`` or ``auto``: online where there is an API key and the
            server answers.
        artifacts: Whether files are uploaded where the run is online.
        version: Id of an earlier run that goes on, or None.

    Raises:
        UserError: If ``online`` is asked for without an API key.
    """

    label = "W&B"

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
        self.mode, self.artifacts = chosen(mode), artifacts
        self._contact = Contact("W&B", (wandb.Error, ConnectionError))
        self._folder = Path(folder, "wandb")
        self._folder.mkdir(parents=True, exist_ok=True)  # wandb falls back to /tmp without it
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

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The run of W&B.

        Raises:
            UserError: If W&B cannot start it, e.g. because the key is not valid.
        """
        try:
            with as_typed():
                return super().experiment
        except wandb.Error as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(
                f"W&B did not start a run ({reason}): mend that, or take logger.wandb.mode=offline"
            ) from error

    @rank_zero_only
    def log_hyperparams(
        self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any
    ) -> None:
        """Show the configuration."""
        self._contact.tell(lambda: super(WandbTracker, self).log_hyperparams(params))

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add figures at a step."""
        self._contact.tell(lambda: super(WandbTracker, self).log_metrics(metrics, step))

    @rank_zero_only
    def begin(self, run: Path, step: int | None) -> None:
        """Write the run's id and folder, and its address where it has one, to the run directory."""
        mine = self.experiment
        entry = {"id": mine.id, "mode": self.mode, "folder": os.path.dirname(str(mine.dir))}
        if self.mode == "online":
            entry["url"] = mine.url
        remember(run, "wandb", entry)
        self._contact.begun = True

    def where(self) -> str:
        """The address of the run, or the command that shows the offline ones."""
        if self.mode == "online":
            return str(self.experiment.url)
        if self.mode == "disabled":
            return "disabled"
        return f"offline: wandb leet {self._folder}"

    @rank_zero_only
    def details(self, figures: Mapping[str, float], step: int) -> None:
        """Keep the latest values in the summary of the run, since every figure of its history is a chart."""
        self._contact.tell(lambda: self.experiment.summary.update(dict(figures)))

    @rank_zero_only
    def image(self, key: str, path: Path, step: int | None = None) -> None:
        """Show an image at a step, by default the last one."""
        self._contact.tell(lambda: self.log_image(key, [str(path)], step=step))

    @rank_zero_only
    def table(self, key: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Show a table."""
        data = [list(row) for row in rows]
        self._contact.tell(lambda: self.log_table(key, columns=list(columns), data=data))

    @rank_zero_only
    def attach(self, path: Path, kind: str) -> None:
        """Upload a file as an artifact; nothing where the run is offline."""
        if self.artifacts and self.mode == "online":
            self._contact.tell(lambda: self._upload(path, kind))

    def _upload(self, path: Path, kind: str) -> None:
        artifact = wandb.Artifact(f"{kind}-{self.experiment.id}", type=kind)
        artifact.add_file(str(path))
        self.experiment.log_artifact(artifact)

    @rank_zero_only
    def finish(self, failed: bool) -> None:
        """End the run, so that the next job of a sweep gets its own."""
        mine, self._experiment = self._experiment, None
        if mine is not None:
            self._contact.tell(lambda: mine.finish(exit_code=int(failed)), last=True)


def chosen(mode: str) -> str:
    """What W&B shall do: ``WANDB_MODE`` where it is set, else ``mode``.

    ``auto`` goes offline without a key or a server, and says so.

    Raises:
        UserError: If there is no such mode, or no API key for ``online``.
    """
    asked = os.environ.get("WANDB_MODE") or None
    where = "logger.wandb.mode" if asked is None else "the environment variable WANDB_MODE"
    wanted = mode if asked is None else ALIASES.get(asked, asked)
    if wanted not in (*MODES, "auto"):
        raise UserError(f"{where} is one of {', '.join((*MODES, 'auto'))}, got {wanted!r}")
    if wanted == "online" and not has_key():
        raise UserError(
            f"{where} is online and there is no API key for {server()}: run 'wandb login', set "
            "WANDB_API_KEY, or take logger.wandb.mode=auto, which goes offline without one"
        )
    if wanted != "auto":
        return wanted
    reason = offline_because()
    if reason is None:
        return "online"
    log.info("W&B keeps this run offline, %s", reason)
    return "offline"


def offline_because() -> str | None:
    """Why a run cannot be tracked online, or None where it can."""
    if not has_key():
        return f"there is no API key for {server()}"
    host = urlsplit(server())
    port = host.port or (80 if host.scheme == "http" else 443)
    try:
        socket.create_connection((host.hostname or "", port), timeout=SECONDS).close()
    except OSError:
        return f"{server()} does not answer"
    return None


def server() -> str:
    """Address of the server that W&B would talk to."""
    return os.environ.get("WANDB_BASE_URL") or str(wandb.Settings().base_url)


def has_key() -> bool:
    """Whether there is an API key for the server: in the environment or in ``.netrc``."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    host = urlsplit(server())
    names = {host.netloc, host.hostname or ""}
    if "WANDB_BASE_URL" not in os.environ:
        names.add(FORMER_HOST)
    paths = [os.environ["NETRC"]] if os.environ.get("NETRC") else ["~/.netrc", "~/_netrc"]
    return any(_in_netrc(Path(path).expanduser(), name) for path in paths for name in names)


def _in_netrc(path: Path, host: str) -> bool:
    try:
        found = netrc.netrc(path).hosts.get(host)
    except (OSError, netrc.NetrcParseError, UnicodeDecodeError):
        return False
    return found is not None and bool(found[2])
