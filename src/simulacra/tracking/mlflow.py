"""MLflow: runs of an experiment in a folder or on a server, with figures, images and tables.

By default its client tries again for minutes where a server does not answer, whenever something is told. Here
it tries for half a minute at most, unless the environment says otherwise; see
:mod:`simulacra.tracking.contact` for what follows.
"""

from __future__ import annotations

import csv
import io
import os
import time
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image
from pytorch_lightning.utilities import rank_zero_only

from simulacra.core import UserError
from simulacra.core.constructors import writes
from simulacra.tracking.base import Tracker
from simulacra.tracking.contact import Contact
from simulacra.tracking.runs import remember

MOST_CHARACTERS = 500
"""Of a parameter; MLflow takes no more on older servers."""
BATCH = 100
"""Parameters that MLflow takes at once."""
WAIT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "8"}
"""How often and how long [s] a server is asked; by default 7 times for 120 s."""


@writes("folder")
class MlflowTracker(Tracker):
    """Keeps a run of MLflow, where the environment variable ``MLFLOW_TRACKING_URI`` says, else in a folder.

    Args:
        folder: Where runs are kept without a server.
        experiment: Name under which runs stand together.
        group: Name of the sweep that the run is part of, or None.
        name: Name of the run.
        tags: Labels.
        artifacts: Whether the best checkpoint is kept there, too.
        version: Id of an earlier run that goes on, or None.

    Raises:
        UserError: If MLflow is not installed.
    """

    label = "MLflow"

    _client: Any | None

    def __init__(
        self,
        folder: str,
        experiment: str,
        group: str | None,
        name: str,
        tags: Sequence[str],
        artifacts: bool,
        version: str | None = None,
    ) -> None:
        super().__init__()
        try:
            import mlflow.tracking  # noqa: F401
            from mlflow.exceptions import MlflowException
            from requests import RequestException
        except ImportError as error:
            raise UserError(
                "logger=mlflow needs the package mlflow or mlflow-skinny: install simulacra[trackers]"
            ) from error
        self.uri = os.environ.get("MLFLOW_TRACKING_URI") or str(Path(folder).absolute())
        self.experiment, self.run_name, self.artifacts = experiment, name, artifacts
        labels = {"tags": ", ".join(tags), "group": group}
        self.tags = {key: value for key, value in labels.items() if value}
        self._id, self._client, self._step = version, None, 0
        self._contact = Contact(f"MLflow at {self.uri}", (MlflowException, RequestException))

    @property
    def name(self) -> str:
        """Name of the experiment."""
        return self.experiment

    @property
    def version(self) -> str | None:
        """Id of the run."""
        return self._id

    @property
    def client(self) -> Any:
        """What talks to MLflow; the first use opens the run."""
        if self._client is None:
            from mlflow.tracking import MlflowClient

            for name, value in WAIT.items():
                os.environ.setdefault(name, value)
            if "://" not in self.uri:
                os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # asked for since MLflow 3
            client = MlflowClient(self.uri)
            self._id = self._opened(client)
            self._client = client
        return self._client

    def _opened(self, client: Any) -> str:
        """Id of the run, which is the earlier one where there is one."""
        if self._id is not None:
            client.update_run(self._id, status="RUNNING")
            return self._id
        found = client.get_experiment_by_name(self.experiment)
        place = client.create_experiment(self.experiment) if found is None else found.experiment_id
        return str(client.create_run(place, run_name=self.run_name, tags=self.tags).info.run_id)

    @rank_zero_only
    def log_hyperparams(
        self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any
    ) -> None:
        """Keep the configuration as a file, and its values as parameters of a run that is new.

        Raises:
            UserError: If MLflow does not open the run.
        """
        values = vars(params) if isinstance(params, Namespace) else params
        self._contact.tell(lambda: self._configure(values))

    def _configure(self, values: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        client = self.client
        client.log_text(self._id, yaml.safe_dump(values, sort_keys=False), "config.yaml")
        if not client.get_run(self._id).data.params:
            found = [Param(key, str(item)[:MOST_CHARACTERS]) for key, item in flat(values)]
            for start in range(0, len(found), BATCH):
                client.log_batch(self._id, params=found[start : start + BATCH])

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add figures at a step."""
        from mlflow.entities import Metric

        self._step = self._step if step is None else step
        now = int(1000 * time.time())
        found = [Metric(key_of(k), float(v), now, self._step) for k, v in metrics.items()]
        self._contact.tell(lambda: self._add(found))

    def _add(self, metrics: Sequence[Any]) -> None:
        for start in range(0, len(metrics), BATCH):
            self.client.log_batch(self._id, metrics=metrics[start : start + BATCH])

    @rank_zero_only
    def begin(self, run: Path, step: int | None) -> None:
        """Write the run's id to the run directory.

        Raises:
            UserError: If MLflow does not open the run.
        """
        self._step = step or 0
        self._contact.tell(lambda: self.client)
        self._contact.begun = True
        remember(run, "mlflow", {"id": str(self._id)})

    def where(self) -> str:
        """The server, or the command that shows the folder."""
        return self.uri if "://" in self.uri else f"mlflow ui --backend-store-uri {self.uri}"

    @rank_zero_only
    def image(self, key: str, path: Path, step: int | None = None) -> None:
        """Show an image at a step, by default the last one."""
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))
        at = self._step if step is None else step
        self._contact.tell(
            lambda: self.client.log_image(self._id, pixels, key=key_of(key), step=at)
        )

    @rank_zero_only
    def table(self, key: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Keep a table as a file."""
        text = io.StringIO()
        csv.writer(text).writerows([columns, *rows])
        name = f"tables/{key.replace('/', '_')}.csv"
        self._contact.tell(lambda: self.client.log_text(self._id, text.getvalue(), name))

    @rank_zero_only
    def attach(self, path: Path, kind: str) -> None:
        """Keep a file."""
        if self.artifacts:
            self._contact.tell(lambda: self.client.log_artifact(self._id, str(path), kind))

    @rank_zero_only
    def finish(self, failed: bool) -> None:
        """End the run."""
        client, self._client = self._client, None
        if client is not None:
            state = "FAILED" if failed else "FINISHED"
            self._contact.tell(lambda: client.set_terminated(self._id, state), last=True)


def key_of(key: str) -> str:
    """A figure's name for MLflow, whose folders hold one file per figure: ``test/fpd/error``, which would lie
    below the file of ``test/fpd``, becomes ``test/fpd.error``.
    """
    head, slash, rest = key.partition("/")
    return head + slash + rest.replace("/", ".")


def flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Values of nested mappings by dotted names."""
    found: list[tuple[str, Any]] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            found += flat(value, f"{prefix}{key}.")
        else:
            found.append((f"{prefix}{key}", value))
    return found
