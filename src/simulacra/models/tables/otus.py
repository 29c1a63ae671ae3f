r"""OTUS: an autoencoder whose latent space is particle level, by optimal transport between unpaired samples.

Generates: particle level :math:`z` by the encoder :math:`E`; the decoder :math:`D` makes detector level
    :math:`x` of it, which is a fast simulation (:meth:`OTUS.simulated`).
Conditions: the detector level.
Representation: tables whose conditions are the detector level.
Reference: Howard, Mandt, Whiteson, Yang 2021, arXiv:2101.08944; sliced distances in autoencoders from
    arXiv:1804.01947.

Both maps take noise :math:`n`. What is minimised is

.. math:: \langle (D(E(x)) - x)^2 \rangle + \lambda\,[S(E(x), z) + S(D(z), x)] + \beta\,[A(E(x), x) +
          A(D(z), z)],

with the sliced Wasserstein distance :math:`S` (:mod:`simulacra.dynamics.sliced_transport`). No term knows
which :math:`z` belongs to which :math:`x`, so that pairs are not needed, and what ties a quantity to its
measurement is the anchor :math:`A`, the mean of 1 - correlation of the columns that measure the same.

Note:
    Differs from the reference: the transport of the decoder is a term of the one loss in place of an
    alternating step; anchors are correlations of columns in place of angles between momenta; both networks
    add to the anchored columns. No size is published for tables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from simulacra.core import (
    Batch,
    Conditions,
    Field,
    Latent,
    Spec,
    UserError,
    draws,
    event_mean,
)  # fmt: skip
from simulacra.core.constructors import constructor
from simulacra.core.ranges import Count, NotNegative, Whole
from simulacra.dynamics.sliced_transport import sliced_transport
from simulacra.models.tables.unfolder import Unfolder
from simulacra.training.objective import Objective
from simulacra.training.optim import Optim
from simulacra.transforms.two_levels import TwoLevels


@constructor
@dataclass(frozen=True)
class Terms:
    """How the terms of the loss count beside the reconstruction.

    Args:
        transport: ``lambda`` of both sliced distances.
        anchor: ``beta`` of both anchors.
        slices: Directions of a sliced distance.
    """

    transport: NotNegative
    anchor: NotNegative
    slices: Count


class OTUS(Unfolder):
    """See the module's docstring.

    Args:
        spec: The data set, of kind table, with a detector level.
        given: Conditions and event fields that are the detector level (None: the conditions).
        transform: Makes the transform.
        net: Makes a network from the numbers of its inputs and outputs.
        noise: Numbers of noise that each network is given.
        anchors: By name of a feature the given field that measures it; None: in their order.
        terms: What the loss consists of.
        optim: What moves both networks.

    Raises:
        UserError: If ``anchors`` is None and there are not as many features as given fields, or a name is
            not known.
    """

    transform: TwoLevels

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        transform: Callable[[Spec, Sequence[Field]], TwoLevels],
        net: Callable[[int, int], nn.Module],
        noise: Whole,
        anchors: Mapping[str, str] | None,
        terms: Terms,
        optim: Optim,
    ) -> None:
        super().__init__(spec, given)
        self.transform = transform(spec, self.given_fields)
        self.pairs = self._pairs(anchors)
        self.noise, self.terms, self.optim = noise, terms, optim
        particle, detector = self.transform.features.width, self.transform.given.width
        self.encoder = net(detector + noise, particle)
        self.decoder = net(particle + noise, detector)

    @classmethod
    def accepts(cls, spec: Spec) -> str | None:
        """Tables of any columns."""
        return None if spec.kind == "table" else "it unfolds rows of tables"

    def objectives(self) -> dict[str, Objective]:
        """One: the autoencoder."""
        parameters = [*self.encoder.parameters(), *self.decoder.parameters()]
        return {"autoencoder": Objective(self.loss, parameters, self.optim)}

    def loss(self, latent: Latent, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """The loss and its terms, over weighted events."""
        z, x, weight = latent.x["table"], latent.x["given"], latent.weight
        made = self.encoded(x, generator)
        back, simulated = self.decoded(made, generator), self.decoded(z, generator)
        there, measured = [i for i, _ in self.pairs], [j for _, j in self.pairs]
        found = {
            "reconstruction": latent.mean((back - x).square()),
            "transport": sliced_transport(made, z, self.terms.slices, weight, weight, generator)
            + sliced_transport(simulated, x, self.terms.slices, weight, weight, generator),
            "anchor": apart(made[:, there], x[:, measured], weight)
            + apart(simulated[:, measured], z[:, there], weight),
        }
        loss = (
            found["reconstruction"]
            + self.terms.transport * found["transport"]
            + self.terms.anchor * found["anchor"]
        )
        return {"loss": loss, **found}

    def generate(self, cond: Conditions, generator: torch.Generator | None = None) -> Latent:
        """Particle level for given detector level."""
        made = self.encoded(self.transform.scaled(cond, generator), generator)
        return Latent({"table": made}, self.transform.condition(cond))

    @torch.no_grad()
    def simulated(self, batch: Batch, generator: torch.Generator | None = None) -> Batch:
        """The same events, with what the decoder makes of their particle level as detector level."""
        with self.evaluating():
            latent = self.encode(batch.to(self.device), generator)
            made = self.transform.unscaled(self.decoded(latent.x["table"], generator))
        cond, event = (
            {name: made[name].cpu() if name in made else value for name, value in fields.items()}
            for fields in (batch.cond, batch.event)
        )
        return replace(batch, cond=cond, event=event)

    def encoded(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Particle level ``(B, D)`` of detector level ``(B, C)``, both normalised."""
        return self._mapped(self.encoder, x, [(j, i) for i, j in self.pairs], generator)

    def decoded(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Detector level of particle level, both normalised."""
        return self._mapped(self.decoder, z, self.pairs, generator)

    def _mapped(
        self,
        net: nn.Module,
        given: Tensor,
        pairs: Sequence[tuple[int, int]],
        generator: torch.Generator | None,
    ) -> Tensor:
        noise = draws.normal((given.shape[0], self.noise), given, generator)
        made: Tensor = net(torch.cat([given, noise], 1))
        source, target = ([pair[side] for pair in pairs] for side in (0, 1))
        kept = torch.zeros_like(made)
        kept[:, target] = given[:, source]
        return kept + made

    def _pairs(self, anchors: Mapping[str, str] | None) -> list[tuple[int, int]]:
        """Normalised columns of particle and detector level that measure the same."""
        features = [field.name for field in self.spec.features]
        if anchors is None:
            if len(features) != len(self.given):
                raise UserError(
                    f"{len(features)} features and {len(self.given)} given fields are no pairs: say in "
                    "model.anchors which feature is measured by which field"
                )
            anchors = dict(zip(features, self.given, strict=True))
        pairs = []
        for feature, field in anchors.items():
            places = self.transform.features.places(feature), self.transform.given.places(field)
            if len(places[0]) != len(places[1]):
                raise UserError(f"{feature} and {field} are no pair: only one of them is periodic")
            pairs += list(zip(*places, strict=True))
        return pairs


def apart(x: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
    """Mean of 1 - correlation over weighted events of columns ``(B, K)``, a scalar; 0 without columns."""
    if not x.shape[1]:
        return x.new_zeros(())
    x, y = x - event_mean(x, weight), y - event_mean(y, weight)
    together = event_mean(x * y, weight)
    scale = event_mean(x.square(), weight) * event_mean(y.square(), weight)
    return (1 - together / scale.clamp_min(1e-12).sqrt()).mean()
