"""Figures as files: the formats that are asked for, panels by themselves, the same bytes every time."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from simulacra.core import Batch
from simulacra.metrics import EvaluationResult, Evaluator
from simulacra.tracking.draw import Files, write

SETTINGS = {"formats": ["png"], "panels": False, "style": "plain", "label": None, "dpi": 50}


def figure() -> Figure:
    made = Figure(figsize=(3, 2))
    ax = made.subplots()
    ax.plot(np.arange(5), label="line")
    ax.fill_between([0, 1], [0, 1], hatch="/")
    ax.set_xlabel(r"$E_\mathrm{inc}$ [MeV]")
    return made


@pytest.fixture
def result(toy) -> EvaluationResult:  # type: ignore[no-untyped-def]
    module = toy("ds1_photons")
    batch = Batch.cat([module.batch(100, part) for part in ("train", "test")])
    found = Evaluator(batch[:70], module.observables, scores={})(batch[70:])
    few = dict(islice(found.histograms.items(), 8))  # seven of the layers' energies and sparsities
    images = dict(islice(found.images.items(), 1))
    return replace(found, histograms=few, images=images, response=())


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_figure_drawn_twice_gives_the_same_bytes_in_every_format(tmp_path: Path) -> None:
    files = Files(("pdf", "svg", "png"), dpi=50)
    for folder in ("first", "second"):
        found = files.write([("a/b", figure())], tmp_path / folder)
        assert found == {"a/b": tmp_path / folder / "a_b.png"}
    kinds = {"a_b.pdf", "a_b.svg", "a_b.png"}
    assert names(tmp_path / "first") == names(tmp_path / "second") == kinds
    for name in kinds:
        first, second = ((tmp_path / folder / name).read_bytes() for folder in ("first", "second"))
        assert first == second, name
        assert len(first) > 1000
    assert (tmp_path / "first" / "a_b.pdf").read_bytes().startswith(b"%PDF")
    assert b"CreationDate" not in (tmp_path / "first" / "a_b.pdf").read_bytes()
    assert b"<dc:date>" not in (tmp_path / "first" / "a_b.svg").read_bytes()


@pytest.mark.parametrize("dpi", [50, 100])
def test_the_resolution_of_png_is_what_was_asked_for(dpi: int, tmp_path: Path) -> None:
    Files(dpi=dpi).write([("a", figure())], tmp_path)
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (3 * dpi, 2 * dpi)


def test_pages_are_png_in_any_case_and_panels_only_what_is_asked_for(
    result: EvaluationResult, tmp_path: Path
) -> None:
    files = Files.of({**SETTINGS, "formats": ["svg", "svg"], "panels": True, "dpi": 30})
    assert files.formats == ("svg",)
    pages = files.publish(result, "model", [("training", figure())], tmp_path)
    assert pages.keys() >= {"observables_1", "profiles", "images", "training"}
    assert all(path.suffix == ".png" and path.is_file() for path in pages.values())
    written = names(tmp_path)
    assert {f"{name}.svg" for name in pages} < written
    for name in result.histograms:
        assert f"panels/{name}.svg" in written
    for name in result.profiles:
        assert f"panels/profile_{name}.svg" in written
    for name in result.images:
        assert f"panels/image_{name}.svg" in written
    assert not any(name.startswith("panels/") and name.endswith(".png") for name in written)


def test_without_panels_there_are_pages_alone(result: EvaluationResult, tmp_path: Path) -> None:
    pages = Files.of({**SETTINGS, "dpi": 30}).publish(result, "model", [], tmp_path)
    assert names(tmp_path) == {f"{name}.png" for name in pages}


def test_numbers_are_plain_text_and_powers_of_ten_before_an_axis_formulas(tmp_path: Path) -> None:
    made = Figure(figsize=(4, 3))
    flat, steep = made.subplots(1, 2)
    flat.plot([-2.0, 3.0], [1e6, 9e6])
    steep.semilogx([1, 1e4], [0, 1])
    power = steep.xaxis.get_major_formatter()
    write(made, tmp_path, "a", ("png",), 50)
    texts = [label.get_text() for label in flat.get_xticklabels()]
    assert "2" in texts
    assert "\N{MINUS SIGN}2" in texts
    assert "4" in [label.get_text() for label in flat.get_yticklabels()]
    assert flat.yaxis.get_offset_text().get_text() == r"$\times\mathdefault{10^{6}}\mathdefault{}$"
    assert steep.xaxis.get_major_formatter() is power
