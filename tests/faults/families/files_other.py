"""Files that are no HDF5: images, tables as text or Parquet, ROOT trees."""

from __future__ import annotations

import datetime
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from faults import hurt
from faults.case import Case
from faults.families.files import read_case


def _first(folder: Path) -> Path:
    return sorted(folder.rglob("*.png"))[0]


def _image(change: Callable[[Image.Image], Image.Image]) -> hurt.Hurt:
    def damage(folder: Path, rng: random.Random) -> None:
        path = _first(folder)
        with Image.open(path) as image:
            change(image).save(path)

    return damage


def _bytes(damage: hurt.Hurt) -> hurt.Hurt:
    return lambda folder, rng: damage(rng.choice(sorted(folder.rglob("*.png"))), rng)


def _uneven(image: Image.Image) -> Image.Image:
    values = np.asarray(image.convert("RGB")).copy()
    values[0, 0] = (1, 2, 3)
    return Image.fromarray(values)


def _folder_as_image(folder: Path) -> None:
    path = _first(folder)
    path.unlink()
    path.mkdir()


def _bomb(folder: Path, rng: random.Random) -> None:
    Image.new("L", (20000, 20000)).save(_first(folder))


PICTURES: dict[str, hurt.Hurt] = {
    "rgb": _image(lambda image: image.convert("RGB")),
    "rgb_uneven": _image(_uneven),
    "palette": _image(lambda image: image.convert("P")),
    "alpha": _image(lambda image: image.convert("LA")),
    "sixteen_bits": _image(lambda image: image.convert("I;16")),
    "one_bit": _image(lambda image: image.convert("1")),
    "transposed": _image(lambda image: image.transpose(Image.Transpose.TRANSPOSE)),
    "padded": _image(lambda image: image.crop((0, 0, 768, 256))),
    "small": _image(lambda image: image.resize((10, 10))),
    "bomb": _bomb,
    "missing": lambda folder, rng: _first(folder).unlink(),
    "missing_sensor": lambda folder, rng: _first(folder).parent.rename(folder / "other"),
    "jpeg": lambda folder, rng: Image.new("L", (768, 250)).save(_first(folder), "JPEG"),
    "hidden": lambda folder, rng: (folder / ".ipynb_checkpoints").mkdir(),
    "extra": lambda folder, rng: (folder / "notes.txt").write_text("x"),
    "extra_sensor": lambda folder, rng: (folder / "9.9.9").mkdir(),
    "empty": lambda folder, rng: [path.unlink() for path in folder.rglob("*.png")],
    "folder_as_image": lambda folder, rng: _folder_as_image(folder),
}


def images() -> Iterator[Case]:
    """PNG folders."""
    for name, damage in PICTURES.items():
        yield read_case("png", name, name.replace("_", " "), damage)
    for number in range(8):
        yield read_case("png", f"flipped_{number}", "a flipped bit", _bytes(hurt.flipped))
        yield read_case("png", f"scribbled_{number}", "random bytes", _bytes(hurt.scribbled))
    for fraction in hurt.FRACTIONS:
        yield read_case("png", f"cut_{fraction}", f"cut to {fraction}", _bytes(hurt.cut(fraction)))
    for name, contents in hurt.FOREIGN.items():
        yield read_case("png", name, f"{name} in its place", _bytes(hurt.replaced(contents)))


def _lines(change: Callable[[list[str]], list[str]]) -> hurt.Hurt:
    def damage(path: Path, rng: random.Random) -> None:
        text = change(path.read_text().splitlines())
        path.write_text("\n".join(text) + "\n", encoding="utf-8")

    return damage


def _cell(value: str, column: int = 0) -> hurt.Hurt:
    def changed(lines: list[str]) -> list[str]:
        row = next(i for i, line in enumerate(lines) if i > 2 and not line.startswith("#"))
        cells = lines[row].split(",")
        cells[column] = value
        return [*lines[:row], ",".join(cells), *lines[row + 1 :]]

    return _lines(changed)


def _header(change: Callable[[str], str]) -> hurt.Hurt:
    def changed(lines: list[str]) -> list[str]:
        row = next(i for i, line in enumerate(lines) if not line.startswith("#"))
        return [*lines[:row], change(lines[row]), *lines[row + 1 :]]

    return _lines(changed)


def _ragged(lines: list[str]) -> list[str]:
    return [*lines[:5], lines[5] + ",7", *lines[6:]]


def _short(lines: list[str]) -> list[str]:
    return [*lines[:5], lines[5].rpartition(",")[0], *lines[6:]]


TEXTS: dict[str, hurt.Hurt] = {
    **{
        f"cell_{name}": _cell(value)
        for name, value in {
            "text": "ten", "empty": "", "nan": "nan", "inf": "inf", "negative": "-5", "huge": "1e400",
            "comma": '"1,5"', "formula": "=1+1", "hex": "0x10", "underscore": "1_0", "quote": '"',
            "space": " ",
            "null": "\x00", "true": "True", "missing": "NA", "arabic": "١٢",
        }.items()
    },
    "fraction_for_a_whole_number": _cell("2.5", 2),
    "whole_number_below_its_bound": _cell("0", 2),
    "ragged": _lines(_ragged),
    "short_row": _lines(_short),
    "header_missing": _header(lambda line: "1,2,3,4"),
    "header_renamed": _header(lambda line: line.replace("gen_mults", "mults")),
    "header_twice": _header(lambda line: line.replace("gen_angle", "gen_mults")),
    "header_with_semicolons": _header(lambda line: line.replace(",", ";")),
    "only_a_header": _lines(lambda lines: lines[:1]),
    "no_rows": _lines(lambda lines: []),
    "blank_lines": _lines(lambda lines: [*lines[:6], "", *lines[6:]]),
    "semicolons": _lines(lambda lines: [line.replace(",", ";") for line in lines]),
    "tabs": _lines(lambda lines: [line.replace(",", "\t") for line in lines]),
    "windows": lambda path, rng: path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n")),
    "byte_order_mark": lambda path, rng: path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes()),
    "utf16": lambda path, rng: path.write_bytes(path.read_text().encode("utf-16")),
    "endless_line": lambda path, rng: path.write_text("a" * 5_000_000),
    "open_quote": _lines(lambda lines: [*lines[:5], '"' + lines[5], *lines[6:]]),
}  # fmt: skip


def texts() -> Iterator[Case]:
    """Tables as CSV."""
    for name, damage in TEXTS.items():
        yield read_case("csv", name, name.replace("_", " "), damage)
    for fraction in hurt.FRACTIONS:
        yield read_case("csv", f"cut_{fraction}", f"cut to {fraction}", hurt.cut(fraction))
    for number in range(6):
        yield read_case("csv", f"scribbled_{number}", "random bytes", hurt.scribbled)
        yield read_case("csv", f"zeroed_{number}", "zeroed bytes", hurt.zeroed)


def _parquet(change: Callable[[dict[str, list]], dict[str, object]]) -> hurt.Hurt:
    def damage(path: Path, rng: random.Random) -> None:
        import pyarrow
        import pyarrow.parquet

        table = pyarrow.parquet.read_table(path)
        pyarrow.parquet.write_table(pyarrow.table(change(table.to_pydict())), path)

    return damage


PARQUET: dict[str, hurt.Hurt] = {
    "missing_column": _parquet(lambda t: dict(list(t.items())[1:])),
    "no_columns": _parquet(lambda t: {}),
    "no_rows": _parquet(lambda t: {k: v[:0] for k, v in t.items()}),
    "text": _parquet(lambda t: {**t, next(iter(t)): ["a"] * len(next(iter(t.values())))}),
    "nulls": _parquet(lambda t: {**t, next(iter(t)): [None, *next(iter(t.values()))[1:]]}),
    "nan": _parquet(lambda t: {**t, next(iter(t)): [float("nan"), *next(iter(t.values()))[1:]]}),
    "lists": _parquet(lambda t: {**t, next(iter(t)): [[v] for v in next(iter(t.values()))]}),
    "dates": _parquet(lambda t: {**t,
    next(iter(t)): [datetime.date(2020, 1, 1)] * len(next(iter(t.values())))}),
    "booleans": _parquet(lambda t: {**t, next(iter(t)): [True] * len(next(iter(t.values())))}),
    "huge": _parquet(lambda t: {**t, next(iter(t)): [1e300, *next(iter(t.values()))[1:]]}),
}  # fmt: skip


def _tree(
    change: Callable[[dict[str, np.ndarray]], dict[str, object]], name: str = "tree"
) -> hurt.Hurt:
    def damage(path: Path, rng: random.Random) -> None:
        import uproot

        with uproot.open(path) as file:
            tree = file["tree"]
            arrays = {
                key: tree[key].array() for key in sorted(tree.keys()) if not key.startswith("n")
            }
        with uproot.recreate(path) as file:
            file[name] = change(arrays)

    return damage


def _histogram(path: Path, rng: random.Random) -> None:
    import uproot

    with uproot.recreate(path) as file:
        file["tree"] = np.histogram(np.arange(10.0), 3)


def _label(path: Path, rng: random.Random) -> None:
    import uproot

    with uproot.recreate(path) as file:
        file["tree"] = "a text"


def _without(key: str) -> Callable[[dict[str, np.ndarray]], dict[str, object]]:
    return lambda arrays: {k: v for k, v in arrays.items() if k != key}


TREES: dict[str, hurt.Hurt] = {
    "another_name": _tree(lambda arrays: arrays, "Events"),
    "missing_branch": _tree(_without("part_energy")),
    "missing_label": _tree(_without("label_Tbqq")),
    "flat_for_jagged": _tree(lambda a: {**a, "part_energy": a["jet_pt"]}),
    "jagged_for_flat": _tree(lambda a: {**a, "jet_pt": a["part_energy"]}),
    "no_events": _tree(lambda a: {k: v[:0] for k, v in a.items()}),
    "nan": _tree(lambda a: {**a, "jet_pt": a["jet_pt"] * np.float32("nan")}),
    "negative": _tree(lambda a: {**a, "part_energy": -a["part_energy"]}),
    "weight": _tree(lambda a: {**a, "weight": a["jet_pt"]}),
    "histogram": _histogram,
    "label": _label,
}


def cases() -> list[Case]:
    """All of the family."""
    found = [*images(), *texts()]
    found += [read_case("parquet", n, n.replace("_", " "), damage) for n, damage in PARQUET.items()]
    return found + [
        read_case("root", n, n.replace("_", " "), damage) for n, damage in TREES.items()
    ]
