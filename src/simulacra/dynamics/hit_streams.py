r"""Density of showers as lists of hits of any length.

With the hits :math:`(l_i, r_i, c_i, e_i)` in their order (:mod:`simulacra.dynamics.hit_order`) and all that
step ``s`` of a causal transformer has seen, :math:`F_s` (:mod:`simulacra.nn.delayed_hits`),

.. math:: \ln p = \ln P(\mathrm{stop} | F_n) + \sum_{i < n} \Big[ \ln P(\mathrm{go\ on} | F_i)
    + \ln P(l_i | F_i) + \ln P(r_i | F_{i+1}) + \ln P(c_i | F_{i+2}) + \ln p(e_i | F_{i+3}) \Big].

Layers, rows and columns are categories of which those that cannot follow are left out before they are
normalised; the energy is a mixture of normal distributions between the floor and the energy before. Every
list that may be, and no other, has a density, so it is that of the shower itself. A step knows of its last
hits only what its streams have brought: the price of one pass per hit in place of four.

Reference: SPADE, arXiv:2606.11304.

Note:
    Differs from the reference: a step also knows the number of hits so far and their energy. The logits of a
    layer have a term for how far ahead it lies: hits never go back, so that one jump too far loses all layers
    between. What cannot follow has no probability. The head of a stop looks at a step when the next layer is
    due, since a list that ends some steps after the hits that are told then would have no likelihood without
    a sum over these.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.functional import log_softmax, logsigmoid

from simulacra.core import Geometry, UserError, draws
from simulacra.core.constructors import constructor
from simulacra.core.ranges import Count, NotNegative
from simulacra.dynamics import energy_mixture
from simulacra.dynamics.hit_drawing import Drawing, Drawn
from simulacra.dynamics.hit_order import Allowed, allowed
from simulacra.dynamics.stops import MakeStop
from simulacra.nn.causal_transformer import CausalTransformer
from simulacra.nn.delayed_hits import STREAMS, HitEmbedding, Steps, delayed, so_far
from simulacra.nn.mlp import MLP
from simulacra.nn.parted import Parted

REACH = 3.0
"""Means of the mixture at first, in standard deviations around that of all energies, are spread so far."""


@constructor
class HitStreams(Parted, nn.Module):
    """See the module's docstring.

    Args:
        geometry: Where the cells are.
        most: Hits of the longest list.
        context: Width of the conditions.
        net: Makes the transformer.
        stop: Makes the head of a stop.
        known: Columns of a step that conditions, number of hits and energy so far become.
        mixtures: Parts of the mixture of the energy.
        hidden: Width of the layer before it.
        noise: Relative width of the noise on energies that are seen in training; what is described has none.
    """

    EMBEDDERS = ("embed",)
    HEAD = ("layer", "jump", "row", "column", "energy", "stop")
    cells: Tensor
    centre: Tensor
    spread: Tensor

    def __init__(
        self,
        geometry: Geometry,
        most: int,
        context: int,
        net: Callable[[], CausalTransformer],
        stop: MakeStop,
        known: Count,
        mixtures: Count,
        hidden: Count,
        noise: NotNegative = 0.0,
    ) -> None:
        super().__init__()
        self.shape, self.most, self.noise = geometry.padded_shape, most, noise
        self.net = net()
        width, (layers, rows, columns) = self.net.width, self.shape
        self.embed = HitEmbedding(self.shape, context, width, known)
        self.layer, self.row = nn.Linear(width, layers), nn.Linear(width, rows)
        self.column = nn.Linear(width, columns)
        self.jump = nn.Parameter(torch.zeros(layers + 1))
        self.energy = MLP(width, 3 * mixtures, [hidden], nn.ReLU)
        self.stop = stop(width, context + 2 * STREAMS - 1)
        self.register_buffer("cells", geometry.mask(), persistent=False)
        self.register_buffer("centre", torch.zeros(()))
        self.register_buffer("spread", torch.ones(()))
        last = self.energy.layers[-1]
        assert isinstance(last, nn.Linear)
        with torch.no_grad():
            means = ((torch.arange(mixtures) + 0.5) / mixtures - 0.5) * REACH
            last.bias[mixtures : 2 * mixtures] = means

    @torch.no_grad()
    def fit(self, hits: Tensor, mask: Tensor) -> None:
        """Start at how many hits some training showers ``(B, N, 4)`` have, where, how far the next layer lies
        ahead, and of which energies.
        """
        real = hits[mask]
        self.stop.start(1 / (1 + float(mask.sum()) / max(1, len(mask)) + 1e-3))
        if not len(real):
            return
        self.centre.copy_(real[:, 3].mean())
        spread = real[:, 3].std(unbiased=False)
        self.spread.copy_(torch.where(spread > 0, spread, 1.0))
        for stream, head in ((1, self.row), (2, self.column)):
            counts = torch.bincount(real[:, stream].long(), minlength=self.shape[stream]) + 1.0
            head.bias.copy_((counts / counts.sum()).log())
            head.weight.mul_(0.1)
        layer = torch.where(mask, hits[..., 0], 0.0).long()
        jumps = (layer - functional.pad(layer, (1, -1), value=-1))[mask]
        counts = torch.bincount(jumps, minlength=len(self.jump)) + 0.1
        self.jump.copy_((counts / counts.sum()).log())
        nn.init.zeros_(self.layer.bias)
        self.layer.weight.mul_(0.1)

    def lists(
        self, hits: Tensor, mask: Tensor, context: Tensor, generator: torch.Generator | None = None
    ) -> Lists:
        """Whole lists, of which training sees energies with noise.

        Args:
            hits: Layer, row, column and logarithm of the energy ``(B, N, 4)``.
            mask: Real hits ``(B, N)``, in front.
            context: Conditions ``(B, C)``.
            generator: Source of noise.
        """
        seen = hits
        if self.training and self.noise > 0:
            factor = 1 + self.noise * draws.normal(mask.shape, hits, generator)
            energy = hits[..., 3] + factor.clamp(min=0.1).log()
            seen = torch.cat([hits[..., :3], energy[..., None]], -1)
        steps = self._standard(delayed(seen, mask, self.shape))
        return Lists(self, hits, mask, context, steps)

    def log_prob(self, lists: Lists) -> Tensor:
        """Log density ``(B,)`` of lists; minus infinity of one that cannot be."""
        parts = torch.stack(list(self.hit_log_probs(lists).values())).sum((0, 2))
        go_on, end = self.stop_logs(
            self.stop.probability(lists.for_stop), lists.place, lists.may.layers.any(-1)
        )
        number = lists.number[:, None]
        decided = torch.where(lists.place < number, go_on, end)
        return parts + torch.where(lists.place <= number, decided, 0.0).sum(1)

    def losses(self, lists: Lists) -> dict[str, Tensor]:
        """All that is minimised, by name, each ``(B,)``; without a classifier of stops it adds up to minus
        :meth:`log_prob`.
        """
        return {**self.hit_losses(lists), **self.stop_loss(lists)}

    def hit_losses(self, lists: Lists) -> dict[str, Tensor]:
        """Negative log-likelihoods ``(B,)`` of layers, rows, columns and energies."""
        return {name: -logs.sum(1) for name, logs in self.hit_log_probs(lists).items()}

    def stop_loss(self, lists: Lists) -> dict[str, Tensor]:
        """What the head of a stop minimises ``(B,)``; it learns where it decides."""
        number, place = lists.number[:, None], lists.place
        open_ = (place >= self.stop.least) & (place < self.most) & lists.may.layers.any(-1)
        each = self.stop.loss(lists.for_stop, place == number)
        return {"stop": torch.where(open_ & (place <= number), each, 0.0).sum(1)}

    def hit_log_probs(self, lists: Lists) -> dict[str, Tensor]:
        """Log densities ``(B, N)`` of the numbers of hits by name, 0 beside the mask."""
        features, may, n = lists.features, lists.may, lists.mask.shape[1]
        index = torch.where(lists.mask[..., None], lists.hits[..., :3], 0.0).long()
        before = functional.pad(index[..., 0], (1, -1), value=-1)
        logits = (
            ("layer", self._layers(features[:, :n], before), may.layers[:, :n]),
            ("row", self.row(features[:, 1 : 1 + n]), may.rows),
            ("column", self.column(features[:, 2 : 2 + n]), may.columns),
        )
        found = {}
        for stream, (name, made, room) in enumerate(logits):
            logs = masked_logs(made, room)
            found[name] = logs.gather(-1, index[..., stream, None])[..., 0]
        energy = torch.where(lists.mask, lists.hits[..., 3], 0.0)
        mixture = self._mixture(features[:, STREAMS - 1 : STREAMS - 1 + n])
        low = torch.zeros_like(energy)
        found["energy"] = energy_mixture.log_prob(mixture, energy, low, may.highest)
        return {name: torch.where(lists.mask, logs, 0.0) for name, logs in found.items()}

    def stop_logs(self, logits: Tensor, place: Tensor, room: Tensor) -> tuple[Tensor, Tensor]:
        """Log probabilities that lists go on and that they end ``(...)``.

        A list with too few hits goes on; one with as many as may be, or without room, ends.

        Args:
            logits: Of the probability of a stop.
            place: Hits so far.
            room: Whether a further one has a cell.
        """
        must = (place >= self.most) | ~room
        may_not = (place < self.stop.least) & ~must
        go_on = torch.where(must, -torch.inf, torch.where(may_not, 0.0, logsigmoid(-logits)))
        end = torch.where(must, 0.0, torch.where(may_not, -torch.inf, logsigmoid(logits)))
        return go_on, end

    def stop_input(self, steps: Steps, context: Tensor, features: Callable[[], Tensor]) -> Tensor:
        """What the head of a stop looks at ``(B, S, W)``."""
        if not self.stop.apart:
            return features()
        sizes = torch.tensor(self.shape, device=context.device)
        told = (
            steps.index / sizes,
            steps.energy[..., None],
            so_far(steps),
            (steps.count / self.most)[..., None],
            context[:, None].expand(-1, steps.count.shape[1], -1),
        )
        return torch.cat([part.to(context) for part in told], -1)

    @torch.no_grad()
    def sample(self, context: Tensor, generator: torch.Generator | None = None) -> Drawn:
        """Draw a list for each row of the conditions ``(B, C)``.

        Raises:
            UserError: In an exported graph.
        """
        if draws.unrolled():
            raise UserError(
                "hits are drawn one after the other until a shower ends, and a graph has a fixed number of "
                "steps: sample it in Python"
            )
        drawing = Drawing(self.cells, context, self.most, self.net.start(len(context)))
        going = True
        while going:
            steps = self._standard(drawing.steps())
            features = self.net.step(self.embed(steps, drawing.context)[:, 0], drawing.caches)
            self._draw_layer(drawing, steps, features, generator)
            if drawing.step >= 1:
                self._draw_row(drawing, features, generator)
            if drawing.step >= 2:
                self._draw_column(drawing, features, generator)
            if drawing.step >= 3:
                self._draw_energy(drawing, features, generator)
            going = drawing.forward()
        return drawing.done()

    def _draw_layer(
        self, drawing: Drawing, steps: Steps, features: Tensor, generator: torch.Generator | None
    ) -> None:
        place, free = drawing.step, drawing.free
        before = drawing.index(place - 1, 0) if place else None
        room = free.of_layers(before)
        logits = self.stop.probability(
            self.stop_input(steps, drawing.context, lambda: features[:, None])
        )[:, 0]
        go_on, end = self.stop_logs(logits, torch.full_like(drawing.rows, place), room.any(-1))
        open_ = drawing.real(place)
        stopped = ~(draws.uniform(end.shape, end, generator) >= end.exp()) & open_  # NaN stops
        drawing.end(stopped)
        drawing.add(torch.where(stopped, end, go_on), open_)
        if before is None:
            before = torch.full_like(drawing.rows, -1)
        chosen, logs = categories(self._layers(features, before), room, generator)
        drawing.put(place, 0, chosen, logs)
        free.take_layer(chosen, drawing.real(place))

    def _draw_row(
        self, drawing: Drawing, features: Tensor, generator: torch.Generator | None
    ) -> None:
        place, free = drawing.step - 1, drawing.free
        layer = drawing.index(place, 0)
        chosen, logs = categories(self.row(features), free.of_rows(layer), generator)
        drawing.put(place, 1, chosen, logs)
        free.take_row(layer, chosen, drawing.real(place))

    def _draw_column(
        self, drawing: Drawing, features: Tensor, generator: torch.Generator | None
    ) -> None:
        place, free = drawing.step - 2, drawing.free
        layer, row = drawing.index(place, 0), drawing.index(place, 1)
        chosen, logs = categories(self.column(features), free.of_columns(layer, row), generator)
        drawing.put(place, 2, chosen, logs)
        free.take_column(layer, row, chosen, drawing.real(place))

    def _draw_energy(
        self, drawing: Drawing, features: Tensor, generator: torch.Generator | None
    ) -> None:
        place, mixture = drawing.step - 3, self._mixture(features)
        high = drawing.highest(place)
        low = torch.zeros_like(high)
        energy = energy_mixture.sample(mixture, low, high, generator)
        drawing.put(place, 3, energy, energy_mixture.log_prob(mixture, energy, low, high))

    def _layers(self, features: Tensor, before: Tensor) -> Tensor:
        """Logits ``(..., L)`` of layers after the layer before ``(...)``, -1 if there is none."""
        ahead = torch.arange(self.shape[0], device=before.device) - before[..., None]
        found: Tensor = self.layer(features) + self.jump[ahead.clamp(min=0)]
        return found

    def _mixture(self, features: Tensor) -> energy_mixture.Parts:
        return energy_mixture.parts(self.energy(features), self.centre, self.spread)

    def _standard(self, steps: Steps) -> Steps:
        return replace(steps, energy=(steps.energy - self.centre) / self.spread)


class Lists:
    """Whole lists and what the transformer makes of them, once it is asked for.

    Args:
        streams: Their density.
        hits: ``(B, N, 4)``.
        mask: ``(B, N)``.
        context: ``(B, C)``.
        steps: What the steps bring.
    """

    def __init__(
        self, streams: HitStreams, hits: Tensor, mask: Tensor, context: Tensor, steps: Steps
    ) -> None:
        self.streams, self.hits, self.mask, self.context = streams, hits, mask, context
        self.steps, self.number = steps, mask.sum(1)
        self.place = torch.arange(mask.shape[1] + 1, device=mask.device)

    @cached_property
    def features(self) -> Tensor:
        """``(B, N + 3, W)``."""
        return self.streams.net(self.streams.embed(self.steps, self.context))

    @cached_property
    def may(self) -> Allowed:
        """What each hit may be."""
        return allowed(self.hits, self.mask, self.streams.cells)

    @property
    def for_stop(self) -> Tensor:
        """What the head of a stop looks at when each hit is due, and when none is left ``(B, N + 1, W)``."""
        found = self.streams.stop_input(self.steps, self.context, lambda: self.features)
        return found[:, : len(self.place)]


def masked_logs(logits: Tensor, room: Tensor) -> Tensor:
    """Log probabilities ``(..., K)`` of what has room, of all where nothing has."""
    room = room | ~room.any(-1, keepdim=True)
    return log_softmax(logits.float().masked_fill(~room, -torch.inf), -1)


def categories(
    logits: Tensor, room: Tensor, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """What is drawn ``(B,)``, and its log probability."""
    logs = masked_logs(logits, room)
    chosen = draws.categorical(len(logs), logs.exp(), generator)
    return chosen, logs.gather(1, chosen[:, None])[:, 0]
