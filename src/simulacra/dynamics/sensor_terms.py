r"""What a generator of the images of an event and its critic minimise beside their game.

For the embeddings :math:`k_i` of the images of one event and the proxies :math:`p_i` of their sensors, all of
norm 1, so that :math:`k_i \cdot k_j` is their similarity:

=====================  =====================================================================  ===============
term                   value                                                                  minimised by
=====================  =====================================================================  ===============
:class:`Contrastive`   :math:`-\ln \frac{e^{k_i p_i / T}}{e^{k_i p_i / T} + \sum_{j \ne i}
                       e^{(k_i k_j - m) / T}}`, mean over images                              both
:class:`Uniformity`    :math:`\ln \langle e^{-2 |k_i - k_j|^2} \rangle_{i < j}`               both
:class:`IntraEvent`    :math:`\mathrm{KL}(A^{true}_i \,\|\, A^{made}_i)`, mean over images,
                       :math:`A = \mathrm{softmax}(k k^T)` by rows                            generator
:class:`Consistency`   squared change of scores and embeddings of true images under a change  critic
:class:`Moments`       distance of means and widths of the statistics of a sensor's images    generator
=====================  =====================================================================  ===============

The last is ours, for short trainings, as in :mod:`simulacra.models.images.pxd_wgan`. The critic minimises a
term on true images, the generator on its own. Values are means over weighted events; no image is compared
with those of another event. A weight of 0 leaves a term out of the losses but not out of the logs.

References: ContraGAN, arXiv:2006.12681, equation 8; Wang and Isola, arXiv:2005.10242, equation 3;
IEA-GAN, arXiv:2303.08046; Zhang et al., arXiv:1910.12027, equation 2; Brock et al., arXiv:1809.11096,
equation 3, for :func:`off_diagonal`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from simulacra.core import refuse_weights, weighted_mean
from simulacra.core.constructors import role
from simulacra.core.ranges import NotNegative, Positive
from simulacra.dynamics.adversarial import moment_distance
from simulacra.nn.diff_augment import Augment
from simulacra.nn.sensor_gan import StackVerdict


@dataclass(frozen=True)
class Turn:
    """The turn of a player.

    Args:
        real: True events ``(E, S, H, W)``.
        fake: Those of the generator.
        weight: Event weights ``(E,)``, or None.
        judge: The critic's verdict on events; parameters of the critic are constants in the generator's turn.
        known: That on the true events, without a gradient in the generator's turn.
        summarised: Statistics of the images of events, ``(E, S, K)``, about as wide as 1.
        generator: Source of what is drawn.
    """

    real: Tensor
    fake: Tensor
    weight: Tensor | None
    judge: Callable[[Tensor], StackVerdict]
    known: Callable[[], StackVerdict]
    summarised: Callable[[Tensor], Tensor]
    generator: torch.Generator | None


@role
class Term:
    """A term of the losses; see the module's docstring.

    Args:
        weight: Its weight.
    """

    def __init__(self, weight: NotNegative) -> None:
        self.weight = weight

    def critic(self, turn: Turn) -> Tensor | None:
        """What the critic minimises, a scalar; None by default."""
        return None

    def net(self, made: StackVerdict, turn: Turn) -> Tensor | None:
        """What the generator minimises given the verdict on its events, a scalar; None by default."""
        return None


class Contrastive(Term):
    """Images lie near the proxy of their sensor, and far from the other images of the event.

    Args:
        weight: Its weight.
        temperature: ``T``, by which similarities are divided.
        margin: ``m``, by which other images may be nearer.
    """

    def __init__(self, weight: NotNegative, temperature: Positive, margin: float) -> None:
        super().__init__(weight)
        self.temperature, self.margin = temperature, margin

    def critic(self, turn: Turn) -> Tensor:
        """See :class:`Term`."""
        return self._value(turn.known(), turn.weight)

    def net(self, made: StackVerdict, turn: Turn) -> Tensor:
        """See :class:`Term`."""
        return self._value(made, turn.weight)

    def _value(self, verdict: StackVerdict, weight: Tensor | None) -> Tensor:
        k = verdict.embedding
        own = (k * verdict.proxies).sum(-1) / self.temperature  # (E, S)
        others = (k @ k.mT - self.margin) / self.temperature  # (E, S, S)
        itself = torch.eye(k.shape[1], dtype=torch.bool, device=k.device)
        all_of = torch.cat([own[..., None], others.masked_fill(itself, -torch.inf)], -1)
        return self.weight * weighted_mean(all_of.logsumexp(-1) - own, weight)


class Uniformity(Term):
    """Images of an event lie apart."""

    def critic(self, turn: Turn) -> Tensor:
        """See :class:`Term`."""
        return self._value(turn.known(), turn.weight)

    def net(self, made: StackVerdict, turn: Turn) -> Tensor:
        """See :class:`Term`."""
        return self._value(made, turn.weight)

    def _value(self, verdict: StackVerdict, weight: Tensor | None) -> Tensor:
        k = verdict.embedding
        first, second = torch.triu_indices(k.shape[1], k.shape[1], 1, device=k.device)
        square = 2 - 2 * (k @ k.mT)[:, first, second]  # (E, pairs)
        mean = torch.logsumexp(-2 * square, 1) - torch.tensor(float(len(first))).log()
        return self.weight * weighted_mean(mean, weight)


class IntraEvent(Term):
    """Made images are as similar to each other as those of a true event."""

    def net(self, made: StackVerdict, turn: Turn) -> Tensor:
        """See :class:`Term`."""
        true, found = (
            functional.log_softmax(k @ k.mT, -1)
            for k in (turn.known().embedding.detach(), made.embedding)
        )
        apart = (true.exp() * (true - found)).sum(-1)  # (E, S)
        return self.weight * weighted_mean(apart, turn.weight)


class Consistency(Term):
    """A changed true image is judged as it was.

    Args:
        weight: Its weight.
        change: What changes images.
    """

    def __init__(self, weight: NotNegative, change: Augment) -> None:
        super().__init__(weight)
        self.change = change

    def critic(self, turn: Turn) -> Tensor:
        """See :class:`Term`."""
        before = turn.judge(turn.real)
        after = turn.judge(stacked(self.change, turn.real, turn.generator))
        moved = (after.score - before.score).square()
        turned = (after.embedding - before.embedding).square().mean(-1)
        return self.weight * weighted_mean(moved + turned, turn.weight)


class Moments(Term):
    """Feature matching, sensor by sensor; it takes no weights.

    Args:
        weight: Its weight.

    Reference: Salimans et al., arXiv:1606.03498, section 3.1.
    """

    def net(self, made: StackVerdict, turn: Turn) -> Tensor:
        """See :class:`Term`.

        Raises:
            UserError: For events with weights.
        """
        refuse_weights(turn.weight, "matching of moments")
        true, found = (turn.summarised(x).flatten(1) for x in (turn.real, turn.fake))
        return self.weight * moment_distance(true, found)


def stacked(change: Augment, events: Tensor, generator: torch.Generator | None) -> Tensor:
    """Each image of ``(E, S, H, W)`` changed."""
    return change(events.flatten(0, 1), generator).view_as(events)


def off_diagonal(weights: Sequence[Tensor]) -> Tensor:
    r"""Half the sum of :math:`\|W W^T \odot (1 - I)\|_F^2`, rows against rows.

    The larger of both Gram matrices is never made: :math:`\|W W^T\|_F = \|W^T W\|_F`.
    """
    total = []
    for weight in weights:
        flat = weight.flatten(1).float()
        gram = flat.mT @ flat if flat.shape[0] > flat.shape[1] else flat @ flat.mT
        total.append(gram.square().sum() - flat.square().sum(1).square().sum())
    return torch.stack(total).sum() / 2
