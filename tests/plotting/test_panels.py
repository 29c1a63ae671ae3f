"""What a panel of a histogram shows: scales, ratios within one range, marks beyond it, names of bins."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simulacra.metrics.engine.agreement import Agreement
from simulacra.plotting.figures import agreed
from simulacra.plotting.histogram import Panel, counted, draw, histogram_page
from simulacra.plotting.style import HALVES, shared, spaced

EDGES = np.linspace(0.0, 10.0, 11)


def panel(reference: list[float], generated: list[float] | None = None, **changes: object) -> Panel:
    truth, made = np.array(reference), np.array(generated or reference)
    edges = np.linspace(0.0, len(truth), len(truth) + 1)
    return replace(counted("energy", "MeV", edges, truth, made, False), **changes)


def drawn(item: Panel, half: float | None = None) -> tuple[Axes, Axes]:
    main, ratio = Figure(figsize=(4, 3)).subplots(2, 1, sharex=True)
    draw(main, ratio, item, half)
    return main, ratio


def marks(ratio: Axes, marker: str) -> list[tuple[float, float]]:
    lines = [line for line in ratio.lines if line.get_marker() == marker]
    return [tuple(point) for line in lines for point in line.get_xydata()]


def test_ratios_beyond_the_range_are_marked_at_its_edge() -> None:
    item = panel(
        [1e4] * 4,
        [1e4, 4e4, 100.0, 1.1e4],
    )
    _, ratio = drawn(item, 0.5)
    assert ratio.get_ylim() == (0.5, 1.5)
    value = item.ratio[0]
    assert value[1] > 1.5
    assert value[2] < 0.5
    (up,), down = marks(ratio, "^"), marks(ratio, "v")
    assert up[0] == 1.5
    assert 1.4 < up[1] < 1.5
    assert 2.5 in [x for x, _ in down]
    assert all(0.5 < y < 0.6 for _, y in down)


def test_a_ratio_within_the_range_has_no_mark() -> None:
    _, ratio = drawn(panel([1e4] * 4), 0.1)
    assert not marks(ratio, "^")
    assert not marks(ratio, "v")


def test_panels_of_a_page_share_the_range_that_three_of_four_need() -> None:
    good, bad = panel([1e6] * 4), panel([1e4] * 4, [1e4, 1e4, 1e4, 4e4])
    assert good.reach == HALVES[0]
    assert bad.reach == HALVES[-1]
    ratios = histogram_page([good, good, good, bad]).axes[1::2]
    assert [ax.get_ylim() for ax in ratios] == [(1 - HALVES[0], 1 + HALVES[0])] * 4
    assert marks(ratios[-1], "^")
    assert shared([0.1]) == 0.1
    assert shared([1.0, 0.1]) == 1.0


@pytest.mark.parametrize(
    ("contents", "scale"),
    [
        ([10.0, 30, 40, 30, 10, 5], "linear"),
        ([2.0, 5, 960, 5, 2, 1], "log"),  # a heap: nothing else would be seen
        ([1000.0, 0, 0, 0, 0, 0], "linear"),  # a heap alone
        ([5e4, *np.geomspace(4e4, 1, 19)], "log"),  # a falling spectrum
        ([*np.geomspace(4e4, 1, 19)][::-1], "linear"),
    ],
)
def test_the_vertical_axis_is_logarithmic_where_it_must_be(
    contents: list[float], scale: str
) -> None:
    main, _ = drawn(panel(contents))
    assert main.get_yscale() == scale
    low, high = main.get_ylim()
    shares = np.array(contents) / sum(contents)
    assert low <= shares[shares > 0].min() or scale == "linear"
    assert high > shares.max()


def test_the_range_of_a_logarithmic_panel_ends_where_its_content_does() -> None:
    contents = np.zeros(100)
    contents[[40, 50, 60]] = [1.0, 1000.0, 1.0]
    main, _ = drawn(panel(list(contents)))
    assert main.get_yscale() == "log"
    assert main.get_xlim() == (39.0, 62.0)


def test_layers_have_their_numbers_under_their_bins() -> None:
    names = ("0", "1", "2", "3", "12")
    main, ratio = drawn(panel([3.0, 5.0, 9.0, 4.0, 1.0], names=names))
    assert [text.get_text() for text in ratio.get_xticklabels()] == list(names)
    assert list(ratio.get_xticks()) == [0.5, 1.5, 2.5, 3.5, 4.5]
    assert main.get_xlim() == (0.0, 5.0)
    many = tuple(map(str, range(45)))
    _, ratio = drawn(panel([1.0] * 45, names=many))
    assert [text.get_text() for text in ratio.get_xticklabels()] == [
        str(n) for n in range(0, 45, 4)
    ]


def test_remarks_say_how_well_shapes_agree() -> None:
    assert agreed(Agreement(12.34, 10, 0.2634)) == "χ²/ndf = 12.3/10, p = 0.26"
    assert agreed(Agreement(4428.3, 24, 0.0)) == "χ²/ndf = 4,428/24, p < 0.001"
    assert agreed(Agreement(3.0, 4)) == "χ²/ndf = 3.0/4"
    assert agreed(None) == ""


def test_numbers_stand_apart_from_their_units() -> None:
    assert spaced("256MeV") == "256 MeV"
    assert spaced("0.5-12GeV") == "0.5-12 GeV"
    assert spaced("pt_above_3") == "pt_above_3"
