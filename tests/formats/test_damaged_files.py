"""Every kind of damage to ROOT, PNG, CSV, Parquet and XML files: one sentence with the cause."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

from simulacra.core import FormatError
from simulacra.formats.base import Format
from simulacra.formats.binning import read_binning
from simulacra.formats.jetclass import JetClassFormat, jetclass
from simulacra.formats.pxd import PxdFormat, pxd
from simulacra.formats.table_columns import columns_of
from simulacra.formats.table_files import TableFiles

uproot: Any = pytest.importorskip("uproot")
Change = Callable[[Path], object]


def changed(start: int, values: bytes) -> Change:
    """Writes other bytes, from the end of the file where ``start`` is negative."""

    def change(path: Path) -> None:
        data = bytearray(path.read_bytes())
        place = start % len(data)
        data[place : place + len(values)] = values
        path.write_bytes(bytes(data))

    return change


def cut(share: float) -> Change:
    return lambda path: os.truncate(path, int(share * path.stat().st_size))


def middle(value: bytes) -> Change:
    def change(path: Path) -> None:
        size = path.stat().st_size
        changed(size // 4, value * (size // 2))(path)

    return change


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


COMMON: dict[str, tuple[Change, str]] = {
    "absent": (Path.unlink, "there is no such file"),
    "a folder": (folder, "this is a folder"),
    "a pipe": (pipe, "this is a named pipe"),
    "gzip": (
        lambda path: path.write_bytes(b"\x1f\x8b\x08\x00rest of it"),
        "packed by gzip: unpack",
    ),
    "a web page": (lambda path: path.write_text("<!DOCTYPE html><html></html>"), "is a web page"),
}
EMPTY: tuple[Change, str] = (lambda path: path.write_bytes(b""), "the file is empty")
JETS = JetClassFormat(jetclass(["QCD"]), ["QCD"])
TABLE = TableFiles(
    "small", columns_of({"x": {}, "n": {"integer": True}, "c": {"classes": ["a", "b"]}})
)
PIXELS = PxdFormat(pxd(["1.1.1"]))


def check(form: Format, path: Path, blamed: Path, message: str) -> None:
    for read in (form.header, form.read, form.check):
        with pytest.raises(FormatError, match=message) as caught:
            read(path)
        assert str(caught.value).startswith(f"{blamed}: ")
        assert "\n" not in str(caught.value)


def branches(tree: Any) -> dict[str, Any]:
    """Arrays of a tree without those that count others."""
    return {item.name: item.array() for item in tree.branches if not item.name.startswith("n")}


def histogram(path: Path) -> None:
    with uproot.recreate(path) as file:
        file["tree"] = np.histogram(np.ones(3))


def text_branch(path: Path) -> None:
    with uproot.open(path) as file:
        arrays = branches(file["tree"])
    with uproot.recreate(path) as file:
        file["tree"] = {**arrays, "jet_pt": ["a", "b", "c"]}


TREES: dict[str, tuple[Change, str]] = {
    **COMMON,
    "empty": EMPTY,
    "other bytes": (lambda path: path.write_text("hello"), "not a ROOT file, it starts with b'hello'"),
    "cut": (cut(0.5), "truncated or damaged, get it again"),
    "only the first bytes": (lambda path: path.write_bytes(b"root"), "truncated or damaged"),
    "a histogram": (histogram, r"'tree' is of class 'TH1D', expected a tree: choose .*data\.format\.tree"),
    "text": (text_branch, "jet_pt"),
    "zeros": (middle(b"\0"), "truncated or damaged, get it again"),
    "other numbers": (middle(b"\xff"), "truncated or damaged, get it again"),
}  # fmt: skip


@pytest.mark.parametrize("damage", TREES)
def test_damage_to_a_tree(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "jets.root"
    JETS.toy(path, 3)
    TREES[damage][0](path)
    check(JETS, path, path, TREES[damage][1])


def test_every_flipped_byte_of_a_tree_is_refused_or_harmless(tmp_path: Path) -> None:
    path = tmp_path / "jets.root"
    JETS.toy(path, 20)  # so many that their numbers are compressed, which has a checksum
    whole, right = path.read_bytes(), JETS.read(path)
    messages = []
    for place in range(60, len(whole), len(whole) // 15):
        changed(place, bytes([whole[place] ^ 0xFF]))(path)
        try:
            assert bool((JETS.read(path).x == right.x).all())
        except FormatError as error:
            messages.append(str(error))
        path.write_bytes(whole)
    assert len(messages) > 5
    assert not any("\n" in message for message in messages)


def test_a_tree_of_another_name_is_read(tmp_path: Path) -> None:
    path = tmp_path / "jets.root"
    with uproot.recreate(path) as file:
        JETS.toy(tmp_path / "toy.root", 3)
        with uproot.open(tmp_path / "toy.root") as toy:
            file["deep/Events"] = branches(toy["tree"])
            file["provenance"] = str(toy["provenance"])
    with pytest.raises(FormatError, match=r"'tree' is missing, found \['deep', 'deep/Events'"):
        JETS.header(path)
    other = JetClassFormat(jetclass(["QCD"]), ["QCD"], tree="deep/Events")
    assert bool((other.read(path).x == JETS.read(tmp_path / "toy.root").x).all())
    other.write(tmp_path / "again.root", other.read(path))
    assert len(other.read(tmp_path / "again.root")) == 3


def stored(mode: str, **changes: int) -> Change:
    """Stores the image in another mode, with one other value in a channel."""

    def change(path: Path) -> None:
        with Image.open(path) as image:
            other = image.convert(mode)
        for channel, value in changes.items():
            band = [*other.getbands()].index(channel)
            pixel = [*other.getpixel((3, 4))]
            pixel[band] = value
            other.putpixel((3, 4), tuple(pixel))
        other.save(path)

    return change


def coloured_palette(path: Path) -> None:
    with Image.open(path) as image:
        other = image.convert("P")
    other.putpalette([value for grey in range(256) for value in (grey, grey, 255 - grey)])
    other.save(path)


def bomb(path: Path) -> None:
    """An image that says it has a hundred thousand pixels on each side."""
    changed(16, (100_000).to_bytes(4, "big") * 2)(path)


IMAGES: dict[str, tuple[Change, str]] = {
    **COMMON,
    "empty": EMPTY,
    "other bytes": (lambda path: path.write_text("hello"), "not a PNG file, it starts with b'hello'"),
    "cut": (cut(0.5), "not a complete PNG image, get it again"),
    "colours": (stored("RGB", R=7), "the image has mode 'RGB', expected 8-bit grey"),
    "transparent": (stored("LA", A=7), "the image has mode 'LA', expected 8-bit grey"),
    "a palette of colours": (coloured_palette, "the image has mode 'P', expected 8-bit grey"),
    "one bit": (stored("1"), "the image has mode '1', expected 8-bit grey"),
    "sixteen bits": (stored("I;16"), "the image has mode 'I;16', expected 8-bit grey"),
    "a bomb": (bomb, "the image has 100000x100000 pixels"),
    "one other byte": (changed(500, b"\x55"), "not a complete PNG image"),
}  # fmt: skip


@pytest.mark.parametrize("damage", sorted(set(IMAGES) - {"absent"}))
def test_damage_to_an_image(damage: str, tmp_path: Path) -> None:
    PIXELS.toy(tmp_path / "events", 1)
    path = tmp_path / "events" / "1.1.1" / "0000000.png"
    IMAGES[damage][0](path)
    check(PIXELS, tmp_path / "events", path, IMAGES[damage][1])


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P"])
def test_grey_values_that_are_stored_as_colours_are_read(mode: str, tmp_path: Path) -> None:
    PIXELS.toy(tmp_path / "events", 1)
    right = PIXELS.read(tmp_path / "events").x
    stored(mode)(tmp_path / "events" / "1.1.1" / "0000000.png")
    assert bool((PIXELS.read(tmp_path / "events").x == right).all())


def test_an_image_that_names_a_sensor_may_not_be_read(tmp_path: Path) -> None:
    PIXELS.toy(tmp_path / "events", 1)
    tmp_path.chmod(0o755)
    (tmp_path / "events" / "1.1.1").chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        with pytest.raises(FormatError, match="it may not be read: ask its owner"):
            PIXELS.header(tmp_path / "events")
    finally:
        os.seteuid(user)
        (tmp_path / "events" / "1.1.1").chmod(0o755)


TEXTS: dict[str, tuple[Change, str]] = {
    **COMMON,
    "semicolons": (
        lambda path: path.write_text("x;n;c\n1;2;a\n"),
        "cells are separated by ';', expected commas",
    ),
    "UTF-16": (lambda path: path.write_text("x,n,c\n", encoding="utf-16"), "is in UTF-16, expected"),
    "ragged": (lambda path: path.write_text("x,n,c\n1,2,a\n1,2\n"), "row 1 has 2 cells, expected 3"),
    "no number": (lambda path: path.write_text("x,n,c\nnan,2,a\n"), "'x' holds nan in row 0"),
    "another script": (
        lambda path: path.write_text("x,n,c\n\u0664,2,a\n", encoding="utf-8"),
        "column 'x' holds '\u0664' in row 0, expected numbers",
    ),
    "an underscore": (lambda path: path.write_text("x,n,c\n1,2_0,a\n"), "'n' holds '2_0' in row 0"),
    "a quote": (lambda path: path.write_text('x,n,c\n"1,2,a\n'), "not a CSV file in UTF-8"),
    "a long cell": (lambda path: path.write_text("x,n,c\n" + "1" * 200_000), "not a CSV file in UTF-8"),
}  # fmt: skip
PARQUETS: dict[str, tuple[Change, str]] = {
    **COMMON,
    "empty": EMPTY,
    "other bytes": (lambda path: path.write_text("hello"), "not a Parquet file, it starts with b'hello'"),
    "cut": (cut(0.5), "not a Parquet file, or a damaged one, get it again"),
    "zeros": (changed(40, bytes(20)), "or a damaged one, get it again"),
    "footer": (changed(-30, b"\xff" * 20), "or a damaged one, get it again"),
}  # fmt: skip


@pytest.mark.parametrize("damage", TEXTS)
def test_damage_to_a_text(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    TABLE.toy(path, 3)
    TEXTS[damage][0](path)
    for read in (TABLE.read, TABLE.check):
        with pytest.raises(FormatError, match=TEXTS[damage][1]) as caught:
            read(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)


def test_a_text_may_begin_with_a_mark_and_a_cut_one_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "table.csv"
    path.write_text("x,n,c\n1.5,2,a\n", encoding="utf-8-sig")
    assert TABLE.read(path).x.tolist() == [[1.5, 2.0, 0.0]]
    assert not caplog.records
    os.truncate(path, path.stat().st_size - 1)
    with caplog.at_level(logging.WARNING):
        TABLE.read(path)
    assert "the end of its last line is missing" in caplog.text


@pytest.mark.parametrize("damage", PARQUETS)
def test_damage_to_a_parquet_file(damage: str, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    path = tmp_path / "table.parquet"
    TABLE.toy(path, 3)
    PARQUETS[damage][0](path)
    with pytest.raises(FormatError, match=PARQUETS[damage][1]) as caught:
        TABLE.check(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", ["h5", "parquet"])
def test_true_and_false_are_no_continuous_numbers(suffix: str, tmp_path: Path) -> None:
    path, flags = tmp_path / f"table.{suffix}", np.array([True, False])
    if suffix == "h5":
        with h5py.File(path, "w") as file:
            file["x"] = flags
    else:
        arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        parquet.write_table(arrow.table({"x": flags}), path)
    with pytest.raises(FormatError, match="'x' holds 'True' in row 0, expected numbers, not true"):
        TableFiles("small", columns_of({"x": {}})).read(path)
    whole = TableFiles("small", columns_of({"x": {"integer": True}})).read(path)
    assert whole.x.tolist() == [[1.0], [0.0]]


LAYER = '<Layer id="{}" r_edges="{}" n_bin_alpha="{}"/>'


def layer(number: object = 0, edges: str = "0,5", angles: object = 2) -> str:
    return f"<Bins><Bin>{LAYER.format(number, edges, angles)}</Bin></Bins>"


XMLS: dict[str, tuple[Change, str]] = {
    **COMMON,
    "a bomb": (
        lambda path: path.write_text(
            '<!DOCTYPE b [<!ENTITY a "x">' + "".join(
                f'<!ENTITY {name} "{"&" + before + ";" * 1}{f"&{before};" * 9}">'
                for before, name in zip("abcdefgh", "bcdefghi", strict=True)
            ) + "]><Bins>&i;</Bins>"
        ),
        "a binning file needs no <!DOCTYPE b>",
    ),
    "another file": (
        lambda path: path.write_text(
            '<!DOCTYPE b [<!ENTITY x SYSTEM "file:///etc/hostname">]><Bins>&x;</Bins>'
        ),
        "a binning file needs no <!DOCTYPE b>",
    ),
    "cut": (cut(0.5), "is not XML"),
    "no end of angles": (lambda path: path.write_text(layer(angles=10**9)), "1,000,000,000 voxels"),
    "no number": (lambda path: path.write_text(layer(edges="0,nan")), "no finite numbers"),
    "an unknown encoding": (
        lambda path: path.write_text('<?xml version="1.0" encoding="nonsense"?><Bins/>'), "is not XML"
    ),
    "no text": (lambda path: path.write_bytes(b'<?xml version="1.0"?><Bins \xff/>'), "is not XML"),
    "a megabyte": (lambda path: path.write_text(" " * 2**21), "2,097,152 bytes, expected 1,048,576"),
}  # fmt: skip


@pytest.mark.parametrize("damage", sorted(set(XMLS) - {"a web page", "gzip", "absent"}))
def test_damage_to_a_binning_file(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "bins.xml"
    path.write_text(layer())
    assert read_binning(path).n_voxels == 2
    XMLS[damage][0](path)
    with pytest.raises(FormatError, match=XMLS[damage][1]) as caught:
        read_binning(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
