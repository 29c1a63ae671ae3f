"""Quality against time as a figure: all points, the front, names that do not meet."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from simulacra.plotting.fronts import Point, free_places, front_page, shortened
from simulacra.plotting.style import styled


def points(n: int) -> list[Point]:
    rng = np.random.default_rng(0)
    return [
        Point(float(x), float(y), 0.01, f"model {i}", "run" if i % 3 else "published", i < 4)
        for i, (x, y) in enumerate(zip(rng.lognormal(size=n), rng.uniform(0.5, 1, n), strict=True))
    ]


def test_all_points_are_drawn_and_names_do_not_meet() -> None:
    with styled():
        figure = front_page(points(30), "time [ms]", "AUC", log_y=False, base=0.5)
    (ax,) = figure.axes
    assert (ax.get_xscale(), ax.get_yscale(), ax.get_ylabel()) == ("log", "linear", "AUC")
    assert sum(len(bar.lines[0].get_xdata()) for bar in ax.containers) == 30
    figure.draw_without_rendering()
    names = [text for text in ax.texts if text.get_text()]
    assert len(names) > 10
    boxes = [text.get_window_extent() for text in names]
    for first, second in combinations(boxes, 2):
        shared = min(first.x1, second.x1) - max(first.x0, second.x0)
        assert shared < 4 or not first.overlaps(second)
    assert {text.get_text() for text in ax.get_legend().get_texts()} == {"own runs", "published"}


def test_one_point_alone_has_a_range_around_it() -> None:
    figure = front_page(points(1), "time [ms]", "FPD", log_y=True)
    low, high = figure.axes[0].get_xlim()
    assert low < points(1)[0].x < high


def test_a_name_without_room_is_left_out_and_long_ones_lose_their_beginning() -> None:
    pair = points(2)
    frame = (0.0, 0.0, 100.0, 100.0)
    assert free_places(pair, [(50.0, 50.0), (50.0, 80.0)], frame, 4.0, 9.0)[0] is not None
    assert free_places(pair, [(50.0, 50.0), (50.0, 80.0)], (45, 45, 55, 55), 4.0, 9.0) == [None] * 2
    assert shortened("x" * 50 + "end").endswith("xend")
    assert len(shortened("x" * 50)) == 34
