"""Trees of jets: against fastjet and by hand, back to particles, and as points of the unit cube."""

from __future__ import annotations

import math

import pytest
import torch

from simulacra.core import Batch, Conditions, UserError
from simulacra.formats.parton_shower import parton_shower
from simulacra.transforms.clustering import RISE, Trees, cluster, unfold
from simulacra.transforms.shower_trees import ShowerTrees


def jets(n: int = 60, points: int = 10) -> Batch:
    generator = torch.Generator().manual_seed(0)
    mask = torch.arange(points) < torch.randint(1, points + 1, (n, 1), generator=generator)
    share = (torch.rand(n, points, generator=generator) + 0.02) * mask
    share = share / share.sum(1, keepdim=True)
    place = 0.1 * torch.randn(n, points, 2, generator=generator)
    place = place - (share[..., None] * place).sum(1, keepdim=True)
    return Batch(torch.cat([place, share[..., None]], -1) * mask[..., None], mask=mask)


def test_three_particles_by_hand() -> None:
    x = torch.tensor([[[0.0, 0.0, 0.5], [0.1, 0.0, 0.25], [0.0, 1.0, 0.25]]])
    trees = cluster(x, torch.ones(1, 3, dtype=torch.bool))
    # the first two are joined at (1/30, 0) with 0.75, which splits last
    wide = math.hypot(1 / 30, 1)
    assert trees.splitting[0, :, 0].tolist() == pytest.approx([wide, 0.1], rel=1e-6)
    assert trees.splitting[0, :, 1].tolist() == pytest.approx([0.25, 1 / 3], rel=1e-6)
    assert trees.splitting[0, :, 2].tolist() == pytest.approx([math.atan2(1, -1 / 30), 0], abs=1e-6)
    assert trees.mother.tolist() == [[0, 0]]
    assert trees.jet[0].tolist() == pytest.approx([0.025, 0.25, 1.0])


def test_trees_come_back_as_the_same_particles_whatever_their_order() -> None:
    batch = jets()
    trees = cluster(batch.x, batch.mask)
    x, mask = unfold(trees)
    assert torch.equal(mask.sum(1), batch.mask.sum(1))
    ordered = [a.double()[torch.argsort(a[:, 2])] for a in (*batch.x, *x.float())]
    for one, two in zip(ordered[:60], ordered[60:], strict=True):
        torch.testing.assert_close(one, two, atol=1e-6, rtol=0)
    turned = cluster(batch.x.flip(1), batch.mask.flip(1))
    torch.testing.assert_close(turned.splitting, trees.splitting)
    assert torch.equal(turned.mother, trees.mother)
    logs = trees.splitting[..., 0].clamp_min(1e-9).log()
    rises = (logs[:, 1:] - logs[:, :-1])[trees.mask[:, 1:]]
    assert float(rises.max()) <= math.log(RISE) + 1e-9


def test_angles_and_shares_are_those_of_fastjet() -> None:
    fastjet = pytest.importorskip("fastjet")
    definition = fastjet.JetDefinition(fastjet.cambridge_algorithm, 100.0, fastjet.pt_scheme)
    batch = jets(12)
    trees = cluster(batch.x, batch.mask)
    for i in range(12):
        given = []
        for eta, phi, pt in batch.x[i][batch.mask[i]].double().tolist():
            particle = fastjet.PseudoJet()
            particle.reset_PtYPhiM(pt, eta, phi, 0.0)
            given.append(particle)
        found = fastjet.ClusterSequence(given, definition)
        (jet,) = found.inclusive_jets()
        waiting, splittings = [jet], []
        while waiting:
            one, two = fastjet.PseudoJet(), fastjet.PseudoJet()
            if waiting.pop().has_parents(one, two):
                waiting += [one, two]
                soft = min(one.pt(), two.pt()) / (one.pt() + two.pt())
                splittings.append((one.delta_R(two), soft))
        splittings.sort(reverse=True)
        own = sorted(trees.splitting[i, :, :2][trees.mask[i]].tolist(), reverse=True)
        assert [v for s in own for v in s] == pytest.approx(
            [v for s in splittings for v in s], abs=1e-6
        )


def test_a_tree_is_a_point_of_the_cube_and_comes_back() -> None:
    batch = jets()
    transform = ShowerTrees(parton_shower("jets", 10), ())
    transform.fit([batch[:30], batch[30:]])
    latent = transform(batch)
    unit, real = latent.x["splittings"], latent.mask[:, 1:]
    assert bool(((unit >= 0) & (unit <= 1)).all())
    assert float(unit[real][:, 0].min()) == pytest.approx(0, abs=1e-6)
    assert float(unit[real][:, 0].max()) == pytest.approx(1, abs=1e-6)
    back = transform.inverse(latent, Conditions(len(batch)))
    assert torch.equal(back.mask.sum(1), batch.mask.sum(1))
    for one, two in zip(batch.x, back.x, strict=True):
        expected = one[torch.argsort(one[:, 2], descending=True)]
        torch.testing.assert_close(two, expected, atol=2e-5, rtol=1e-4)


def test_the_volume_is_that_of_the_logarithms() -> None:
    transform = ShowerTrees(parton_shower("jets", 10), ())
    transform.fit([jets()])
    span = transform.high - transform.low
    assert float(transform.log_volume) == pytest.approx(math.log(float(span.prod()) * 2 * math.pi))
    assert float(transform.share(torch.tensor(1.0))) == pytest.approx(0.5)


def test_jets_that_are_not_told_from_their_axis_are_refused() -> None:
    batch = jets(4)
    transform = ShowerTrees(parton_shower("jets", 10), ())
    moved = Batch(batch.x + 0.1 * batch.mask[..., None], mask=batch.mask)
    with pytest.raises(UserError, match="relative to their own axis"):
        transform(moved)


def test_a_jet_of_one_particle_has_no_splitting() -> None:
    x = torch.tensor([[[0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]])
    trees: Trees = cluster(x, torch.tensor([[True, False]]))
    assert not bool(trees.mask.any())
    assert trees.jet.tolist() == [[0.0, 0.0, 1.0]]
