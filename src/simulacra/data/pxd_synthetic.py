r"""Synthetic background of the Belle II pixel detector: a calibrated stand-in for simulated events
that are not public.

Crossings of sensor ``s`` by background component ``k`` are Poisson with rate

.. math:: \lambda_{sk} = c\, R_s \frac{f_k m_k(\varphi_s)}{\sum_j f_j m_j(\varphi_s) y_j}\, g_k\, g_{layer},
   \qquad g_k = e^{\sigma_k n_k - \sigma_k^2 / 2},

where :math:`c` is the ``scale`` times the rate of the event, which is drawn uniformly from a range
where one is given and 1 otherwise, :math:`R_s` is the published mean number of fired pixels of the
sensor, :math:`f_k` the component's share, :math:`m_k` how it varies around the beam and :math:`y_k`
the mean number of pixels that one crossing fires. The factors :math:`g_k`, and
:math:`g_{layer} = e^{0.08 n}` of the outer layer, are drawn once per event and shared by all
sensors: they correlate the occupancies. How a crossing becomes charge is told in
:mod:`simulacra.data.pxd_response`.

Note:
    The rates are fitted to the published marginals, so that agreement with them is by construction
    and no evidence about the physics. The shares and their spreads are a design choice. Not
    modelled: gated mode, dead modules, injection bursts, common-mode noise.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from simulacra.core import UserError
from simulacra.core.constructors import constructor
from simulacra.core.ranges import Positive, Whole
from simulacra.data.pxd_response import NOISE_RATE, Draw, SensorTable, digitise, photons, tracks
from simulacra.formats.pxd import check_rate
from simulacra.formats.pxd_hits import Hits
from simulacra.formats.pxd_sensors import COLS, ROWS, SENSORS, azimuth, layer_of
from simulacra.physics.pxd_reference import pxd_reference


@dataclass(frozen=True)
class Component:
    """A source of background.

    Args:
        name: What it is called.
        share: Share of the crossings.
        sigma: Spread of the logarithm of its rate between events.
        cosine: How it varies around the beam in each layer, ``(constant, amplitude of cos)``.
        photon: X rays, absorbed at a point, rather than charged particles.
    """

    name: str
    share: float
    sigma: float
    cosine: tuple[tuple[float, float], tuple[float, float]]
    photon: bool = False


COMPONENTS = (
    Component("two_photon", 0.70, 0.045, ((1.0, 0.0), (1.0, 0.0))),
    Component("beam_gas", 0.14, 0.22, ((1.0, 0.5), (1.0, 0.5))),
    Component("touschek", 0.10, 0.18, ((1.0, -0.5), (1.0, -0.5))),
    Component("synchrotron", 0.06, 0.30, ((1.0, 1.0), (0.3, 0.0)), photon=True),
)
OUTER_SIGMA = 0.08
# Pixels that one crossing fires on average, measured with 200 events of this generator: particles by
# layer and sensor of the ladder, since the slopes along v differ, and X rays.
PARTICLE_YIELD = ((3.606, 2.383), (2.739, 2.181))
PHOTON_YIELD = 0.716


@constructor
@dataclass(frozen=True)
class PxdBackground:
    """Events of background, each a function of ``(seed, number of the event)`` and the settings
    alone.

    Args:
        seed: Seed of all events.
        scale: Factor on all rates, as if the luminosity changed.
        without: Names of components that are switched off.
        phase: Angle by which the background is rotated around the beam [rad].
        sensors: Numbers of the sensors that are read out.
        rate: Smallest and largest rate of an event, on top of ``scale``; None: 1 for all events.
    """

    seed: Whole = 0
    scale: Positive = 1.0
    without: Sequence[str] = ()
    phase: float = 0.0
    sensors: Sequence[int] = tuple(range(len(SENSORS)))
    rate: Sequence[float] | None = None

    def __post_init__(self) -> None:
        names = [component.name for component in COMPONENTS]
        unknown = sorted(set(self.without) - set(names))
        if unknown:
            raise UserError(
                f"there is no background component {unknown[0]!r}: choose from {', '.join(names)}"
            )
        if self.scale < 0 or not math.isfinite(self.scale):
            raise UserError(f"the scale of the background is a positive number, got {self.scale}")
        if self.rate is not None:
            check_rate(self.rate)
        if not self.sensors or list(self.sensors) != sorted(set(self.sensors)):
            raise UserError(
                f"sensors are rising numbers without repetition, got {list(self.sensors)}"
            )

    def rates(self) -> Tensor:
        """Mean crossings per event, float64 ``(S, components)``."""
        target = _fired(self.phase)
        rows = []
        for number in self.sensors:
            layer, side = layer_of(number), int(SENSORS[number][-1]) - 1
            cosine = math.cos(azimuth(number) - self.phase)
            weights = [
                c.share * (c.cosine[layer][0] + c.cosine[layer][1] * cosine) for c in COMPONENTS
            ]
            yields = [PHOTON_YIELD if c.photon else PARTICLE_YIELD[layer][side] for c in COMPONENTS]
            fired = sum(weight * y for weight, y in zip(weights, yields, strict=True))
            rows.append([self.scale * float(target[number]) * weight / fired for weight in weights])
        on = torch.tensor([component.name not in self.without for component in COMPONENTS])
        return torch.tensor(rows, dtype=torch.float64) * on

    def event(self, index: int) -> Hits:
        """Event number ``index`` as a list of hits, at the rate :meth:`rate_of` it."""
        draw = Draw(self._generator(index))
        sigma = torch.tensor([component.sigma for component in COMPONENTS])
        common = (sigma * draw.normal(len(COMPONENTS)) - sigma.square() / 2).exp()
        outer = torch.tensor([float(layer_of(number)) for number in self.sensors])
        factor = common * (OUTER_SIGMA * draw.normal(1) * outer).exp()[:, None]  # (S, components)
        counts = draw.poisson((self.rates() * self.rate_of(index)).float() * factor)
        photon = torch.tensor([component.photon for component in COMPONENTS])
        table = SensorTable.of(self.sensors)
        deposits = [
            tracks(counts[:, ~photon].sum(1), table, draw),
            photons(counts[:, photon].sum(1), table, draw),
        ]
        return self._hits(*digitise(deposits, len(self.sensors), draw))

    def rate_of(self, index: int) -> float:
        """Rate of event number ``index``, a float32 number; its hits take nothing from the same draw."""
        if self.rate is None:
            return 1.0
        low, high = self.rate
        word = hashlib.sha256(f"rate {self.seed} {index}".encode()).digest()[:7]
        share = int.from_bytes(word, "little") / 2**56
        return float(np.float32(low + (high - low) * share))

    def events(self, start: int, n: int) -> Iterator[Hits]:
        """Events ``start`` to ``start + n - 1``, one after the other."""
        for index in range(start, start + n):
            yield self.event(index)

    def key(self) -> str:
        """Text that names all settings, for caches and provenance."""
        rate = "" if self.rate is None else f" rate={[float(number) for number in self.rate]}"
        return (
            f"pxd-background-1 seed={self.seed} scale={self.scale!r} without={sorted(self.without)} "
            f"phase={self.phase!r} sensors={list(self.sensors)}{rate}"
        )

    def _generator(self, index: int) -> torch.Generator:
        """Own generator of each event: distinct events of one seed never share a state (it has 32
        bits).
        """
        start = int.from_bytes(hashlib.sha256(str(self.seed).encode()).digest()[:4], "little")
        mixed = (start + index) * 2654435761 % 2**32  # a permutation of 32-bit numbers
        return torch.Generator().manual_seed(mixed ^ (mixed >> 16))

    def _hits(self, flat: Tensor, charge: Tensor) -> Hits:
        place, pixel = flat.numpy() // (ROWS * COLS), flat.numpy() % (ROWS * COLS)
        columns = (np.asarray(self.sensors)[place], pixel // COLS, pixel % COLS, charge.numpy())
        return Hits.of(np.array([0, len(flat)]), columns)


def _fired(phase: float) -> Tensor:
    """Mean pixels of each sensor that crossings fire, float64 ``(40,)``, first harmonic around the
    beam rotated by ``phase``.
    """
    fired = (pxd_reference().mean_occupancy - NOISE_RATE) * ROWS * COLS
    angle = torch.tensor([azimuth(number) for number in range(len(SENSORS))], dtype=torch.float64)
    layer = torch.tensor([layer_of(number) for number in range(len(SENSORS))])
    for number in (0, 1):
        picked = layer == number
        values, phi = fired[picked], angle[picked]
        amplitude = 2 * (values * phi.cos()).mean() / values.mean()
        fired[picked] = values * (1 + amplitude * (phi - phase).cos()) / (1 + amplitude * phi.cos())
    return fired
