"""JUNIPR: a density that is normalised, and samples that are drawn from it."""

from __future__ import annotations

import torch

from simulacra.data.showering.evolution import Evolution
from simulacra.data.showering.kernels import AltarelliParisi
from simulacra.data.showering.toy import ToyShower
from simulacra.formats.parton_shower import parton_shower
from simulacra.models.clouds.junipr import Junipr
from support import made


def model(points: int = 3) -> tuple[Junipr, ToyShower]:
    toy = ToyShower(AltarelliParisi(), Evolution(0.2, 0.4, 0.02, 0.5, 0.05))
    module = made("junipr", parton_shower("toy_shower", points))
    module.fit_transform([toy.draw(points, 300, torch.Generator().manual_seed(0))])
    return module, toy


def test_the_density_is_that_of_what_is_sampled() -> None:
    """Shares of jets by their number of splittings are those that the density says, and by angle as well."""
    module, _ = model()
    n = 4000
    sample = module.sample(n, seed=1)
    latent = module.encode(sample)
    assert latent.mask is not None
    none = latent.mask.sum(1) == 1
    with torch.no_grad():
        alone = module.log_likelihood(latent[none][:1]).exp()
    share = none.double().mean()
    assert abs(float(share) - float(alone)) < 4 * float((share * (1 - share) / n).sqrt())
    # jets of one splitting: the mean of 1 / density over them is the volume of the cube times their share
    one = latent.mask.sum(1) == 2
    with torch.no_grad():
        inverse = (-module.log_likelihood(latent[one]).double()).exp().sum() / n
        spread = (-module.log_likelihood(latent[one]).double()).exp()
    error = float((spread.square().sum() / n - inverse**2).clamp_min(0).sqrt()) / n**0.5
    going_on = (
        1.0  # volume of the unit cube; jets of one splitting end there with their own probability
    )
    assert abs(float(inverse) - going_on) < 5 * error


def test_no_jet_has_more_partons_than_there_is_room_for() -> None:
    module, _ = model()
    sample = module.sample(50, seed=1)
    assert sample.mask is not None
    assert int(sample.mask.sum(1).max()) <= 3
    assert float((sample.x[..., 2].sum(1) - 1).abs().max()) < 1e-5


def test_the_order_of_partons_is_nothing_and_weights_count() -> None:
    module, toy = model()
    batch = toy.draw(3, 40, torch.Generator().manual_seed(1))
    assert batch.mask is not None
    turned = type(batch)(batch.x.flip(1), mask=batch.mask.flip(1))
    torch.testing.assert_close(module.log_prob(batch), module.log_prob(turned))
    latent = module.encode(batch)
    doubled = module.encode(type(batch).cat([batch, batch[:20]]))
    weight = torch.ones(40)
    weight[:20] = 2
    weighed = type(latent)(latent.x, latent.cond, latent.mask, weight)
    torch.testing.assert_close(module.loss(weighed)["loss"], module.loss(doubled)["loss"])
