"""What is written beside a graph: a table for people and programs (JSON), and the same in lines for a program
without a reader of JSON.

The lines are words apart by single spaces; a missing number is ``-``::

    simulacra_export 1
    contract plain
    format onnx
    file model.onnx
    events_per_call -
    input incident_energy condition MeV 256 4194304 1
    input normal normal - - - 373
    output events output MeV - - 368
    pairs pairs.bin 16

An input or output has its name, role, unit, smallest and largest trained value, and the shape of one event.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulacra.core import FormatError, Spec, UserError
from simulacra.core.strict import read as typed
from simulacra.deploy.export.ports import Port

VERSION = 1
JSON, LINES, PAIRS = "sidecar.json", "sidecar.txt", "pairs.bin"


@dataclass(frozen=True)
class Sidecar:
    """As much of it as a program needs that runs the graph.

    Args:
        contract: Name of the contract.
        format: Name of the format.
        file: Name of the file of the graph.
        batch: Events of one call, None for any number.
        inputs: Its inputs.
        outputs: Its outputs.
        pairs: Events of the pairs, 0 for none.
    """

    contract: str
    format: str
    file: str
    batch: int | None
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    pairs: int

    def table(self, more: Mapping[str, object]) -> str:
        """The table, with what else there is to say."""
        own = {
            "simulacra_export": VERSION,
            "contract": self.contract,
            "format": self.format,
            "file": self.file,
            "events_per_call": self.batch,
            "inputs": [port.to_dict(self.batch) for port in self.inputs],
            "outputs": [port.to_dict(self.batch) for port in self.outputs],
            "pairs": {"file": PAIRS, "events": self.pairs} if self.pairs else None,
        }
        return json.dumps({**own, **more}, indent=1) + "\n"

    def lines(self) -> str:
        """The lines."""
        ports = [("input", port) for port in self.inputs]
        ports += [("output", port) for port in self.outputs]
        listed: list[list[object]] = [
            [side, p.name, p.role, p.unit, p.low, p.high, *p.shape] for side, p in ports
        ]
        rows: list[list[object]] = [
            ["simulacra_export", VERSION],
            ["contract", self.contract],
            ["format", self.format],
            ["file", self.file],
            ["events_per_call", self.batch],
            *listed,
            ["pairs", PAIRS, self.pairs],
        ]
        return "".join(" ".join(map(_word, row)) + "\n" for row in rows)


def _word(value: object) -> str:
    if isinstance(value, float):
        return repr(value)
    return "-" if value in (None, "") else "_".join(str(value).split())


def read(folder: Path) -> Sidecar:
    """Of a folder that ``export`` has written.

    Raises:
        UserError: If there is none.
        FormatError: If it is damaged, or another version wrote it.
    """
    path = folder / JSON
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{folder} holds no exported generator: it has no {JSON}") from error
    except (OSError, ValueError) as error:
        raise FormatError(f"{path} cannot be read: {error}") from error
    if not isinstance(found, dict) or found.get("simulacra_export") != VERSION:
        raise FormatError(f"{path} is no sidecar of an export of version {VERSION}")
    name = found.get("file")
    if not isinstance(name, str) or not name or Path(name).name != name:
        raise FormatError(f"{path} names a graph that does not lie beside it: {name!r}")
    try:
        pairs = found["pairs"]
        return Sidecar(
            typed(str, found["contract"], "its contract"),
            typed(str, found["format"], "its format"),
            typed(str, found["file"], "its file"),
            typed(int | None, found["events_per_call"], "its events_per_call"),
            _ports(found["inputs"]),
            _ports(found["outputs"]),
            0 if pairs is None else typed(int, pairs["events"], "its pairs"),
        )
    except (KeyError, TypeError, UserError) as error:
        raise FormatError(f"{path} is damaged: {error}") from error


def spec(folder: Path) -> Spec:
    """What the data set of an exported generator promises.

    Raises:
        UserError: If there is none, or it is damaged.
    """
    read(folder)
    return Spec.from_dict(json.loads((folder / JSON).read_text(encoding="utf-8")).get("spec"))


def _ports(rows: Sequence[dict[str, Any]]) -> tuple[Port, ...]:
    return tuple(
        typed(
            Port,
            {**{k: v for k, v in row.items() if k != "type"}, "shape": tuple(row["shape"][1:])},
            "a port",
        )
        for row in rows
    )
