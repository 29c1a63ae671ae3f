"""Signed weights that become positive with the sums and errors that they had."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pair_training import train
from simulacra.core import Batch, Field, IncompatibleError, Spec, UserError
from simulacra.tasks.neural_resampler import NeuralResampler
from support import made

SPEC = Spec("toy", "table", (1,), "", features=(Field("x"),), signed=True)
BINS = 12


def sample(n: int, seed: int) -> Batch:
    """A fifth of the weights is -1, more of them at small ``x``; the others are 1."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 1, generator=g)
    negative = torch.rand(n, generator=g) < 0.4 * torch.sigmoid(-1.5 * x[:, 0])
    return Batch(x, weight=torch.where(negative, -1.0, 1.0))


def histogram(batch: Batch) -> tuple[Tensor, Tensor]:
    """Sums of weights and of their squares in bins of ``x``."""
    place = ((batch.x[:, 0] + 1.8) / 3.6 * BINS).long().clamp(0, BINS - 1)
    weight = batch.weight_or_one().double()
    zero = torch.zeros(BINS).double()
    return zero.index_add(0, place, weight), zero.index_add(0, place, weight**2)


@pytest.mark.smoke
def test_sums_and_errors_are_kept_in_every_bin_and_no_weight_is_negative() -> None:
    module = made("neural_resampler", SPEC, size="small")
    assert isinstance(module, NeuralResampler)
    train(module, sample(80_000, 1), 800, 1000)
    fresh, other = sample(40_000, 2), sample(40_000, 3)
    assert 0.17 < float((fresh.weight < 0).float().mean()) < 0.23
    found = module.applied(fresh, torch.Generator().manual_seed(0))
    assert float(found.weight.min()) >= 0
    assert len(found) < 0.7 * len(fresh)
    one, two = histogram(found), histogram(other)
    chi2 = float(((one[0] - two[0]).square() / (one[1] + two[1])).mean())
    assert chi2 < 1.5
    errors = (one[1] / two[1]).sqrt()
    assert bool(((errors > 0.9) & (errors < 1.1)).all())
    chance, weight = module.chances(fresh)
    mean_only = replace(
        fresh, weight=chance * weight
    )  # the control: the mean weight of every event
    assert bool((((histogram(mean_only)[1] / two[1]).sqrt()) < 0.9).any())


def test_chances_are_probabilities_and_weights_have_the_unit_of_the_sample() -> None:
    module, batch = made("neural_resampler", SPEC), sample(500, 0)
    module.fit_transform([replace(batch, weight=1000 * batch.weight)])
    chance, weight = module.chances(batch)
    assert bool(((chance > 0) & (chance < 1)).all())
    mean = float((chance * weight).mean())
    assert 0.2 < mean / (1000 * float(batch.weight.mean())) < 5


def test_the_loss_is_least_where_the_mean_and_the_mean_square_are_met() -> None:
    module, batch = made("neural_resampler", SPEC), sample(20_000, 0)
    module.fit_transform([batch])
    for network in (module.mean, module.excess):
        for parameter in network.parameters():
            parameter.data.zero_()
    latent = module.encode(batch)
    module.loss(latent)["loss"].backward()
    # at W = unit the first is at its minimum; E[w^2] is above W^2 (1 + e^0) = 2 unit^2, as unit is 0.6
    assert abs(float(module.mean.layers[-1].bias.grad)) < 1e-4
    assert float(module.excess.layers[-1].bias.grad) < -1e-3


def test_judged_are_the_events_of_the_data_set_chunk_by_chunk() -> None:
    module, batch = made("neural_resampler", SPEC), sample(300, 0)
    module.fit_transform([batch])
    first, again = (
        module.judged(batch, generator=torch.Generator().manual_seed(1)) for _ in range(2)
    )
    assert torch.equal(first.x, again.x)
    assert 0 < len(first) < 300
    assert len(module.judged(batch, batch_size=7)) > 0
    assert module.truth(batch) is batch
    with pytest.raises(UserError, match="batch_size must be at least 1"):
        module.judged(batch, batch_size=0)


def test_what_has_no_positive_sum_or_is_no_table_is_refused() -> None:
    batch = sample(100, 0)
    with pytest.raises(UserError, match="positive weights cannot have the sum"):
        made("neural_resampler", SPEC).fit_transform([replace(batch, weight=-batch.weight)])
    with pytest.raises(IncompatibleError, match="it weighs rows of tables"):
        made("neural_resampler", Spec("toy", "image", (1, 4, 4), "GeV"))
