r"""Distillation of a trained denoiser into one that needs few steps.

*Consistency distillation*: of neighbouring noises :math:`\sigma_n > \sigma_{n+1}` on a walk of ``N`` steps,
the teacher leads from :math:`x_n = x + \sigma_n z` to :math:`\tilde x_{n+1}` with one step of Heun; the
student's data at both ends of the step shall agree,

.. math:: |f_\theta(x_n, \sigma_n) - f_{\bar\theta}(\tilde x_{n+1}, \sigma_{n+1})|^2,

where :math:`\bar\theta` is a moving average of the student's weights. The student is the identity at the
smallest noise (:class:`~simulacra.dynamics.denoiser.Preconditioned` with a boundary), so that one step leads
from pure noise to data.

*Progressive distillation*: one DDIM step of the student shall lead where two of the teacher do. From the
teacher's data :math:`\hat x_1` and :math:`\hat x_2` in the two steps, and the ratios :math:`\rho` of signal
to noise before, between and after them, these are the data

.. math:: \hat x = \frac{(\rho_1 - \rho_0)\, \hat x_1 + (\rho_2 - \rho_1)\, \hat x_2}{\rho_2 - \rho_0},

those of the second step where nothing is left of the noise. The published form of the same divides the
difference of two points by that of two signals, which is almost zero at the end of noise.

References: Song et al. 2023, arXiv:2303.01469, algorithm 2; Salimans and Ho 2022, arXiv:2202.00512,
algorithm 2.
"""

from __future__ import annotations

import torch
from torch import Tensor

from simulacra.core import counted_mean, draws
from simulacra.dynamics.denoiser import Denoiser, Prediction
from simulacra.dynamics.paths import Knot, Path, along


def consistency_loss(
    student: Denoiser,
    target: Denoiser,
    teacher: Denoiser,
    data: Tensor,
    noise: Tensor,
    steps: int,
    counts: Tensor,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Mean squared distance between the student's data at neighbouring noises.

    Args:
        student: Learns.
        target: Moving average of the student.
        teacher: Trained denoiser on the same path.
        data: Normalised data ``(B, *)``.
        noise: Standard normal, of the same shape.
        steps: ``N``, steps of the walk, at least 2.
        counts: How much each entry counts ``(B, *, 1)``: 0 for padding, else the weight of its event.
        generator: Source of the places on the walk, one per event.
    """
    knots = student.path.knots(steps)[:steps]
    times, noises = (
        torch.tensor([knot[i] for knot in knots], device=data.device, dtype=data.dtype)
        for i in (0, 2)
    )
    n = draws.integers(0, steps - 1, (len(data),), data, generator)
    here, there = times[n], times[n + 1]
    before, after = along(noises[n], data), along(noises[n + 1], data)
    x = data + before * noise
    with torch.no_grad():
        slope = (x - teacher.data(x, here)) / before
        guess = x + (after - before) * slope
        other = (guess - teacher.data(guess, there)) / after
        goal = target.data(x + (after - before) * 0.5 * (slope + other), there)
    return counted_mean((student.data(x, here) - goal).square(), counts)


def progressive_loss(
    student: Denoiser,
    teacher: Denoiser,
    data: Tensor,
    noise: Tensor,
    steps: int,
    counts: Tensor,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Mean squared distance of the student's prediction from the one that makes up for two teacher's steps.

    Args:
        student: Learns.
        teacher: Trained denoiser on the same path with the same prediction.
        data: Normalised data ``(B, *)``.
        noise: Standard normal, of the same shape.
        steps: Steps of the student's walk; the teacher's has twice as many.
        counts: How much each entry counts ``(B, *, 1)``: 0 for padding, else the weight of its event.
        generator: Source of the places on the walk, one per event.
    """
    knots = student.path.knots(2 * steps)
    columns, shares = (
        torch.tensor(rows, device=data.device, dtype=data.dtype)
        for rows in (knots, [_share(*knots[k : k + 3]) for k in range(0, 2 * steps, 2)])
    )
    n = draws.integers(0, steps, (len(data),), data, generator)
    (t, a, s), (between, b, r) = (
        [along(column, data) for column in columns[2 * n + i].unbind(1)] for i in range(2)
    )
    x = a * data + s * noise
    with torch.no_grad():
        first = teacher.data(x, t.reshape(-1))
        half = b * first + r * (x - a * first) / s
        second = teacher.data(half, between.reshape(-1))
        goal = torch.lerp(first, second, along(shares[n], data))
        wanted = student.predicts.target(t, (x - a * goal) / s, goal, student.path)
    found = _prediction(student, x, t, student.path, student.predicts)
    return counted_mean((found - wanted).square(), counts)


def _share(here: Knot, middle: Knot, last: Knot) -> float:
    """Share of the second step in the data that two steps make up for."""
    ratio = middle.signal / middle.noise
    rises = last.noise * (ratio - here.signal / here.noise), last.signal - last.noise * ratio
    return rises[1] / (rises[0] + rises[1])


def _prediction(
    denoiser: Denoiser, x: Tensor, t: Tensor, path: Path, predicts: Prediction
) -> Tensor:
    seen, number = predicts.inputs(x, t, path)
    return denoiser.network(seen, number.reshape(-1))
