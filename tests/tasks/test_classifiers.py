"""What classifiers see of each kind of event, and what all of them owe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from simulacra import data
from simulacra.core import Batch, IncompatibleError, UserError
from simulacra.core.pair import SECOND, of_sample
from simulacra.data.base import EventDataModule
from simulacra.tasks.dctrgan import DCTRGAN
from simulacra.training.checkpoint import build
from support import assert_losses_reach_their_own_parameters, composed

CASES = [
    ("deep_sets", "jetnet30"),
    ("epic", "jetnet30"),
    ("jet_image", "jetnet30"),
    ("resnet3d", "ild"),
    ("resnet3d", "ds1_photons"),
    ("mlp", "toy_unfolding"),
]


def pair(toy: Callable[..., EventDataModule], name: str) -> EventDataModule:
    folder = toy(name).root
    sides = [f"data/{side}={name}" for side in ("first", "second")]
    roots = [f"data.{side}.root={folder}" for side in ("first", "second")]
    return data.build(composed("data", "data=pair", *sides, *roots, "data.batch_size=8"))


def fitted(events: EventDataModule, classifier: str, *changes: str) -> DCTRGAN:
    overrides = ["model=dctrgan", "model/size=tiny", f"classifier@model={classifier}", *changes]
    torch.manual_seed(0)
    module = build(composed("model", *overrides), events.spec)
    assert isinstance(module, DCTRGAN)
    return module.fit_transform([events.batch(16)]).eval()


@pytest.mark.parametrize(("classifier", "name"), CASES)
def test_a_classifier_moves_its_own_weights_takes_event_weights_and_looks_at_one_event(
    classifier: str, name: str, toy: Callable[..., EventDataModule]
) -> None:
    events = pair(toy, name)
    module, batch = fitted(events, classifier), events.batch(8)
    assert_losses_reach_their_own_parameters(module, batch)
    weight = torch.tensor([2.0, 0.0, 1.0, 1.0, 2.0, 1.0, 0.0, 1.0])
    module.train()  # also while it is trained
    repeated = batch[torch.repeat_interleave(torch.arange(8), weight.long())]
    loss = [
        module.loss(module.encode(item))["loss"].detach()
        for item in (replace(batch, weight=weight), repeated, batch)
    ]
    torch.testing.assert_close(loss[0], loss[1], rtol=1e-5, atol=1e-7)
    assert abs(float(loss[0] - loss[2])) > 1e-6
    module.eval()
    alone = torch.cat([module.weights(batch[i : i + 1]) for i in range(8)])
    torch.testing.assert_close(module.weights(batch), alone, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("classifier", ["deep_sets", "epic"])
def test_the_order_of_points_and_what_is_behind_them_do_not_matter(
    classifier: str, toy: Callable[..., EventDataModule]
) -> None:
    events = pair(toy, "jetnet30")
    module = fitted(
        events, classifier, "model.sees.points.stages=[]"
    )  # points and conditions alone
    batch = of_sample(events.batch(8), SECOND)
    whole = module.weights(batch)
    assert batch.mask is not None
    place = torch.arange(batch.x.shape[1])
    order = torch.where(batch.mask, batch.mask.sum(1, keepdim=True) - 1 - place, place)
    turned = replace(batch, x=batch.x.gather(1, order[..., None].expand_as(batch.x)))
    assert not torch.equal(turned.x, batch.x)
    torch.testing.assert_close(module.weights(turned), whole)
    moved = replace(batch, x=torch.where(batch.mask[..., None], batch.x * 1.3, 0.0))
    assert not torch.allclose(module.weights(moved), whole)


def test_a_classifier_sees_detector_level_alone_or_particle_level_alone(
    toy: Callable[..., EventDataModule],
) -> None:
    events = pair(toy, "toy_unfolding")
    batch = of_sample(events.batch(16), SECOND)
    other = batch.x.flip(0), {"detector": batch.cond["detector"].flip(0)}
    for changes, sees_x, sees_cond in (
        (("model.sees.rows.stages=[]",), False, True),
        (("model.sees.rows.conditions=false",), True, False),
        ((), True, True),
    ):
        module = fitted(events, "mlp", *changes)
        whole = module.weights(batch)
        assert torch.equal(module.weights(replace(batch, x=other[0])), whole) is not sees_x
        assert torch.equal(module.weights(replace(batch, cond=other[1])), whole) is not sees_cond


def test_what_sees_nothing_is_refused_in_one_sentence(toy: Callable[..., EventDataModule]) -> None:
    events = pair(toy, "toy_unfolding")
    changes = ("model.sees.rows.stages=[]", "model.sees.rows.conditions=false")
    with pytest.raises(UserError, match="sees no stage and no condition"):
        fitted(events, "mlp", *changes)
    with pytest.raises(UserError, match="sees stages of table, and none called 'cells'"):
        fitted(events, "mlp", "model.sees.rows.stages=[cells]")
    with pytest.raises(IncompatibleError, match=r"sees nothing of toy_unfolding.*it has no points"):
        fitted(events, "deep_sets")


def test_a_calibration_follows_the_events_of_validation(
    toy: Callable[..., EventDataModule],
) -> None:
    """A classifier that is three times too sure is brought back; its weights are those of a third of it."""
    events = pair(toy, "toy_unfolding")
    module = fitted(events, "mlp")
    g = torch.Generator().manual_seed(0)
    label = torch.randint(2, (4000, 1), generator=g)
    x = torch.randn(4000, 1, generator=g) + 0.5 * label.float()
    batch = Batch(x, {"detector": torch.zeros(4000, 1)}, {"label": label})
    module.fit_transform([batch])
    truth = 0.5 * x[:, 0] - 0.125
    module.classifier = Known(module.transform, lambda value: 3 * (0.5 * value - 0.125))
    module.calibrate([batch[:2000], batch[2000:]])
    assert float(module.calibration.slope) == pytest.approx(1 / 3, abs=0.05)
    assert float((module.weights(batch[:50]).log() - truth[:50]).abs().max()) < 0.3


class Known(torch.nn.Module):
    """A classifier whose logit is a function of the first column."""

    def __init__(self, transform: torch.nn.Module, logit: Callable) -> None:
        super().__init__()
        self.invert, self.logit = transform.inverse, logit

    def forward(self, latent):  # type: ignore[no-untyped-def]
        return self.logit(self.invert(latent, None).x[:, 0])
