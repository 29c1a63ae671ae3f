"""Toy showers: their kernels, their exact density, and the trees that their final states show."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from simulacra.core import UserError
from simulacra.data.showering.evolution import Evolution, run
from simulacra.data.showering.fragmentation import ToyFragmentation
from simulacra.data.showering.kernels import AltarelliParisi, Flat, QuarksAndGluons
from simulacra.data.showering.likelihood import integral, log_density
from simulacra.data.showering.toy import ToyShower
from simulacra.transforms.clustering import AZIMUTH, SHARE, cluster

EVOLUTION = Evolution(0.10, 0.4, 4e-3, 0.5, 0.01)


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_kernels_of_qcd_are_those_of_altarelli_and_parisi_at_small_mass() -> None:
    z, y = torch.linspace(0.01, 0.99, 99, dtype=torch.float64), torch.zeros(99).double()
    kernels = QuarksAndGluons()
    found = {
        name: sum(
            c * term.density(z, y)
            for c, term in zip(kernels.coefficients, kernels.terms, strict=True)
            if term.name.endswith(name)
        )
        for name in ("qq", "gg", "gq")
    }
    torch.testing.assert_close(found["qq"], 4 / 3 * (1 + z**2) / (1 - z))
    torch.testing.assert_close(found["gg"], 3 * (z / (1 - z) + (1 - z) / z + z * (1 - z)))
    torch.testing.assert_close(found["gq"], 2.5 * (z**2 + (1 - z) ** 2))


@pytest.mark.parametrize("kernels", [AltarelliParisi(), Flat(2.0), QuarksAndGluons()])
def test_no_kernel_exceeds_its_bound(kernels) -> None:
    z = torch.linspace(0.001, 0.999, 400, dtype=torch.float64)[:, None]
    y = torch.linspace(0, 1, 50, dtype=torch.float64)
    for term in kernels.terms:
        height = term.density(z.expand(-1, 50), y.expand(400, -1))
        assert bool((height >= 0).all())
        assert bool((height <= term.bound * (1 / z + 1 / (1 - z)) * (1 + 1e-12)).all()), term.name


def test_a_parton_that_emits_alone_does_so_by_its_kernel_and_at_its_rate() -> None:
    evolution = replace(EVOLUTION, coupling=0.5, ordering=1.0, both=False)
    kernels = AltarelliParisi()
    showers = run(kernels, evolution, torch.zeros(4000, dtype=torch.long), source())
    rate = 0.5 / math.pi * integral(kernels, 0.01) * math.log(100)
    count = torch.bincount(showers.splittings.jet, minlength=4000).double()
    assert float(count.mean()) == pytest.approx(rate, rel=0.02)  # a Poisson process
    assert float(count.var()) == pytest.approx(rate, rel=0.08)
    z = showers.splittings.z
    # of (1 + z^2) / (1 - z) between 0.01 and 0.99: 1 / z and 1 / (1 - z) by the integral
    grid = torch.linspace(0.01, 0.99, 200_001, dtype=torch.float64)
    dense = (1 + grid**2) / (1 - grid)
    expected = torch.trapezoid(dense * grid, grid) / torch.trapezoid(dense, grid)
    assert float(z.mean()) == pytest.approx(float(expected), abs=0.005)


def test_momentum_and_direction_are_conserved_and_trees_come_back() -> None:
    toy = ToyShower(AltarelliParisi(), replace(EVOLUTION, coupling=0.2))
    batch = toy.draw(24, 500, source())
    assert batch.mask is not None
    x = batch.x.double()
    assert float((x[..., 2].sum(1) - 1).abs().max()) < 1e-5
    assert float((x[..., :2] * x[..., 2:]).sum(1).abs().max()) < 1e-6
    _, _, kept = toy.kept(24, 500, source())
    assert float(kept.double().mean()) > 0.97
    trees = cluster(batch.x, batch.mask)
    assert bool((trees.splitting[..., SHARE][trees.mask] >= 0.01 - 1e-6).all())
    angles = trees.splitting[..., 0]
    assert bool((angles[:, 1:] <= angles[:, :-1] + 1e-9).all())


def test_the_density_is_one_of_showers() -> None:
    """The mean of the ratio of two densities is 1 under the one below, and the truth is most likely."""
    toys = [ToyShower(AltarelliParisi(), replace(EVOLUTION, coupling=a)) for a in (0.10, 0.14)]
    for toy, other in (toys, toys[::-1]):
        batch = toy.draw(24, 4000, source())
        assert batch.mask is not None
        trees = cluster(batch.x, batch.mask)
        own, wrong = (log_density(t.kernels, t.evolution, trees) for t in (toy, other))
        ratio = (wrong - own).exp()
        assert float(ratio.mean()) == pytest.approx(1, abs=4 * float(ratio.std()) / 4000**0.5)
        assert float((own - wrong).mean()) > 0
    azimuth = trees.splitting[..., AZIMUTH][trees.mask]
    assert abs(float(azimuth.cos().mean())) < 0.05


def test_jets_depend_on_the_seed_and_settings_that_cannot_be_are_refused() -> None:
    toy = ToyShower(AltarelliParisi(), EVOLUTION)
    first, again = (toy.draw(8, 50, source(1)) for _ in range(2))
    assert torch.equal(first.x, again.x)
    with pytest.raises(UserError, match="no room for a splitting"):
        replace(EVOLUTION, narrowest=0.3)
    trees = cluster(first.x, first.mask)
    with pytest.raises(UserError, match="flavours do not show in final states"):
        log_density(QuarksAndGluons(), EVOLUTION, trees)
    with pytest.raises(UserError, match="both split on"):
        log_density(AltarelliParisi(), replace(EVOLUTION, both=False), trees)
    with pytest.raises(UserError, match="hardly any shower"):
        ToyShower(
            AltarelliParisi(), replace(EVOLUTION, coupling=8.0, cut=0.2, narrowest=0.02)
        ).draw(2, 5, source())


def fragmentation(**changes) -> ToyFragmentation:
    ranges = {"d_qq": [0.5, 2.0], "c_gg": [0.0, 20.0]}
    return ToyFragmentation(ranges=ranges, evolution=EVOLUTION, **{"jets": 40, **changes})


def test_more_soft_gluons_are_measured_where_their_coefficient_is_larger() -> None:
    rows = fragmentation().sample(60, "train")
    quark, gluon = (
        sum(values for name, values in rows.items() if name.startswith(sample))
        for sample in ("quark", "gluon")
    )
    together = torch.corrcoef(torch.stack([rows["d_qq"], quark]))[0, 1]
    assert float(together) > 0.7
    assert float(gluon.mean()) > float(quark.mean())


def test_the_exact_posterior_covers_the_truth() -> None:
    toy, n = fragmentation(), 60
    rows = toy.sample(n, "test")
    truth = torch.stack([rows["d_qq"], rows["c_gg"]], 1)
    ends = torch.tensor([[0.5, 2.0], [0.0, 20.0]], dtype=torch.float64)
    candidates = ends[:, 0] + torch.rand(400, 2, generator=source()).double() * (
        ends[:, 1] - ends[:, 0]
    )
    weight = toy.log_likelihoods(n, "test", candidates).softmax(1)
    mean = weight @ candidates
    spread = (weight @ candidates**2 - mean**2).sqrt()
    pull = (truth - mean) / spread
    assert float(pull.mean(0).abs().max()) < 4 / n**0.5
    assert pull.std(0).tolist() == pytest.approx([1, 1], abs=0.3)
    assert float(spread[:, 0].mean()) < 0.5 * 1.5 / 12**0.5


def test_ranges_that_are_none_are_refused() -> None:
    with pytest.raises(UserError, match="two rising numbers from 0 for some of d_qq"):
        ToyFragmentation(ranges={"d_qq": [2.0, 1.0]}, evolution=EVOLUTION)
    with pytest.raises(UserError, match="for some of d_qq"):
        ToyFragmentation(ranges={"gluons": [0.0, 1.0]}, evolution=EVOLUTION)
