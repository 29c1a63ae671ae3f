r"""JUNIPR: the likelihood of a jet as that of its clustering tree, splitting by splitting.

Generates: jets as clouds of massless partons, by a sequence of splittings that begins with the whole jet.
Conditions: whatever the data set is conditioned on; none are needed.
Representation: jets told relative to their own axis and momentum, by etarel, phirel and ptrel.
Reference: Andreassen, Feige, Frye, Schwartz 2018, arXiv:1804.09720.

The tree of Cambridge/Aachen is read from the widest splitting on. With the state :math:`h_t` after :math:`t`
splittings,

.. math:: p(jet) = p_{end}(h_T) \prod_{t < T} [1 - p_{end}(h_t)]\, p(m | h_t)\, p(\Delta, z, \varphi | m, h_t)

with the mother m of each, an exact likelihood in :math:`(\ln \Delta, \ln z, \varphi)` of all splittings.
The ratio of two models that were trained on two samples tells one from the other
(:mod:`simulacra.studies.parton.likelihood`).
A sampled tree may be none that Cambridge/Aachen would find, since angles alone are kept in order.

Note:
    Differs from the reference: momenta are added in the :math:`p_T` scheme, so that three numbers are a
    splitting and there is no fourth; an angle is told by its share of what the one before leaves open;
    besides the recurrent state, decisions see a sum over all clusters, and how each was made; grids of
    angle and share are finer. Widths are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from simulacra.core import Batch, Conditions, Field, Latent, Spec, draws
from simulacra.nn.junipr import JuniprNet, Step, advanced, log_ends, root
from simulacra.training.generative import GenerativeModule, Objective
from simulacra.training.optim import Optim
from simulacra.transforms.shower_trees import ShowerTrees, only_partons


class Junipr(GenerativeModule):
    """See the module's docstring.

    Args:
        spec: Jets of partons.
        given: Fields that are given (None: all conditions).
        transform: Makes the transform.
        net: Makes the networks from the width of the conditions.
        optim: What moves them.
    """

    transform: ShowerTrees

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        transform: Callable[[Spec, Sequence[Field]], ShowerTrees],
        net: Callable[[int], JuniprNet],
        optim: Optim,
    ) -> None:
        super().__init__(spec, given)
        self.transform = transform(spec, self.given_fields)
        self.net, self.optim = net(self.transform.conditions.width), optim

    @classmethod
    def accepts(cls, spec: Spec) -> str | None:
        """Jets of partons and nothing else."""
        return only_partons(spec)

    def objectives(self) -> dict[str, Objective]:
        """One: the negative log-likelihood."""
        return {"jet": Objective(self.loss, list(self.net.parameters()), self.optim)}

    def loss(self, latent: Latent, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Negative log-likelihood of weighted jets, per splitting of a mean jet of the batch."""
        assert latent.mask is not None
        length = latent.mean(latent.mask.sum(1).float())
        return {"loss": -latent.mean(self.log_likelihood(latent)) / length}

    @torch.no_grad()
    def log_prob(self, batch: Batch) -> Tensor:
        r"""Log density ``(B,)`` of jets in :math:`(\ln \Delta, \ln z, \varphi)` of all splittings [rad]."""
        with self.evaluating():
            latent = self.encode(batch.to(self.device))
            assert latent.mask is not None
            unit = self.log_likelihood(latent).double()
            return (unit - (latent.mask.sum(1) - 1) * self.transform.log_volume).cpu()

    def log_likelihood(self, latent: Latent) -> Tensor:
        """Log density ``(B,)`` in the unit cubes of the splittings."""
        splitting, mother = latent.x["splittings"], latent.x["mothers"]
        assert latent.mask is not None
        step, last = self.followed(splitting, mother, latent.mask, latent.cond)
        jet, number = latent.mask.nonzero(
            as_tuple=True
        )  # one row for each splitting and one for the end
        split = torch.cat([latent.mask[:, 1:], torch.zeros_like(latent.mask[:, :1])], 1)[
            jet, number
        ]
        found = log_ends(self.net.ends(step), split)
        which, how = torch.zeros_like(jet), splitting.new_full((len(jet), 3), 0.5)
        which[split], how[split] = (
            mother[jet[split], number[split]],
            splitting[jet[split], number[split]],
        )
        reach = self.reach(last)
        within = torch.cat([(how[:, :1] / reach[:, None]).clamp(0, 1), how[:, 1:]], 1)
        chosen = self.net.mothers(step).gather(1, which[:, None])[:, 0]
        dense = self.net.densities(step, which, within) - reach.log()
        found = found + torch.where(split, chosen + dense, 0.0)
        return found.new_zeros(len(mother)).index_add(0, jet, found)

    def followed(
        self, splitting: Tensor, mother: Tensor, mask: Tensor, cond: Tensor | None
    ) -> tuple[Step, Tensor]:
        """What is known before each splitting and at the end, and the angle before, one row for each."""
        b, t = mother.shape
        states, reads = [root(b, t + 1, splitting)], []
        share = self.transform.share(splitting[..., 1])
        for k in range(t):
            state, read = advanced(states[-1], k, mother[:, k], splitting[:, k], share[:, k])
            states.append(state)
            reads.append(read)
        said = splitting.new_zeros(b, 1, self.net.memory.hidden_size)
        if t:
            said = torch.cat([said, self.net.memory(torch.stack(reads, 1))[0]], 1)
        jet, number = mask.nonzero(as_tuple=True)
        there = torch.arange(t + 1, device=mask.device) <= number[:, None]
        last = torch.cat([torch.ones_like(splitting[:, :1, 0]), splitting[..., 0]], 1)[jet, number]
        wide = None if cond is None else cond[jet]
        step = self.net.steps(
            torch.stack(states, 1)[jet, number], said[jet, number], there, last, wide
        )
        return step, last

    def reach(self, last: Tensor) -> Tensor:
        """Largest angle after another one, both in the unit of the transform."""
        return (last + self.transform.rise).clamp(1e-6, 1.0)

    def generate(self, cond: Conditions, generator: torch.Generator | None = None) -> Latent:
        """Splittings one after the other."""
        scaled = self.transform.condition(cond)
        like, n, most = next(self.net.parameters()), cond.n, self.transform.points
        states, memory = root(n, most, like), None
        read = like.new_zeros(n, 1, self.net.memory.hidden_size)
        last, alive = like.new_ones(n), torch.ones(n, dtype=torch.bool, device=like.device)
        none, mothers, splittings, real = torch.arange(0, device=like.device), [], [], [alive]
        for t in range(most - 1):
            there = torch.ones(n, t + 1, dtype=torch.bool, device=like.device)
            step = self.net.steps(states[:, : t + 1], read[:, 0], there, last, scaled)
            end, chances = self.net.ends(step).sigmoid(), self.net.mothers(step).exp()
            stops = draws.uniform((n,), like, generator) < end
            mother = draws.categorical(n, chances, generator)
            within = self.net.drawn(step, mother, generator)
            unknown = (end + chances.sum(1)).isnan()  # which neither stops nor mother tell
            within = within.masked_fill(unknown[:, None], torch.nan)
            splitting = torch.cat([within[:, :1] * self.reach(last)[:, None], within[:, 1:]], 1)
            alive = alive & ~stops
            if not draws.unrolled() and not bool(alive.any()):
                break
            share = self.transform.share(splitting[:, 1])
            states, said = advanced(states, t, mother, splitting, share)
            read, memory = self.net.memory(said[:, None], memory)
            last = splitting[:, 0]
            mothers.append(mother)
            splittings.append(splitting)
            real.append(alive)
        stages = {
            "splittings": torch.stack(splittings, 1) if splittings else like.new_zeros(n, 0, 3),
            "mothers": torch.stack(mothers, 1) if mothers else none.new_zeros(n, 0),
        }
        return Latent(stages, scaled, torch.stack(real, 1))
