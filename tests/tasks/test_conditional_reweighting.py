"""Responses that are corrected while the spectrum of the truth stays, and a control that changes it."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import chi2
from torch import Tensor

from pair_training import train
from simulacra.core import Batch, Field, IncompatibleError, Spec
from simulacra.core.pair import FIRST, SECOND, labelled, with_label
from simulacra.tasks.conditional_reweighting import ConditionalReweighting
from support import made

SPEC = Spec(
    "toy",
    "table",
    (1,),
    "",
    features=(Field("seen"),),
    conditions=(Field("true", low=0.0, high=1.0),),
)
BINS = 10


def sample(n: int, seed: int, first: bool) -> Batch:
    """Responses ``seen / true - 1`` of two widths and means over truths of two spectra."""
    g = torch.Generator().manual_seed(seed)
    u = torch.rand(n, 1, generator=g)
    true = u ** (2 / 3) if first else 1 - u ** (2 / 3)  # rising, and falling
    mean, width = (0.02, 0.10) if first else (0.0, 0.14)
    noise = torch.randn(n, 1, generator=g)
    return Batch(true + mean + width * (0.5 + true) * noise, {"true": true})


def spectrum(batch: Batch, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Sums of weights and of their squares in bins of the truth."""
    place = (batch.cond["true"][:, 0] * BINS).long().clamp_max(BINS - 1)
    sums = [torch.zeros(BINS).double().index_add(0, place, w.double()) for w in (weight, weight**2)]
    return sums[0], sums[1]


def p_value(batch: Batch, weight: Tensor) -> float:
    """Of the weighted spectrum and that of an independent sample of as many events without weights."""
    other = sample(len(batch), 77, first=False)
    one, two = spectrum(batch, weight), spectrum(other, torch.ones(len(other)))
    return float(chi2.sf(float(((one[0] - two[0]).square() / (one[1] + two[1])).sum()), BINS))


@pytest.fixture(scope="module")
def trained() -> ConditionalReweighting:
    module = made("conditional_reweighting", labelled(SPEC), size="small")
    pair = Batch.cat(
        [
            with_label(sample(40_000, 1, first=True), FIRST),
            with_label(sample(40_000, 2, first=False), SECOND),
        ]
    )
    train(module, pair, 1200, 2000)
    assert isinstance(module, ConditionalReweighting)
    return module


def response(batch: Batch, weight: Tensor) -> Tensor:
    """Weighted mean of ``seen - true`` in bins of the truth."""
    return (
        spectrum(batch, weight * (batch.x - batch.cond["true"])[:, 0])[0]
        / spectrum(batch, weight)[0]
    )


@pytest.mark.smoke
def test_the_response_is_corrected_and_the_truth_stays(trained: ConditionalReweighting) -> None:
    fresh = sample(10_000, 5, first=False)
    weight, one = trained.weights(fresh), torch.ones(10_000)
    assert float((response(fresh, one) - 0.02).abs().mean()) > 0.015
    assert float((response(fresh, weight) - 0.02).abs().mean()) < 0.01
    assert p_value(fresh, weight) > 0.01
    assert abs(float(weight.mean()) - 1) < 0.02


@pytest.mark.smoke
def test_the_ratio_of_joint_densities_does_not_leave_the_truth_as_it_is(
    trained: ConditionalReweighting,
) -> None:
    """The control: with the marginal in it, the weight makes the spectrum that of the first sample."""
    fresh = sample(10_000, 5, first=False)
    latent = trained.transform(fresh)
    naive = trained.log_joint(latent).detach().exp()
    assert float((response(fresh, naive) - 0.02).abs().mean()) < 0.02
    assert p_value(fresh, naive) < 1e-6


def test_the_marginal_follows_the_classifier_and_not_the_other_way_round() -> None:
    module = made("conditional_reweighting", labelled(SPEC))
    batch = Batch.cat(
        [
            with_label(sample(50, 1, first=True), FIRST),
            with_label(sample(50, 2, first=False), SECOND),
        ]
    )
    module.fit_transform([batch])
    values = module.loss(module.encode(batch))
    values["marginal"].backward()
    assert all(parameter.grad is None for parameter in module.joint.parameters())
    assert all(parameter.grad is not None for parameter in module.marginal.parameters())


def test_it_needs_conditions() -> None:
    with pytest.raises(IncompatibleError, match="it needs conditions"):
        made("conditional_reweighting", labelled(SPEC.with_(conditions=())))
