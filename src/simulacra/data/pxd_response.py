r"""How a silicon pixel sensor answers to crossings: charge along a path, sharing by diffusion, the
DEPFET read-out chain.

A charged particle that enters at :math:`(u_0, v_0)` with slopes :math:`a, t` along u and v leaves
over its path :math:`L = 75\,\mu m \sqrt{1 + a^2 + t^2}`, or the part of it up to where it stops,
the charge

.. math:: Q = 70\,\tfrac{e}{\mu m}\, L \max(0.05,\, 1 + 0.12 M)\, H, \qquad M = -\ln n^2,\; n \sim N(0, 1),

with a Moyal variable :math:`M` (near to Landau's) and, in 8 % of the crossings, a tail
:math:`H = 1 + 1.5\,(P + 0.5)`, :math:`P` Pareto with exponent 1.5. Each step of about 15 um shares
its charge among four groups of electrons that diffuse by 6 um. The read-out divides by 216.7
electrons per ADU, adds noise of 150 electrons, rounds, saturates at 255 minus a random pedestal,
and drops what is below 7 ADU.

Every function works on all sensors of an event at once and draws from the generator that it is
given.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from simulacra.formats.pxd_sensors import (
    COLS,
    FINE,
    PITCH_U,
    PITCHES_V,
    RADII,
    ROWS,
    SENSORS,
    layer_of,
)

THICKNESS = 0.075  # mm
STEP = 0.015  # mm of path per step
GROUPS = 4  # groups of electrons per step
DIFFUSION = 0.006  # mm
ELECTRONS_PER_UM = 70.0  # most probable, of a particle at minimum ionisation
ELECTRONS_PER_ADU = 216.7
NOISE = 150.0  # electrons
THRESHOLD = 7.0  # ADU
PEDESTAL = (100.0, 30.0)  # ADU, mean and rms over pixels
NOISE_RATE = 1e-5  # pixels that fire by themselves, per pixel and event
MAX_SLOPE = 12.0
CENTRES_Z = (
    (39.0, -8.0),
    (47.0, -16.0),
)  # mm, middle of the active area of sensors 1 and 2 of each layer


@dataclass(frozen=True)
class SensorTable:
    """Constants of a stack of sensors, each float32 ``(S,)`` [mm]: fine and coarse pitch, length,
    radius, centre in z.
    """

    fine: Tensor
    coarse: Tensor
    length: Tensor
    radius: Tensor
    centre: Tensor

    @classmethod
    def of(cls, sensors: Sequence[int]) -> SensorTable:
        """The constants of some sensors."""
        rows = []
        for number in sensors:
            layer = layer_of(number)
            fine, coarse = PITCHES_V[layer]
            side = int(SENSORS[number][-1]) - 1
            length = FINE * fine + (COLS - FINE) * coarse
            rows.append((fine, coarse, length, RADII[layer], CENTRES_Z[layer][side]))
        return cls(*torch.tensor(rows, dtype=torch.float32).unbind(1))

    def __len__(self) -> int:
        return len(self.length)


class Draw:
    """Random numbers of one event, float32, all from one generator."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator

    def normal(self, *shape: int) -> Tensor:
        """Standard normal."""
        return torch.randn(*shape, generator=self.generator)

    def uniform(self, *shape: int) -> Tensor:
        """Uniform on [0, 1)."""
        return torch.rand(*shape, generator=self.generator)

    def student(self, n: int) -> Tensor:
        """Student's t with three degrees of freedom."""
        return self.normal(n) / (self.normal(3, n).square().mean(0)).sqrt()

    def poisson(self, rate: Tensor) -> Tensor:
        """Poisson counts, int64."""
        return torch.poisson(rate, generator=self.generator).long()


def tracks(counts: Tensor, table: SensorTable, draw: Draw) -> tuple[Tensor, Tensor]:
    """Charge of charged crossings.

    Args:
        counts: Crossings per sensor, int64 ``(S,)``.
        table: The sensors.
        draw: Random numbers.

    Returns:
        Flat pixel ``(s * rows + u) * cols + v`` and charge [ADU] of each group of electrons; those
        that miss all pixels have the number after the last pixel.
    """
    sensor = torch.repeat_interleave(torch.arange(len(counts)), counts)
    n = len(sensor)
    u, v = draw.uniform(n) * (ROWS * PITCH_U), draw.uniform(n) * table.length[sensor]
    slope_u, slope_v = _slopes(sensor, v, table, draw)
    part = torch.where(
        draw.uniform(n) < 0.15, 0.15 + 0.85 * draw.uniform(n), 1.0
    )  # of the path, before it stops
    path = THICKNESS * (1 + slope_u.square() + slope_v.square()).sqrt() * part
    steps = (path / STEP).ceil().clamp(3, 60).long()
    share = charge(path, draw) / (steps * GROUPS)
    track = torch.repeat_interleave(torch.arange(n), steps)
    inside = torch.arange(len(track)) - (steps.cumsum(0) - steps)[track]
    depth = THICKNESS * (inside + 0.5) / steps[track] * part[track]
    return spread(
        sensor[track],
        u[track] + slope_u[track] * depth,
        v[track] + slope_v[track] * depth,
        share[track],
        table,
        draw,
    )


def _slopes(sensor: Tensor, v: Tensor, table: SensorTable, draw: Draw) -> tuple[Tensor, Tensor]:
    """Slopes along u and v; along v, three in five particles come from the collision point."""
    n = len(sensor)
    slope_u = (0.45 * draw.student(n)).clamp(-MAX_SLOPE, MAX_SLOPE) + 0.12
    straight = (table.centre[sensor] + v - table.length[sensor] / 2) / table.radius[sensor]
    slope_v = torch.where(draw.uniform(n) < 0.6, straight, 1.2 * draw.student(n)).abs()
    sign = torch.where(draw.uniform(n) < 0.5, 1.0, -1.0)
    return slope_u, slope_v.clamp(max=MAX_SLOPE) * sign


def charge(path: Tensor, draw: Draw) -> Tensor:
    """Charge that a particle leaves on ``path`` [mm], in ADU, same shape."""
    n = len(path)
    moyal = -2 * (draw.normal(n).abs() + 1e-9).log()
    pareto = (1 - draw.uniform(n)).pow(-1 / 1.5) - 1
    tail = torch.where(draw.uniform(n) < 0.08, 1 + 1.5 * (pareto + 0.5), 1.0)
    return (
        ELECTRONS_PER_UM
        * 1e3
        * path
        * (1 + 0.12 * moyal).clamp(min=0.05)
        * tail
        / ELECTRONS_PER_ADU
    )


def photons(counts: Tensor, table: SensorTable, draw: Draw) -> tuple[Tensor, Tensor]:
    """Charge of X rays, which are absorbed at a point: energy 10 keV times Gamma(2, 1/2), 3.65 eV
    per electron.
    """
    sensor = torch.repeat_interleave(torch.arange(len(counts)), counts)
    n = len(sensor)
    u, v = draw.uniform(n) * (ROWS * PITCH_U), draw.uniform(n) * table.length[sensor]
    energy = 1e4 * 0.5 * -(1 - draw.uniform(2, n)).log().sum(0)
    return spread(sensor, u, v, energy / 3.65 / ELECTRONS_PER_ADU / GROUPS, table, draw)


def spread(
    sensor: Tensor, u: Tensor, v: Tensor, share: Tensor, table: SensorTable, draw: Draw
) -> tuple[Tensor, Tensor]:
    """Pixels that each step's four groups of electrons reach by diffusion, and their charge; see
    :func:`tracks`.
    """
    n = len(sensor)
    u = torch.addcmul(u, draw.normal(GROUPS, n), torch.tensor(DIFFUSION))
    v = torch.addcmul(v, draw.normal(GROUPS, n), torch.tensor(DIFFUSION))
    row = (u / PITCH_U).floor()
    knee = (FINE * table.fine)[sensor]
    col = torch.where(
        v < knee, v / table.fine[sensor], FINE + (v - knee) / table.coarse[sensor]
    ).floor()
    inside = (row >= 0) & (row < ROWS) & (col >= 0) & (col < COLS)
    flat = (sensor * ROWS + row.long()) * COLS + col.long()
    lost = len(table) * ROWS * COLS
    return torch.where(inside, flat, lost).flatten(), share.expand(GROUPS, n).flatten()


def digitise(
    deposits: Sequence[tuple[Tensor, Tensor]], sensors: int, draw: Draw
) -> tuple[Tensor, Tensor]:
    """Read-out of all charge in ``sensors`` sensors.

    Returns:
        Flat pixels that fire, rising int64 ``(hits,)``, and their charge [ADU], int64 7 to 255.
    """
    pixels = sensors * ROWS * COLS
    image = torch.zeros(pixels + 1)  # the last entry collects what misses the sensors
    for flat, value in deposits:
        image.index_add_(0, flat, value)
    hit = image[:-1].nonzero().squeeze(1)
    n = len(hit)
    value = (image[hit] + NOISE / ELECTRONS_PER_ADU * draw.normal(n)).round()
    pedestal = (PEDESTAL[0] + PEDESTAL[1] * draw.normal(n)).clamp(0, 200)
    value = torch.minimum(value, (255 - pedestal).floor())
    noisy = int(draw.poisson(torch.tensor(NOISE_RATE * pixels)))
    extra = torch.randint(pixels, (noisy,), generator=draw.generator)
    geometric = (1 - draw.uniform(noisy)).log().div(math.log(0.6)).floor() + 1
    fired = value >= THRESHOLD
    flat = torch.cat([hit[fired], extra])
    value = torch.cat([value[fired], geometric + THRESHOLD - 1]).clamp(max=255)
    flat, where = flat.unique(return_inverse=True)
    return flat, torch.zeros(len(flat)).scatter_reduce_(0, where, value, "amax").long()
