"""Captions in words, for every figure that commands draw."""

from __future__ import annotations

import pytest

from simulacra.tracking.captions import caption


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("observables_12", "Observables, page 12"),
        ("scan_incident_energy", "Scan over the condition incident energy"),
        ("event_incident_energy", "One event along the condition incident energy"),
        ("response_shapes", "Response in bins of what was asked for"),
        ("response_shapes_2", "Response in bins of what was asked for"),
        ("full_and_fast_1", "Full and fast simulation"),
        ("training", "Training"),
    ],
)
def test_a_figure_has_a_title_and_a_text(name: str, title: str) -> None:
    found, text = caption(name)
    assert found == title
    assert text.endswith(".")


def test_a_figure_of_ones_own_has_its_name() -> None:
    assert caption("my_figure") == ("my figure", "")
