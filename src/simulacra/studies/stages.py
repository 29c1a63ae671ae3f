"""Stages of a study: a folder each, which holds a marker when it is whole.

The marker ``stage.json`` says what the stage was made from, what it has found and which files it has left. A
stage whose marker fits is not run again, so that a study goes on where it has stopped.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import QuotedString

from simulacra.core import UserError
from simulacra.data.cache import cache_root
from simulacra.data.files import content_hash
from simulacra.evaluation.overrides import is_path, taken
from simulacra.evaluation.publish import write_json
from simulacra.tracking.stages import duration, say
from simulacra.training.zoo import located

MARKER = "stage.json"
"""In the folder of a stage that is whole."""
NAME = re.compile(r"[a-z0-9][\w.-]*(/[a-z0-9][\w.-]*)*", re.ASCII)
RESERVED = ("figures", "checkpoints")
RUN = "RUN"
"""How the run directory is called in a marker, so that a study may be moved."""

log = logging.getLogger(__name__)

Inputs = Mapping[str, Any]
"""Plain values by name."""


@dataclass(frozen=True)
class Stage:
    """A stage that is whole.

    Args:
        name: Its name, the path of its folder below the run directory.
        kind: What was done: ``train``, ``apply``, ``sample``, ``evaluate``, ``compute`` or ``split``.
        folder: Where its files are.
        inputs: What it was made from.
        figures: What it has found.
        outputs: Files that it has left, by name.
        seconds: How long it has taken.
    """

    name: str
    kind: str
    folder: Path
    inputs: Inputs
    figures: Mapping[str, float]
    outputs: Mapping[str, Path]
    seconds: float


@dataclass(frozen=True)
class Made:
    """What the work of a stage has come to.

    Args:
        figures: What it has found.
        outputs: Files that it has left, by name.
    """

    figures: Mapping[str, float]
    outputs: Mapping[str, Path]


class Stages:
    """The stages of one run directory, in the order in which they are asked for.

    Args:
        run: The run directory.
    """

    def __init__(self, run: Path) -> None:
        self.run = run.resolve()
        self.done: dict[str, Stage] = {}

    def folder(self, name: str) -> Path:
        """Where a stage leaves its files."""
        return self.run / name

    def __call__(
        self,
        name: str,
        kind: str,
        inputs: Inputs,
        work: Callable[[Path], Made],
        going_on: Callable[[Path], bool] = lambda folder: False,
    ) -> Stage:
        """A stage from its marker, or done now.

        Args:
            name: Small letters, figures, ``-`` and ``_``; with ``/`` it lies in a folder of several.
            kind: As of :class:`Stage`.
            inputs: What it is made from, plain values; see :meth:`fingerprint` for files.
            work: Does it in a folder, empty unless ``going_on``.
            going_on: Whether what an interrupted attempt has left in a folder is of use.

        Raises:
            UserError: If the folder holds a stage that was made from other inputs.
            ValueError: For a name that cannot be, or that is taken.
        """
        self._check(name)
        folder, asked = self.folder(name), json.loads(json.dumps({"kind": kind, **inputs}))
        found = self._read(name)
        if found is not None:
            self._compare(folder, found.inputs, asked)
            if all(path.is_file() for path in found.outputs.values()):
                say(name, "there already")
                self.done[name] = found
                return found
        start = time.monotonic()
        (folder / MARKER).unlink(missing_ok=True)
        if folder.exists() and not going_on(folder):
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
        made = work(folder)
        seconds = time.monotonic() - start
        stage = Stage(name, kind, folder, asked, dict(made.figures), dict(made.outputs), seconds)
        self._write(stage)
        say(name, f"{kind} in {duration(seconds)}")
        self.done[name] = stage
        return stage

    def fingerprint(self, value: Any) -> Any:
        """An input as a marker holds it: files with the hash of their content, paths below the run directory
        without it, numbers and texts as they are.

        Raises:
            TypeError: If it is none of these.
            UserError: If a file is not there.
        """
        if isinstance(value, Path):
            if not value.is_file():
                raise UserError(f"{value} is needed by a stage and is not there")
            return {"file": self.shown(str(value)), "sha256": hash_of(value)}
        if isinstance(value, Mapping):
            return {str(key): self.fingerprint(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.fingerprint(item) for item in value]
        if value is None or isinstance(value, (str, int, float)):
            return self.shown(value) if isinstance(value, str) else value
        raise TypeError(f"inputs of a stage are files and plain values, got {type(value).__name__}")

    def overrides(self, given: Sequence[str]) -> dict[str, Any]:
        """Overrides as a marker holds them, with the hashes of the files that they name."""
        files = {}
        for item in OverridesParser.create().parse_overrides(taken(given)):
            if is_path(item.get_key_element().lstrip("+~")):
                value = item.value()
                for part in value if isinstance(value, list) else [value]:
                    text = part.text if isinstance(part, QuotedString) else part
                    path = located(text) if isinstance(text, str) else None
                    if path is not None and path.is_file():
                        files[self.shown(str(text))] = hash_of(path)
        return {"overrides": [self.shown(item) for item in given], "files": files}

    def shown(self, text: str) -> str:
        """A text that names the run directory by a word."""
        return text.replace(str(self.run), RUN)

    def _check(self, name: str) -> None:
        if NAME.fullmatch(name) is None or name.split("/")[0] in RESERVED:
            raise ValueError(f"{name!r} is no name of a stage")
        for other in self.done:
            if other == name or other.startswith(f"{name}/") or name.startswith(f"{other}/"):
                raise ValueError(
                    f"the stage {name!r} would lie in the folder of the stage {other!r}"
                )

    def _read(self, name: str) -> Stage | None:
        folder = self.folder(name)
        path = folder / MARKER
        if not path.is_file():
            return None
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            outputs = {key: folder / str(value) for key, value in found["outputs"].items()}
            figures = {str(key): float(value) for key, value in found["figures"].items()}
            inputs, seconds = dict(found["inputs"]), float(found["seconds"])
            return Stage(name, str(inputs["kind"]), folder, inputs, figures, outputs, seconds)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise UserError(
                f"{path} is damaged: remove the folder {folder}, and the stage is done again"
            ) from error

    def _write(self, stage: Stage) -> None:
        outputs = {
            name: str(path.relative_to(stage.folder)) for name, path in stage.outputs.items()
        }
        found = {
            "inputs": stage.inputs,
            "figures": stage.figures,
            "outputs": outputs,
            "seconds": stage.seconds,
        }
        write_json(stage.folder / MARKER, found)

    def _compare(self, folder: Path, was: Inputs, now: Inputs) -> None:
        if was != now:
            raise UserError(
                f"{folder} was made from other inputs ({_difference(was, now)}): take the same ones, another "
                "run directory, or remove that folder"
            )


def _difference(was: Inputs, now: Inputs) -> str:
    """The first difference of two markers, in words."""
    for key in [*now, *(key for key in was if key not in now)]:
        old, new = was.get(key), now.get(key)
        if old == new:
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            return f"{key}: {_difference(old, new)}"
        if isinstance(old, list) and isinstance(new, list):
            gone = [str(item) for item in old if item not in new]
            come = [str(item) for item in new if item not in old]
            if gone or come:
                return (
                    f"{key}: {', '.join(gone) or 'nothing'} became {', '.join(come) or 'nothing'}"
                )
            return f"{key}: in another order"
        return f"{key}: {_short(old)} became {_short(new)}"
    return "their form"


def _short(value: object) -> str:
    return "nothing" if value is None else str(value)[:80]


def hash_of(path: Path) -> str:
    """SHA-256 of a file, remembered where it is large."""
    return content_hash(path, cache_root() / "hashes")
