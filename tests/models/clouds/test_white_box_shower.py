"""The white-box shower: momenta that are conserved, and a kernel that can be read."""

from __future__ import annotations

import torch

from simulacra.core import Conditions
from simulacra.data.showering.evolution import Evolution
from simulacra.data.showering.kernels import AltarelliParisi, Flat
from simulacra.data.showering.toy import ToyShower
from simulacra.formats.parton_shower import parton_shower
from simulacra.models.clouds.white_box_shower import WhiteBoxShower
from simulacra.nn.white_box import canvas
from simulacra.studies.parton.splitting import distance, quantiles, separation
from support import made


def model() -> tuple[WhiteBoxShower, ToyShower]:
    toy = ToyShower(AltarelliParisi(), Evolution(0.6, 0.4, 4e-3, 0.5, 0.01, both=False))
    module = made("white_box_shower", parton_shower("toy_emissions", 12))
    module.fit_transform([toy.draw(12, 300, torch.Generator().manual_seed(0))])
    return module, toy


def test_momentum_and_direction_are_conserved_and_numbers_are_those_of_the_data() -> None:
    module, toy = model()
    sample, data = module.sample(2000, seed=1), toy.draw(12, 300, torch.Generator().manual_seed(0))
    assert float((sample.x[..., 2].sum(1) - 1).abs().max()) < 1e-5
    assert float((sample.x[..., :2] * sample.x[..., 2:]).sum(1).abs().max()) < 1e-5
    assert sample.mask is not None
    assert data.mask is not None
    numbers = [batch.mask.sum(1).double().mean() for batch in (sample, data)]
    assert abs(float(numbers[0] - numbers[1])) < 0.2


def test_what_is_read_is_what_the_final_state_is_made_of() -> None:
    """The first emission is the parton with the share 1 - z of all momentum."""
    module, _ = model()
    generator = [torch.Generator().manual_seed(3) for _ in range(2)]
    emissions = module.splittings(Conditions(50), generator[0])
    sample = module.sample(Conditions(50), generator=generator[1])
    assert sample.mask is not None
    emitted = emissions.log_emitted[:, 0].exp()
    has = emissions.real[:, 0]
    torch.testing.assert_close(sample.x[has, 1, 2], emitted[has])
    assert torch.equal(emissions.real.sum(1) + 1, sample.mask.sum(1))
    assert bool((emissions.log_angle[:, 1:] < emissions.log_angle[:, :-1]).all())


def test_a_critic_sees_the_share_within_the_distance_of_each_parton() -> None:
    partons = torch.tensor([[[0.0, 0.0, 0.6], [0.1, 0.0, 0.1], [0.0, 0.3, 0.3]]])
    seen = canvas(partons, torch.ones(1, 3))[0, :, :3].exp()
    assert torch.allclose(seen[:, 0], torch.tensor([0.6, 0.1, 0.3]))
    assert torch.allclose(seen[1:, 1], torch.tensor([0.1, 0.3]), rtol=1e-3)
    assert torch.allclose(seen[:, 2], torch.tensor([1.0, 0.1 / 0.7, 0.3]))


def test_distances_of_kernels() -> None:
    true = quantiles(AltarelliParisi(), 0.01, 500)
    flat = quantiles(Flat(1.0), 0.01, 500)
    draws = true[torch.randint(500, (20_000,), generator=torch.Generator().manual_seed(0))]
    assert distance(draws, true) < 0.02
    assert distance(flat, true) > 0.5
    # flat in z: the mean of ln(1 - z) between its cuts, by the integral
    assert abs(float(flat.exp().mean()) - 0.5) < 0.01
    means = {"a": [1.0, 1.2], "b": [3.0, 3.2]}
    assert abs(separation(means["a"], means["b"], means) - 2 / 0.02**0.5) < 1e-9
