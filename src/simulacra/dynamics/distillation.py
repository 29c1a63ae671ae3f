r"""Probability density distillation: a flow that is fast to sample learns one that is fast to evaluate.

A masked autoregressive teacher maps data to noise in one pass per block, :math:`h_0 = x, \dots, h_N = z`
with free numbers :math:`\theta_k(h_{k-1})`; an inverse-autoregressive student maps noise to data in one pass
per block, :math:`g_N = z, \dots, g_0 = x` with :math:`\vartheta_k(g_k)`. A chain compares what they do on
the way,

.. math:: C = \frac{1}{D} \Big\langle \sum_{k=0}^{N} |g_k - h_k|^2 + \sum_{k=1}^{N} |\vartheta_k - \theta_k|^2
    \Big\rangle,

the second sum where the student is fully guided. In the x-chain the teacher leads from data to noise and the
student follows back; in the z-chain the student leads from noise to data and the teacher follows. The loss is
:math:`\frac12 C_x + \frac12 C_z`. The z-chain also gives the divergence of the student from the teacher,
:math:`\langle \ln q_S - \ln p_T \rangle`, which is watched and not minimised. Nothing needs the slow
direction of a flow.

Reference: CaloFlow II, arXiv:2110.11377, section 3; van den Oord et al., arXiv:1711.10433.

Note:
    The sums are divided by the number of features ``D``, to which the optimizer is blind. Where the noise
    meets the same block, equal free numbers mean equal maps only if the student's spline is defined in the
    direction of the teacher's: :class:`Swapped` sees to that.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from simulacra.core import IncompatibleError, weighted_mean
from simulacra.dynamics.autoregressive import Inverted, MaskedAutoregressive
from simulacra.dynamics.flows import Flow, Step
from simulacra.dynamics.splines import Spline


class Swapped(Spline):
    """A spline whose two directions have changed places.

    Args:
        spline: The spline.
    """

    def __init__(self, spline: Spline) -> None:
        self.spline = spline
        self.numbers = spline.numbers

    def __call__(self, x: Tensor, free: Tensor) -> tuple[Tensor, Tensor]:
        """The inverse of the spline."""
        return self.spline.inverse(x, free)

    def inverse(self, y: Tensor, free: Tensor) -> tuple[Tensor, Tensor]:
        """The spline itself."""
        return self.spline(y, free)


def inverted(flow: Flow) -> Flow:
    """A masked autoregressive flow itself, turned into an inverse-autoregressive one.

    Its blocks get a :class:`Swapped` spline and are all that is trained: the other steps are the teacher's
    (:func:`copy_fixed_steps`).
    """
    steps: list[nn.Module] = []
    for step in flow.steps:
        if isinstance(step, MaskedAutoregressive):
            step.spline = Swapped(step.spline)
            steps.append(Inverted(step))
        else:
            steps.append(step.requires_grad_(False))
    flow.steps = nn.ModuleList(steps)
    return flow


def copy_fixed_steps(student: Flow, teacher: Flow) -> None:
    """Give the student the teacher's steps between the autoregressive blocks, such as permutations.

    Raises:
        IncompatibleError: If the two differ in anything but the widths of the steering networks.
    """
    mine = _layout([step.step if isinstance(step, Inverted) else step for step in student.steps])
    theirs = _layout(teacher.steps)
    if mine != theirs:
        raise IncompatibleError(
            f"the student's flow of {student.features} numbers has the blocks [{', '.join(mine)}], "
            f"its teacher's of {teacher.features} has [{', '.join(theirs)}]: they must be the same"
        )
    for step, example in zip(student.steps, teacher.steps, strict=True):
        if not isinstance(step, Inverted):
            step.load_state_dict(example.state_dict())


def _layout(steps: Iterable[nn.Module]) -> list[str]:
    """What must agree: kinds of steps, splines, shapes of the fixed steps."""
    found = []
    for step in steps:
        if isinstance(step, MaskedAutoregressive):
            spline = step.spline.spline if isinstance(step.spline, Swapped) else step.spline
            settings = ", ".join(f"{key}={value}" for key, value in sorted(vars(spline).items()))
            found.append(f"{type(spline).__name__}({settings})")
        else:
            shapes = [tuple(value.shape) for value in step.state_dict().values()]
            found.append(f"{type(step).__name__}{shapes}")
    return found


@dataclass(frozen=True)
class Path:
    """What happens between data and noise.

    Args:
        states: Data, then the value ``(B, D)`` on the noise side of each autoregressive block; ``N + 1``.
        numbers: Free numbers ``(numbers, B, D)`` of each block; ``N``.
        end: Where it leads: noise or data ``(B, D)``.
        log_det: Log-determinant ``(B,)`` from start to end.
    """

    states: list[Tensor]
    numbers: list[Tensor]
    end: Tensor
    log_det: Tensor


def towards_noise(teacher: Flow, x: Tensor, context: Tensor | None) -> Path:
    """The teacher's path from data ``(B, D)``."""
    states, numbers, total = [x], [], x.new_zeros(x.shape[0])
    for step in teacher.steps:
        if isinstance(step, MaskedAutoregressive):
            numbers.append(step.free(x, context))
            x, log_slope = step.spline(x, numbers[-1])
            states.append(x)
            total = total + log_slope.sum(-1)
        else:
            x, log_det = step(x, context)
            total = total + log_det
    return Path(states, numbers, x, total)


def towards_data(student: Flow, z: Tensor, context: Tensor | None) -> Path:
    """The student's path from noise ``(B, D)``."""
    states, numbers, total = [], [], z.new_zeros(z.shape[0])
    for step in reversed(list(student.steps)):
        if isinstance(step, Inverted) and isinstance(step.step, MaskedAutoregressive):
            states.append(z)
            numbers.append(step.step.free(z, context))
            z, log_slope = step.step.spline(z, numbers[-1])
            total = total + log_slope.sum(-1)
        else:
            assert isinstance(step, Step)
            z, log_det = step.inverse(z, context)
            total = total + log_det
    return Path([z, *reversed(states)], numbers[::-1], z, total)


def distil(
    student: Flow,
    teacher: Flow,
    x: Tensor,
    z: Tensor,
    x_context: Tensor | None,
    z_context: Tensor | None,
    *,
    guided: bool,
    weight: Tensor | None = None,
) -> dict[str, Tensor]:
    """Loss of a student, and what is watched.

    Args:
        student: Flow of :func:`inverted`.
        teacher: Its twin, in evaluation mode, with parameters that need no gradient.
        x: Data ``(B, D)``.
        z: Noise ``(B, D)``.
        x_context: Context of the data.
        z_context: Context of the noise.
        guided: Whether free numbers are compared too.
        weight: Weights ``(B,)`` of the data, and of the noise at their conditions, or None.

    Returns:
        ``loss``; ``x_chain`` and ``z_chain``, the mean squares of ``x' - x`` and ``z' - z`` per number;
        ``kl``, the divergence of the student from the teacher, in nats per number.
    """
    with torch.no_grad():
        lead = towards_noise(teacher, x, x_context)
    follow = towards_data(student, lead.end, x_context)
    own = towards_data(student, z, z_context)
    judged = towards_noise(teacher, own.end, z_context)
    chains = _chain(follow, lead, guided) + _chain(own, judged, guided)
    with torch.no_grad():
        start, found = z.square().sum(-1), judged.end.square().sum(-1)
        kl = 0.5 * (found - start) - own.log_det - judged.log_det
    return {
        "loss": 0.5 * weighted_mean(chains, weight),
        "x_chain": weighted_mean((follow.end - x).detach().square(), weight),
        "z_chain": weighted_mean((judged.end - z).detach().square(), weight),
        "kl": weighted_mean(kl, weight) / student.features,
    }


def _chain(student: Path, teacher: Path, guided: bool) -> Tensor:
    """What the two differ by, per event and number ``(B,)``."""
    states = zip(student.states, teacher.states, strict=True)
    found = [(a - b).square().sum(-1) for a, b in states]
    if guided:
        numbers = zip(student.numbers, teacher.numbers, strict=True)
        found += [(a - b).square().sum((0, 2)) for a, b in numbers]
    return torch.stack(found).sum(0) / student.end.shape[1]
