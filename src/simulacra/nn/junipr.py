r"""The networks of JUNIPR: whether a jet goes on splitting, which cluster splits, and how.

After :math:`t` splittings there are :math:`t + 1` clusters. Each is told by its momentum and by the
splitting that made it; a recurrent network has read all splittings so far. From both come the probability
to end, a softmax over clusters for the mother, and densities of the splitting's angle, share and azimuth,
one after the other, each constant within the bins of an even grid. All of it is a density, whose logarithm
is exact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax, logsigmoid

from simulacra.core import draws
from simulacra.core.ranges import Count
from simulacra.nn.mlp import MLP

STATE = 6
"""What is known of a cluster: ln of its momentum, angle at which it was made, azimuth as a point of the
circle, whether it was the softer part, whether it is the jet itself."""
MOMENTUM, MADE, COS, SIN, SOFT, JET = range(STATE)
UNIT, MANY = 5.0, 8.0
"""Units in which logarithms of momenta and numbers of clusters are given."""


@dataclass(frozen=True)
class Step:
    """What is known before splittings, each of which is a row of ``R``.

    Args:
        context: ``(R, C)``.
        clusters: Embedded clusters, those of one step after the other ``(M, E)``.
        owner: The step of each cluster ``(M,)``.
        there: Which of ``N`` clusters there are at a step, bool ``(R, N)``, in all ``M``.
    """

    context: Tensor
    clusters: Tensor
    owner: Tensor
    there: Tensor


class JuniprNet(nn.Module):
    """See the module's docstring.

    Args:
        given: Width of the conditions, may be 0.
        hidden: Width of the recurrent network and of the embedding of a cluster.
        widths: Widths of the networks that decide.
        bins: Bins of angle, share and azimuth.
    """

    def __init__(
        self, given: int, hidden: Count, widths: Sequence[Count], bins: Sequence[Count]
    ) -> None:
        super().__init__()
        self.bins = list(bins)
        self.memory = nn.GRU(4 + STATE, hidden, batch_first=True)
        self.embed = MLP(STATE + 1, hidden, [hidden])
        context = 2 * hidden + 2 + given
        self.end = MLP(context, 1, widths)
        self.mother = MLP(hidden + context, 1, widths)
        self.angle, self.share, self.azimuth = (
            MLP(hidden + context + known, count, widths) for known, count in enumerate(self.bins)
        )

    def steps(
        self, states: Tensor, read: Tensor, there: Tensor, last: Tensor, cond: Tensor | None
    ) -> Step:
        """What is known before splittings.

        Args:
            states: Clusters ``(R, N, STATE)``.
            read: What the recurrent network has to say ``(R, H)``.
            there: Clusters that there are ``(R, N)``, a first part of each row.
            last: Angle of the splitting before ``(R,)``, 1 at first.
            cond: Conditions ``(R, C)``.
        """
        owner, slot = there.nonzero(as_tuple=True)
        made = self.embed(torch.cat([states[owner, slot], last[owner, None]], 1))
        pooled = torch.zeros_like(read).index_add(0, owner, made)
        count = there.sum(1, keepdim=True).to(read)
        parts = [read, pooled / MANY, last[:, None], count / MANY]
        context = torch.cat(parts if cond is None else [*parts, cond], 1)
        return Step(context, made, owner, there)

    def ends(self, step: Step) -> Tensor:
        """Logit of the end ``(R,)``."""
        found: Tensor = self.end(step.context)[:, 0]
        return found

    def mothers(self, step: Step) -> Tensor:
        """Logarithms of the probabilities of the mothers ``(R, N)``."""
        scores = self.mother(torch.cat([step.clusters, step.context[step.owner]], 1))[:, 0]
        logits = scores.new_full(step.there.shape, -torch.inf)
        return log_softmax(logits.masked_scatter(step.there, scores), 1)

    def densities(self, step: Step, mother: Tensor, splitting: Tensor) -> Tensor:
        """Logarithm of the density in the unit cube ``(R,)`` of splittings ``(R, 3)`` of clusters
        ``(R,)``.
        """
        known = self.known(step, mother)
        found = torch.zeros_like(splitting[..., 0])
        for column, net in enumerate((self.angle, self.share, self.azimuth)):
            table = log_softmax(net(torch.cat([known, splitting[..., :column]], -1)), -1)
            number = self.bins[column]
            index = (splitting[..., column] * number).long().clamp(0, number - 1)
            found = found + table.gather(-1, index[..., None])[..., 0] + math.log(number)
        return found

    def drawn(self, step: Step, mother: Tensor, generator: torch.Generator | None) -> Tensor:
        """Splittings ``(R, 3)`` of clusters ``(R,)``, NaN where the chances are."""
        known = self.known(step, mother)
        values = known.new_zeros(known.shape[0], 0)
        for column, net in enumerate((self.angle, self.share, self.azimuth)):
            chances = net(torch.cat([known, values], -1)).softmax(-1)
            index = draws.categorical(known.shape[0], chances, generator)
            within = draws.uniform((known.shape[0],), known, generator)
            value = ((index + within) / self.bins[column]).masked_fill(
                chances.isnan().any(1), torch.nan
            )
            values = torch.cat([values, value[:, None]], -1)
        return values

    def known(self, step: Step, mother: Tensor) -> Tensor:
        """Mother and context ``(R, E + C)``."""
        first = step.there.sum(1).cumsum(0) - step.there.sum(1)
        return torch.cat([step.clusters[first + mother], step.context], 1)


def root(n: int, points: int, like: Tensor) -> Tensor:
    """States ``(n, points, STATE)`` of jets that have not split."""
    states = like.new_zeros(n, points, STATE)
    states[:, 0, MADE] = states[:, 0, JET] = 1.0
    return states


def advanced(
    states: Tensor, t: int, mother: Tensor, splitting: Tensor, share: Tensor
) -> tuple[Tensor, Tensor]:
    """States after the splitting ``t`` of clusters ``(B,)``, and what the recurrent network reads of it.

    Args:
        states: Before it ``(B, N, STATE)``.
        t: Number of the splitting.
        mother: Which cluster has split.
        splitting: How, in the unit cube ``(B, 3)``, with the angle itself.
        share: Share of the softer part ``(B,)``.
    """
    rows = torch.arange(states.shape[0], device=states.device)
    old = states[rows, mother]
    turn = 2 * math.pi * (splitting[:, 2] - 0.5)
    made = torch.stack([splitting[:, 0], turn.cos(), turn.sin()], 1)
    momentum = old[:, :1]
    flags = made.new_tensor([[0.0, 0.0], [1.0, 0.0]]).expand(old.shape[0], 2, 2)
    part = torch.stack([1 - share, share], 1).log() / UNIT
    daughters = [torch.cat([momentum + part[:, [k]], made, flags[:, k]], 1) for k in range(2)]
    states = states.clone()
    states[rows, mother], states[:, t + 1] = daughters[0], daughters[1]
    return states, torch.cat([old, made, splitting[:, 1:2]], 1)


def log_ends(logits: Tensor, goes_on: Tensor) -> Tensor:
    """Logarithm of the probability to have ended or not."""
    return logsigmoid(torch.where(goes_on, -logits, logits))
