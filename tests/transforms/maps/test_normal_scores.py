"""Normal scores of cells at the energy of their group."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from simulacra.transforms.maps import normal_scores
from simulacra.transforms.maps.normal_scores import EMPTY, NormalScores

GROUPS = (3, 2)
OFTEN = torch.tensor([1.0, 0.5, 0.02, 1.0, 0.3])


def events(n: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Cells whose mean, width and skewness move with the energy of their group, energies, empty cells."""
    generator = torch.Generator().manual_seed(seed)
    energies = 5 * torch.rand(n, len(GROUPS), generator=generator)
    of = energies[:, [0, 0, 0, 1, 1]]
    y = of.square() + (1 + of) * (0.4 * torch.randn(n, 5, generator=generator)).exp()
    empty = torch.rand(n, 5, generator=generator) > OFTEN
    return torch.where(empty, -2.0, y), energies, empty


def fitted(n: int = 20_000, knots: int = 8, levels: int = 24) -> NormalScores:
    scaling = NormalScores(GROUPS, knots, levels)
    for seed in range(4):
        y, energies, empty = events(n // 4, seed)
        scaling.collect(y, energies, ~empty, empty)
    scaling.settle()
    return scaling.eval()


def noise(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_cells_are_normal_at_every_energy_and_come_back() -> None:
    scaling = fitted()
    y, energies, empty = events(20_000, 9)
    z = scaling(y, energies, empty, noise())
    back = scaling.inverse(z, energies)
    off = (back[~empty] - y[~empty]).abs() > 1e-3 * (1 + y[~empty].abs())
    assert int(off.sum()) < 4  # scores are bounded where almost none is expected
    assert float(back[empty].max()) <= EMPTY
    for low in range(5):
        inside = (energies[:, 0] > low) & (energies[:, 0] < low + 1)
        for cell in (0, 1):
            part = z[inside, cell].sort().values
            share = (torch.arange(len(part)) + 0.5) / len(part)
            assert float((torch.special.ndtr(part) - share).abs().max()) < 0.05


def test_normal_numbers_become_cells_with_their_distribution_at_a_new_energy() -> None:
    scaling = fitted()
    z = torch.randn(20_000, 5, generator=noise(1))
    made = scaling.inverse(z, torch.full((20_000, 2), 2.5))
    expected = 2.5**2 + 3.5 * (0.4 * z).exp()
    assert float((made - expected)[:, [0, 3]].abs().mean()) < 0.2  # their width is 1.4
    torch.testing.assert_close((made > -1).float().mean(0), OFTEN, atol=0.02, rtol=0)
    assert float(made[:, 2][made[:, 2] > -1].mean()) == pytest.approx(2.5**2 + 3.8, abs=0.6)


def test_the_nearest_to_a_hit_of_empty_cells_has_the_largest_number() -> None:
    scaling = fitted()
    low = torch.tensor([[0.0, -1.0, -1.0, 0.0, -2.0], [0.0, -3.0, -3.0, 0.0, -3.0]])
    made = scaling.inverse(low, torch.full((2, 2), 2.5))
    assert (made[:, [1, 2, 4]] <= EMPTY).all()
    assert (made[0] >= made[1]).all()
    assert float(made[0, 1]) > float(made[0, 2])  # at the same score the rarer cell is farther away


def test_tables_are_made_of_hits_alone() -> None:
    y, energies, empty = events(4000)
    found = []
    for low in (-2.0, -1e4):
        scaling = NormalScores(GROUPS, 4, 12)
        scaling.collect(torch.where(empty, low, y), energies, ~empty, empty)
        scaling.settle()
        found.append(scaling.eval())
    torch.testing.assert_close(found[0].values, found[1].values)
    z = found[0](y, energies, empty)
    hit = ~empty
    torch.testing.assert_close(found[0].inverse(z, energies)[hit], y[hit], rtol=1e-3, atol=1e-3)


def test_the_table_of_a_rare_cell_has_the_width_of_its_group() -> None:
    y, energies, empty = events(4000)
    empty[1:, 2] = True  # hit once
    empty[0, 2] = False
    scaling = NormalScores(GROUPS, 4, 12)
    scaling.collect(y, energies, ~empty, empty)
    scaling.settle()
    widths = scaling.values[:, :, -1] - scaling.values[:, :, 0]
    assert float((widths[:, 2] / widths[:, 0]).min()) > 0.5
    assert float((widths[:, 2] / widths[:, 0]).max()) < 2


def test_beyond_the_ends_a_table_goes_on_as_a_line() -> None:
    scaling = fitted()
    y = torch.tensor([-3.0, 8.0, 60.0]).repeat_interleave(5).view(3, 5)
    energies = torch.tensor([[-1.0, 9.0], [2.0, 2.0], [4.9, 0.1]])
    z = scaling(y, energies, torch.zeros(3, 5, dtype=torch.bool))
    assert z.isfinite().all()
    assert scaling.inverse(torch.full((1, 5), 1e4), energies[:1]).isfinite().all()
    assert scaling.inverse(torch.full((1, 5), torch.nan), energies[:1]).isnan().all()


def test_without_noise_empty_cells_are_one_number_at_an_energy() -> None:
    scaling = fitted()
    y, energies, empty = events(50, 3)
    energies = energies[:1].expand(50, 2)
    first, again = (scaling(y, energies, empty) for _ in range(2))
    assert torch.equal(first, again)
    assert float(first[empty[:, 4], 4].std()) < 1e-6
    assert float(scaling(y, energies, empty, noise())[empty[:, 4], 4].std()) > 0.1


def test_a_cell_that_no_event_hits_stays_empty_and_one_that_all_hit_never_is() -> None:
    scaling = NormalScores(GROUPS, 4, 12)
    y, energies, empty = events(500)
    empty[:, 1], empty[:, 3] = True, False
    scaling.collect(y, energies, ~empty, empty)
    scaling.settle()
    made = scaling.inverse(torch.randn(5000, 5, generator=noise()), torch.full((5000, 2), 2.0))
    assert float((made[:, 1] > EMPTY).float().mean()) < 1e-3
    assert float(made[:, 3].min()) > -2


def test_more_events_than_are_kept_are_chosen_by_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(normal_scores, "KEPT", 5 * 3000)
    made = [fitted(), fitted()]
    assert torch.equal(made[0].values, made[1].values)
    y, energies, empty = events(2000, 9)
    z = made[0](y, energies, empty, noise())
    assert abs(float(z.mean())) < 0.05
    assert float(z.std()) == pytest.approx(1, abs=0.05)
