"""Error bands from repetitions."""

from __future__ import annotations

import math

import pytest
import torch

from simulacra.core import UserError
from simulacra.studies.bands import around, banded, of_mean


def members(values: list[float], **twins: float) -> list[dict[str, float]]:
    return [{"w1": value, **{f"w1/{key}": twin for key, twin in twins.items()}} for value in values]


def test_a_band_is_the_mean_and_the_spread_of_the_members() -> None:
    found = banded(members([1.0, 2.0, 3.0], floor=0.5, z=4.0))
    assert found == {"w1": 2.0, "w1/error": 1.0, "w1/floor": 0.5}
    mean = of_mean(members([1.0, 2.0, 3.0]))
    assert mean == {"w1": 2.0, "w1/error": pytest.approx(1 / math.sqrt(3))}


def test_sources_are_combined_in_quadrature_around_the_first() -> None:
    found = banded(members([1.0, 2.0, 3.0]), members([0.0, math.sqrt(2) * 2]))
    assert found["w1"] == 2.0
    assert found["w1/error"] == pytest.approx(math.sqrt(1 + 4))


def test_the_statistical_error_is_the_least_and_adds_where_events_are_the_same() -> None:
    alike, apart = members([1.0, 1.0], error=0.3), members([0.0, 2.0], error=1.0)
    assert banded(alike)["w1/error"] == pytest.approx(0.3)
    assert banded(apart)["w1/error"] == pytest.approx(math.sqrt(2))
    assert banded(apart, same_events=True)["w1/error"] == pytest.approx(math.sqrt(3))


def test_a_result_keeps_its_value_beside_its_bootstraps() -> None:
    found = around(members([1.0, 2.0, 3.0], floor=0.5))
    assert found == {"w1": 1.0, "w1/error": 1.0, "w1/floor": 0.5}
    assert around(members([1.0], error=0.2)) == {"w1": 1.0, "w1/error": 0.2}


def test_what_one_member_does_not_know_is_not_known() -> None:
    found = banded([{"w1": 1.0}, {}])
    assert math.isnan(found["w1"])
    assert math.isnan(found["w1/error"])
    with pytest.raises(UserError, match="at least two members of each source"):
        banded(members([1.0]))


def test_two_thirds_of_bands_cover_the_truth() -> None:
    """Each member is a measurement with an error of its own: a band holds one more of them in 68 %."""
    drawn = torch.randn(400, 31, generator=torch.Generator().manual_seed(0)).double()
    inside = []
    for row in drawn:
        found = banded(members(row[1:].tolist()))
        inside.append(abs(float(row[0]) - found["w1"]) <= found["w1/error"])
    assert sum(inside) / len(inside) == pytest.approx(0.68, abs=0.06)
