"""Conditions as network inputs."""

from __future__ import annotations

import math

import torch

from simulacra.core import Conditions, Field
from simulacra.transforms.condition import ConditionScaling


def test_a_periodic_condition_is_a_point_on_the_circle_and_has_no_jump() -> None:
    phi = Field("phi", "rad", dim=2, low=-math.pi, high=math.pi, periodic=True)
    scaling = ConditionScaling([phi, Field("theta", "rad", low=0.0, high=2.0)])
    assert scaling.width == 5
    values = torch.tensor([[-math.pi, 0.5], [math.pi, 0.5 + 1e-4], [0.0, 0.5]])
    found = scaling(Conditions(3, {"phi": values, "theta": torch.ones(3, 1)}))
    assert found.shape == (3, 5)
    assert (found[0] - found[1]).norm() < 2e-4
    assert (found[0] - found[2]).norm() > 1.99
    torch.testing.assert_close(found[:, :2].square() + found[:, 2:4].square(), torch.ones(3, 2))
    turned = scaling(Conditions(3, {"phi": values + 0.3, "theta": torch.ones(3, 1)}))
    torch.testing.assert_close(
        (turned - found).norm(dim=1), torch.full((3,), 2 * math.sqrt(2) * math.sin(0.15))
    )
