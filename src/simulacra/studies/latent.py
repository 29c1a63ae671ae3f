r"""Weights of generated events, pulled back to the latent space of their generator, and what draws from them.

With a generator :math:`x = g(z | c)` and event weights :math:`w(x)` the density that is wanted is

.. math:: \pi(z | c) \propto N(z; 0, 1)\, w(g(z | c)),

exact whatever ``g`` is, as long as it is a function of ``z`` (:mod:`simulacra.training.latent_space`). A
second network :math:`r` learns :math:`e^{r(z, c)} = E[w | z, c]`: it is smooth, costs little, and may stand
in the place of the exact weight. Events of points that are drawn from :math:`\pi` need no weights.

Reference: Winterhalder, Bellagente, Nachman, arXiv:2106.00792.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from simulacra.core import Batch, Conditions, Field, Layout, draws
from simulacra.core.constructors import constructor
from simulacra.core.ranges import Count, Positive
from simulacra.dynamics.conditional_mean import mean_entropy
from simulacra.dynamics.density import MakeDensity
from simulacra.dynamics.hamiltonian import Hamiltonian
from simulacra.nn.mlp import MLP
from simulacra.training.latent_space import LatentSpace
from simulacra.training.optim import warmup_cosine
from simulacra.transforms.condition import ConditionScaling

Weigh = Callable[[Batch], Tensor]
"""The weight of generated events ``(n,)``."""
TRIES = 8
"""Points that the start of a chain is chosen from."""
HELD_OUT = 0.1
"""Share of the drawn points that the second network does not learn from."""


@dataclass(frozen=True)
class Drawn:
    """Points of the latent space with the weights of their events.

    Args:
        z: ``(n, D)``.
        context: Scaled conditions ``(n, C)``, or None.
        weight: ``(n,)``.
    """

    z: Tensor
    context: Tensor | None
    weight: Tensor

    def __len__(self) -> int:
        return len(self.z)

    def __getitem__(self, rows: Tensor) -> Drawn:
        context = None if self.context is None else self.context[rows]
        return Drawn(self.z[rows], context, self.weight[rows])


@dataclass(frozen=True)
class Weighted:
    """A latent space whose points have the weights of their events.

    Args:
        space: The latent space.
        weigh: What weighs events.
        fields: What is given to the generator.
        batch_size: Events at once.
    """

    space: LatentSpace
    weigh: Weigh
    fields: tuple[Field, ...]
    batch_size: int

    def weights(self, z: Tensor, cond: Conditions) -> Tensor:
        """Weights ``(n,)`` of the events of points."""
        return torch.cat([self.weigh(batch) for batch in self.events(z, cond)])

    def events(self, z: Tensor, cond: Conditions) -> list[Batch]:
        """The events of points, in parts."""
        starts = range(0, len(z), self.batch_size)
        parts = [slice(start, start + self.batch_size) for start in starts]
        return [self.space.events(z[part], cond[part]) for part in parts]

    def draw(self, cond: Conditions, generator: torch.Generator) -> Drawn:
        """A point from the generator's own density for each of the conditions."""
        z = torch.randn(cond.n, self.space.width, generator=generator)
        return Drawn(z, self.context(cond), self.weights(z, cond))

    def context(self, cond: Conditions) -> Tensor | None:
        """Scaled conditions ``(n, C)``, or None where nothing is given."""
        scaled: Tensor | None = self._scaling(cond)
        return scaled

    def fit(self, cond: Conditions) -> None:
        """Take the scaling of the conditions from some."""
        self._scaling.fit([Batch(torch.zeros(cond.n, 1), cond.values)])

    @cached_property
    def _scaling(self) -> ConditionScaling:
        return ConditionScaling(self.fields)


@constructor
class Learner:
    """A short training of networks of latent points.

    Args:
        epochs: Times that every point is seen.
        batch_size: Points of a step.
        lr: Largest learning rate of Adam, which falls to 0 along a cosine.
    """

    def __init__(self, epochs: Count, batch_size: Count, lr: Positive) -> None:
        self.epochs, self.batch_size, self.lr = epochs, batch_size, lr

    def fit(
        self,
        net: nn.Module,
        loss: Callable[[Drawn], Tensor],
        points: Drawn,
        generator: torch.Generator,
        fresh: Drawn | None = None,
    ) -> None:
        """Minimise a loss of batches of points; with fresh ones the weights of the epoch that knows those
        best are kept, be it none at all.
        """
        optimizer = torch.optim.Adam(net.parameters(), self.lr)
        steps = self.epochs * math.ceil(len(points) / self.batch_size)
        schedule = warmup_cosine(optimizer, steps, 0.02)
        least, best = _mean(loss, fresh), deepcopy(net.state_dict())
        net.train()
        for _ in range(self.epochs):
            order = torch.randperm(len(points), generator=generator)
            for rows in order.split(self.batch_size):
                optimizer.zero_grad()
                loss(points[rows]).backward()
                optimizer.step()
                schedule.step()
            found = _mean(loss, fresh)
            if found < least:
                least, best = found, deepcopy(net.state_dict())
        if fresh is not None:
            net.load_state_dict(best)
        net.eval().requires_grad_(False)


@torch.no_grad()
def _mean(loss: Callable[[Drawn], Tensor], fresh: Drawn | None) -> float:
    return math.inf if fresh is None else float(loss(fresh))


@constructor
class LatentClassifier(Learner):
    """The second network of the module's docstring.

    Args:
        hidden: Widths of its hidden layers.
        epochs: See :class:`Learner`, as all that follows.
        batch_size: See there.
        lr: See there.
    """

    def __init__(
        self, hidden: Sequence[Count], epochs: Count, batch_size: Count, lr: Positive
    ) -> None:
        super().__init__(epochs, batch_size, lr)
        self.hidden = hidden

    def learn(self, points: Drawn, generator: torch.Generator) -> tuple[MLP, dict[str, float]]:
        """The network ``r``, and how well it knows the weights of points that it has not seen.

        Returns:
            The network, and ``latent/explained``: the share of the variance of the weights that it explains.
        """
        context = 0 if points.context is None else points.context.shape[1]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**62, (1,), generator=generator)))
            width = points.z.shape[1] + context
            net = MLP(width, 1, self.hidden, nn.LeakyReLU, zero_init=True)
        cut = max(1, round(HELD_OUT * len(points)))
        order = torch.arange(len(points))
        seen, fresh = points[order[cut:]], points[order[:cut]]

        def loss(part: Drawn) -> Tensor:
            return mean_entropy(logit(net, part), part.weight).mean()

        self.fit(net, loss, seen, generator, fresh)
        rest = (fresh.weight - logit(net, fresh).exp()).var() / fresh.weight.var().clamp_min(1e-12)
        return net, {"latent/explained": 1 - float(rest)}


def logit(net: MLP, points: Drawn) -> Tensor:
    """``r`` of points ``(n,)``."""
    found: Tensor = net(points.z, points.context)
    return found[:, 0]


class Refiner(ABC):
    """Draws points of the latent space from the density that is wanted."""

    @abstractmethod
    def refine(
        self,
        weighted: Weighted,
        net: MLP,
        points: Drawn,
        cond: Conditions,
        generator: torch.Generator,
    ) -> tuple[Tensor, Conditions, dict[str, float]]:
        """Points, the conditions of each, and figures.

        Args:
            weighted: The latent space.
            net: The second network.
            points: Points with weights, from the generator's own density.
            cond: Conditions that are asked for, as many as the points that are wanted.
            generator: Source of all randomness.
        """


@constructor
class HamiltonianRefiner(Refiner):
    """Chains of Hamiltonian Monte Carlo, whose trajectories follow the second network.

    Each chain has conditions of its own, and all that it draws has them.

    Args:
        chains: How the chains move.
        each: Points that each chain gives.
        exact: Whether ends of trajectories are accepted by the weights of their events, so that what is drawn
            has them whatever the second network has learnt, or by the second network.
    """

    def __init__(self, chains: Hamiltonian, each: Count, exact: bool) -> None:
        self.chains, self.each, self.exact = chains, each, exact

    def refine(
        self,
        weighted: Weighted,
        net: MLP,
        points: Drawn,
        cond: Conditions,
        generator: torch.Generator,
    ) -> tuple[Tensor, Conditions, dict[str, float]]:
        """See the base class; R-hat is the largest of all components, over all chains, ``distinct`` the share
        of points that are not a repetition of one that a chain did not leave.
        """
        count = math.ceil(cond.n / self.each)
        own = cond[torch.arange(count)]
        context = weighted.context(own)

        def guide(z: Tensor) -> Tensor:
            return logit(net, Drawn(z, context, z)) - 0.5 * z.square().sum(1)

        def exact(z: Tensor) -> Tensor:
            return weighted.weights(z, own).log() - 0.5 * z.square().sum(1)

        density = exact if self.exact else guide
        found = self.chains.run(
            density, self._start(weighted, net, own, generator), self.each, generator, guide
        )
        rows = torch.arange(count).repeat(self.each)[: cond.n]
        z = found.states.flatten(0, 1)[: cond.n]
        figures = {"acceptance": found.acceptance, "step": found.step, "r_hat": found.r_hat}
        return z, own[rows], {**figures, "distinct": len(z.unique(dim=0)) / len(z)}

    def _start(
        self, weighted: Weighted, net: MLP, own: Conditions, generator: torch.Generator
    ) -> Tensor:
        """One of a few points of the generator's density for each chain, chosen by its weight: a chain that
        begins where there are no events may need long to leave.
        """
        tries = own[torch.arange(own.n).repeat_interleave(TRIES)]
        z = torch.randn(tries.n, weighted.space.width, generator=generator)
        if self.exact:
            weight = weighted.weights(z, tries)
        else:
            weight = logit(net, Drawn(z, weighted.context(tries), z)).exp()
        chosen = draws.categorical(own.n, weight.view(-1, TRIES), generator)
        return z.unflatten(0, (-1, TRIES))[torch.arange(own.n), chosen]


@constructor
class FlowRefiner(Refiner):
    """A density that learns the weighted points: noise in, latent point out.

    Args:
        density: Makes the density.
        learner: How it learns.
    """

    def __init__(self, density: MakeDensity, learner: Learner) -> None:
        self.density, self.learner = density, learner

    def refine(
        self,
        weighted: Weighted,
        net: MLP,
        points: Drawn,
        cond: Conditions,
        generator: torch.Generator,
    ) -> tuple[Tensor, Conditions, dict[str, float]]:
        """See the base class; ``refiner/loss`` is that at the end, per number [nat]."""
        context = 0 if points.context is None else points.context.shape[1]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**62, (1,), generator=generator)))
            flow = self.density(Layout(points.z.shape[1], context))

        def loss(part: Drawn) -> Tensor:
            return flow.loss(part.z, part.context, part.weight)

        self.learner.fit(flow, loss, points, generator)
        with torch.no_grad():
            z = flow.sample(cond.n, weighted.context(cond), generator)
            final = float(loss(points))
        return z, cond, {"refiner/loss": final}
