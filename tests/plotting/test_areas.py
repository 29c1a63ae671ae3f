"""Areas under ROC curves side by side."""

from __future__ import annotations

from simulacra.plotting.areas import areas_page

PANELS = {
    "all": {"labels": (0.84, 0.01), "cwola": (0.83, 0.02)},
    "two": {"labels": (0.8, 0.01), "cwola": (0.79, 0.01), "histogram_mixed": (0.78, 0.01)},
}


def test_each_panel_has_its_own_classifiers_and_a_band_where_the_reference_is() -> None:
    figure = areas_page(PANELS, "labels")
    for ax, (title, values) in zip(figure.axes, PANELS.items(), strict=True):
        assert ax.get_title() == title
        names = [text.get_text() for text in ax.get_yticklabels()]
        assert names == [name.replace("_", " ") for name in values]
        (points,) = ax.containers
        assert list(points[0].get_xdata()) == [value for value, _ in values.values()]
        (band,) = ax.patches
        assert band.get_x() == values["labels"][0] - values["labels"][1]
    assert not [ax.patches for ax in areas_page(PANELS).axes if len(ax.patches)]
