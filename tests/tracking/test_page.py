from __future__ import annotations

import re
from pathlib import Path

import pytest
from markupsafe import Markup

from simulacra.tracking.page import (
    Cell,
    Column,
    Line,
    count,
    details,
    shade,
    short,
    table,
    tile,
    with_error,
    write_page,
)
from simulacra.tracking.page_plot import Point, Scale, scatter


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (12345.6, "12,346"),
        (0.04021, "0.0402"),
        (3.14e-7, "3.14e-7"),
        (2.5e12, "2.50e12"),
        (0.0, "0"),
        (-0.5, "-0.500"),
        (float("nan"), "nan"),
    ],
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert short(value) == text


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.64721, 0.0114, "0.647 ± 0.011"),
        (0.0573, 0.0048, "0.057 ± 0.005"),
        (5.4434, 0.0272, "5.443 ± 0.027"),
        (0.5, None, "0.500"),
        (0.5, 0.0, "0.500"),
        (123456.0, 789.0, "123,500 ± 800"),
    ],
)
def test_a_value_ends_where_its_error_does(value: float, error: float | None, text: str) -> None:
    assert with_error(value, error) == text


def test_large_counts_have_a_letter() -> None:
    assert [count(n) for n in (85_026, 2.71e8, 3.84e9, 12)] == ["85.0 k", "271 M", "3.84 G", "12.0"]


def test_shades_follow_value_over_floor() -> None:
    assert [shade(v, 1.0) for v in (0.9, 1.6, -2.9, 9.0, 11.0)] == ["q1", "q2", "q2", "q3", "q4"]
    assert shade(3.0, None) == shade(3.0, 0.0) == shade(3.0, -1.0) == ""


def test_a_table_sorts_by_values_and_shows_text() -> None:
    columns = [Column("a<b", "a<b", text=True), Column("n", "n", title="it's")]
    shown = table("t", columns, [Line([Cell(Markup("<i>x</i>"), "x'y"), Cell()], "front")])
    assert "data-column='a&lt;b' class='text'" in shown
    assert "title='it&#39;s'" in shown
    assert (
        "<tr class='front'><td class='text' data-v='x&#39;y'><i>x</i></td><td></td></tr>" in shown
    )


def test_a_logarithmic_scale_puts_decades_at_equal_distances() -> None:
    scale = Scale.over([1.0, 100.0], 0.0, 300.0, True)
    steps = [scale(10.0**n) for n in range(3)]
    assert steps[1] - steps[0] == pytest.approx(steps[2] - steps[1])
    assert 0 < steps[0] < steps[2] < 300
    assert {1.0, 10.0, 100.0} <= set(scale.ticks())


@pytest.mark.parametrize("values", [[0.5, 0.93], [0.5, 0.5], [3.0], [1e-9, 2e-9]])
def test_a_linear_scale_holds_its_values_and_has_ticks(values: list[float]) -> None:
    scale = Scale.over(values, 300.0, 0.0, False)
    assert all(0 < scale(value) < 300 for value in values)
    assert 2 <= len(scale.ticks()) <= 7


def test_the_front_is_a_line_through_its_points_and_labels_do_not_meet() -> None:
    points = [Point(10.0**n, 3.0 - n, 0.1, f"model <{n}>", "run", n != 1) for n in range(3)] + [
        Point(11.0, 2.01, None, "paper", "published", False)
    ]
    shown = scatter(points, "time", "score", log_y=False, base=0.5)
    assert shown.count("<circle") == 3
    assert shown.count("<path") == 1  # one front, of the runs
    assert shown.count("H") == shown.count("V") == 1  # of two points
    assert "model &lt;2&gt;" in shown
    assert "model <" not in shown
    boxes = [
        (float(x), float(y), len(text))
        for x, y, text in re.findall(
            r"<text x='([\d.]+)' y='([\d.]+)'[^>]*start[^>]*>([^<]+)<", shown
        )
    ]
    assert len(boxes) == 4
    for i, (x, y, n) in enumerate(boxes):
        for other_x, other_y, m in boxes[:i]:
            apart = x + 5.5 * n < other_x or other_x + 5.5 * m < x or abs(y - other_y) > 9
            assert apart


def test_whatever_is_no_markup_is_escaped(tmp_path: Path) -> None:
    evil = "<script>'\"&"
    columns = [Column(evil, evil, True, evil), Column("b", "b")]
    shown = table(
        evil, columns, [Line([Cell(evil, evil, evil, evil), Cell(Markup("<i>x</i>"), 1.0)], evil)]
    )
    parts = [shown, tile(evil, [evil]), details(evil, Markup("<b>own</b>"))]
    text = write_page(tmp_path / "page.html", evil, parts).read_text()
    body = text.partition("<main>")[2].partition("</main>")[0]
    assert "<script" not in body
    assert text.count("<script") == 1
    assert "<i>x</i>" in body
    assert "<b>own</b>" in body
    for attribute in re.findall(r"='([^']*)'", body):
        assert not set(attribute) & set('<>"')
