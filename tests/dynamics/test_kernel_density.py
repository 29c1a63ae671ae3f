"""Kernel density estimates of the numbers of an event: densities, draws, classes, and in a model of jets."""

from __future__ import annotations

import pytest
import torch

from jet_toys import CLASSES, generator, jet_spec, jets
from simulacra.core import Conditions, Layout, UserError
from simulacra.dynamics.kernel_density import KernelDensity
from simulacra.evaluation.build import build_model
from support import composed


def two_classes(n: int = 600) -> tuple[torch.Tensor, torch.Tensor]:
    """Numbers around -2 for the first class and around 3, correlated, for the second."""
    noise = torch.randn(n, 2, generator=generator())
    noise[:, 1] = 0.9 * noise[:, 0] + 0.3 * noise[:, 1]
    which = torch.arange(n) % 2
    return noise + torch.where(which == 0, -2.0, 3.0)[:, None], torch.eye(2)[which]


def test_the_density_integrates_to_one_and_is_the_sum_of_the_kernels() -> None:
    density = KernelDensity(Layout(1, 0), kernels=100, bandwidth=0.3)
    y = torch.randn(50, 1, generator=generator())
    density.fit([(y, None, None)])
    grid = torch.linspace(-8, 8, 4001)[:, None]
    assert density.log_prob(grid, None).exp().sum() * 16 / 4000 == pytest.approx(1, abs=1e-4)
    kernel = torch.distributions.Normal(y[:, 0], 0.3 * y.std(correction=0))
    assert torch.allclose(
        density.log_prob(grid[1500:2500], None).exp(),
        kernel.log_prob(grid[1500:2500]).exp().mean(1),
        atol=1e-5,
    )


def test_draws_have_the_moments_of_the_events_and_the_width_of_the_kernels() -> None:
    y, _ = two_classes()
    density = KernelDensity(Layout(2, 0), kernels=1000, bandwidth=0.1)
    density.fit([(y, None, None)])
    made = density.sample(200_000, None, generator())
    assert torch.allclose(made.mean(0), y.mean(0), atol=0.03)
    wanted = torch.cov(y.T, correction=0) + torch.diag((0.1 * y.std(0, correction=0)).square())
    assert torch.allclose(torch.cov(made.T), wanted, atol=0.05)


def test_negative_weights_are_refused() -> None:
    weight = torch.tensor([1.0, -0.5])
    with pytest.raises(UserError, match="takes no negative event weights"):
        KernelDensity(Layout(2, 0), 4, 0.1).fit([(torch.randn(2, 2), None, weight)])


def test_a_class_draws_from_its_own_events_alone() -> None:
    y, cond = two_classes()
    density = KernelDensity(Layout(2, 2), kernels=1000, bandwidth=0.1)
    density.fit([(y, cond, None)])
    made = density.sample(4000, torch.eye(2)[torch.arange(4000) % 2], generator())
    for number, centre in enumerate((-2.0, 3.0)):
        assert made[number::2].mean() == pytest.approx(centre, abs=0.15)
    wrong = density.log_prob(y, cond.flip(1))
    assert (density.log_prob(y, cond) > wrong).float().mean() > 0.97  # classes overlap a little


def test_a_continuous_condition_prefers_events_near_it() -> None:
    cond = torch.rand(4000, 1, generator=generator())
    y = 5 * cond + 0.1 * torch.randn(4000, 1, generator=generator(1))
    density = KernelDensity(Layout(1, 1), kernels=4000, bandwidth=0.05)
    density.fit([(y, cond, None)])
    wanted = torch.full((2000, 1), 0.5)
    made = density.sample(2000, wanted, generator())
    assert made.mean() == pytest.approx(2.5, abs=0.05)
    assert made.std() < 0.45  # of all events 1.4


def test_of_many_events_evenly_spaced_ones_are_kept() -> None:
    density = KernelDensity(Layout(1, 0), kernels=5, bandwidth=1e-6)
    density.fit([(torch.arange(101.0)[:, None], None, None)])
    made = density.sample(500, None, generator()).round().unique()
    assert made.tolist() == [0, 25, 50, 75, 100]


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(UserError, match="bandwidth > 0"):
        KernelDensity(Layout(1, 0), kernels=5, bandwidth=0.0)
    with pytest.raises(UserError, match="has seen no training events"):
        KernelDensity(Layout(1, 0), kernels=5, bandwidth=0.1).sample(1, None)


@pytest.mark.parametrize("name", ["mpgan", "epic_fm", "jetflow"])
def test_a_model_of_jets_draws_its_numbers_from_those_of_training_jets(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = composed(
        "model", f"model={name}", "model/size=tiny", "numbers@model.numbers=kde",
        "model.numbers.kernels=200", "model.numbers.bandwidth=1e-4",
    )  # fmt: skip
    model = build_model({"model": config}, jet_spec(16))
    events = jets(0, 60, 16)
    model.fit_transform([events[:70], events[70:]])
    assert "numbers" not in model.objectives()
    with monkeypatch.context() as patch:  # a density that moves nothing is not asked in training
        patch.delattr(KernelDensity, "log_prob")
        for objective in model.objectives().values():
            values = objective.loss(model.encode(events), generator())
            assert "event_nll" not in values
            values["loss"].backward()
    again = build_model({"model": config}, jet_spec(16))
    again.load_state_dict(model.state_dict())
    for number in range(len(CLASSES)):
        cond = Conditions(100, {"jet_class": torch.full((100, 1), number)})
        made = model.sample(cond, generator=generator())
        assert torch.equal(made.x, again.sample(cond, generator=generator()).x)
        known = events.event["mass"][events.cond["jet_class"] == number]
        nearest = (made.event["mass"] - known).abs().min(1).values
        assert nearest.max() < 0.02 * known.std()
