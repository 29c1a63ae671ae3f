"""Figures of an evaluation: all there, drawn, and nothing left behind."""

from __future__ import annotations

import io
from itertools import pairwise

import matplotlib as mpl
import matplotlib.colors as mcolors
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure

from simulacra.core import Batch
from simulacra.metrics import Evaluator
from simulacra.plotting import figures
from simulacra.plotting.curves import Level, curves
from simulacra.plotting.figures import chosen
from simulacra.plotting.histogram import counted, draw, histogram_pages
from simulacra.plotting.marks import plain_marks
from simulacra.plotting.style import NETWORKS, styled
from simulacra.tracking.captions import caption


def drawn(figure: Figure, dpi: int = 40) -> np.ndarray:
    figure.savefig(buffer := io.BytesIO(), format="png", dpi=dpi)
    buffer.seek(0)
    return plt.imread(buffer)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("ds1_photons", {"profiles", "images", "response", "response_shapes", "correlation"}),
        ("jetnet30", {"profiles", "images", "correlation"}),
        pytest.param("pxd_small", {"profiles", "images", "correlation"}, marks=pytest.mark.grid),
    ],
)
def test_every_figure_is_drawn_and_pyplot_stays_empty(name: str, wanted: set[str], toy) -> None:  # type: ignore[no-untyped-def]
    module = toy(name)
    batch = Batch.cat([module.batch(100, part) for part in ("train", "test")])
    half = len(batch) // 2
    if "response" in wanted:  # a response bin needs 30 events
        batch.cond["incident_energy"].fill_(1024.0)
    before = dict(mpl.rcParams)
    result = Evaluator(batch[:half], module.observables, scores={})(batch[half:])
    found = figures(result, "my model")
    assert wanted | {"observables_1"} <= set(found)
    assert all(caption(page)[1] for page in found), "a figure without a caption"
    few = figures(result, "my model", chosen_pages=lambda page: page == "images")
    assert list(few) == ["images"]
    texts = [text.get_text() for text in found["observables_1"].legends[0].get_texts()]
    assert texts[0].startswith(f"{module.spec.simulator}, {name} (")
    assert texts[1].startswith("my model (")
    for figure in found.values():
        pixels = drawn(figure)
        assert pixels.std() > 0.02, "an empty figure"
    assert not plt.get_fignums()
    assert dict(mpl.rcParams) == before


def logarithmic() -> Figure:
    with styled():
        figure = Figure(figsize=(6, 3))
        main, ratio, cells, short = figure.subplots(1, 4)
        ratio.sharex(main)
        main.loglog([3e-3, 5e3], [2e-4, 7e2])
        ratio.semilogy([1, 2], [1e3, 2])
        image = cells.imshow([[1.0, 20.0], [3e3, 4e5]], norm=mcolors.LogNorm())
        figure.colorbar(image, ax=cells)
        short.semilogx([2, 7], [1, 2])  # numbers between powers of ten
    return figure


def test_small_ticks_as_markers_are_the_same_pixels() -> None:
    plain, light = logarithmic(), logarithmic()
    with styled():
        plain_marks(light)
        assert not light.axes[0].get_xticks(minor=True).size
        assert not light.axes[1].get_yticks(minor=True).size
        assert light.axes[3].get_xticks(minor=True).size
        np.testing.assert_array_equal(drawn(light, 150), drawn(plain, 150))


def test_a_panel_shows_counts_errors_and_unit() -> None:
    edges = np.linspace(0, 4, 5)
    panel = counted(
        "energy",
        "MeV",
        edges,
        np.array([40.0, 100, 60, 0]),
        np.array([20.0, 55, 25, 0]),
        log_x=False,
    )
    assert panel.reference.sum() == pytest.approx(1)
    assert panel.reference_error[1] == pytest.approx(0.1 * panel.reference[1])
    figure = Figure()
    main, ratio = figure.subplots(2, 1, sharex=True)
    draw(main, ratio, panel)
    assert ratio.get_xlabel() == "energy [MeV]"
    steps = [patch.get_data().values for patch in ratio.patches]
    np.testing.assert_allclose(steps[-1][:3], [1.0, 1.1, 5 / 6])
    assert np.isnan(steps[-1][3]), "no ratio where the truth is empty"
    assert ratio.get_ylim()[0] < 5 / 6
    assert ratio.get_ylim()[1] > 1.1


@pytest.mark.parametrize(("low", "high"), [(300.0, 8000.0), (200.0, 700.0)])
def test_numbers_of_a_logarithmic_axis_do_not_overlap_and_there_are_some(
    low: float, high: float
) -> None:
    edges = np.geomspace(low, high, 6)
    panel = counted("energy", "MeV", edges, np.full(5, 100.0), np.full(5, 90.0), log_x=True)
    figure = Figure(figsize=(2.9, 2.6))
    main, ratio = figure.subplots(2, 1, sharex=True)
    draw(main, ratio, panel)
    drawn(figure)
    texts = ratio.get_xticklabels() + ratio.get_xticklabels(minor=True)
    shown = [text for text in texts if text.get_text() and low <= text.get_position()[0] <= high]
    boxes = sorted((text.get_window_extent() for text in shown), key=lambda box: box.x0)
    assert boxes
    assert all(left.x1 <= right.x0 for left, right in pairwise(boxes))


def test_families_of_layers_are_thinned_and_singles_come_first() -> None:
    names = [
        "energy_layer_0",
        "ratio",
        *[f"energy_layer_{i}" for i in range(1, 45)],
        "brightest_1_layer_0",
    ]
    found = chosen(names)
    assert found[:2] == ["ratio", "brightest_1_layer_0"]
    assert found[2:] == [f"energy_layer_{i}" for i in (0, 9, 18, 26, 35, 44)]


def test_networks_are_a_band_around_their_mean_in_both_panels_and_in_the_legend() -> None:
    edges = np.linspace(0, 4, 5)
    truth, mean = np.array([40.0, 100, 60, 20]), np.array([0.2, 0.5, 0.2, 0.1])
    panel = counted("energy", "MeV", edges, truth, truth, False, networks=(mean, 0.1 * mean))
    figure = Figure()
    main, ratio = figure.subplots(2, 1, sharex=True)
    draw(main, ratio, panel)
    bands = [
        patch.get_data()
        for ax in (main, ratio)
        for patch in ax.patches
        if mcolors.same_color(patch.get_facecolor()[:3], NETWORKS)
    ]
    np.testing.assert_allclose(bands[0].values, 1.1 * mean)
    np.testing.assert_allclose(bands[0].baseline, 0.9 * mean)
    np.testing.assert_allclose(bands[1].values, 1.1 * mean / (truth / truth.sum()))
    (page,) = histogram_pages([panel], networks=7)
    assert page.legends[0].get_texts()[-1].get_text() == "spread of 7 networks"
    (plain,) = histogram_pages([counted("energy", "MeV", edges, truth, truth, False)])
    assert len(plain.legends[0].get_texts()) == 3


def test_figures_over_a_number_have_a_panel_each_and_a_line_for_every_way_of_training() -> None:
    lines = {
        "scratch": {1000.0: [Level(0.1, 0.01), Level(0.6, None)], 100.0: [Level(0.4, 0.1), None]},
        "tuned": {100.0: [Level(0.2, 0.02), Level(0.7, None)]},
    }
    figure = curves(lines, ["mean W1", "AUC"], [0.05, None], "showers")
    first, second = figure.axes
    assert [(ax.get_ylabel(), ax.get_xlabel()) for ax in figure.axes] == [
        ("mean W1", "showers"),
        ("AUC", "showers"),
    ]
    scratch, tuned = (container.lines[0] for container in first.containers)
    assert (list(scratch.get_xdata()), list(scratch.get_ydata())) == ([100, 1000], [0.4, 0.1])
    assert (list(tuned.get_xdata()), list(tuned.get_ydata())) == ([100], [0.2])
    assert [text.get_text() for text in first.get_legend().get_texts()] == [
        "truth against truth",
        "scratch",
        "tuned",
    ]
    assert list(second.containers[0].lines[0].get_xdata()) == [1000]  # what is missing is left out
    assert len(second.lines) == len(first.lines) - 1  # no floor
    assert drawn(figure).std() > 0.02
