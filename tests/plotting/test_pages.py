"""Pages beside histograms: images, correlations, response, scans, the course of a training; and styles."""

from __future__ import annotations

from itertools import pairwise

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from simulacra.core import Field
from simulacra.metrics.protocols.scans import Curve as Line
from simulacra.metrics.protocols.scans import Scan
from simulacra.physics.base import Axis
from simulacra.plotting.correlation import correlation_page
from simulacra.plotting.histogram import counted, histogram_page
from simulacra.plotting.image import GREY, Raster, image_page
from simulacra.plotting.response import Curve, response_page
from simulacra.plotting.scan import scan_page
from simulacra.plotting.style import styled
from simulacra.plotting.training import training_page

LABELS = ("Geant4, ds2", "model")


def legend_texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_images_say_what_lies_beyond_their_colours_and_what_grey_is() -> None:
    edges = np.linspace(0.0, 4.0, 5)
    truth = np.full((4, 4), 1.0)
    truth[0] = [1e3, 10.0, 1e-4, 0.0]
    made = truth.copy()
    made[0, 0], made[1, 1] = 5e3, 40.0
    raster = Raster("layer 0", truth, made, (edges, edges), ("x [mm]", "y [mm]"), "MeV", False)
    figure = image_page([raster], LABELS)
    bars = {ax.get_ylabel(): ax._colorbar for ax in figure.axes if hasattr(ax, "_colorbar")}
    extends = [ax._colorbar.extend for ax in figure.axes if hasattr(ax, "_colorbar")]
    assert extends == ["min", "both", "max"]
    assert set(bars) == {"mean [MeV]", "generated / truth − 1"}
    assert legend_texts(figure) == [GREY]
    titles = [ax.get_title() for ax in figure.axes if ax.get_title()]
    assert titles == ["layer 0: Geant4, ds2", "layer 0: model", "layer 0"]


@pytest.mark.parametrize(
    ("axis", "names"),
    [
        ("distance from the jet axis [rad]", tuple(f"{k / 20:g}" for k in range(20))),
        ("layer", tuple(map(str, range(45)))),
        ("layer", ("0", "1", "2", "3", "12")),
        ("", tuple(f"a scalar of the jets {k}" for k in range(18))),
        ("", ("mass of $t$", "jet $p_T$")),
    ],
)
def test_names_of_a_correlation_page_fit_and_do_not_meet(axis: str, names: tuple[str, ...]) -> None:
    n = len(names)
    matrix = np.eye(n)
    with styled():
        figure = correlation_page(axis, names, matrix, 0.9 * matrix, LABELS)
    figure.draw_without_rendering()
    frame = figure.bbox
    maps = [ax for ax in figure.axes if ax.images]
    assert [ax.get_title() for ax in maps] == [*LABELS, "generated − truth"]
    wide = maps[0].get_window_extent()
    assert min(wide.width, wide.height) > 3 * figure.dpi  # inches
    for ax in maps:
        for labels, low, high in (
            (ax.get_xticklabels(), "x0", "x1"),
            (ax.get_yticklabels(), "y0", "y1"),
        ):
            boxes = [text.get_window_extent() for text in labels if text.get_text()]
            assert all(getattr(a, high) < getattr(b, low) + 1 for a, b in pairwise(boxes))
            assert all(frame.x0 <= b.x0 and frame.y0 <= b.y0 for b in boxes)
    bars = [child.yaxis.label.get_window_extent() for ax in maps for child in ax.child_axes]
    assert all(item.x1 <= frame.x1 for item in bars)
    others = [
        text.get_window_extent()
        for ax in maps[1:]
        for text in ax.get_yticklabels()
        if text.get_text()
    ]
    assert not any(bar.overlaps(other) for bar in bars for other in others)


def test_differences_of_correlations_are_scaled_by_those_between_rows() -> None:
    truth, made = np.eye(3), np.eye(3)
    made[2, 2] = 0.0  # a row that never varies
    made[0, 1] = made[1, 0] = 0.2
    maps = [ax for ax in correlation_page("layer", "012", truth, made).axes if ax.images]
    assert maps[2].images[0].get_clim() == (-0.2, 0.2)


def test_response_names_its_quantity_and_marks_what_lies_beyond() -> None:
    asked = np.array([256.0, 512.0, 65536.0])
    error = np.full(3, 0.001)
    curve = Curve("mean", (np.ones(3), error), (np.array([1.0, 1.01, 3.0]), error))
    figure = response_page(asked, "E [MeV]", [curve], LABELS, (100, 90))
    main, ratio = figure.axes
    assert (main.get_ylabel(), ratio.get_xlabel(), main.get_xscale()) == ("mean", "E [MeV]", "log")
    assert ratio.get_ylim() == (0.0, 2.0)
    assert [list(line.get_xdata()) for line in ratio.lines if line.get_marker() == "^"] == [[65536]]
    assert legend_texts(figure) == ["Geant4, ds2 (100 events)", "model (90 events)"]


def test_a_scan_has_ratios_a_logarithmic_axis_and_a_legend_of_all_that_is_drawn() -> None:
    field = Field("incident_energy", "MeV", low=1.0, high=1e4, log=True, role="energy")
    values = torch.tensor([1.0, 10.0, 100.0, 1000.0], dtype=torch.float64)
    truth = (values[1:3], torch.tensor([20.0, 200.0]), torch.tensor([1.0, 150.0]))
    curve = Line("e", (2.2 * values, 0.1 * values), truth)
    scan = Scan(field, values, (10.0, 100.0), (curve,), ({},) * 4, {})
    figure = scan_page(scan, {"e": Axis("visible energy", "MeV")}, LABELS, "$E$")
    main, ratio = figure.axes
    assert (main.get_yscale(), main.get_xscale()) == ("log", "log")
    assert main.get_ylabel() == "mean of visible energy [MeV]"
    assert ratio.get_xlabel() == "$E$ [MeV]"
    (points,) = (bar for bar in ratio.containers if bar.lines[0] is not None)
    assert points.lines[0].get_xydata().tolist() == [
        [10.0, pytest.approx(1.1)]
    ]  # the other is blurred
    assert legend_texts(figure) == ["Geant4, ds2", "model, the same noise", "range of the training"]
    free = scan_page(Scan(field, values, None, (curve,), ({},) * 4, {}), {"e": Axis("e")}, LABELS)
    assert len(legend_texts(free)) == 2


def test_the_course_of_a_training_has_a_panel_for_each_kind_of_figure() -> None:
    steps = np.arange(1.0, 5.0)
    figure = training_page(
        {
            "loss": {"train/loss": (steps, 100 / steps**3), "val/loss": (steps, steps)},
            "AUC": {"val/boosted_auc": (steps, np.full(4, 0.7))},
        }
    )
    loss, auc = figure.axes
    assert (loss.get_ylabel(), loss.get_yscale(), auc.get_yscale()) == ("loss", "log", "linear")
    assert [line.get_label() for line in loss.lines] == ["train/loss", "val/loss"]
    assert list(auc.lines[0].get_ydata()) == [0.7] * 4


@pytest.mark.parametrize(("style", "name"), [("cms", "CMS"), ("atlas", "ATLAS")])
def test_a_style_puts_the_experiment_above_the_legend_and_leaves_no_settings(
    style: str, name: str
) -> None:
    before = dict(mpl.rcParams)
    contents = np.array([5.0, 9.0, 4.0])
    item = counted("energy", "MeV", np.arange(4.0), contents, contents, False)
    with styled(style, "Simulation"):
        figure = histogram_page([item], LABELS)
        assert mpl.rcParams["xtick.minor.visible"]
    assert dict(mpl.rcParams) == before
    texts = figure.texts
    assert [text.get_text() for text in texts] == [name, "Simulation"]
    first, second = (text.get_window_extent() for text in texts)
    legend = figure.legends[0].get_window_extent()
    assert first.x1 < second.x0
    assert legend.y1 <= min(first.y0, second.y0) + 2
    assert legend.y0 >= figure.axes[0].get_window_extent().y1 - 2
    with styled(style):
        assert not histogram_page([item], LABELS).texts
