r"""Adversarial losses.

A Wasserstein critic :math:`D` maximises :math:`E[D(x)] - E[D(G(z))]` among 1-Lipschitz functions; its loss
is the negative of that plus :math:`\lambda E[(\|\nabla_{\hat x} D(\hat x)\|_2 - 1)^2]` at points
:math:`\hat x = u x + (1 - u) G(z)`, :math:`u \sim U(0, 1)` per event. The generator minimises
:math:`-E[D(G(z))]`. Expectations are means over weighted events; a generated event has the weight of the true
one whose conditions it was made for.

Reference: Arjovsky et al., arXiv:1701.07875; Gulrajani et al., arXiv:1704.00028, algorithm 1.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from simulacra.core import draws, weighted_mean

Score = Callable[[Tensor], Tensor]


def wasserstein_critic_loss(real: Tensor, fake: Tensor, weight: Tensor | None = None) -> Tensor:
    """``E[D(fake)] - E[D(real)]``, minus the critic's estimate of the distance.

    Args:
        real: Scores of true events ``(B, *)``.
        fake: Scores of generated events ``(B, *)``.
        weight: Event weights ``(B,)`` of both, or None.
    """
    return weighted_mean(fake, weight) - weighted_mean(real, weight)


def wasserstein_generator_loss(fake: Tensor, weight: Tensor | None = None) -> Tensor:
    """``-E[D(fake)]`` of scores ``(B, *)``, with event weights ``(B,)`` or None."""
    return -weighted_mean(fake, weight)


def least_squares(score: Tensor, target: float, weight: Tensor | None = None) -> Tensor:
    """Half the mean squared distance of scores from a target, arXiv:1611.04076, equation 2.

    The critic's target is 1 on true and 0 on generated events, the generator's is 1.

    Args:
        score: Scores ``(B, *)``.
        target: The target.
        weight: Event weights ``(B,)``, or None.
    """
    return 0.5 * weighted_mean((score - target).square(), weight)


def gradient_penalty(
    score: Score,
    real: Tensor,
    fake: Tensor,
    generator: torch.Generator | None = None,
    target: float = 1.0,
    weight: Tensor | None = None,
) -> Tensor:
    r"""Mean of :math:`(\|\nabla_{\hat x} D(\hat x)\|_2 - target)^2` between real and fake events, paired
    in order.

    Args:
        score: Critic of events ``(B, *)`` alone; conditions are closed over, so no gradient is taken with
            respect to them. It must treat events one by one (no batch normalisation).
        real: True events ``(B, *)``.
        fake: Generated events of the same shape; both are taken as constants.
        generator: Source of the interpolation points.
        target: Norm that is asked for.
        weight: Event weights ``(B,)``, or None.
    """
    if real.shape != fake.shape:
        raise ValueError(
            f"the penalty pairs events: real have shape {tuple(real.shape)}, fake {tuple(fake.shape)}"
        )
    unit = draws.uniform((len(real), *[1] * (real.ndim - 1)), real, generator)
    between = torch.lerp(fake.detach(), real.detach(), unit).requires_grad_(True)  # (B, *)
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(score(between).sum(), between, create_graph=True)
    return weighted_mean((slope.flatten(1).norm(dim=1) - target).square(), weight)


def error_slope(score: Score, events: Tensor, sign: float, weight: Tensor | None = None) -> Tensor:
    r"""Mean of :math:`\sigma(\pm D)^2 \|\nabla_x D\|^2` over events of one kind.

    Args:
        score: Critic of events ``(B, *)`` alone, which treats them one by one.
        events: Events ``(B, *)``, taken as constants.
        sign: 1 for generated events, of which :math:`\sigma(D)` is the critic's error, -1 for true ones.
        weight: Event weights ``(B,)``, or None.

    Reference: Roth, Lucchi, Nowozin, Hofmann, arXiv:1705.09367.
    """
    at = events.detach().requires_grad_(True)
    with torch.enable_grad():
        logit = score(at)  # (B, 1)
        (slope,) = torch.autograd.grad(logit.sum(), at, create_graph=True)
    error = torch.sigmoid(sign * logit.flatten())
    return weighted_mean(error.square() * slope.flatten(1).square().sum(1), weight)


def moment_distance(real: Tensor, fake: Tensor) -> Tensor:
    """Mean absolute difference of the means and of the standard deviations of features.

    Feature matching as in Salimans et al., arXiv:1606.03498, section 3.1, on features that are given; it
    takes no weights.

    Args:
        real: Features of true events ``(B, K)``, at least two events.
        fake: Features of generated events ``(B', K)``.
    """
    means = (fake.mean(0) - real.mean(0)).abs().mean()
    return means + (fake.std(0) - real.std(0)).abs().mean()
