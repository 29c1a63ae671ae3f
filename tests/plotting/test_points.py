"""Methods side by side."""

from __future__ import annotations

from simulacra.plotting.points import Column, points_page


def test_each_quantity_has_a_panel_with_a_row_for_each_method_and_its_lines() -> None:
    columns = [
        Column("mass", {"one": (0.2, 0.01), "two": (0.1, 0.02)}, 0.5, 0.05),
        Column("width", {"one": (0.3, 0.01), "two": (0.4, 0.02)}),
    ]
    figure = points_page(columns)
    first, second = figure.axes
    assert [text.get_text() for text in first.get_yticklabels()] == ["one", "two"]
    assert [ax.get_xlabel() for ax in figure.axes] == ["mass", "width"]
    assert list(first.lines[0].get_xdata()) == [0.2, 0.1]
    assert list(first.lines[0].get_ydata()) == [1, 0]  # the first method is at the top
    assert {float(line.get_xdata()[0]) for line in first.lines[-2:]} == {0.5, 0.05}
    assert len(second.lines) < len(first.lines)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "after",
        "before",
        "floor",
    ]
