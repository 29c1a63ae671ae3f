"""The zip archive that torch writes, checked before anything is made of it.

It holds a pickle, which describes the objects, and a record of raw numbers for each storage of a tensor.
:func:`read_archive` looks at the archive (every record stored as it is, with its checksum), then at the
instructions of the pickle without following them, and only then lets torch read it as plain tensors and
values. Torch itself checks neither the checksums nor that a storage is as large as the pickle says.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from simulacra.core.errors import UserError

DESCRIPTION = "/data.pkl"
RECORDS = "/data/"
END = b"PK\x05\x06"
"""Signature of the last 22 bytes of an archive."""
DEPTH, ENTRIES = 64, 5_000_000
"""Levels and entries of what a checkpoint holds, at most."""
SIZES = {
    "torch BFloat16Storage": 2,
    "torch BoolStorage": 1,
    "torch ByteStorage": 1,
    "torch CharStorage": 1,
    "torch DoubleStorage": 8,
    "torch FloatStorage": 4,
    "torch HalfStorage": 2,
    "torch IntStorage": 4,
    "torch LongStorage": 8,
    "torch ShortStorage": 2,
}
"""Bytes of one number in each kind of storage."""
TENSOR = "torch._utils _rebuild_tensor_v2"
ORDERED = "collections OrderedDict"
NAMES = {*SIZES, TENSOR, ORDERED, "torch._utils _rebuild_parameter", "torch Size"}
"""All that the pickle of a checkpoint names."""


class DamagedError(ValueError):
    """An archive is not what torch writes; the message says why."""


class _ForeignError(ValueError):
    """An archive holds more than tensors and plain values; the message names it."""


def read_archive(path: Path, what: str = "checkpoint") -> dict[str, Any]:
    """The contents of an archive, tensors on the CPU.

    Args:
        path: The file.
        what: What messages call it.

    Raises:
        UserError: If the file is empty, no archive, damaged, or holds objects other than tensors and plain
            values.
    """
    try:
        with path.open("rb") as file:
            _check(file)
            file.seek(0)
            contents = torch.load(file, map_location="cpu", weights_only=True)
        check_contents(contents)
    except (_ForeignError, pickle.UnpicklingError) as error:
        raise UserError(
            f"{path} was not loaded: it holds objects other than tensors and plain values"
            f" ({' '.join(str(error).split())[:100]})"
        ) from error
    except (
        ArithmeticError,
        AttributeError,
        EOFError,
        LookupError,
        MemoryError,
        NotImplementedError,
        OSError,
        RuntimeError,
        TypeError,
        ValueError,
        zipfile.BadZipFile,
    ) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"{path} is not a readable {what}: {reason}") from error
    if not isinstance(contents, dict):
        raise UserError(
            f"{path} is not a readable {what}: it holds a {type(contents).__name__}, no table"
        )
    return contents


def _check(file: io.BufferedReader) -> None:
    """Checksums of all records, and the instructions of the pickle."""
    size = file.seek(0, io.SEEK_END)
    if not size:
        raise DamagedError("the file is empty, its writing was interrupted or the disk was full")
    file.seek(max(size - 22, 0))
    if file.read(4) != END:
        raise DamagedError(
            "it does not end as the archive of a checkpoint does: it was cut short, or is none"
        )
    with zipfile.ZipFile(file) as archive:
        entries = {item.filename: item for item in archive.infolist()}
        if len(entries) < len(archive.infolist()) or len({n.split("/")[0] for n in entries}) != 1:
            raise DamagedError("its records have no unique names")
        if any(item.compress_type != zipfile.ZIP_STORED for item in entries.values()) or (
            sum(item.file_size for item in entries.values()) > size
        ):
            raise DamagedError("its records are compressed, which torch does not do")
        broken = archive.testzip()
        if broken is not None:
            raise DamagedError(
                f"the checksum of its record {broken.partition('/')[2]} is wrong: the file has changed since "
                "it was written, copy it again"
            )
        names = [name for name in entries if name.endswith(DESCRIPTION) and name.count("/") == 1]
        if len(names) != 1:
            raise DamagedError(
                f"it lacks the record {DESCRIPTION[1:]}, as archives of other programs do"
            )
        root = names[0].removesuffix(DESCRIPTION)
        records = {
            name.removeprefix(f"{root}{RECORDS}"): item.file_size for name, item in entries.items()
        }
        _Scan(records, size).run(archive.read(names[0]))


@dataclass(frozen=True)
class _Name:
    """An object that the pickle names."""

    name: str


@dataclass(frozen=True)
class _Storage:
    """A storage that the pickle refers to.

    Args:
        numbers: How many numbers it holds.
    """

    numbers: int


class _Object:
    """Anything else: what it holds is looked at once torch has made it."""


@dataclass
class _Ordered(_Object):
    """An ordered mapping, the only object that may carry attributes."""


@dataclass
class _Scan:
    """Goes through a pickle and keeps account of the stack, but makes none of its objects.

    Args:
        records: Size of each storage's record [bytes].
        size: Size of the file [bytes].
    """

    records: Mapping[str, int]
    size: int
    stack: list[Any] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def run(self, data: bytes) -> None:
        """Check every instruction.

        Raises:
            DamagedError: If the pickle is none, or disagrees with the records.
            _ForeignError: If it names or does what a checkpoint has no need of.
        """
        argument: Any
        for code, argument, _ in pickletools.genops(data):
            name = code.name
            if name in _VALUES:
                self.stack.append(argument)
            elif name in _CONSTANTS:
                self.stack.append(_CONSTANTS[name])
            elif name in _TUPLES:
                self._tuple(_TUPLES[name])
            elif name in ("BINPUT", "LONG_BINPUT"):
                self.memo[argument] = self.stack[-1]
            elif name in ("BINGET", "LONG_BINGET"):
                self.stack.append(self.memo[argument])
            elif name == "PROTO":
                if argument != 2:
                    raise DamagedError(f"its pickle has protocol {argument}, torch writes 2")
            elif name == "GLOBAL":
                if argument not in NAMES:
                    raise _ForeignError(argument.replace(" ", "."))
                self.stack.append(_Name(argument))
            elif name in _ACTIONS:
                _ACTIONS[name](self)
            elif name != "STOP":
                raise _ForeignError(f"the instruction {name}")

    def _mark(self) -> None:
        self.marks.append(len(self.stack))

    def _since_mark(self) -> list[Any]:
        start = self.marks.pop()
        found = self.stack[start:]
        del self.stack[start:]
        return found

    def _tuple(self, length: int | None) -> None:
        if length is None:
            self.stack.append(tuple(self._since_mark()))
            return
        items = tuple(self.stack[len(self.stack) - length :])
        del self.stack[len(self.stack) - length :]
        self.stack.append(items)

    def _container(self) -> None:
        self.stack.append(_Object())

    def _append(self) -> None:
        self.stack.pop()

    def _appends(self) -> None:
        self._since_mark()

    def _item(self) -> None:
        self.stack.pop()
        self._key(self.stack.pop())

    def _items(self) -> None:
        for key in self._since_mark()[::2]:
            self._key(key)

    @staticmethod
    def _key(key: object) -> None:
        if not isinstance(key, (str, int)):
            raise _ForeignError(f"a key that is a {type(key).__name__.strip('_')}")

    def _build(self) -> None:
        self.stack.pop()
        if not isinstance(self.stack[-1], _Ordered):
            raise _ForeignError("an object with attributes")

    def _storage(self) -> None:
        match self.stack.pop():
            case ("storage", _Name(kind), str(key), str(), int(numbers)) if kind in SIZES:
                if self.records.get(key) != numbers * SIZES[kind]:
                    raise DamagedError(
                        f"its record {RECORDS[1:]}{key} has {self.records.get(key, 'no')} bytes, "
                        f"{numbers * SIZES[kind]} are described"
                    )
                self.stack.append(_Storage(numbers))
            case _:
                raise DamagedError("a storage of it is not described as torch does")

    def _call(self) -> None:
        arguments, made = self.stack.pop(), self.stack.pop()
        if not isinstance(made, _Name) or not isinstance(arguments, tuple):
            raise _ForeignError("a call")
        if made.name == TENSOR:
            self._tensor(arguments)
        elif made.name in SIZES or (made.name == ORDERED and arguments):
            raise _ForeignError(made.name.replace(" ", "."))
        self.stack.append(_Ordered() if made.name == ORDERED else _Object())

    def _tensor(self, arguments: tuple[Any, ...]) -> None:
        match arguments:
            case (_Storage(numbers), int(offset), tuple(shape), tuple(strides), *_):
                sides = [*shape, *strides, offset]
                if any(type(side) is not int or side < 0 for side in sides):
                    raise DamagedError("a tensor of it has negative sides")
                if len(shape) != len(strides) or len(shape) > DEPTH:
                    raise DamagedError("a tensor of it is not described as torch does")
                last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
                count = math.prod(shape)
                if count and (last >= numbers or count > self.size):
                    raise DamagedError(
                        f"a tensor of shape {shape} is described, for which the file holds {numbers} numbers"
                    )
            case _:
                raise DamagedError("a tensor of it is not described as torch does")


_VALUES = ("BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT")
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_TUPLES = {"TUPLE": None, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_ACTIONS = {
    "MARK": _Scan._mark,
    "EMPTY_LIST": _Scan._container,
    "EMPTY_DICT": _Scan._container,
    "APPEND": _Scan._append,
    "APPENDS": _Scan._appends,
    "SETITEM": _Scan._item,
    "SETITEMS": _Scan._items,
    "BUILD": _Scan._build,
    "BINPERSID": _Scan._storage,
    "REDUCE": _Scan._call,
}


def check_contents(contents: object) -> None:
    """Refuse what is nested deeper, or holds more entries, than any checkpoint.

    Raises:
        DamagedError: If it does.
    """
    pending: list[tuple[object, int]] = [(contents, 0)]
    entries = 0
    while pending:
        value, depth = pending.pop()
        below = list(_inner(value))
        entries += 1
        if depth >= DEPTH or entries + len(pending) + len(below) > ENTRIES:
            raise DamagedError(f"it holds more than {DEPTH} levels or {ENTRIES:,} entries")
        pending += [(item, depth + 1) for item in below]


def _inner(value: object) -> Iterator[object]:
    if isinstance(value, dict):
        if type(value) is not dict and set(vars(value)) - {"_metadata"}:
            raise DamagedError("a mapping of it has attributes")
        yield from value.values()
    elif isinstance(value, (list, tuple)):
        yield from value
