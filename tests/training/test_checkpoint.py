"""Checkpoints of unknown origin: damaged, of other contents, or made to attack."""

from __future__ import annotations

import io
import os
import pickle
import random
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from simulacra.core import UserError
from simulacra.training.checkpoint import load, read
from support import refused_checkpoint


def test_a_whole_checkpoint_is_read(good: Path, contents: dict[str, Any]) -> None:
    module = load(good)
    for name, value in module.state_dict().items():
        assert torch.equal(value, contents["state_dict"][name])


# damage


def records(path: Path) -> dict[str, tuple[int, int]]:
    """Begin and end of the bytes of each record in the file."""
    found = {}
    with zipfile.ZipFile(path) as archive, path.open("rb") as file:
        for item in archive.infolist():
            file.seek(item.header_offset + 26)
            name, extra = (int.from_bytes(file.read(2), "little") for _ in range(2))
            start = item.header_offset + 30 + name + extra
            found[item.filename] = (start, start + item.file_size)
    return found


def test_a_flipped_bit_anywhere_in_the_contents_is_found(good: Path, tmp_path: Path) -> None:
    whole, draw = good.read_bytes(), random.Random(0)
    places = [draw.randrange(*span) for span in records(good).values() if span[0] < span[1]]
    assert len(places) > 20
    for number, place in enumerate(places):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << draw.randrange(8)
        path = tmp_path / f"{number}.ckpt"
        path.write_bytes(damaged)
        refused_checkpoint(path, "the checksum of its record")


@pytest.mark.parametrize("seed", range(60))
def test_damage_is_one_sentence_or_changes_nothing(
    good: Path, contents: dict[str, Any], tmp_path: Path, seed: int
) -> None:
    draw = random.Random(seed)
    whole = good.read_bytes()
    damaged = bytearray(whole)
    start, length = draw.randrange(len(whole)), draw.choice([1, 16, 512, 4096])
    filler = draw.choice([bytes(length), draw.randbytes(length), b"\xff" * length])
    if seed % 3 == 0:
        damaged[start : start + length] = filler[: len(damaged[start : start + length])]
    elif seed % 3 == 1:
        del damaged[start:]
    else:
        tail = len(whole) - 1 - draw.randrange(2000)  # the directory of the archive
        damaged[tail] ^= 1 << draw.randrange(8)
    path = tmp_path / "damaged.ckpt"
    path.write_bytes(damaged)
    try:
        found = read(path)
    except UserError as error:
        assert "\n" not in str(error)  # noqa: PT017
        return
    assert found["simulacra"] == contents["simulacra"]
    assert found["state_dict"].keys() == contents["state_dict"].keys()
    for name, value in found["state_dict"].items():
        assert torch.equal(value, contents["state_dict"][name])


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "the file is empty"),
        (b"text\n" * 100, "does not end as the archive"),
        (b"\x80\x02]q\x00.", "does not end as the archive"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "does not end as the archive"),
        (b"PK\x05\x06" + bytes(18), "unique names"),
        (pickle.dumps({"state_dict": {}}), "does not end as the archive"),
    ],
)
def test_other_files_are_no_checkpoints(tmp_path: Path, data: bytes, sentence: str) -> None:
    path = tmp_path / "other.ckpt"
    path.write_bytes(data)
    refused_checkpoint(path, sentence)


def test_other_places_are_no_checkpoints(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none", tmp_path / ("x" * 300), Path("/dev/null")):
        refused_checkpoint(path, "there is no checkpoint")


def test_checkpoints_of_torchs_old_layout_and_other_archives_are_refused_checkpoint(
    contents: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "old.ckpt"
    torch.save(contents, path, _use_new_zipfile_serialization=False)
    refused_checkpoint(path, "does not end as the archive")
    torch.save(contents, path, pickle_protocol=4)
    refused_checkpoint(path, "protocol 4")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", bytes(10**7))
    refused_checkpoint(path, "compressed")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/b", "c")
    refused_checkpoint(path, "data.pkl")


# attacks


class Calls:
    """Whatever a pickle can ask to be called."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


class Attributes:
    pass


@pytest.mark.parametrize(
    "thing",
    [
        Calls(os.system, "touch ran"),
        Calls(bytearray, 10**12),
        Calls(set, [1]),
        Calls(OrderedDict, [[1, 2]]),
        Calls(torch.FloatStorage, 10**12),
        Attributes(),
        {(1, 2): 3},
        {1, 2},
        b"abc",
        1j,
        torch.zeros(2).to_sparse(),
        torch.zeros(2, dtype=torch.complex64),
        torch.zeros(2, device="meta"),
        torch.float32,
    ],
)
@pytest.mark.parametrize("place", ["simulacra", "state_dict", "other"])
def test_a_pickle_makes_nothing_but_tensors_and_plain_values(
    contents: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    thing: Any,
    place: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    changed = {**contents, place: {**contents.get(place, {}), "x": thing}}
    torch.save(changed, "a.ckpt")
    assert "was not loaded: it holds objects other than" in refused_checkpoint(Path("a.ckpt"))
    assert os.listdir() == ["a.ckpt"]


def with_pickle(good: Path, path: Path, change: Callable[[bytes], bytes]) -> Path:
    """The same archive, whole, whose description is another."""
    with zipfile.ZipFile(good) as old, zipfile.ZipFile(path, "w") as new:
        for item in old.infolist():
            data = old.read(item)
            new.writestr(item.filename, change(data) if item.filename.endswith(".pkl") else data)
    return path


def number(n: int) -> bytes:
    """An integer as pickle writes it."""
    return b"\x8a\x08" + n.to_bytes(8, "little")


def tensor(
    key: str, numbers: int, shape: int, stride: int = 1, kind: bytes = b"FloatStorage"
) -> bytes:
    """Description of a tensor."""
    text = b"".join(
        b"X" + len(item).to_bytes(4, "little") + item for item in (b"storage", key.encode(), b"cpu")
    )
    storage, rest = text[:12], text[12:]
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n(("
        + storage + b"ctorch\n" + kind + b"\n" + rest + number(numbers) + b"tQ"
        + number(0) + number(shape) + b"\x85" + number(stride) + b"\x85\x89"
        + b"ccollections\nOrderedDict\n)RtR"
    )  # fmt: skip


def test_the_description_of_a_tensor_is_held_against_its_record(good: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(good) as archive:
        size = next(i.file_size for i in archive.infolist() if i.filename.endswith("/data/0"))
    assert size % 4 == 0 or size == 1
    path, kind = tmp_path / "a.ckpt", b"FloatStorage" if size % 4 == 0 else b"BoolStorage"
    n = size // 4 or 1

    def described(*arguments: Any) -> Path:
        return with_pickle(good, path, lambda _: b"\x80\x02" + tensor(*arguments, kind) + b".")

    refused_checkpoint(described("0", n, n, 1), "it holds a Tensor")
    for numbers in (n + 1, 10**12, 0):
        refused_checkpoint(described("0", numbers, 1, 1), "bytes, .* are described")
    refused_checkpoint(described("none", n, n, 1), "has no bytes")
    refused_checkpoint(described("0", n, n + 1, 1), "for which the file holds")
    refused_checkpoint(described("0", n, 10**15, 0), "for which the file holds")
    refused_checkpoint(described("0", n, 2, 10**15), "for which the file holds")


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",  # lists in lists
        b"\x80\x02}" + b")\x85" + b"\x85" * 100_000 + b"K\x01s.",  # a key of tuples in tuples
        b"\x80\x02]q\x00h\x00a.",  # a list in itself
        b"\x80\x02h\x05.",
        b"\x80\x02t.",
        b"\x80\x02",
        b"\x80\x02c__builtin__\neval\nX\x01\x00\x00\x001\x85R.",
        b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.",
        b"\x80\x02(X\x01\x00\x00\x001ios\nsystem\n.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
        b"\x80\x02\x82\x01.",
        b"\x80\x02}r\xff\xff\xff\xff.",
        b"\x80\x02K\x01.",
        b"",
    ],
)
def test_a_pickle_of_ones_own_is_one_sentence(good: Path, tmp_path: Path, data: bytes) -> None:
    refused_checkpoint(with_pickle(good, tmp_path / "a.ckpt", lambda _: data))


def test_attributes_of_a_mapping_are_refused_checkpoint(
    contents: dict[str, Any], tmp_path: Path
) -> None:
    mapping = OrderedDict(contents["state_dict"])
    mapping.unknown = 3  # type: ignore[attr-defined]
    torch.save({**contents, "state_dict": mapping}, tmp_path / "a.ckpt")
    refused_checkpoint(tmp_path / "a.ckpt", "attributes")


def test_a_checkpoint_from_a_stream_equals_one_from_a_path(contents: dict[str, Any]) -> None:
    """The name of the file does not enter the archive, so equal runs give equal files."""
    one, two = io.BytesIO(), io.BytesIO()
    torch.save(contents, one)
    torch.save(contents, two)
    assert one.getvalue() == two.getvalue()
