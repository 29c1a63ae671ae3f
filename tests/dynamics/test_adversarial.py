"""Gradient penalty and Wasserstein losses against closed forms."""

from __future__ import annotations

import pytest
import torch

from simulacra.dynamics.adversarial import (
    gradient_penalty,
    least_squares,
    moment_distance,
    wasserstein_critic_loss,
    wasserstein_generator_loss,
)


def test_penalty_of_a_linear_critic_is_its_squared_slope_error() -> None:
    weight = torch.tensor([3.0, 4.0], requires_grad=True)
    real, fake = torch.randn(6, 2), torch.randn(6, 2)
    penalty = gradient_penalty(lambda x: x @ weight, real, fake)
    assert float(penalty.detach()) == pytest.approx(16.0)  # (|(3, 4)| - 1)^2
    penalty.backward()
    torch.testing.assert_close(weight.grad, 8 * torch.tensor([0.6, 0.8]))  # 2 (|w| - 1) w / |w|


def test_penalty_is_taken_between_real_and_fake_events() -> None:
    real, fake = torch.full((400, 1, 2, 2), 1.0), torch.zeros(400, 1, 2, 2)
    seen: list[torch.Tensor] = []

    def score(x: torch.Tensor) -> torch.Tensor:
        seen.append(x.detach())
        return x.square().flatten(1).sum(1)

    gradient_penalty(score, real, fake, torch.Generator().manual_seed(0))
    points = seen[0].flatten(1)
    assert bool((points == points[:, :1]).all())  # one number per event
    assert float(points.min()) > 0
    assert float(points.max()) < 1
    assert float(points.mean()) == pytest.approx(0.5, abs=0.06)  # 4 sigma of 400 uniform numbers


def test_penalty_works_where_gradients_are_switched_off_and_leaves_events_alone() -> None:
    real, fake = torch.randn(4, 3, requires_grad=True), torch.randn(4, 3, requires_grad=True)
    weight = torch.ones(3, requires_grad=True)
    gradient_penalty(lambda x: (x**2) @ weight, real, fake).backward()
    assert real.grad is None
    assert fake.grad is None
    assert weight.grad is not None
    with torch.no_grad():
        value = gradient_penalty(lambda x: x @ weight, real, fake)
    assert float(value) == pytest.approx((3**0.5 - 1) ** 2)


def test_events_of_unequal_number_are_refused() -> None:
    with pytest.raises(ValueError, match="pairs events"):
        gradient_penalty(lambda x: x.sum(1), torch.zeros(3, 2), torch.zeros(4, 2))


def test_losses_have_the_sign_of_the_distance() -> None:
    real, fake = torch.tensor([2.0, 4.0]), torch.tensor([1.0, -1.0])
    assert float(wasserstein_critic_loss(real, fake)) == -3.0
    assert float(wasserstein_generator_loss(fake)) == 0.0
    assert float(wasserstein_generator_loss(real)) == -3.0


def test_moment_distance_is_that_of_means_plus_that_of_widths() -> None:
    rows = torch.randn(50, 3)
    assert float(moment_distance(rows, rows.flip(0))) == pytest.approx(0, abs=1e-6)
    moved = float(moment_distance(rows, rows + torch.tensor([1.0, -2.0, 0.0])))
    assert moved == pytest.approx(1.0, abs=1e-5)
    wider = float(moment_distance(rows - rows.mean(0), 3 * (rows - rows.mean(0))))
    assert wider == pytest.approx(2 * float(rows.std(0).mean()), rel=1e-4)


def test_a_weight_of_two_counts_as_a_second_equal_event() -> None:
    torch.manual_seed(0)
    real, fake, weight = torch.randn(4, 3), torch.randn(4, 3), torch.tensor([2.0, 1.0, 1.0, 0.0])
    twice = torch.tensor([0, 0, 1, 2])
    for loss in (
        lambda a, b, w: wasserstein_critic_loss(a, b, w),
        lambda a, b, w: wasserstein_generator_loss(b, w),
        lambda a, b, w: least_squares(a, 0.3, w),
    ):
        torch.testing.assert_close(loss(real, fake, weight), loss(real[twice], fake[twice], None))
    slopes = (3 * torch.ones(3), torch.ones(3))  # |slope| of a critic that is linear on either side

    def critic(x: torch.Tensor) -> torch.Tensor:
        return torch.where(x[:, 0] > 0, x @ slopes[0], x @ slopes[1])

    far = torch.tensor([[5.0], [-5.0], [5.0], [-5.0]]).expand(4, 3)
    found = gradient_penalty(critic, far, far, weight=weight)
    torch.testing.assert_close(found, gradient_penalty(critic, far[twice], far[twice]))
    assert float(found) != pytest.approx(float(gradient_penalty(critic, far, far)))
