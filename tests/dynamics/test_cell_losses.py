"""Losses of cells by rank: what they count, what they do not see, and weights."""

from __future__ import annotations

import pytest
import torch

from simulacra.dynamics.cell_losses import (
    CellLoss,
    Kept,
    MeanImage,
    RankDistance,
    WindowDiscrepancy,
)

CELLS = torch.rand(4, 1, 3, 4, 5, generator=torch.Generator().manual_seed(0))
OTHER = torch.rand(4, 1, 3, 4, 5, generator=torch.Generator().manual_seed(1))
WINDOWS = WindowDiscrepancy(1.0, window=10, stride=5, hits=60, alpha=20.0)
TERMS = (Kept(1.0), MeanImage(1.0), RankDistance(1.0, 2.0, 60), RankDistance(1.0, 1.0, 60), WINDOWS)


def shuffled(cells: torch.Tensor) -> torch.Tensor:
    order = torch.randperm(60, generator=torch.Generator().manual_seed(2))
    return cells.flatten(1)[:, order].view_as(cells)


def test_ranks_do_not_see_where_cells_lie() -> None:
    for term in TERMS[2:]:
        torch.testing.assert_close(
            term(shuffled(CELLS), CELLS, OTHER), term(CELLS, CELLS, shuffled(OTHER))
        )
        assert float(term(shuffled(CELLS), CELLS, CELLS)) == pytest.approx(0, abs=1e-6)
    assert float(TERMS[1](shuffled(CELLS), CELLS, CELLS)) > 0.01


def test_distances_of_ranks_are_those_of_the_spectra() -> None:
    """One transport of equal masses on a line pairs them by rank."""
    first, second = (x.flatten(1).sort(1, descending=True).values[:, :7] for x in (CELLS, OTHER))
    for power in (1.0, 2.0):
        wanted = (first - second).abs().pow(power).mean()
        torch.testing.assert_close(RankDistance(1.0, power, 7)(CELLS, CELLS, OTHER), wanted)


def test_only_the_first_term_looks_at_what_was_given_and_it_at_nothing_else() -> None:
    assert float(Kept(1.0)(CELLS, CELLS, OTHER)) == 0
    torch.testing.assert_close(Kept(1.0)(CELLS + 0.5, CELLS, OTHER), torch.tensor(0.25))
    for term in TERMS[1:]:
        torch.testing.assert_close(term(CELLS, OTHER, OTHER), term(CELLS, CELLS, OTHER))


def test_mean_images_may_agree_where_showers_do_not() -> None:
    assert float(MeanImage(1.0)(CELLS.flip(0), CELLS, CELLS)) == pytest.approx(0, abs=1e-12)
    wanted = (CELLS.mean(0) - OTHER.mean(0)).square().mean()
    torch.testing.assert_close(MeanImage(1.0)(CELLS, CELLS, OTHER), wanted)


@pytest.mark.parametrize("term", TERMS, ids=lambda term: type(term).__name__)
def test_a_weight_counts_events(term: CellLoss) -> None:
    counts = torch.tensor([2, 0, 1, 3])
    rows = torch.repeat_interleave(torch.arange(4), counts)
    processed = CELLS + 0.1 * OTHER
    weighted = term(processed, CELLS, OTHER, counts.float())
    torch.testing.assert_close(weighted, term(processed[rows], CELLS[rows], OTHER[rows]))
    assert not torch.allclose(weighted, term(processed, CELLS, OTHER))
