"""Density of lists of hits: what it sums to, what it knows, and how lists are drawn."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from simulacra.core import Geometry, UserError, draws
from simulacra.dynamics.hit_order import Free, allowed
from simulacra.dynamics.hit_streams import HitStreams
from simulacra.dynamics.stops import LearnedStop, StopClassifier, StopHead
from simulacra.nn.causal_transformer import CausalTransformer
from toy_showers import PHOTONS, stack

SMALL = {"width": 16, "layers": 2, "heads": 2, "hidden": 32, "registers": 2}
APART = partial(StopClassifier, hidden=[16], dropout=0.2, weight=1000.0, least=3)
REGULAR = stack(*[(3, 4)] * 5)


def streams(
    geometry: Geometry = REGULAR, most: int = 30, stop: object = LearnedStop, seed: int = 0
) -> HitStreams:
    """Untrained, with numbers of order 1, so that its distributions are far from even."""
    torch.manual_seed(seed)
    made = HitStreams(
        geometry, most, 1, partial(CausalTransformer, **SMALL), stop, known=4, mixtures=3, hidden=8
    )  # fmt: skip
    made.centre.fill_(1.5)
    with torch.no_grad():
        for head in (made.layer, made.row, made.column, made.energy.layers[-1]):
            head.weight.mul_(3.0)
        made.stop.start(0.12)
        made.layer.bias.sub_(torch.arange(len(geometry)))  # else it soon is in the last layer
    return made.eval()


def drawn(made: HitStreams, n: int = 40, seed: int = 0):
    context = torch.linspace(-1, 1, n)[:, None]
    return made.sample(context, torch.Generator().manual_seed(seed)), context


@pytest.mark.parametrize("stop", [LearnedStop, APART], ids=["learned", "apart"])
@pytest.mark.parametrize("geometry", [REGULAR, PHOTONS, stack((1, 2), (2, 1))])
@torch.no_grad()
def test_the_likelihood_of_the_whole_pass_is_the_sum_over_the_cached_steps(geometry, stop) -> None:
    made = streams(geometry, stop=stop)
    found, context = drawn(made)
    again = made.log_prob(made.lists(found.hits, found.mask, context))
    torch.testing.assert_close(again, found.log_prob, rtol=1e-5, atol=1e-4)
    assert len(found.mask.sum(1).unique()) > 2


class WholePass:
    """In the place of a cache: all steps so far, which go through the network again for each next one."""

    def __init__(self, net: CausalTransformer) -> None:
        self.net, self.seen = net, []

    def start(self, n: int) -> list[WholePass]:
        self.seen = []
        return [self]

    def step(self, x: torch.Tensor, caches: object) -> torch.Tensor:
        self.seen.append(x)
        return self.net(torch.stack(self.seen, 1))[:, -1]

    def keep(self, rows: torch.Tensor) -> None:
        self.seen = [x[rows] for x in self.seen]


@torch.no_grad()
def test_lists_are_the_same_without_a_cache() -> None:
    made = streams()
    with_cache, _ = drawn(made)
    whole, net = WholePass(made.net), made.net
    del made.net
    made.net = whole
    without, _ = drawn(made)
    made.net = net
    assert torch.equal(with_cache.mask, without.mask)
    assert torch.equal(with_cache.hits[..., :3], without.hits[..., :3])
    torch.testing.assert_close(with_cache.hits, without.hits, rtol=1e-4, atol=1e-4)
    assert int(with_cache.mask.sum(1).max()) > 16  # the first buffer of a cache is full then


@torch.no_grad()
def test_all_lists_of_a_small_calorimeter_have_a_probability_of_one_and_are_drawn_with_theirs() -> (
    None
):
    """Discrete numbers are summed, energies integrated; the second one in a layer up to the first."""
    made = streams(stack((1, 2), (1, 1)), most=2)
    share = (torch.arange(80) + 0.5) / 80
    places = torch.tensor([[0.0, 0, 0], [0, 0, 1], [1, 0, 0]])

    def total(index: torch.Tensor, energy: torch.Tensor, volume: torch.Tensor) -> float:
        """Of hits at places ``(N, 3)`` over a grid of energies ``(G, N)``."""
        hits = torch.cat([index.expand(len(energy), -1, -1), energy[..., None]], -1)
        mask = torch.ones(hits.shape[:2], dtype=torch.bool)
        logs = made.log_prob(made.lists(hits, mask, torch.full((len(hits), 1), 0.3)))
        return float((logs.exp() * volume).sum())

    none = torch.zeros(1, 1, 4), torch.zeros(1, 1, dtype=torch.bool), torch.full((1, 1), 0.3)
    empty = float(made.log_prob(made.lists(*none)).exp())
    reach, cell = 10.0, torch.tensor(10.0 / 80)
    single = [total(place[None], reach * share[:, None], cell) for place in places]
    one, two = (g.flatten() for g in torch.meshgrid(share, share, indexing="ij"))
    pairs: dict[tuple[int, int], float] = {}
    for a in range(3):
        for b in range(3):
            end = reach * one if bool(places[a, 0] == places[b, 0]) else torch.full_like(one, reach)
            energies = torch.stack([reach * one, end * two], 1)
            pairs[a, b] = total(places[[a, b]], energies, cell * end / 80)
    assert empty + sum(single) + sum(pairs.values()) == pytest.approx(1, abs=0.01)
    assert min(empty, sum(single), sum(pairs.values())) > 0.02
    impossible = {(0, 0), (1, 1), (2, 2), (2, 0), (2, 1)}  # a cell twice, or a layer before
    assert {pair for pair, value in pairs.items() if value == 0} == impossible
    found = made.sample(torch.full((4000, 1), 0.3), torch.Generator().manual_seed(0))
    shares = torch.bincount(found.mask.sum(1), minlength=3) / 4000
    wanted = torch.tensor([empty, sum(single), sum(pairs.values())])
    torch.testing.assert_close(shares, wanted, rtol=0, atol=0.03)  # four standard deviations
    first = (found.hits[:, :1, :3] == places).all(-1)[found.mask.sum(1) == 1].float().sum(0) / 4000
    torch.testing.assert_close(first, torch.tensor(single), rtol=0, atol=0.03)


@torch.no_grad()
def test_a_cell_is_never_hit_twice_and_a_full_calorimeter_ends() -> None:
    made = streams(stack((1, 2), (2, 1), (1, 1)), most=5, stop=LearnedStop)
    made.stop.start(0.01)
    made.layer.bias.copy_(torch.tensor([3.0, 0.0, -3.0]))
    found, context = drawn(made, 200)
    for hits, mask in zip(found.hits, found.mask, strict=True):
        cells = [tuple(row) for row in hits[mask][:, :3].tolist()]
        assert len(set(cells)) == len(cells)
    assert int(found.mask.sum(1).max()) == 5
    twice = torch.tensor([[[0.0, 0, 1, 2.0], [0, 0, 1, 1.0]]])
    assert made.log_prob(made.lists(twice, torch.ones(1, 2).bool(), context[:1])) == -torch.inf


@torch.no_grad()
def test_what_may_follow_is_the_same_hit_by_hit() -> None:
    made = streams(stack((1, 3), (2, 2), (2, 2)), most=11)
    made.stop.start(0.02)
    found, _ = drawn(made, 100)
    may, cells = allowed(found.hits, found.mask, made.cells), made.cells
    layer, row, column = found.hits[..., :3].long().unbind(-1)
    free, real = Free(cells, 100), found.mask
    for i in range(found.hits.shape[1]):
        now = real[:, i]
        assert torch.equal(may.layers[now, i], free.of_layers(layer[:, i - 1] if i else None)[now])
        assert torch.equal(may.rows[now, i], free.of_rows(layer[:, i])[now])
        assert torch.equal(may.columns[now, i], free.of_columns(layer[:, i], row[:, i])[now])
        free.take_layer(layer[:, i], now)
        free.take_row(layer[:, i], row[:, i], now)
        free.take_column(layer[:, i], row[:, i], column[:, i], now)
    assert int((~may.columns[real]).sum()) > 50


@pytest.mark.parametrize("name", ["layer", "row", "column", "energy"])
def test_a_number_knows_what_stands_before_it_in_the_streams_and_no_more(name: str) -> None:
    """The energy of a hit is seen four steps after its layer is drawn."""
    made, place = streams(), 8
    found, context = drawn(made)
    chosen = found.mask.sum(1) > place + 3
    assert int(chosen.sum()) > 2
    hits = found.hits[chosen].clone().requires_grad_()
    lists = made.lists(hits, found.mask[chosen], context[chosen])
    lists = lists.__class__(made, hits, lists.mask, lists.context, lists.steps)
    lists.may.highest[:] = 1e3  # a bound is a number of the hit before, too
    made.hit_log_probs(lists)[name][:, place].sum().backward()
    assert hits.grad is not None
    size = hits.grad[..., 3].abs().sum(0)
    last = {"layer": place - 4, "row": place - 3, "column": place - 2, "energy": place}[name]
    assert bool((size[: last + 1] > 0).all())
    assert bool((size[last + 1 :] == 0).all())


@torch.no_grad()
def test_energies_rise_in_no_layer_and_layers_never_go_back() -> None:
    made = streams()
    context = torch.zeros(3, 1)
    good = (
        torch.tensor([[0.0, 0, 1, 2.0], [0, 1, 1, 1.0], [2, 0, 0, 3.0]]).expand(3, -1, -1).clone()
    )
    good[1, 1, 3] = 2.5
    good[2, 2, 0] = 0
    good[2, 0, 0] = 1
    logs = made.log_prob(made.lists(good, torch.ones(3, 3).bool(), context))
    assert logs.isfinite().tolist() == [True, False, False]


def test_a_short_list_is_never_ended_and_has_no_likelihood_where_a_least_is_asked_for() -> None:
    made = streams(stop=APART)
    found, context = drawn(made, 100)
    assert int(found.mask.sum(1).min()) >= 3
    hits, mask = found.hits[:4].clone(), found.mask[:4].clone()
    mask[:, 2:] = False
    lists = made.lists(hits, mask, context[:4])
    assert made.log_prob(lists).tolist() == [-torch.inf] * 4
    assert all(bool(loss.isfinite().all()) for loss in made.losses(lists).values())


@torch.no_grad()
def test_losses_add_up_to_the_likelihood() -> None:
    made = streams()
    found, context = drawn(made)
    lists = made.lists(found.hits, found.mask, context)
    total = torch.stack(list(made.losses(lists).values())).sum(0)
    torch.testing.assert_close(-total, made.log_prob(lists), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("weight", [1.0, 1000.0])
@pytest.mark.parametrize("share", [0.003, 0.2])
def test_the_weight_of_a_stop_does_not_change_its_probability(weight: float, share: float) -> None:
    """The loss of a share of stops is smallest where the probability is that share."""
    head: StopHead = StopClassifier(4, 2, [4], 0.0, weight, 0)
    torch.nn.init.zeros_(head.net.layers[-1].weight)
    head.start(share)
    x = torch.zeros(2, 2)
    assert head.probability(x).sigmoid().tolist() == pytest.approx([share] * 2)
    loss = head.loss(x, torch.tensor([True, False])) * torch.tensor([share, 1 - share])
    (slope,) = torch.autograd.grad(loss.sum(), head.net.layers[-1].bias)
    assert float(slope) == pytest.approx(0, abs=1e-4)


def test_noise_is_seen_in_training_alone_and_never_described() -> None:
    made = streams()
    made.noise = 0.1
    found, context = drawn(made)
    quiet = made.lists(found.hits, found.mask, context)
    made.train()
    noisy = made.lists(found.hits, found.mask, context, torch.Generator().manual_seed(0))
    assert torch.equal(noisy.hits, quiet.hits)
    assert torch.equal(noisy.steps.index, quiet.steps.index)
    real = noisy.steps.energy != quiet.steps.energy
    ratio = (noisy.steps.spent[:, 4] / quiet.steps.spent[:, 4])[found.mask[:, 0]]
    assert int(real.sum()) == int(found.mask[:, :-1].sum())  # no step is left that sees a last hit
    assert float((ratio - 1).abs().mean()) == pytest.approx(0.08, abs=0.03)


def test_weights_that_are_no_numbers_end_lists_at_once() -> None:
    made = streams()
    torch.nn.init.constant_(made.net.norm.weight, torch.nan)
    found, _ = drawn(made)
    assert bool(found.hits.isnan().all())


def test_nothing_is_drawn_from_given_numbers() -> None:
    class Zeros(draws.Source):
        def take(self, kind: object, shape: object) -> torch.Tensor:
            return torch.zeros(shape)

    with draws.given(Zeros()), pytest.raises(UserError, match="one after the other"):
        streams().sample(torch.zeros(2, 1))


def test_a_start_has_the_training_showers_number_of_hits() -> None:
    made = streams(most=60)
    hits = torch.rand(50, 20, 4, generator=torch.Generator().manual_seed(0))
    hits = hits * torch.tensor([5.0, 3.0, 4.0, 3.0])
    hits[..., :3] = hits[..., :3].floor()
    hits[..., 0] = hits[..., 0].sort(1).values
    made.fit(hits, torch.ones(50, 20, dtype=torch.bool))
    assert float(made.centre) == pytest.approx(1.5, abs=0.1)
    with torch.no_grad():
        lists = made.lists(hits, torch.ones(50, 20, dtype=torch.bool), torch.zeros(50, 1))
        stop = made.stop.probability(lists.for_stop).sigmoid().mean()
        chance = made.hit_log_probs(lists)["layer"].exp().mean()
    assert float(stop) == pytest.approx(1 / 21, rel=0.02)
    assert (
        float(chance) > 0.5
    )  # four hits of a layer follow each other; of layers at random it is 0.46
