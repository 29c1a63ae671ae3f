from __future__ import annotations

import pytest
import torch
from torch import Tensor

from simulacra.core import Field, UserError
from simulacra.transforms.cloud_quantiles import CloudQuantiles

FEATURES = (Field("x", "mm"), Field("layer"), Field("e", "GeV", low=0.0))
VALUES = torch.tensor([-3.0, 1.0, 2.0, 7.5])


def points(n: int = 300) -> tuple[Tensor, Tensor]:
    """Four places of unequal odds, ten layers, energies over decades."""
    g = torch.Generator().manual_seed(0)
    chance = torch.tensor([0.1, 0.5, 0.3, 0.1])
    place = torch.multinomial(chance, n * 20, replacement=True, generator=g).view(n, 20)
    layer = torch.randint(0, 10, (n, 20), generator=g).float()
    energy = torch.exp(2 * torch.randn(n, 20, generator=g))
    mask = torch.rand(n, 20, generator=g) < 0.7
    return torch.stack([VALUES[place], layer, energy], -1) * mask[..., None], mask


def fitted(values: int = 16) -> CloudQuantiles:
    x, mask = points()
    quantiles = CloudQuantiles(FEATURES, values)
    quantiles.fit(x, mask)
    return quantiles


def test_every_feature_of_spread_points_is_a_standard_normal() -> None:
    (x, mask), quantiles = points(), fitted()
    assert quantiles.gridded.tolist() == [True, True, False]
    y = quantiles(quantiles.spread(x, torch.Generator().manual_seed(5)), mask)
    assert bool((y[~mask] == 0).all())
    levels = torch.tensor([0.05, 0.25, 0.5, 0.75, 0.95])
    wanted = torch.special.ndtri(levels)
    for column in y[mask].T:
        assert torch.allclose(column.quantile(levels), wanted, atol=0.12)


def test_values_are_restored_exactly_with_and_without_noise() -> None:
    (x, mask), quantiles = points(), fitted()
    for seen in (x, quantiles.spread(x, torch.Generator().manual_seed(5))):
        back = quantiles.inverse(quantiles(seen, mask), mask)
        assert torch.equal(back[..., :2], x[..., :2])
        assert torch.allclose(back[..., 2], x[..., 2], rtol=1e-3)


def test_whatever_is_generated_lies_on_the_values() -> None:
    quantiles = fitted()
    made = quantiles.inverse(3 * torch.randn(50, 20, 3, generator=torch.Generator().manual_seed(1)))
    assert set(made[..., 0].unique().tolist()) <= set(VALUES.tolist())
    assert set(made[..., 1].unique().tolist()) <= set(range(10))
    assert bool((made[..., 2] > 0).all())


def test_a_feature_of_more_values_stays_as_it_is() -> None:
    quantiles = fitted(values=5)
    assert quantiles.gridded.tolist() == [True, False, False]


def test_clouds_without_points_are_refused() -> None:
    with pytest.raises(UserError, match="no points"):
        CloudQuantiles(FEATURES, 8).fit(torch.zeros(2, 3, 3), torch.zeros(2, 3, dtype=torch.bool))
