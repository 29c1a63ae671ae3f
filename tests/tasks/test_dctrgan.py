"""DCTRGAN: its size, what it sees, and weights whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from simulacra.core import Batch
from simulacra.core.pair import FIRST, SECOND, labelled, with_label
from simulacra.tasks.dctrgan import DCTRGAN
from simulacra.training.checkpoint import build
from support import composed
from toy_showers import ENERGY, TOY, toy, train

SPEC = labelled(TOY.with_(conditions=(replace(ENERGY, role="energy"),)))


def made(*overrides: str) -> DCTRGAN:
    module = build(composed("model", "model=dctrgan", *overrides), SPEC)
    assert isinstance(module, DCTRGAN)
    return module


def ratio(batch: Batch) -> Tensor:
    """A known ratio of densities, whose mean over the toy is not 1: it falls with E_tot / E_inc."""
    response = batch.x.sum((1, 2, 3)) / batch.cond["incident_energy"][:, 0]
    return torch.sigmoid(-6 * (response - 0.9)) + 0.2


def weighted_pair(n: int, seed: int) -> Batch:
    """The toy twice: ``first`` carries the known ratio as weights, ``second`` weighs one; equal totals."""
    first, second = toy(n, seed), toy(n, seed + 1000)
    weight = ratio(first)
    first = replace(first, weight=weight / weight.mean())
    return Batch.cat([with_label(first, FIRST), with_label(second, SECOND)])


def score(seed: int, steps: int = 1500) -> float:
    """Root mean square of ln(weight) from the truth, in units of the truth's own spread, on new events."""
    torch.manual_seed(seed)
    batch, new = weighted_pair(10_000, seed), toy(4000, seed + 5000)
    module = made("model/size=tiny").fit_transform([batch])
    train(module, batch, steps, seed)
    truth = ratio(new) / ratio(new).mean()
    error = (module.weights(new) / truth).log()
    return float(error.square().mean().sqrt() / truth.log().square().mean().sqrt())


@pytest.mark.smoke
def test_weights_are_the_ratio_of_the_densities() -> None:
    """Five seeds: 0.25 to 0.36; a loss that ignores weights 1.1, swapped labels 1.9, no training 2.3."""
    assert score(0) < 0.5


def test_the_published_size_is_that_of_the_authors_toy() -> None:
    widths = [p.shape[0] for p in made("model/size=published").parameters() if p.ndim == 2]
    assert widths == [20, 20, 20, 1]


def test_with_cells_it_sees_the_cells() -> None:
    few, many = (made(f"model.sees.showers.stages={s}") for s in ("[energies]", "[energies,cells]"))
    widths = [next(m.classifier.parameters()).shape[1] for m in (few, many)]
    assert widths[1] - widths[0] == SPEC.n_voxels
    batch = weighted_pair(50, 0)
    moved = replace(batch, x=batch.x.flip(-1))  # the layers keep their energies
    for module, same in ((few, True), (many, False)):
        module.fit_transform([batch])
        assert torch.allclose(module.weights(batch), module.weights(moved)) is same


def test_the_label_is_no_input() -> None:
    module, batch = made(), weighted_pair(50, 0)
    module.fit_transform([batch])
    swapped = replace(batch, event={"label": 1 - batch.event["label"]})
    assert torch.equal(module.weights(batch), module.weights(swapped))
    assert torch.equal(module.weights(batch), module.weights(replace(batch, event={})))


def test_the_loss_of_a_classifier_that_knows_nothing_is_that_of_a_coin() -> None:
    module, batch = made(), weighted_pair(64, 0)
    module.fit_transform([batch])
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    loss = module.loss(module.encode(batch))["loss"]
    assert float(loss.detach()) == pytest.approx(0.6931472, rel=1e-5)
    assert torch.equal(module.weights(batch), torch.ones(len(batch)))


def test_the_calibrated_odds_of_the_first_sample_are_the_weight() -> None:
    module, batch = made(), weighted_pair(64, 0)
    module.fit_transform([batch])
    for slope in (1.0, 0.5):
        module.calibration.slope.fill_(slope)
        p = torch.sigmoid(slope * module.classifier(module.encode(batch)).detach())
        torch.testing.assert_close(module.weights(batch), p / (1 - p))


def test_equal_events_are_normalised_alike_in_training_and_after() -> None:
    module, batch = made(), weighted_pair(32, 0)
    module.fit_transform([batch])
    found = [
        m.encode(batch, torch.Generator()).x["energies"] for m in (module.train(), module.eval())
    ]
    assert torch.equal(*found)
    assert module.train().transform.training
