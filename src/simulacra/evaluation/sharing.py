"""Light checkpoints: what others need of a finished run, and nothing else.

A light checkpoint holds the weights that the run was judged by (those of the moving average where there is
one), adapted weights added up, the entry that makes it self-contained, and under ``shared`` how the run was
started and what its test found. There are no optimizer states, no live weights beside the average, and no
folders of the machine. It loads like any checkpoint; its model card (:mod:`simulacra.evaluation.card`) is a
function of it alone.
"""

from __future__ import annotations

import io
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from simulacra.core import UserError
from simulacra.core.plain_yaml import read_yaml
from simulacra.core.strict import read as typed
from simulacra.tracking.compare import LABELS
from simulacra.tracking.compare_runs import Figure, read_run
from simulacra.training import checkpoint
from simulacra.training.module import Module

ENTRY = "shared"
KEPT = ("data", "model", "seed", "trainer", "evaluation")
"""Parts of a run's configuration that a light checkpoint keeps."""
_NAME = re.compile(r"[a-z0-9][a-z0-9_.+-]*")
_FOLDERS = re.compile(r"(?<![\w.:/~])[~/][^\s,'\"\[\](){}=:]*/")
_SWEEP = (
    "hydra.",
    "sweeps=",
    "sweep=",
    "resume=",
    "paths.",
    "logger",
    "trainer.enable_progress_bar",
)
"""Beginnings of overrides that say nothing of the model."""


@dataclass(frozen=True)
class Shared:
    """How a shared model was made and what its test found.

    Args:
        name: What it is called.
        figures: Headline figures of the test by key, without ``test/``.
        events: Generated events that were judged.
        command: The training, to be copied into a shell; folders are left out.
        experiment: File of ``conf/experiment`` that it followed, if any.
        steps: Steps of the optimizers.
        licence: Under which the weights may be used; None: not stated.
        origin: What the files of its events hold, in words; None: not stated.
    """

    name: str
    figures: dict[str, Figure]
    events: int | None
    command: str
    experiment: str | None
    steps: int
    licence: str | None
    origin: str | None = None


def share(
    run: Path,
    name: str | None = None,
    licence: str | None = None,
    allow: Sequence[str] = (),
    origin: str | None = None,
) -> dict[str, Any]:
    """Contents of the light checkpoint of a finished run.

    Args:
        run: Its directory.
        name: What the model is called; None: ``MODEL-DATA``.
        licence: See :class:`Shared`.
        allow: As for :func:`simulacra.training.checkpoint.load`.
        origin: See :class:`Shared`.

    Raises:
        UserError: If the run is not finished, its checkpoint cannot be loaded, or the name is none.
    """
    judged, path = read_run(run, run.name), best(run)
    contents = checkpoint.read(path)
    module = checkpoint.load(path, allow=allow)
    called = f"{judged.model}-{judged.data}".lower() if name is None else name
    if not _NAME.fullmatch(called):
        raise UserError(
            f"a shared model is called like caloinn-ds1_photons (small letters, digits, - _ . +), "
            f"got {called!r}"
        )
    overrides = _overrides(run)
    shared = Shared(
        called,
        {key: item for key, item in judged.figures.items() if _headline(key)},
        judged.events,
        shlex.join(["simulacra", "train", *overrides]),
        next((i.partition("=")[2] for i in overrides if i.startswith("experiment=")), None),
        int(contents.get("global_step", 0)),
        licence,
        origin,
    )
    return {**light(module), ENTRY: asdict(shared)}


def light(module: Module) -> dict[str, Any]:
    """Weights and origin of a module, without folders of the machine."""
    record = module.record
    config = {key: record.config[key] for key in KEPT if key in record.config}
    record.config = {key: _without_folders(value, key) for key, value in config.items()}
    record.provenance = {key: _short(value) for key, value in record.provenance.items()}
    saved: dict[str, Any] = {}
    module.on_save_checkpoint(saved)
    # clones, since a view would take all of its storage into the file
    state = {key: value.clone() for key, value in module.state_dict().items()}
    return {"state_dict": state, "simulacra": saved["simulacra"]}


def shared(contents: Mapping[str, Any], origin: str) -> Shared | None:
    """What a checkpoint says of its training and its test; None where it is no light one.

    Raises:
        UserError: If that is not what :func:`share` writes.
    """
    entry = contents.get(ENTRY)
    if entry is None:
        return None
    found: Shared = typed(Shared, entry, f"the entry {ENTRY!r} of {origin}")
    return found


def packed(contents: Mapping[str, Any]) -> bytes:
    """A checkpoint as the bytes of its file, which depend on nothing but its contents."""
    stream = io.BytesIO()
    torch.save(dict(contents), stream)
    return stream.getvalue()


def best(run: Path) -> Path:
    """The checkpoint that the test of a run judged.

    Raises:
        UserError: If the run has none.
    """
    for name in ("best", "last"):
        path = run / "checkpoints" / f"{name}.ckpt"
        if path.is_file():
            return path
    raise UserError(f"{run} is no finished run: it has no checkpoints/best.ckpt")


def _headline(key: str) -> bool:
    return key in LABELS or (key.startswith("classifier/") and key.endswith("/auc"))


def _overrides(run: Path) -> list[str]:
    """What the user changed, without folders and without what says nothing of the model."""
    path = run / ".hydra" / "overrides.yaml"
    found = read_yaml(path) if path.is_file() else []
    given = [str(item) for item in found or [] if isinstance(item, str)]
    return [_short(item) for item in given if not item.lstrip("+~").startswith(_SWEEP)]


def _short(text: str) -> str:
    """A text whose paths have lost their folders."""
    return _FOLDERS.sub("", text)


def _without_folders(value: Any, key: str) -> Any:
    """A configuration without the files of the machine; a format keeps what it is built from."""
    if key == "root":
        return None
    if key == "files" and isinstance(value, Mapping):
        return dict.fromkeys(value)
    if key == "format":
        return value
    if isinstance(value, Mapping):
        return {name: _without_folders(item, str(name)) for name, item in value.items()}
    if isinstance(value, list):
        return [_without_folders(item, "") for item in value]
    return _short(value) if isinstance(value, str) else value
