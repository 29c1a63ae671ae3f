"""Density of levels, pixel by pixel: order, layers of any shapes, drawing with and without a memory."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from simulacra.core import Geometry, Layer, Layout, Levels, UserError, draws
from simulacra.dynamics.level_heads import Logistics, Softmax
from simulacra.dynamics.pixels import PixelDensity, Raster, overlaps
from simulacra.nn.gated_pixels import GatedPixels
from simulacra.nn.residual_pixels import ResidualPixels

COUNT, GIVEN = 6, 2


def edges(n: int, width: float = 1.0) -> tuple[float, ...]:
    return tuple(width * k for k in range(n + 1))


def geometry(closed: bool) -> Geometry:
    """Layers of three shapes, two of them alike, over the same square."""
    periodic = 0 if closed else None
    shapes = ((4, 3), (1, 5), (4, 3), (2, 6))
    return Geometry(
        tuple(
            Layer(n, ("alpha", "r"), (edges(a, 12 / a), edges(r, 30 / r)), float(n), periodic)
            for n, (a, r) in enumerate(shapes)
        )
    )


def reach(context: torch.Tensor | None, n: int) -> torch.Tensor:
    assert context is not None
    return 2 + context[:, GIVEN:].abs()


GATED = partial(GatedPixels, channels=8, layers=1, first=3, kernel=3, head=16)
RESIDUAL = partial(ResidualPixels, channels=6, blocks=1)


def density(closed: bool, head=Softmax, history: int = 2, net=GATED) -> PixelDensity:
    cells = geometry(closed)
    levels = Levels(COUNT, reach)
    layout = Layout(cells.n_voxels, GIVEN + 4, cells.sizes, geometry=cells, levels=levels)
    torch.manual_seed(0)
    made = PixelDensity(layout, net, head, history=history, hidden=8, known=5)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return made.eval()


MIXTURE = partial(Logistics, mixtures=3)
HEADS = pytest.mark.parametrize("head", [Softmax, MIXTURE])
CLOSED = pytest.mark.parametrize("closed", [False, True])


def events(n: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    levels = torch.randint(COUNT, (n, geometry(False).n_voxels), generator=generator).float()
    return levels, torch.randn(n, GIVEN + 4, generator=generator)


def order(cells: Geometry) -> list[int]:
    """Cells as they are drawn: layer by layer, along the rows of pixels."""
    found, start = [], 0
    for layer in cells.layers:
        number = torch.arange(layer.size).view(layer.shape)
        found += (start + (number.T if layer.periodic == 0 else number).flatten()).tolist()
        start += layer.size
    return found


@CLOSED
def test_changing_a_cell_leaves_those_drawn_before_and_itself_bitwise_as_they_are(closed: bool):
    part = density(closed)
    levels, context = events(1)
    before = part.numbers(levels, context)
    sequence = order(part.geometry)
    seen = torch.zeros(len(sequence), dtype=torch.bool)
    for place, cell in enumerate(sequence):
        other = levels.clone()
        other[0, cell] = (other[0, cell] + 2) % COUNT
        changed = (part.numbers(other, context) != before).any(-1)[0]
        assert not bool(changed[sequence[: place + 1]].any()), cell
        seen[changed] = True
    assert int(seen.sum()) == len(sequence) - 1  # each but the first cell rests on some other


@pytest.mark.parametrize(("net", "head"), [(GATED, Softmax), (RESIDUAL, MIXTURE)])
@CLOSED
def test_showers_drawn_with_a_memory_are_those_drawn_without(net, head, closed: bool):
    """The whole network for every cell, from the same random numbers."""
    part, (_, context) = density(closed, head, net=net), events(40)
    generator = torch.Generator().manual_seed(3)
    plain = torch.zeros(40, part.features)
    with torch.no_grad():
        for cell in order(part.geometry):
            shares = part.head.probabilities(part.numbers(plain, context)[:, cell])
            plain[:, cell] = draws.categorical(40, shares, generator).float()
        found = part.sample(40, context, torch.Generator().manual_seed(3))
    assert torch.equal(found, plain)
    assert len(found.unique()) == COUNT


@HEADS
def test_probabilities_of_all_showers_sum_to_one(head):
    """Summed over every level of the last two cells, for fixed others, then over each alone."""
    part, (levels, context) = density(True, head), events(1)
    last = order(part.geometry)[-2:]
    every = levels.repeat(COUNT**2, 1)
    every[:, last[0]] = torch.arange(COUNT).repeat_interleave(COUNT).float()
    every[:, last[1]] = torch.arange(COUNT).repeat(COUNT).float()
    with torch.no_grad():
        logs = part.log_probs(every, context.expand(len(every), -1)).double()
    total = logs[:, last].sum(1).exp().sum()
    assert float(total) == pytest.approx(1, abs=1e-5)


def test_the_loss_is_the_weighted_negative_log_likelihood_of_a_cell():
    part, (levels, context) = density(True), events(6)
    weight = torch.tensor([1.0, 0, 2, 0, 0, 1])
    chosen = part.log_prob(levels[[0, 2, 2, 5]], context[[0, 2, 2, 5]]).mean()
    found = part.loss(levels, context, weight)
    torch.testing.assert_close(found, -chosen / part.features)


def test_conditions_and_energies_of_layers_change_every_cell():
    part, (levels, context) = density(True), events(1)
    before = part.numbers(levels, context)
    for column in range(GIVEN + 4):
        other = context.clone()
        other[0, column] += 1
        assert bool((part.numbers(levels, other) != before).any(-1).all()), column


@pytest.mark.parametrize("history", [0, 1, 3])
def test_a_layer_sees_as_many_layers_as_it_should(history: int):
    part, (levels, context) = density(True, history=history), events(1)
    before, sizes = part.numbers(levels, context), list(part.geometry.sizes)
    for source in range(4):
        other = levels.clone()
        start = sum(sizes[:source])
        other[:, start : start + sizes[source]] = (
            other[:, start : start + sizes[source]] + 1
        ) % COUNT
        changed = (part.numbers(other, context) != before).any(-1)[0].split(sizes)
        for number in range(4):
            near = number == source or source < number <= source + history
            assert bool(changed[number].any()) == near, (source, number)


def test_it_starts_at_the_levels_of_each_cell_in_training_events():
    part, (levels, context) = density(False), events(4000)
    with torch.no_grad():
        part.net.head[-1].weight.zero_()
        part.net.head[-1].bias.zero_()
    levels[:, 7] = 3
    weight = torch.ones(4000)
    weight[:2000] = 0
    levels[:2000, 9], levels[2000:, 9] = 0, 5
    part.fit([(levels, context, weight)])
    shares = part.head.probabilities(part.numbers(levels[:1], context[:1]))[0].detach()
    assert float(shares[7, 3]) > 0.98
    assert float(shares[9, 5]) > 0.98  # the others weigh nothing
    assert float(shares[0].min()) > 0.1


def test_a_shower_of_nan_conditions_is_nan():
    part, (_, context) = density(True), events(3)
    context[1] = torch.nan
    made = part.sample(3, context, torch.Generator().manual_seed(0))
    assert bool(made[1].isnan().all())
    assert bool(made[[0, 2]].isfinite().all())


def test_layers_of_other_bins_are_seen_by_their_shares_of_each_bin():
    cells = geometry(False)
    rows, columns = (overlaps(cells, 0, 3, axis) for axis in (0, 1))
    torch.testing.assert_close(rows, torch.tensor([[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]]))
    assert columns.shape == (6, 3)
    torch.testing.assert_close(columns[:2].sum(0), torch.tensor([2.0, 0, 0]))
    torch.testing.assert_close(overlaps(cells, 0, 2, 1), torch.eye(3))


def test_a_layer_is_turned_so_that_its_rows_close_on_themselves():
    layer = Layer(0, ("alpha", "r"), (edges(4), edges(3)), 0.0, 0)
    raster = Raster.of(layer)
    image = raster.image(torch.arange(12.0))
    assert image.shape == (3, 4)
    assert raster.closed
    assert image[1].tolist() == [1, 4, 7, 10]  # one ring
    assert torch.equal(raster.turn(image).flatten(), torch.arange(12.0))
    single = Raster.of(Layer(0, ("alpha", "r"), (edges(1), edges(3)), 0.0, 0))
    assert single.turned
    assert not single.closed  # one cell cannot meet itself
    assert Raster.of(Layer(0, ("x", "y"), (edges(2), edges(3)), 0.0, 1)) == Raster(
        (2, 3), False, True
    )


def test_other_numbers_than_levels_are_refused_in_one_sentence():
    with pytest.raises(UserError, match="ShowerLevels"):
        PixelDensity(Layout(4, 0), GatedPixels, Softmax, 0, 4, 4)


def test_a_graph_of_it_is_refused_in_one_sentence():
    class Nothing(draws.Source):
        def take(self, kind, shape):
            raise AssertionError

    part, (_, context) = density(True), events(2)
    with draws.given(Nothing()), pytest.raises(UserError, match="one after the other"):
        part.sample(2, context)
