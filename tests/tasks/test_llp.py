"""Learning from label proportions: its losses, what it is shown, and a toy whose optimum is known."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pair_training import train
from simulacra.core import Batch, Field, IncompatibleError, Spec, UserError
from simulacra.core.bags import bagged, with_bag
from simulacra.core.rows import row_hashes
from simulacra.metrics.classifiers.delong import areas
from simulacra.tasks.llp import LLP
from simulacra.tasks.proportions import Entropy, Squares
from support import assert_losses_reach_their_own_parameters, made

SPEC = Spec("toy", "table", (2,), "", features=(Field("a"), Field("b")))
LOSSES = {"wmse": Squares, "wce": Entropy}
TRUE = torch.tensor([0.8, 0.2])


def drawn(label: Tensor, seed: int) -> Tensor:
    """Signal and background are apart by two standard deviations in ``a``, and not at all in ``b``."""
    noise = torch.randn(len(label), 2, generator=torch.Generator().manual_seed(seed))
    return noise + torch.stack([2.0 * label, torch.zeros(len(label))], 1)


def events(n: int, seed: int = 0, stated: Tensor = TRUE) -> Batch:
    """Two bags of true fractions 0.8 and 0.2, and what is stated of them."""
    generator = torch.Generator().manual_seed(seed)
    bag = torch.arange(n) % 2
    label = (torch.rand(n, generator=generator) < TRUE[bag]).float()
    return with_bag(Batch(drawn(label, seed + 1)), bag, stated[bag])


def llp(loss: str, size: str = "tiny") -> LLP:
    module = made("llp", bagged(SPEC, 2), size=size)
    assert isinstance(module, LLP)
    module.proportions = LOSSES[loss]()
    return module


def area(module: LLP, n: int = 4000) -> float:
    sides = [module.logit(Batch(drawn(torch.full((n,), k), 7))) for k in (1.0, 0.0)]
    return float(areas(sides[0][None], sides[1][None]).auc[0])


@pytest.mark.parametrize("loss", LOSSES)
def test_a_loss_reaches_all_weights_and_counts_events_by_theirs(loss: str) -> None:
    module, batch = llp(loss), events(8)
    module.fit_transform([events(100)])
    assert_losses_reach_their_own_parameters(module, batch)
    weight = torch.tensor([2.0, 0.0, 1.0, 1.0, 2.0, 1.0, 0.0, 1.0])
    repeated = batch[torch.repeat_interleave(torch.arange(8), weight.long())]
    found = [
        module.loss(module.encode(item))["loss"].detach()
        for item in (replace(batch, weight=weight), repeated, batch)
    ]
    torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=1e-7)
    assert abs(float(found[0] - found[2])) > 1e-7


def test_losses_of_known_predictions() -> None:
    module, batch = llp("wmse"), events(8)
    module.fit_transform([events(100)])
    for parameter in module.parameters():
        torch.nn.init.zeros_(parameter)
    with torch.no_grad():
        found = module.loss(module.encode(batch))  # all predictions are one half
        assert float(found["loss"]) == pytest.approx(0.09)
        assert float(found["off"]) == pytest.approx(0.3)
        module.proportions = Entropy()
        assert float(module.loss(module.encode(batch))["loss"]) == pytest.approx(math.log(2))
        alone = module.loss(module.encode(batch[batch.event["bag"][:, 0] == 1]))
        assert float(alone["off"]) == pytest.approx(0.3)


def test_a_file_needs_no_bags_and_its_other_fields_do_not_matter() -> None:
    module = llp("wmse").fit_transform([events(100)])
    plain = Batch(events(5).x)
    labelled = replace(plain, event={"label": torch.ones(5, 1)}, weight=torch.full((5,), 3.0))
    found, again = module.applied(plain), module.applied(labelled)
    torch.testing.assert_close(again.weight, 3 * found.weight)
    torch.testing.assert_close(found.weight, module.logit(plain).exp())
    assert set(again.event) == {"label"}


def test_what_was_learnt_from_is_refused() -> None:
    module = llp("wmse").fit_transform([events(100)])
    batch = Batch(events(20).x)
    module.record.learnt = {"bags": row_hashes(batch).sort().values}
    with pytest.raises(UserError, match=r"20 of 20 events .*: take other events$"):
        module.applied(replace(batch, event={"label": torch.ones(20, 1)}))
    module.applied(Batch(events(20, 5).x))


def test_events_without_bags_are_refused() -> None:
    with pytest.raises(IncompatibleError, match="known fractions: take data=bags"):
        made("llp", SPEC)


@pytest.mark.smoke
@pytest.mark.parametrize("loss", LOSSES)
def test_proportions_are_enough_to_learn_the_classes(loss: str) -> None:
    """The optimum is 0.921: both losses reach 0.92 on three seeds; bags of equal fractions stay near 0.5."""
    module = llp(loss, "small")
    train(module, events(8000), 250, 512)
    assert area(module) > 0.91
    judged = module.judged(events(4000, 9))
    assert judged.weight is not None
    mean = float((judged.weight * judged.x[:, 0]).sum() / judged.weight.sum())
    assert abs(mean - 1.6) < 0.25  # the mean of the bag with the most signal, 0.4 before
    wrong = llp(loss, "small")
    train(wrong, events(8000, stated=torch.tensor([0.64, 0.16])), 250, 512)
    assert area(wrong) > 0.9
